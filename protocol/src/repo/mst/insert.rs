//! Putting a key into the tree: down to its layer, and splitting whatever lies below it in two.

use std::sync::Arc;

use super::key::MstKey;
use super::node::{Child, Entry, Node, Place};
use super::{Editor, MstError};
use crate::data::Cid;
use crate::limits::MST_NODE_ENTRIES_MAX;

/// Puts `key` into the tree under `root`; answers the value that was there.
pub(super) fn insert(
    editor: &mut Editor<'_>,
    root: &mut Child,
    (key, layer): (MstKey, u8),
    value: Cid,
) -> Result<Option<Cid>, MstError> {
    let place = Place::default();
    let node = root.load(editor.source, &place)?;
    if layer <= node.layer && !node.is_vacant() {
        let node = root.edit(editor, &place)?;
        return insert_below(editor, node, &place, key, layer, value);
    }
    let old_layer = node.layer;
    let (left, right) = if node.is_vacant() {
        root.edit(editor, &place)?;
        (None, None)
    } else {
        let whole = std::mem::replace(root, Child::Changed(Arc::default()));
        split(editor, Some(whole), &place, &key)?
    };
    let lift = |child: Option<Child>| child.map(|child| lift(child, old_layer, layer - 1));
    let (left, right) = (lift(left), lift(right));
    let entries = vec![Entry { key, value, right }];
    *root = Child::Changed(Arc::new(Node { layer, left, entries }));
    Ok(None)
}

/// Puts empty nodes above `child`, which is on layer `from`, up to layer `to`.
fn lift(child: Child, from: u8, to: u8) -> Child {
    if from == to {
        return child;
    }
    let above = Node { layer: from + 1, left: Some(child), entries: Vec::new() };
    Child::Changed(Arc::new(above.lift(to)))
}

/// Recursion is as deep as the tree has layers, which is bounded.
fn insert_below(
    editor: &mut Editor<'_>,
    node: &mut Node,
    place: &Place,
    key: MstKey,
    layer: u8,
    value: Cid,
) -> Result<Option<Cid>, MstError> {
    let gap = match node.find(&key) {
        Ok(at) => return Ok(Some(std::mem::replace(&mut node.entries[at].value, value))),
        Err(gap) => gap,
    };
    let inner = node.place_of(gap, place);
    if node.layer == layer {
        if node.entries.len() >= MST_NODE_ENTRIES_MAX {
            return Err(MstError::NodeTooLarge(key));
        }
        let between = node.gap_mut(gap).take();
        let (left, right) = split(editor, between, &inner, &key)?;
        *node.gap_mut(gap) = left;
        node.entries.insert(gap, Entry { key, value, right });
        return Ok(None);
    }
    let below = node.layer - 1;
    match node.gap_mut(gap) {
        Some(child) => {
            let node = child.edit(editor, &inner)?;
            insert_below(editor, node, &inner, key, layer, value)
        }
        empty => {
            let tower = Node::tower(below, Entry { key, value, right: None }, layer);
            *empty = Some(Child::Changed(Arc::new(tower)));
            Ok(None)
        }
    }
}

/// The parts of a subtree before and after `key`, which is not in it. A subtree all on one side is left as it is.
fn split(
    editor: &mut Editor<'_>,
    child: Option<Child>,
    place: &Place,
    key: &MstKey,
) -> Result<(Option<Child>, Option<Child>), MstError> {
    let Some(mut child) = child else { return Ok((None, None)) };
    let node = Arc::clone(child.load(editor.source, place)?);
    let gap = node.find(key).unwrap_or_else(|gap| gap);
    let (before, after) = split(editor, node.gap(gap).cloned(), &node.place_of(gap, place), key)?;
    if gap == node.entries.len() && after.is_none() {
        return Ok((Some(child), None));
    }
    if gap == 0 && before.is_none() {
        return Ok((None, Some(child)));
    }
    drop(node);
    let mut left = child.into_node(editor, place)?;
    let entries = left.entries.split_off(gap);
    *left.gap_mut(gap) = before;
    let right = Node { layer: left.layer, left: after, entries };
    Ok((Some(Child::Changed(Arc::new(left))), Some(Child::Changed(Arc::new(right)))))
}
