//! Many changes at once: every page on their way is read and written once.

use super::super::view::{Changes, View, ViewError};
use super::page::{Page, Slot, page_key};
use super::{Hash, nibble};

/// One row's change: its path, and the hash of its new value unless it is deleted.
pub(crate) type Change = (Hash, Option<Hash>);

/// The root of the rows in `view`: of its latest height.
///
/// # Errors
/// [`ViewError`] when the first page cannot be read.
pub fn root(view: &impl View) -> Result<Hash, ViewError> {
    Ok(load(view, &[0; 32], 0)?.summary().hash())
}

/// Applies `changes` (sorted by path, each path once), adds the altered pages to `pages` and returns the new root.
pub(crate) fn update(view: &impl View, changes: &[Change], pages: &mut Changes) -> Result<Hash, ViewError> {
    debug_assert!(changes.is_sorted_by(|a, b| a.0 < b.0), "changes come sorted and once each");
    if changes.is_empty() {
        return root(view);
    }
    let page = load(view, &[0; 32], 0)?;
    let mut update = Update { view, pages };
    Ok(update.descend(page, 0, changes, true)?.hash())
}

fn load(view: &impl View, path: &Hash, depth: usize) -> Result<Page, ViewError> {
    match view.get(&page_key(path, depth))? {
        Some(bytes) => Page::decode(&bytes),
        None => Ok(Page::EMPTY),
    }
}

struct Update<'a, V> {
    view: &'a V,
    pages: &'a mut Changes,
}

impl<V: View> Update<'_, V> {
    /// Changes one page at `depth`, all `changes` being below it, and returns what it has become.
    fn descend(&mut self, mut page: Page, depth: usize, changes: &[Change], stored: bool) -> Result<Slot, ViewError> {
        let path = changes[0].0;
        for below in changes.chunk_by(|a, b| nibble(&a.0, depth) == nibble(&b.0, depth)) {
            let index = nibble(&below[0].0, depth);
            page.0[index] = self.alter(page.0[index], depth + 1, below)?;
        }
        let summary = page.summary();
        let keep = depth == 0 || matches!(summary, Slot::Page(_));
        if keep {
            self.pages.insert(page_key(&path, depth), Some(page.encode()));
        } else if stored {
            self.pages.insert(page_key(&path, depth), None);
        }
        Ok(summary)
    }

    /// What one slot becomes; its subtree starts at `depth`.
    fn alter(&mut self, slot: Slot, depth: usize, changes: &[Change]) -> Result<Slot, ViewError> {
        match (slot, changes) {
            (Slot::Page(_), _) => {
                let page = load(self.view, &changes[0].0, depth)?;
                self.descend(page, depth, changes, true)
            }
            (Slot::Empty, [(path, value)]) => Ok(value.map_or(Slot::Empty, |value| Slot::Leaf(*path, value))),
            (Slot::Leaf(old, _), [(path, value)]) if old == *path => {
                Ok(value.map_or(Slot::Empty, |value| Slot::Leaf(*path, value)))
            }
            (Slot::Empty, _) => self.descend(Page::EMPTY, depth, changes, false),
            (Slot::Leaf(old, _), _) => {
                let mut page = Page::EMPTY;
                page.0[nibble(&old, depth)] = slot;
                self.descend(page, depth, changes, false)
            }
        }
    }
}
