//! What crosses the door to an engine: changes that belong together, ranges of keys, and pages of rows.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::EngineError;

/// The row changes of one atomic group: the last change of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    is_filling: bool,
}

impl Group {
    /// A group that is not atomic: its rows are of no meaning until a later group says so, and may be there in part
    /// after a crash. No group behind it is there without all of it.
    #[must_use]
    pub fn filling() -> Self {
        Self { is_filling: true, ..Self::default() }
    }

    /// Whether this is a [`Self::filling`] group.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.is_filling
    }

    /// Makes the group atomic after all.
    pub(crate) fn bind(&mut self) {
        self.is_filling = false;
    }

    /// Sets a row.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.insert(key, Some(value));
    }

    /// Removes a row; removing an absent one is fine.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.insert(key, None);
    }

    /// Adds the changes of a later group.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.bytes += later.bytes;
        self.writes.extend(later.writes);
    }

    /// What this group makes of `key`: `None` when it does not touch it, `Some(None)` when it removes it.
    #[must_use]
    pub fn lookup(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.writes.get(key).map(Option::as_deref)
    }

    /// Changes in key order; `None` removes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// How many rows change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of keys and values written so far; a row set twice counts twice.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.writes.insert(key, value);
    }
}

/// A range of keys: from `start`, included, to `end`, excluded; no `end` means to the last key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key that belongs.
    pub start: Vec<u8>,
    /// First key that no longer belongs.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: after_prefix(prefix) }
    }

    /// The part that lies behind `key`, in reading direction.
    #[must_use]
    pub fn beyond(mut self, key: &[u8], reverse: bool) -> Self {
        if reverse {
            if self.end.as_deref().is_none_or(|end| key < end) {
                self.end = Some(key.to_vec());
            }
        } else if key >= self.start.as_slice() {
            // The shortest key that sorts after `key`.
            self.start = [key, &[0]].concat();
        }
        self
    }

    /// Whether no key can belong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The same as a pair of bounds, for maps that take them.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(&self.start), self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
    }
}

/// The first key behind every key that begins with `prefix`, or `None` when there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// How much one page may hold. It ends with the row that reaches either bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

impl PageLimit {
    /// At most `rows` rows and [`crate::limits::PAGE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn rows(rows: usize) -> Self {
        Self { rows: rows.min(crate::limits::PAGE_ROWS_MAX), bytes: crate::limits::PAGE_BYTES_MAX }
    }
}

/// Rows of a page after which the size of the others is guessed.
const SAMPLE_ROWS: usize = 16;

/// Bytes that a page makes room for on such a guess: the range may end with the next row.
const EXPECTED_BYTES_MAX: usize = 256 * 1024;

/// One page of rows, all of them in one piece of memory: whoever reads many looks at them where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    /// Where the key of each row ends, and its value. The key begins where the value before it ends.
    ends: Vec<(usize, usize)>,
    /// Whether the limit ended the page; the range may hold more.
    pub more: bool,
}

impl Page {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key and value of a row, counted in reading order.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let (key_end, value_end) = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some((&self.bytes[start..key_end], &self.bytes[key_end..value_end]))
    }

    /// Keys and values, in reading order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map_while(|index| self.row(index))
    }

    /// The key read last.
    #[must_use]
    pub fn last_key(&self) -> Option<&[u8]> {
        self.row(self.len().checked_sub(1)?).map(|(key, _)| key)
    }

    /// The same rows under other keys.
    pub(crate) fn with_keys(&self, key: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let mut page = Self { bytes: Vec::with_capacity(self.bytes.len()), ends: Vec::new(), more: self.more };
        for (before, value) in self.rows() {
            page.bytes.extend_from_slice(&key(before));
            let key_end = page.bytes.len();
            page.bytes.extend_from_slice(value);
            page.ends.push((key_end, page.bytes.len()));
        }
        page
    }

    /// Makes room for as many rows like those so far as the limit allows: growing bit by bit copies all of them again.
    fn expect(&mut self, limit: PageLimit) {
        let further = limit.rows.saturating_sub(self.len());
        let each = self.bytes.len() / self.len().max(1);
        self.ends.reserve(further.min(EXPECTED_BYTES_MAX / each.max(1)));
        self.bytes.reserve(further.saturating_mul(each).min(limit.bytes).min(EXPECTED_BYTES_MAX));
    }

    /// Fills a page from an engine's own iterator.
    pub(super) fn collect<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rows: impl Iterator<Item = Result<(K, V), EngineError>>,
        limit: PageLimit,
    ) -> Result<Self, EngineError> {
        let mut page = Self::default();
        for row in rows {
            if page.len() >= limit.rows || page.bytes.len() >= limit.bytes {
                page.more = true;
                break;
            }
            let (key, value) = row?;
            page.bytes.extend_from_slice(key.as_ref());
            let key_end = page.bytes.len();
            page.bytes.extend_from_slice(value.as_ref());
            page.ends.push((key_end, page.bytes.len()));
            if page.len() == SAMPLE_ROWS {
                page.expect(limit);
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_behind_its_last_key() {
        assert_eq!(KeyRange::prefix(&[1, 2]).end, Some(vec![1, 3]));
        assert_eq!(KeyRange::prefix(&[1, 255]).end, Some(vec![2]));
        assert_eq!(KeyRange::prefix(&[255, 255]).end, None);
        assert_eq!(KeyRange::prefix(&[]).end, None);
    }

    #[test]
    fn beyond_never_widens_a_range() {
        let range = KeyRange { start: vec![5], end: Some(vec![8]) };
        assert_eq!(range.clone().beyond(&[3], false), range);
        assert_eq!(range.clone().beyond(&[9], true), range);
        assert_eq!(range.clone().beyond(&[6], false).start, vec![6, 0]);
        assert_eq!(range.beyond(&[6], true).end, Some(vec![6]));
    }
}
