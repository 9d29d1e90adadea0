//! What differs between two trees. Subtrees that both have are not read.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::MstError;
use super::key::MstKey;
use super::node::{Child, Node, Place, load};
use crate::data::Cid;
use crate::repo::blocks::BlockSource;

/// One key whose value differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: MstKey,
    /// Its value before; `None` when it was created.
    pub before: Option<Cid>,
    /// Its value after; `None` when it was deleted.
    pub after: Option<Cid>,
}

/// What became of a key: the field `action` of the firehose's `#commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was not there before.
    Create,
    /// It has another value.
    Update,
    /// It is not there any more.
    Delete,
}

impl Change {
    /// What became of the key.
    #[must_use]
    pub const fn action(&self) -> Action {
        match (self.before, self.after) {
            (_, None) => Action::Delete,
            (None, Some(_)) => Action::Create,
            (Some(_), Some(_)) => Action::Update,
        }
    }
}

/// What leads from one tree to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeDiff {
    /// Keys whose value differs, in order.
    pub changes: Vec<Change>,
    /// Nodes of the new tree that the old one has not.
    pub nodes_added: BTreeSet<Cid>,
    /// Nodes of the old tree that the new one has not.
    pub nodes_removed: BTreeSet<Cid>,
}

/// Compares two trees; `None` stands for nothing at all, of which every key and node is new. Reads at most about
/// `max` nodes of each.
///
/// # Errors
/// [`MstError::TooManyDifferences`] when more than `max` keys or nodes differ; or a node cannot be read.
pub fn diff(source: &dyn BlockSource, old: Option<Cid>, new: Option<Cid>, max: usize) -> Result<TreeDiff, MstError> {
    let mut found = TreeDiff::default();
    let mut old = Cursor::new(source, old);
    let mut new = Cursor::new(source, new);
    loop {
        match (old.items.last(), new.items.last()) {
            (None, None) => break,
            (Some(Item::Subtree(a, _)), Some(Item::Subtree(b, _))) if a == b => {
                old.items.pop();
                new.items.pop();
            }
            // The higher one first, so that two that are alike meet unopened.
            (Some(Item::Subtree(_, a)), b) if b.is_none_or(|b| a.is_at_or_above(b)) => {
                found.nodes_removed.extend(old.open()?);
            }
            (_, Some(Item::Subtree(..))) => found.nodes_added.extend(new.open()?),
            (Some(Item::Subtree(..)), _) => found.nodes_removed.extend(old.open()?),
            (Some(Item::Record(a, before)), Some(Item::Record(b, after))) => match a.cmp(b) {
                Ordering::Less => found.changes.extend(old.take_record(|before| (Some(before), None))),
                Ordering::Greater => found.changes.extend(new.take_record(|after| (None, Some(after)))),
                Ordering::Equal => {
                    let (before, after) = (*before, *after);
                    let change = new.take_record(|_| (Some(before), Some(after)));
                    old.items.pop();
                    found.changes.extend(change.filter(|_| before != after));
                }
            },
            (Some(Item::Record(..)), None) => found.changes.extend(old.take_record(|before| (Some(before), None))),
            (None, Some(Item::Record(..))) => found.changes.extend(new.take_record(|after| (None, Some(after)))),
        }
        if found.changes.len().max(found.nodes_added.len()).max(found.nodes_removed.len()) > max {
            return Err(MstError::TooManyDifferences(max));
        }
    }
    // A node that both have but that was not met at the same time was opened on both sides.
    let both: Vec<Cid> = found.nodes_added.intersection(&found.nodes_removed).copied().collect();
    for cid in both {
        found.nodes_added.remove(&cid);
        found.nodes_removed.remove(&cid);
    }
    Ok(found)
}

/// What is still to come of one tree, the next item last.
struct Cursor<'a> {
    source: &'a dyn BlockSource,
    items: Vec<Item>,
}

enum Item {
    Subtree(Cid, Place),
    Record(MstKey, Cid),
}

impl Place {
    /// Whether a subtree here is at least as high as `other`. A root may be of any height; a record has none.
    fn is_at_or_above(&self, other: &Item) -> bool {
        match other {
            Item::Subtree(_, other) => other.layer.is_some_and(|other| self.layer.is_none_or(|layer| layer >= other)),
            Item::Record(..) => false,
        }
    }
}

impl<'a> Cursor<'a> {
    fn new(source: &'a dyn BlockSource, root: Option<Cid>) -> Self {
        let root = root.map(|root| Item::Subtree(root, Place::default()));
        Self { source, items: root.into_iter().collect() }
    }

    /// Replaces the subtree that comes next by what is in its node.
    fn open(&mut self) -> Result<Option<Cid>, MstError> {
        let Some(Item::Subtree(cid, place)) = self.items.pop() else { return Ok(None) };
        let node = load(self.source, cid, &place)?;
        let subtree =
            |node: &Node, gap| node.gap(gap).map(Child::cid).map(|cid| Item::Subtree(cid, node.place_of(gap, &place)));
        for (at, entry) in node.entries.iter().enumerate().rev() {
            self.items.extend(subtree(&node, at + 1));
            self.items.push(Item::Record(entry.key.clone(), entry.value));
        }
        self.items.extend(subtree(&node, 0));
        Ok(Some(cid))
    }

    fn take_record(&mut self, values: impl FnOnce(Cid) -> (Option<Cid>, Option<Cid>)) -> Option<Change> {
        let Some(Item::Record(key, value)) = self.items.pop() else { return None };
        let (before, after) = values(value);
        Some(Change { key, before, after })
    }
}
