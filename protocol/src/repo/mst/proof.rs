//! Proofs by a few nodes: of one key's value or absence, and of what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MstError;
use super::key::MstKey;
use super::node::{Child, Node, Place};
use crate::data::{Block, Cid};
use crate::repo::blocks::BlockSource;

/// The value of `key` in the tree under `root`. With a source that holds just the nodes of a proof, this is its check:
/// every node is held against its place, so a missing key is as certain as a present one.
///
/// # Errors
/// [`MstError`] when a node on the way cannot be read; [`MstError::MissingBlock`] when the proof leaves it out.
pub fn get(source: &dyn BlockSource, root: Cid, key: &MstKey) -> Result<Option<Cid>, MstError> {
    descend(source, Child::Stored(root), key, |_| ())
}

/// The value of `key` and the nodes that prove it, or prove that there is none: those from the root down to where the
/// key is or would be.
///
/// # Errors
/// [`MstError`] when a node on the way cannot be read.
pub fn prove(source: &dyn BlockSource, root: Cid, key: &MstKey) -> Result<(Option<Cid>, Vec<Block>), MstError> {
    let mut nodes = Vec::new();
    // A node that was read has the bytes it encodes to.
    let value = descend(source, Child::Stored(root), key, |node| nodes.push(node.encode()))?;
    Ok((value, nodes))
}

/// Goes from `root` towards `key`, showing each node to `visit`.
pub(super) fn descend(
    source: &dyn BlockSource,
    root: Child,
    key: &MstKey,
    mut visit: impl FnMut(&Node),
) -> Result<Option<Cid>, MstError> {
    let mut next = Some(root);
    let mut place = Place::default();
    while let Some(mut child) = next {
        let node = Arc::clone(child.load(source, &place)?);
        visit(&node);
        match node.find(key) {
            Ok(at) => return Ok(Some(node.entries[at].value)),
            Err(gap) => {
                next = node.gap(gap).cloned();
                place = node.place_of(gap, &place);
            }
        }
    }
    Ok(None)
}

/// Adds to `found` the nodes that any undoing of a change at `key` may read: those on the way to the key and to its
/// neighbours on either side (proposal 0006, "Sync v1.1"). Neighbours count because deleting a key joins the subtrees
/// beside it, and whether both are still there by then depends on the order of undoing, which is the reader's choice.
pub(super) fn cover(
    source: &dyn BlockSource,
    root: &Child,
    key: &MstKey,
    found: &mut BTreeMap<Cid, Arc<Node>>,
) -> Result<(), MstError> {
    let mut cover = Cover { source, found };
    let mut place = Place::default();
    let mut node = cover.visit(root, &place)?;
    loop {
        match node.find(key) {
            Ok(at) => {
                cover.edge(&node, at, &place, |node| node.entries.len())?;
                return cover.edge(&node, at + 1, &place, |_| 0);
            }
            Err(gap) => {
                let Some(child) = node.gap(gap) else { return Ok(()) };
                place = node.place_of(gap, &place);
                node = cover.visit(child, &place)?;
            }
        }
    }
}

struct Cover<'a> {
    source: &'a dyn BlockSource,
    found: &'a mut BTreeMap<Cid, Arc<Node>>,
}

impl Cover<'_> {
    fn visit(&mut self, child: &Child, place: &Place) -> Result<Arc<Node>, MstError> {
        if let Some(node) = self.found.get(&child.cid()) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::clone(child.clone().load(self.source, place)?);
        self.found.insert(child.cid(), Arc::clone(&node));
        Ok(node)
    }

    /// Visits the subtree in `gap` of `node` along the gaps that `next` chooses, down to its outermost key.
    fn edge(&mut self, node: &Node, gap: usize, place: &Place, next: fn(&Node) -> usize) -> Result<(), MstError> {
        let mut place = node.place_of(gap, place);
        let mut below = node.gap(gap).cloned();
        while let Some(child) = below {
            let node = self.visit(&child, &place)?;
            let gap = next(&node);
            place = node.place_of(gap, &place);
            below = node.gap(gap).cloned();
        }
        Ok(())
    }
}
