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
    steps: Steps,
}

impl<'a> Walk<'a> {
    /// The whole tree under `root`.
    #[must_use]
    pub fn new(source: &'a dyn BlockSource, root: Cid) -> Self {
        Self { source, steps: Steps::new(root) }
    }

    /// The tree under `root` from `start` on, and the nodes that lead there.
    #[must_use]
    pub fn starting_at(source: &'a dyn BlockSource, root: Cid, start: MstKey) -> Self {
        Self { source, steps: Steps::starting_at(root, start) }
    }

    fn enter(&mut self, cid: Cid) -> Result<WalkItem, MstError> {
        let bytes = fetch(self.source, cid)?;
        self.steps.enter(&bytes)?;
        Ok(WalkItem::Node(Block::from_source(cid, bytes)))
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<WalkItem, MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.steps.next()? {
            Step::Node(cid) => self.enter(cid),
            Step::Record(key, cid) => Ok(WalkItem::Record(key, cid)),
        };
        if item.is_err() {
            self.steps.end();
        }
        Some(item)
    }
}

/// One step of [`Steps`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node, ahead of everything under it. [`Steps::enter`] goes down into it; without that it is passed over.
    Node(Cid),
    /// A record, in the order of keys.
    Record(MstKey, Cid),
}

/// A [`Walk`] for those who fetch the blocks themselves, in their own time and only where they want to look.
#[derive(Clone, Debug)]
pub struct Steps {
    start: Option<MstKey>,
    /// The node that was named last and has not been entered.
    named: Option<(Cid, Place)>,
    is_at_root: bool,
    path: Vec<Frame>,
}

/// A node on the way down, and how far it has been gone through.
#[derive(Clone, Debug)]
struct Frame {
    node: Arc<Node>,
    place: Place,
    next: Next,
}

/// What comes next in a node.
#[derive(Clone, Copy, Debug)]
enum Next {
    Gap(usize),
    Entry(usize),
}

impl Steps {
    /// The whole tree under `root`.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self { start: None, named: Some((root, Place::default())), is_at_root: true, path: Vec::new() }
    }

    /// The tree under `root` from `start` on, and the nodes that lead there.
    #[must_use]
    pub fn starting_at(root: Cid, start: MstKey) -> Self {
        Self { start: Some(start), ..Self::new(root) }
    }

    /// Goes down into the node that was named last, whose bytes these are.
    ///
    /// # Errors
    /// They are no node, or not one for its place.
    pub fn enter(&mut self, bytes: &[u8]) -> Result<(), MstError> {
        let Some((cid, place)) = self.named.take() else { return Ok(()) };
        let node = Node::decode(bytes, &place).map_err(|reason| MstError::Node { cid, reason })?;
        let next = self.start.as_ref().map_or(Next::Gap(0), |start| match node.find(start) {
            Ok(at) => Next::Entry(at),
            Err(gap) => Next::Gap(gap),
        });
        self.path.push(Frame { node: Arc::new(node), place, next });
        Ok(())
    }

    fn end(&mut self) {
        self.named = None;
        self.path.clear();
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if std::mem::take(&mut self.is_at_root) {
            return self.named.as_ref().map(|(root, _)| Step::Node(*root));
        }
        self.named = None;
        loop {
            let frame = self.path.last_mut()?;
            match frame.next {
                Next::Gap(gap) => {
                    frame.next = Next::Entry(gap);
                    if let Some(cid) = frame.node.gap(gap).map(Child::cid) {
                        self.named = Some((cid, frame.node.place_of(gap, &frame.place)));
                        return Some(Step::Node(cid));
                    }
                }
                Next::Entry(at) => {
                    frame.next = Next::Gap(at + 1);
                    // Behind the first record every subtree is wanted whole.
                    match frame.node.entries.get(at) {
                        Some(entry) => {
                            self.start = None;
                            return Some(Step::Record(entry.key.clone(), entry.value));
                        }
                        None => drop(self.path.pop()),
                    }
                }
            }
        }
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
