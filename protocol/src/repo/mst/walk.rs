//! The whole tree in order, node by node, as it lies in its source.

use std::sync::Arc;

use super::MstError;
use super::key::MstKey;
use super::node::{Child, Node, Place, fetch};
use crate::data::{Block, Cid};
use crate::repo::blocks::BlockSource;

/// One step of a [`Walk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalkItem {
    /// A node, ahead of everything under it.
    Node(Block),
    /// A record, in the order of keys.
    Record(MstKey, Cid),
}

/// Goes through a tree from the root, each node ahead of what is under it: the order of a repository's CAR file
/// (proposal 0006, "Sync v1.1"). Every node is checked, so a walk to the end is a check of the whole tree.
///
/// Holds one node per layer in memory. Ends after the first error.
pub struct Walk<'a> {
    source: &'a dyn BlockSource,
    root: Option<Cid>,
    start: Option<MstKey>,
    path: Vec<Frame>,
}

/// A node on the way down, and how far it has been gone through.
struct Frame {
    node: Arc<Node>,
    place: Place,
    next: Next,
}

/// What comes next in a node.
#[derive(Clone, Copy)]
enum Next {
    Gap(usize),
    Entry(usize),
}

impl<'a> Walk<'a> {
    /// The whole tree under `root`.
    #[must_use]
    pub fn new(source: &'a dyn BlockSource, root: Cid) -> Self {
        Self { source, root: Some(root), start: None, path: Vec::new() }
    }

    /// The tree under `root` from `start` on, and the nodes that lead there.
    #[must_use]
    pub fn starting_at(source: &'a dyn BlockSource, root: Cid, start: MstKey) -> Self {
        Self { start: Some(start), ..Self::new(source, root) }
    }

    fn enter(&mut self, cid: Cid, place: Place) -> Result<WalkItem, MstError> {
        let bytes = fetch(self.source, cid)?;
        let node = Node::decode(&bytes, &place).map_err(|reason| MstError::Node { cid, reason })?;
        let next = self.start.as_ref().map_or(Next::Gap(0), |start| match node.find(start) {
            Ok(at) => Next::Entry(at),
            Err(gap) => Next::Gap(gap),
        });
        self.path.push(Frame { node: Arc::new(node), place, next });
        Ok(WalkItem::Node(Block::from_source(cid, bytes)))
    }

    fn step(&mut self) -> Option<Result<WalkItem, MstError>> {
        if let Some(root) = self.root.take() {
            return Some(self.enter(root, Place::default()));
        }
        loop {
            let frame = self.path.last_mut()?;
            match frame.next {
                Next::Gap(gap) => {
                    frame.next = Next::Entry(gap);
                    if let Some(cid) = frame.node.gap(gap).map(Child::cid) {
                        let place = frame.node.place_of(gap, &frame.place);
                        return Some(self.enter(cid, place));
                    }
                }
                Next::Entry(at) => {
                    frame.next = Next::Gap(at + 1);
                    // Behind the first record every subtree is wanted whole.
                    match frame.node.entries.get(at) {
                        Some(entry) => {
                            self.start = None;
                            return Some(Ok(WalkItem::Record(entry.key.clone(), entry.value)));
                        }
                        None => drop(self.path.pop()),
                    }
                }
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<WalkItem, MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step();
        if matches!(item, Some(Err(_))) {
            self.path.clear();
        }
        item
    }
}

/// The records of a tree in order of their keys.
pub struct Entries<'a>(Walk<'a>);

impl<'a> Entries<'a> {
    /// Every record of the tree under `root`.
    #[must_use]
    pub fn new(source: &'a dyn BlockSource, root: Cid) -> Self {
        Self(Walk::new(source, root))
    }

    /// The records of the tree under `root` from `start` on, without reading what lies before it.
    #[must_use]
    pub fn starting_at(source: &'a dyn BlockSource, root: Cid, start: MstKey) -> Self {
        Self(Walk::starting_at(source, root, start))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(MstKey, Cid), MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.by_ref().find_map(|item| match item {
            Ok(WalkItem::Node(_)) => None,
            Ok(WalkItem::Record(key, cid)) => Some(Ok((key, cid))),
            Err(error) => Some(Err(error)),
        })
    }
}
