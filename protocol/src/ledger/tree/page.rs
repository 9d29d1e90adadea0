//! A page: four levels of the tree, sixteen slots, one row.
//!
//! How the tree is cut into pages says nothing about its hashes, which follow from the rows alone. It is a matter of
//! reading and writing little: a subtree of few rows is kept in its parent's slot, and of a page only the slots that
//! matter are read, the rest is passed on as it is.

use std::ops::Range;

use super::super::view::ViewError;
use super::{EMPTY, Hash, bit, inner_hash, leaf_hash, nibble};

/// First byte of the key of every page row. Pages are not rows of the state: the tree does not cover itself.
pub(crate) const PAGES: u8 = 0x00;

/// Most rows that a slot holds itself. At any number of rows in the tree most of its smallest subtrees have this many
/// or fewer, so that a change seldom needs a page for two or three of them.
pub(super) const SLOT_ROWS_MAX: usize = 4;

/// A row in the tree: its path and the hash of its value.
pub(super) type Leaf = (Hash, Hash);

/// What hangs below one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// At most [`SLOT_ROWS_MAX`] rows, sorted by path.
    Rows(Vec<Leaf>),
    /// More rows, in a page of their own with this hash.
    Page(Hash),
}

impl Slot {
    /// The hash of the subtree, whose first bit is `depth`.
    pub(super) fn hash(&self, depth: usize) -> Hash {
        match self {
            Self::Rows(rows) => subtree_hash(rows, depth),
            Self::Page(hash) => *hash,
        }
    }
}

/// The hash of a subtree by definition: nothing is zeros, one row is its leaf, more are the hash of two halves.
pub(super) fn subtree_hash(rows: &[Leaf], depth: usize) -> Hash {
    match rows {
        [] => EMPTY,
        [(path, value)] => leaf_hash(path, value),
        _ => {
            let (left, right) = halves(rows, depth);
            inner_hash(&subtree_hash(left, depth + 1), &subtree_hash(right, depth + 1))
        }
    }
}

/// Sorted rows by bit `depth` of their paths.
pub(super) fn halves(rows: &[Leaf], depth: usize) -> (&[Leaf], &[Leaf]) {
    rows.split_at(rows.partition_point(|(path, _)| !bit(path, depth)))
}

/// Whether a row is a page, by its key.
pub(super) fn is_page(key: &[u8]) -> bool {
    key.first() == Some(&PAGES)
}

/// The storage key of the page at the first `depth` nibbles of `path`.
pub(super) fn page_key(path: &Hash, depth: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + depth / 2);
    key.extend([PAGES, u8::try_from(depth).expect("a path has 64 nibbles")]);
    key.extend_from_slice(&path[..depth / 2]);
    if !depth.is_multiple_of(2) {
        key.push(u8::try_from(nibble(path, depth - 1) << 4).expect("a nibble fits"));
    }
    key
}

const DAMAGED: ViewError = ViewError::Damaged { table: PAGES };
/// In the place of a number of rows: a page.
const PAGE: u8 = 0xff;
const LEAF_BYTES: usize = 64;
const QUARTERS_BYTES: usize = 4 * 32;

/// Sixteen slots, and the hashes of the four quarters they make, so that a change of one slot hashes a quarter of the
/// page and not all of it.
pub(super) struct Page {
    /// Nibbles above it.
    depth: usize,
    /// As stored: the quarters, then each slot.
    bytes: Vec<u8>,
    /// Where in `bytes` each slot begins, and where the last one ends.
    starts: [usize; 17],
    /// What other slots there are now.
    changed: [Option<Slot>; 16],
    quarters: [Hash; 4],
}

impl Page {
    /// Without rows, below `depth` nibbles.
    pub(super) fn empty(depth: usize) -> Self {
        Self::decode(vec![0; QUARTERS_BYTES + 16], depth).expect("sixteen empty slots")
    }

    /// Reads a page of `depth` nibbles.
    pub(super) fn decode(bytes: Vec<u8>, depth: usize) -> Result<Self, ViewError> {
        let mut starts = [QUARTERS_BYTES; 17];
        for index in 0..16 {
            let size = match *bytes.get(starts[index]).ok_or(DAMAGED)? {
                PAGE => 32,
                rows if usize::from(rows) <= SLOT_ROWS_MAX => usize::from(rows) * LEAF_BYTES,
                _ => return Err(DAMAGED),
            };
            starts[index + 1] = starts[index] + 1 + size;
        }
        if bytes.len() != starts[16] {
            return Err(DAMAGED);
        }
        let mut quarters = [EMPTY; 4];
        for (quarter, bytes) in quarters.iter_mut().zip(bytes.chunks_exact(32)) {
            quarter.copy_from_slice(bytes);
        }
        Ok(Self { depth, bytes, starts, changed: [const { None }; 16], quarters })
    }

    /// The bytes that are stored. The quarters are up to date after [`Page::summary`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 2 * LEAF_BYTES);
        for quarter in &self.quarters {
            bytes.extend_from_slice(quarter);
        }
        for index in 0..16 {
            match &self.changed[index] {
                None => bytes.extend_from_slice(&self.bytes[self.starts[index]..self.starts[index + 1]]),
                Some(Slot::Page(hash)) => {
                    bytes.push(PAGE);
                    bytes.extend_from_slice(hash);
                }
                Some(Slot::Rows(rows)) => {
                    bytes.push(u8::try_from(rows.len()).expect("a slot holds few rows"));
                    for (path, value) in rows {
                        bytes.extend_from_slice(path);
                        bytes.extend_from_slice(value);
                    }
                }
            }
        }
        bytes
    }

    /// What hangs below slot `index`.
    pub(super) fn slot(&self, index: usize) -> Slot {
        if let Some(slot) = &self.changed[index] {
            return slot.clone();
        }
        let bytes = &self.bytes[self.starts[index] + 1..self.starts[index + 1]];
        let hash = |bytes: &[u8]| bytes.try_into().expect("the slot was measured");
        match self.bytes[self.starts[index]] {
            PAGE => Slot::Page(hash(bytes)),
            _ => {
                Slot::Rows(bytes.chunks_exact(LEAF_BYTES).map(|leaf| (hash(&leaf[..32]), hash(&leaf[32..]))).collect())
            }
        }
    }

    /// Hangs something else below slot `index`.
    pub(super) fn set(&mut self, index: usize, slot: Slot) {
        self.changed[index] = Some(slot);
    }

    /// How many rows hang below slot `index`, if they are few.
    fn rows(&self, index: usize) -> Option<usize> {
        match &self.changed[index] {
            None => Some(self.bytes[self.starts[index]]).filter(|rows| *rows != PAGE).map(usize::from),
            Some(Slot::Rows(rows)) => Some(rows.len()),
            Some(Slot::Page(_)) => None,
        }
    }

    /// The rows below a range of slots, if they are no more than `most`.
    fn collect(&self, slots: Range<usize>, most: usize) -> Option<Vec<Leaf>> {
        let mut count = 0;
        for index in slots.clone() {
            count += self.rows(index)?;
        }
        if count > most {
            return None;
        }
        let mut collected = Vec::with_capacity(count);
        for index in slots {
            if let (true, Slot::Rows(rows)) = (self.rows(index) > Some(0), self.slot(index)) {
                collected.extend(rows);
            }
        }
        Some(collected)
    }

    /// The subtree this page is, as its parent's slot holds it.
    pub(super) fn summary(&mut self) -> Slot {
        for quarter in 0..4 {
            let slots = 4 * quarter..4 * quarter + 4;
            if self.changed[slots.clone()].iter().any(Option::is_some) {
                self.quarters[quarter] = self.hash_slots(slots);
            }
        }
        match self.collect(0..16, SLOT_ROWS_MAX) {
            Some(rows) => Slot::Rows(rows),
            None => Slot::Page(self.hash_quarters()),
        }
    }

    fn hash_quarters(&self) -> Hash {
        let half = |slots: Range<usize>, left: &Hash, right: &Hash| match self.collect(slots, 1) {
            Some(row) => subtree_hash(&row, 0),
            None => inner_hash(left, right),
        };
        let [first, second, third, fourth] = &self.quarters;
        inner_hash(&half(0..8, first, second), &half(8..16, third, fourth))
    }

    /// The hash of the subtree that a range of slots is; a power of two of them.
    fn hash_slots(&self, slots: Range<usize>) -> Hash {
        if let Some(row) = self.collect(slots.clone(), 1) {
            return subtree_hash(&row, 0);
        }
        if slots.len() == 4 && self.changed[slots.clone()].iter().all(Option::is_none) {
            return self.quarters[slots.start / 4];
        }
        if slots.len() == 1 {
            return self.slot(slots.start).hash(4 * (self.depth + 1));
        }
        let middle = slots.start + slots.len() / 2;
        inner_hash(&self.hash_slots(slots.start..middle), &self.hash_slots(middle..slots.end))
    }

    /// The sibling hashes beside slot `index`, from the top of the page down, and what hangs below them: the slot, or a
    /// row that stands for more of the page because it is alone there.
    pub(super) fn siblings(&self, index: usize) -> (Vec<Hash>, Slot) {
        let mut siblings = Vec::with_capacity(4);
        let mut slots = 0..16;
        while slots.len() > 1 {
            if let Some(row) = self.collect(slots.clone(), 1) {
                return (siblings, Slot::Rows(row));
            }
            let middle = slots.start + slots.len() / 2;
            let (left, right) = (slots.start..middle, middle..slots.end);
            let (inside, beside) = if index < middle { (left, right) } else { (right, left) };
            siblings.push(self.hash_slots(beside));
            slots = inside;
        }
        (siblings, self.slot(index))
    }
}
