//! Where in a value or a document something was found.

use std::fmt;

/// A place in a value, written as an RFC 6901 JSON Pointer; the whole value is the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Innermost first: a refusal travels outward and adds its surroundings.
    reversed: Vec<Segment>,
}

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Into the field of a map.
    Key(Box<str>),
    /// Into the element of a list.
    Index(usize),
}

impl Path {
    /// The steps, outermost first.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.reversed.iter().rev()
    }

    /// From the steps, outermost first.
    pub fn from_segments(segments: impl DoubleEndedIterator<Item = Segment>) -> Self {
        Self { reversed: segments.rev().collect() }
    }

    /// This path, seen from the map around it.
    #[must_use]
    pub fn under_key(mut self, key: &str) -> Self {
        self.reversed.push(Segment::Key(key.into()));
        self
    }

    /// This path, seen from the list around it.
    #[must_use]
    pub fn under_index(mut self, index: usize) -> Self {
        self.reversed.push(Segment::Index(index));
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in self.segments() {
            match segment {
                Segment::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1"))?,
                Segment::Index(index) => write!(f, "/{index}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_json_pointer() {
        assert_eq!(Path::default().to_string(), "");
        let path = Path::default().under_key("a/b~c").under_index(3).under_key("list");
        assert_eq!(path.to_string(), "/list/3/a~1b~0c");
    }
}
