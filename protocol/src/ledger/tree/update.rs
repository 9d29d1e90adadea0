//! Many changes at once: every page on their way is read and written once.

use super::super::view::{Changes, View, ViewError};
use super::page::{Leaf, Page, SLOT_ROWS_MAX, Slot, page_key};
use super::{Hash, nibble};

/// One row's change: its path, and the hash of its new value unless it is deleted.
pub(crate) type Change = (Hash, Option<Hash>);

/// The root of the rows in `view`: of its latest height.
///
/// # Errors
/// [`ViewError`] when the first page cannot be read.
pub fn root(view: &impl View) -> Result<Hash, ViewError> {
    Ok(load(view, &[0; 32], 0)?.summary().hash(0))
}

/// Applies `changes` (sorted by path, each path once), adds the altered pages to `pages` and returns the new root.
pub(crate) fn update(view: &impl View, changes: &[Change], pages: &mut Changes) -> Result<Hash, ViewError> {
    debug_assert!(changes.is_sorted_by(|a, b| a.0 < b.0), "changes come sorted and once each");
    if changes.is_empty() {
        return root(view);
    }
    let mut page = load(view, &[0; 32], 0)?;
    let mut update = Update { view, pages: Vec::new() };
    let root = update.descend(&mut page, 0, changes, true)?.hash(0);
    // Sorted at once and merged in one pass, which costs a fraction of as many insertions.
    pages.append(&mut update.pages.into_iter().collect());
    Ok(root)
}

/// The page at the first `depth` nibbles of `path`.
pub(super) fn load(view: &impl View, path: &Hash, depth: usize) -> Result<Page, ViewError> {
    match view.get(&page_key(path, depth))? {
        Some(bytes) => Page::decode(bytes, depth),
        None => Ok(Page::empty(depth)),
    }
}

struct Update<'a, V> {
    view: &'a V,
    pages: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl<V: View> Update<'_, V> {
    /// Changes one page at `depth`, all `changes` being below it, and returns what it has become.
    fn descend(&mut self, page: &mut Page, depth: usize, changes: &[Change], stored: bool) -> Result<Slot, ViewError> {
        let path = changes[0].0;
        for below in changes.chunk_by(|a, b| nibble(&a.0, depth) == nibble(&b.0, depth)) {
            let index = nibble(&below[0].0, depth);
            let slot = self.alter(page.slot(index), depth + 1, below)?;
            page.set(index, slot);
        }
        let summary = page.summary();
        if depth == 0 || matches!(summary, Slot::Page(_)) {
            self.pages.push((page_key(&path, depth), Some(page.encode())));
        } else if stored {
            self.pages.push((page_key(&path, depth), None));
        }
        Ok(summary)
    }

    /// What one slot becomes; its subtree starts at `depth`.
    fn alter(&mut self, slot: Slot, depth: usize, changes: &[Change]) -> Result<Slot, ViewError> {
        let rows = match slot {
            Slot::Page(_) => {
                let mut page = load(self.view, &changes[0].0, depth)?;
                return self.descend(&mut page, depth, changes, true);
            }
            Slot::Rows(rows) => merge(&rows, changes),
        };
        if rows.len() <= SLOT_ROWS_MAX {
            return Ok(Slot::Rows(rows));
        }
        let all: Vec<Change> = rows.into_iter().map(|(path, value)| (path, Some(value))).collect();
        self.descend(&mut Page::empty(depth), depth, &all, false)
    }
}

/// `rows` after `changes`, both sorted by path.
fn merge(mut rows: &[Leaf], changes: &[Change]) -> Vec<Leaf> {
    let mut merged = Vec::with_capacity(rows.len() + changes.len());
    for (path, value) in changes {
        let before = rows.partition_point(|(other, _)| other < path);
        merged.extend_from_slice(&rows[..before]);
        rows = &rows[before..];
        if rows.first().is_some_and(|(other, _)| other == path) {
            rows = &rows[1..];
        }
        merged.extend(value.map(|value| (*path, value)));
    }
    merged.extend_from_slice(rows);
    merged
}
