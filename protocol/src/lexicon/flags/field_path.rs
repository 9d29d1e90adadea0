//! The place of a field within a record, for example `lineItems[].unitPrice`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::super::value::{DataModel, View};

/// A path to a field: names with dots between them, `[]` after the name of a list whose elements it goes on in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FieldPath {
    steps: Box<[Step]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    name: Box<str>,
    /// Whether the path goes on in each element of the list of this name.
    each: bool,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path of a field: names, dots between them, [] after a list")]
pub struct InvalidFieldPath(String);

impl FieldPath {
    /// The names on the way, each with whether the path goes on in the elements of a list of that name.
    pub fn steps(&self) -> impl Iterator<Item = (&str, bool)> {
        self.steps.iter().map(|step| (&*step.name, step.each))
    }

    /// All values at this place: none, one, or one for each element of the lists on the way.
    #[must_use]
    pub fn find<'v, V: DataModel>(&self, record: &'v V) -> Vec<&'v V> {
        let mut found = vec![record];
        for step in &self.steps {
            let field = |value: &'v V| match value.view() {
                View::Map(map) => V::get(map, &step.name),
                _ => None,
            };
            found = found.into_iter().filter_map(field).collect();
            if step.each {
                let elements = |value: &'v V| match value.view() {
                    View::List(list) => list,
                    _ => &[],
                };
                found = found.into_iter().flat_map(elements).collect();
            }
        }
        found
    }
}

impl FromStr for FieldPath {
    type Err = InvalidFieldPath;

    fn from_str(text: &str) -> Result<Self, InvalidFieldPath> {
        let step = |part: &str| {
            let (name, each) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
            is_name.then(|| Step { name: name.into(), each })
        };
        let steps: Option<Box<[Step]>> = text.split('.').map(step).collect();
        steps.map(|steps| Self { steps }).ok_or_else(|| InvalidFieldPath(text.to_owned()))
    }
}

impl TryFrom<String> for FieldPath {
    type Error = InvalidFieldPath;

    fn try_from(text: String) -> Result<Self, InvalidFieldPath> {
        text.parse()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            write!(f, "{dot}{}{}", step.name, if step.each { "[]" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> FieldPath {
        text.parse().expect("a path")
    }

    #[test]
    fn finds_through_maps_and_lists() {
        let record = json!({ "a": { "b": 1 }, "list": [{ "c": [2, 3] }, { "d": 4 }, { "c": [5] }] });
        assert_eq!(path("a.b").find(&record), [&json!(1)]);
        assert_eq!(path("list[].c[]").find(&record), [&json!(2), &json!(3), &json!(5)]);
        assert_eq!(path("list[].c").find(&record).len(), 2);
        for absent in ["b", "a.b.c", "a[].b", "list.c"] {
            assert!(path(absent).find(&record).is_empty(), "{absent}");
        }
    }

    #[test]
    fn reads_as_it_is_written() {
        for text in ["a", "a.b", "lineItems[].unitPrice", "a[].b[]"] {
            assert_eq!(path(text).to_string(), text);
        }
        for text in ["", ".", "a.", "a[]b", "[]", "a b", "a/b", "$type"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }
}
