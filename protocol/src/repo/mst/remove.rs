//! Taking a key out of the tree: joining what lay on both sides of it, and dropping nodes that nothing is left in.

use std::sync::Arc;

use super::key::MstKey;
use super::node::{Child, Node, Place};
use super::{Editor, MstError};
use crate::data::Cid;
use crate::limits::MST_NODE_ENTRIES_MAX;

/// Takes `key` out of the tree under `root`; answers the value that was there.
pub(super) fn remove(
    editor: &mut Editor<'_>,
    root: &mut Child,
    (key, layer): (&MstKey, u8),
) -> Result<Option<Cid>, MstError> {
    let place = Place::default();
    let node = root.edit(editor, &place)?;
    let Some(value) = remove_below(editor, node, &place, key, layer)? else { return Ok(None) };
    trim(editor, root)?;
    Ok(Some(value))
}

/// Drops nodes at the top that hold only a subtree: the root is the topmost node with a key, or the empty one.
fn trim(editor: &mut Editor<'_>, root: &mut Child) -> Result<(), MstError> {
    // A node below the root is at a known layer; whether it is the right one is checked when it is loaded as such.
    let mut place = Place::default();
    loop {
        let node = root.load(editor.source, &place)?;
        if !node.entries.is_empty() {
            return Ok(());
        }
        let Some(only) = node.left.clone() else {
            *root = Child::Changed(Arc::new(Node::default()));
            return Ok(());
        };
        let below = node.place_of(0, &place);
        root.edit(editor, &place)?;
        (*root, place) = (only, below);
    }
}

/// Recursion is as deep as the tree has layers, which is bounded.
fn remove_below(
    editor: &mut Editor<'_>,
    node: &mut Node,
    place: &Place,
    key: &MstKey,
    layer: u8,
) -> Result<Option<Cid>, MstError> {
    let gap = match node.find(key) {
        Ok(at) => {
            let (before, after) = (node.place_of(at, place), node.place_of(at + 1, place));
            let left = node.gap_mut(at).take();
            let entry = node.entries.remove(at);
            *node.gap_mut(at) = join(editor, (left, &before), (entry.right, &after))?;
            return Ok(Some(entry.value));
        }
        Err(_) if node.layer <= layer => return Ok(None),
        Err(gap) => gap,
    };
    let inner = node.place_of(gap, place);
    let Some(child) = node.gap_mut(gap) else { return Ok(None) };
    let below = child.edit(editor, &inner)?;
    let value = remove_below(editor, below, &inner, key, layer)?;
    if below.is_vacant() {
        *node.gap_mut(gap) = None;
    }
    Ok(value)
}

/// One subtree of two neighbours on the same layer.
fn join(
    editor: &mut Editor<'_>,
    (left, left_place): (Option<Child>, &Place),
    (right, right_place): (Option<Child>, &Place),
) -> Result<Option<Child>, MstError> {
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (one, other) => return Ok(one.or(other)),
    };
    let mut left = left.into_node(editor, left_place)?;
    let mut right = right.into_node(editor, right_place)?;
    let end = left.entries.len();
    if let Some(first) = right.entries.first()
        && end + right.entries.len() > MST_NODE_ENTRIES_MAX
    {
        return Err(MstError::NodeTooLarge(first.key.clone()));
    }
    let (before, after) = (left.place_of(end, left_place), right.place_of(0, right_place));
    let between = join(editor, (left.gap_mut(end).take(), &before), (right.left.take(), &after))?;
    *left.gap_mut(end) = between;
    left.entries.append(&mut right.entries);
    Ok(Some(Child::Changed(Arc::new(left))))
}
