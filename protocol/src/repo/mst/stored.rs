//! A whole tree in order, as it lies in the store of whoever checked it before it was stored.
//!
//! Checking is most of what a [`Steps`](super::Steps) costs: a hash for each key, and a key in memory of its own. Here
//! nothing is checked but what reading needs, and nothing is allocated once the path has its depth. Never for bytes that
//! came from elsewhere.

use std::ops::Range;

use super::node::{NodeError, RawEntry, read_entry};
use super::{InvalidMstKey, MstError};
use crate::data::Cid;
use crate::data::cbor::Reader;
use crate::limits::{MST_LAYERS_MAX, MST_NODE_ENTRIES_MAX};

/// One step of [`StoredSteps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredStep<'a> {
    /// A node, ahead of everything under it. [`StoredSteps::enter`] goes down into it; without that it is passed over.
    Node(Cid),
    /// A record with its key, in the order of keys.
    Record(&'a str, Cid),
}

/// Goes through a tree from the root, each node ahead of what is under it. The caller fetches the nodes, in its own time
/// and only where it wants to look.
#[derive(Debug)]
pub struct StoredSteps {
    root: Option<Cid>,
    /// The node that was named last and has not been entered.
    named: Option<Cid>,
    path: Vec<Frame>,
    /// Frames that were gone through: their memory is used again.
    spare: Vec<Frame>,
}

/// A node on the way down, and how far it has been gone through.
#[derive(Debug, Default)]
struct Frame {
    /// Its keys in full, one behind the other.
    keys: String,
    left: Option<Cid>,
    entries: Vec<Entry>,
    next: Next,
}

#[derive(Debug)]
struct Entry {
    key: Range<usize>,
    value: Cid,
    right: Option<Cid>,
}

/// What comes next in a node.
#[derive(Clone, Copy, Debug)]
enum Next {
    Gap(usize),
    Entry(usize),
}

impl Default for Next {
    fn default() -> Self {
        Self::Gap(0)
    }
}

impl StoredSteps {
    /// The whole tree under `root`.
    #[must_use]
    pub const fn new(root: Cid) -> Self {
        Self { root: Some(root), named: None, path: Vec::new(), spare: Vec::new() }
    }

    /// Goes down into the node that was named last, whose bytes these are.
    ///
    /// # Errors
    /// They cannot be read as a node, or the tree is deeper than any.
    pub fn enter(&mut self, bytes: &[u8]) -> Result<(), MstError> {
        let Some(cid) = self.named.take() else { return Ok(()) };
        let mut frame = self.spare.pop().unwrap_or_default();
        let read =
            if self.path.len() > usize::from(MST_LAYERS_MAX) { Err(NodeError::Bottom) } else { frame.read(bytes) };
        read.map_err(|reason| MstError::Node { cid, reason })?;
        self.path.push(frame);
        Ok(())
    }

    /// The key behind the subtree that was named last; `None` at the end of the tree.
    #[must_use]
    pub fn end_of_named(&self) -> Option<&str> {
        self.path.iter().rev().find_map(|frame| {
            let (Next::Gap(at) | Next::Entry(at)) = frame.next;
            frame.keys.get(frame.entries.get(at)?.key.clone())
        })
    }

    /// The next step; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "a step lends the key that it names")]
    pub fn next(&mut self) -> Option<StoredStep<'_>> {
        if let Some(root) = self.root.take() {
            self.named = Some(root);
            return Some(StoredStep::Node(root));
        }
        self.named = None;
        let at = loop {
            let frame = self.path.last_mut()?;
            match frame.next {
                Next::Gap(gap) => {
                    frame.next = Next::Entry(gap);
                    if let Some(cid) = frame.gap(gap) {
                        self.named = Some(cid);
                        return Some(StoredStep::Node(cid));
                    }
                }
                Next::Entry(at) if at < frame.entries.len() => {
                    frame.next = Next::Gap(at + 1);
                    break at;
                }
                Next::Entry(_) => self.spare.extend(self.path.pop()),
            }
        };
        let frame = self.path.last()?;
        let Entry { key, value, .. } = frame.entries.get(at)?;
        Some(StoredStep::Record(frame.keys.get(key.clone())?, *value))
    }
}

impl Frame {
    /// Takes in a node, in the place of what was here.
    fn read(&mut self, bytes: &[u8]) -> Result<(), NodeError> {
        self.keys.clear();
        self.entries.clear();
        self.next = Next::default();
        let mut reader = Reader::new(bytes);
        reader.expect_map(2)?;
        reader.expect_key("e")?;
        let count = reader.list()?;
        if count > MST_NODE_ENTRIES_MAX {
            return Err(NodeError::Entries);
        }
        for _ in 0..count {
            let RawEntry { shared, suffix, right, value } = read_entry(&mut reader)?;
            let before = self.entries.last().map_or(0..0, |before| before.key.clone());
            if shared > before.len() || !self.keys.is_char_boundary(before.start + shared) {
                return Err(NodeError::Prefix);
            }
            let start = self.keys.len();
            self.keys.extend_from_within(before.start..before.start + shared);
            self.keys.push_str(std::str::from_utf8(suffix).map_err(|_| InvalidMstKey::Character)?);
            self.entries.push(Entry { key: start..self.keys.len(), value, right });
        }
        reader.expect_key("l")?;
        self.left = reader.link_or_null()?;
        reader.finish()?;
        Ok(())
    }

    /// The subtree before entry `gap`, or behind the last.
    fn gap(&self, gap: usize) -> Option<Cid> {
        match gap.checked_sub(1) {
            None => self.left,
            Some(before) => self.entries.get(before).and_then(|entry| entry.right),
        }
    }
}
