//! A page: four levels of the tree, sixteen slots, one row.

use super::super::view::ViewError;
use super::{EMPTY, Hash, inner_hash, leaf_hash, nibble};

/// First byte of the key of every page row. Pages are not rows of the state: the tree does not cover itself.
pub(crate) const PAGES: u8 = 0x00;

/// What hangs below one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// No row.
    Empty,
    /// One row: its path and the hash of its value.
    Leaf(Hash, Hash),
    /// Two rows or more, in a page of their own with this hash.
    Page(Hash),
}

impl Slot {
    pub(super) fn hash(&self) -> Hash {
        match self {
            Self::Empty => EMPTY,
            Self::Leaf(path, value) => leaf_hash(path, value),
            Self::Page(hash) => *hash,
        }
    }
}

/// Sixteen slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page(pub(super) [Slot; 16]);

/// The storage key of the page at the first `depth` nibbles of `path`.
pub(super) fn page_key(path: &Hash, depth: usize) -> Vec<u8> {
    let mut key = vec![PAGES, u8::try_from(depth).expect("a path has 64 nibbles")];
    key.extend_from_slice(&path[..depth / 2]);
    if !depth.is_multiple_of(2) {
        key.push(u8::try_from(nibble(path, depth - 1) << 4).expect("a nibble fits"));
    }
    key
}

impl Page {
    pub(super) const EMPTY: Self = Self([Slot::Empty; 16]);

    /// The subtree this page is, as its parent's slot sees it.
    pub(super) fn summary(&self) -> Slot {
        let mut only = None;
        for slot in &self.0 {
            match (slot, only) {
                (Slot::Empty, _) => {}
                (Slot::Leaf(..), None) => only = Some(*slot),
                _ => return Slot::Page(hash_range(&self.0)),
            }
        }
        only.unwrap_or(Slot::Empty)
    }

    /// The four sibling hashes beside slot `index`, from the top of the page down, together with how many of them
    /// count: below a half of the page that holds one row or none, that row stands for the whole half.
    pub(super) fn siblings(&self, index: usize) -> (Vec<Hash>, Slot) {
        let mut siblings = Vec::with_capacity(4);
        let mut slots = &self.0[..];
        let mut start = 0;
        while slots.len() > 1 {
            if let Some(single) = single(slots) {
                return (siblings, single);
            }
            let half = slots.len() / 2;
            let (left, right) = slots.split_at(half);
            if index - start < half {
                siblings.push(hash_range(right));
                slots = left;
            } else {
                siblings.push(hash_range(left));
                slots = right;
                start += half;
            }
        }
        (siblings, slots[0])
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 * 33);
        for slot in &self.0 {
            match slot {
                Slot::Empty => bytes.push(0),
                Slot::Leaf(path, value) => {
                    bytes.push(1);
                    bytes.extend_from_slice(path);
                    bytes.extend_from_slice(value);
                }
                Slot::Page(hash) => {
                    bytes.push(2);
                    bytes.extend_from_slice(hash);
                }
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ViewError> {
        const DAMAGED: ViewError = ViewError::Damaged { table: PAGES };
        let mut page = Self::EMPTY;
        let mut rest = bytes;
        let hash = |rest: &mut &[u8]| -> Result<Hash, ViewError> {
            let (head, tail) = rest.split_first_chunk::<32>().ok_or(DAMAGED)?;
            *rest = tail;
            Ok(*head)
        };
        for slot in &mut page.0 {
            let (kind, tail) = rest.split_first().ok_or(DAMAGED)?;
            rest = tail;
            *slot = match kind {
                0 => Slot::Empty,
                1 => Slot::Leaf(hash(&mut rest)?, hash(&mut rest)?),
                2 => Slot::Page(hash(&mut rest)?),
                _ => return Err(DAMAGED),
            };
        }
        if rest.is_empty() { Ok(page) } else { Err(DAMAGED) }
    }
}

/// The slots as one subtree, when they hold one row or none.
fn single(slots: &[Slot]) -> Option<Slot> {
    let mut only = Slot::Empty;
    for slot in slots {
        match (slot, only) {
            (Slot::Empty, _) => {}
            (Slot::Leaf(..), Slot::Empty) => only = *slot,
            _ => return None,
        }
    }
    Some(only)
}

fn hash_range(slots: &[Slot]) -> Hash {
    if let Some(single) = single(slots) {
        return single.hash();
    }
    if let [slot] = slots {
        return slot.hash();
    }
    let (left, right) = slots.split_at(slots.len() / 2);
    inner_hash(&hash_range(left), &hash_range(right))
}
