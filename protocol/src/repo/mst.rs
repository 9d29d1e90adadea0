//! The Merkle search tree of a repository: a sorted map from keys to CIDs whose root CID names its contents
//! (AT Protocol "Repository", section "MST Structure"; Auvolat and Taïani, "Merkle Search Trees", 2019).
//!
//! The shape follows from the keys alone, so the order of changes leaves no trace, and deleting a key leads back to
//! the root there was before it. Nodes are loaded when they are needed, checked as they are loaded, hashed when they
//! have changed. Nothing here writes: [`Mst::commit`] hands out what is new and what is gone.

mod diff;
mod insert;
mod key;
mod node;
mod proof;
mod remove;
mod stored;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use diff::{Action, Change, TreeDiff, diff};
pub use key::{InvalidMstKey, MstKey, common_prefix, layer};
use node::{Child, Node};
pub use node::{NodeError, records_of};
pub use proof::{get, prove};
pub use stored::{StoredStep, StoredSteps};
pub use walk::{Entries, Step, Steps, Walk, WalkItem};

use super::blocks::{BlockSource, SourceError};
use crate::data::{Block, Cid};
use crate::limits::MST_NODE_ENTRIES_MAX;

/// Why a tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum MstError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A block of the tree is not there.
    #[error("block {0} of the tree is missing")]
    MissingBlock(Cid),
    /// A block is no node, or not one for its place.
    #[error("block {cid} is no node of this tree: {reason}")]
    Node {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        reason: NodeError,
    },
    /// The key to add is there already.
    #[error("{0} exists already")]
    Exists(MstKey),
    /// The key to change or delete is not there.
    #[error("{0} does not exist")]
    NotFound(MstKey),
    /// A node would hold more entries than [`MST_NODE_ENTRIES_MAX`].
    #[error("the node around {0} would hold more than {MST_NODE_ENTRIES_MAX} entries")]
    NodeTooLarge(MstKey),
    /// A key has another value than the operation to undo says.
    #[error("{0} has another value than the operation says")]
    OtherValue(MstKey),
    /// More differences than the caller wants to hear of.
    #[error("the trees differ in more than {0} places")]
    TooManyDifferences(usize),
}

/// What an edit needs beside the tree.
struct Editor<'a> {
    source: &'a dyn BlockSource,
    /// CIDs of nodes that stood in the tree and no longer do, or not as they were.
    replaced: &'a mut Vec<Cid>,
}

/// A tree. Cheap to clone: a clone shares every node until one of the two changes it.
#[derive(Clone, Debug)]
pub struct Mst {
    root: Child,
    replaced: Vec<Cid>,
}

/// What [`Mst::commit`] found.
#[derive(Clone, Debug)]
pub struct TreeChanges {
    /// The root.
    pub root: Cid,
    /// Blocks of nodes that were not in the tree before.
    pub new: Vec<Block>,
    /// Nodes that were in the tree before and are not now. A node stands in a tree at most once, so whoever stores
    /// them may drop them.
    pub removed: Vec<Cid>,
}

impl Mst {
    /// The empty tree.
    #[must_use]
    pub fn empty() -> Self {
        Self { root: Child::Changed(Arc::new(Node::default())), replaced: Vec::new() }
    }

    /// The tree under `root`. Nothing is loaded yet, so nothing is checked yet.
    #[must_use]
    pub const fn open(root: Cid) -> Self {
        Self { root: Child::Stored(root), replaced: Vec::new() }
    }

    /// The value of `key`. Nodes read on the way are not kept in memory.
    ///
    /// # Errors
    /// [`MstError`] when a node on the way cannot be read.
    pub fn get(&self, source: &dyn BlockSource, key: &MstKey) -> Result<Option<Cid>, MstError> {
        proof::descend(source, self.root.clone(), key, |_| ())
    }

    /// Adds a key that is not there.
    ///
    /// # Errors
    /// [`MstError::Exists`], or a node on the way cannot be read. After an error the tree is of no use; keep a clone.
    pub fn add(&mut self, source: &dyn BlockSource, key: &MstKey, value: Cid) -> Result<(), MstError> {
        match self.put(source, key, value)? {
            None => Ok(()),
            Some(_) => Err(MstError::Exists(key.clone())),
        }
    }

    /// Gives a key that is there a new value; answers the old one.
    ///
    /// # Errors
    /// [`MstError::NotFound`], or a node on the way cannot be read. After an error the tree is of no use; keep a clone.
    pub fn update(&mut self, source: &dyn BlockSource, key: &MstKey, value: Cid) -> Result<Cid, MstError> {
        self.put(source, key, value)?.ok_or_else(|| MstError::NotFound(key.clone()))
    }

    /// Takes out a key that is there; answers its value.
    ///
    /// # Errors
    /// [`MstError::NotFound`], or a node on the way cannot be read. After an error the tree is of no use; keep a clone.
    pub fn delete(&mut self, source: &dyn BlockSource, key: &MstKey) -> Result<Cid, MstError> {
        let mut editor = Editor { source, replaced: &mut self.replaced };
        remove::remove(&mut editor, &mut self.root, (key, key.layer()))?.ok_or_else(|| MstError::NotFound(key.clone()))
    }

    /// Sets a key; answers the value it had.
    ///
    /// # Errors
    /// A node on the way cannot be read. After an error the tree is of no use; keep a clone.
    pub fn put(&mut self, source: &dyn BlockSource, key: &MstKey, value: Cid) -> Result<Option<Cid>, MstError> {
        let mut editor = Editor { source, replaced: &mut self.replaced };
        insert::insert(&mut editor, &mut self.root, (key.clone(), key.layer()), value)
    }

    /// Undoes `changes`, the last one first, checking that each was made.
    ///
    /// # Errors
    /// [`MstError`] when a change was not made, or a node on the way cannot be read.
    pub fn undo(&mut self, source: &dyn BlockSource, changes: &[Change]) -> Result<(), MstError> {
        for Change { key, before, after } in changes.iter().rev() {
            let found = match before {
                Some(before) => self.put(source, key, *before)?,
                None => Some(self.delete(source, key)?),
            };
            if found != *after {
                return Err(MstError::OtherValue(key.clone()));
            }
        }
        Ok(())
    }

    /// Gives every changed node its CID, and tells what is new and gone since the last time.
    pub fn commit(&mut self) -> TreeChanges {
        let mut new = Vec::new();
        commit(&mut self.root, &mut new);
        let mut replaced: BTreeSet<Cid> = self.replaced.drain(..).collect();
        // Changes that undo each other bring back nodes as they were.
        new.retain(|block| !replaced.remove(&block.cid()));
        TreeChanges { root: self.root.cid(), new, removed: replaced.into_iter().collect() }
    }

    /// The nodes of this tree, all changes committed, that are enough to [undo](Self::undo) `changes` in any order.
    ///
    /// # Errors
    /// A node cannot be read.
    ///
    /// # Panics
    /// When a change was not committed.
    pub fn covering_proof(&self, source: &dyn BlockSource, changes: &[Change]) -> Result<Vec<Block>, MstError> {
        let mut found = BTreeMap::new();
        for change in changes {
            proof::cover(source, &self.root, &change.key, &mut found)?;
        }
        Ok(found.into_iter().map(|(cid, node)| Block::from_source(cid, node.bytes().into())).collect())
    }

    /// Forgets every node below the root that can be loaded again, to give its memory back.
    pub fn unload(&mut self) {
        if let Child::Loaded(cid, _) = self.root {
            self.root = Child::Stored(cid);
        }
    }
}

/// Recursion is as deep as the tree has layers, which is bounded.
fn commit(child: &mut Child, new: &mut Vec<Block>) {
    let Child::Changed(node) = child else { return };
    let inner = Arc::make_mut(node);
    inner.left.iter_mut().for_each(|left| commit(left, new));
    inner.entries.iter_mut().filter_map(|entry| entry.right.as_mut()).for_each(|right| commit(right, new));
    let block = inner.encode();
    *child = Child::Loaded(block.cid(), Arc::clone(node));
    new.push(block);
}

#[cfg(test)]
mod tests;
