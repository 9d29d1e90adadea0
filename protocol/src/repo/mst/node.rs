//! One node: its place, its entries, its canonical bytes ("Repository", section "MST Structure").

use std::sync::Arc;

use super::key::{InvalidMstKey, MstKey, common_prefix};
use super::{Editor, MstError};
use crate::data::cbor::{CborError, Reader, Writer};
use crate::data::{Block, Cid, Codec};
use crate::limits::MST_NODE_ENTRIES_MAX;
use crate::repo::blocks::BlockSource;

/// Keys of one layer in order, with the subtrees of the layer below between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) layer: u8,
    /// The subtree before the first entry.
    pub(super) left: Option<Child>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: MstKey,
    pub(super) value: Cid,
    /// The subtree between this entry and the next.
    pub(super) right: Option<Child>,
}

/// A subtree: known by CID alone, also in memory, or changed since it had a CID.
#[derive(Clone, Debug)]
pub(super) enum Child {
    Stored(Cid),
    Loaded(Cid, Arc<Node>),
    Changed(Arc<Node>),
}

/// Where a node stands, and so what may be in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The layer; unknown for a root, which its keys tell.
    pub(super) layer: Option<u8>,
    /// Every key is greater.
    pub(super) low: Option<MstKey>,
    /// Every key is less.
    pub(super) high: Option<MstKey>,
}

/// Why a block is no node, or not one for its place. A tree that passes has one shape for its keys, so its root names
/// its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Not canonical DAG-CBOR of the structure.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A key is none.
    #[error(transparent)]
    Key(#[from] InvalidMstKey),
    /// A key's shared prefix is not as long as it could be, or longer than the key before.
    #[error("a key does not share the longest prefix with the one before")]
    Prefix,
    /// Keys out of order, or outside what the nodes above leave for this one.
    #[error("a key is out of order")]
    Order,
    /// More entries than [`MST_NODE_ENTRIES_MAX`].
    #[error("a node has more than {MST_NODE_ENTRIES_MAX} entries")]
    Entries,
    /// A key of another layer.
    #[error("a key belongs on another layer")]
    Layer,
    /// Nothing in it, or a root that holds only a subtree.
    #[error("a node without entries stands where none may")]
    Empty,
    /// A subtree below the lowest layer.
    #[error("a subtree lies below the lowest layer")]
    Bottom,
}

impl Node {
    /// A node of `layer` above one entry of `target`, with nothing else between.
    pub(super) fn tower(layer: u8, entry: Entry, target: u8) -> Self {
        let bottom = Self { layer: target, left: None, entries: vec![entry] };
        bottom.lift(layer)
    }

    /// This node, or the empty one of `layer` that leads down to it.
    pub(super) fn lift(self, layer: u8) -> Self {
        (self.layer + 1..=layer).fold(self, |below, layer| Self {
            layer,
            left: Some(Child::Changed(Arc::new(below))),
            entries: Vec::new(),
        })
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.left.is_none() && self.entries.is_empty()
    }

    /// Where `key` is, or the gap it would be in.
    pub(super) fn find(&self, key: &MstKey) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key))
    }

    /// The subtree before entry `gap`, or after the last.
    pub(super) fn gap(&self, gap: usize) -> Option<&Child> {
        match gap.checked_sub(1) {
            None => self.left.as_ref(),
            Some(before) => self.entries[before].right.as_ref(),
        }
    }

    pub(super) fn gap_mut(&mut self, gap: usize) -> &mut Option<Child> {
        match gap.checked_sub(1) {
            None => &mut self.left,
            Some(before) => &mut self.entries[before].right,
        }
    }

    /// The place of the subtree in `gap` of this node, itself at `place`.
    pub(super) fn place_of(&self, gap: usize, place: &Place) -> Place {
        let low = gap.checked_sub(1).map(|before| self.entries[before].key.clone());
        let high = self.entries.get(gap).map(|entry| entry.key.clone());
        // Decoding refuses subtrees below layer 0, and editing makes none.
        let layer = self.layer.saturating_sub(1);
        Place { layer: Some(layer), low: low.or_else(|| place.low.clone()), high: high.or_else(|| place.high.clone()) }
    }

    /// The block of this node, whose subtrees all have CIDs.
    pub(super) fn encode(&self) -> Block {
        Block::new(Codec::DagCbor, self.bytes())
    }

    /// The canonical bytes of this node, whose subtrees all have CIDs.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 + self.entries.len() * 128);
        writer.map(2);
        writer.text("e");
        writer.list(self.entries.len());
        let mut last: &[u8] = &[];
        for entry in &self.entries {
            let key = entry.key.as_bytes();
            let shared = common_prefix(last, key);
            writer.map(4);
            writer.text("k");
            writer.bytes(&key[shared..]);
            writer.text("p");
            writer.integer(i64::try_from(shared).expect("a key's length is bounded"));
            writer.text("t");
            writer.link_or_null(entry.right.as_ref().map(Child::cid));
            writer.text("v");
            writer.link(entry.value);
            last = key;
        }
        writer.text("l");
        writer.link_or_null(self.left.as_ref().map(Child::cid));
        writer.into_bytes()
    }

    /// Reads a node and checks that it may stand at `place`.
    pub(super) fn decode(bytes: &[u8], place: &Place) -> Result<Self, NodeError> {
        let mut reader = Reader::new(bytes);
        reader.expect_map(2)?;
        reader.expect_key("e")?;
        let count = reader.list()?;
        if count > MST_NODE_ENTRIES_MAX {
            return Err(NodeError::Entries);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        let mut layer = place.layer;
        let mut key: Vec<u8> = Vec::new();
        for _ in 0..count {
            let (entry, entry_layer) = decode_entry(&mut reader, &mut key)?;
            if *layer.get_or_insert(entry_layer) != entry_layer {
                return Err(NodeError::Layer);
            }
            if entries.last().is_some_and(|last| last.key >= entry.key) {
                return Err(NodeError::Order);
            }
            entries.push(entry);
        }
        reader.expect_key("l")?;
        let left = reader.link_or_null()?.map(Child::Stored);
        reader.finish()?;
        let node = Self { layer: layer.unwrap_or(0), left, entries };
        node.check(place)?;
        Ok(node)
    }

    fn check(&self, place: &Place) -> Result<(), NodeError> {
        let is_root = place.layer.is_none();
        if self.entries.is_empty() && self.left.is_some() == is_root {
            return Err(NodeError::Empty);
        }
        if self.layer == 0 && (self.left.is_some() || self.entries.iter().any(|entry| entry.right.is_some())) {
            return Err(NodeError::Bottom);
        }
        let above_low = place.low.as_ref().is_none_or(|low| self.entries.first().is_none_or(|first| first.key > *low));
        let below_high = place.high.as_ref().is_none_or(|high| self.entries.last().is_none_or(|last| last.key < *high));
        if above_low && below_high { Ok(()) } else { Err(NodeError::Order) }
    }
}

/// An entry as a node's bytes have it.
pub(super) struct RawEntry<'a> {
    /// How many bytes of its key are those of the key before it.
    pub(super) shared: usize,
    /// The rest of its key.
    pub(super) suffix: &'a [u8],
    pub(super) right: Option<Cid>,
    pub(super) value: Cid,
}

/// Reads the next entry of a node.
pub(super) fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<RawEntry<'a>, NodeError> {
    reader.expect_map(4)?;
    reader.expect_key("k")?;
    let suffix = reader.bytes()?;
    reader.expect_key("p")?;
    let shared = usize::try_from(reader.integer()?).map_err(|_| NodeError::Prefix)?;
    reader.expect_key("t")?;
    let right = reader.link_or_null()?;
    reader.expect_key("v")?;
    let value = reader.link()?;
    Ok(RawEntry { shared, suffix, right, value })
}

/// Reads and checks one entry; `key` holds the key before it, and then its own.
fn decode_entry(reader: &mut Reader<'_>, key: &mut Vec<u8>) -> Result<(Entry, u8), NodeError> {
    let RawEntry { shared, suffix, right, value } = read_entry(reader)?;
    // A longer shared prefix was possible when the next byte of both is the same.
    let could_share_more = key.get(shared).is_some_and(|next| suffix.first() == Some(next));
    if shared > key.len() || could_share_more {
        return Err(NodeError::Prefix);
    }
    key.truncate(shared);
    key.extend_from_slice(suffix);
    let text = std::str::from_utf8(key).map_err(|_| InvalidMstKey::Character)?;
    let (key, layer) = MstKey::with_layer(text)?;
    Ok((Entry { key, value, right: right.map(Child::Stored) }, layer))
}

/// The records that a node itself names, without those under it. Each node tells its keys in full.
///
/// # Errors
/// The bytes are no node.
pub fn records_of(node: &[u8]) -> Result<Vec<(MstKey, Cid)>, NodeError> {
    match Node::decode(node, &Place::default()) {
        Ok(node) => Ok(node.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()),
        // Only the place says whether a node without records may be one.
        Err(NodeError::Empty) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Fetches the block of a node.
pub(super) fn fetch(source: &dyn BlockSource, cid: Cid) -> Result<Arc<[u8]>, MstError> {
    source.get(&cid)?.ok_or(MstError::MissingBlock(cid))
}

/// Fetches and decodes a node.
pub(super) fn load(source: &dyn BlockSource, cid: Cid, place: &Place) -> Result<Node, MstError> {
    Node::decode(&fetch(source, cid)?, place).map_err(|reason| MstError::Node { cid, reason })
}

impl Child {
    /// The CID.
    ///
    /// # Panics
    /// When the subtree has changed since: encoding goes from the leaves up.
    pub(super) fn cid(&self) -> Cid {
        match self {
            Self::Stored(cid) | Self::Loaded(cid, _) => *cid,
            Self::Changed(_) => unreachable!("subtrees are given their CIDs before the node above them"),
        }
    }

    /// The node, fetched if it is not in memory and kept there.
    pub(super) fn load(&mut self, source: &dyn BlockSource, place: &Place) -> Result<&Arc<Node>, MstError> {
        if let Self::Stored(cid) = *self {
            *self = Self::Loaded(cid, Arc::new(load(source, cid, place)?));
        }
        match self {
            Self::Loaded(_, node) | Self::Changed(node) => Ok(node),
            Self::Stored(_) => unreachable!("loaded above"),
        }
    }

    /// The node, to be changed: its CID, if it had one, is on the list of those replaced from here on.
    pub(super) fn edit(&mut self, editor: &mut Editor<'_>, place: &Place) -> Result<&mut Node, MstError> {
        self.load(editor.source, place)?;
        if let Self::Loaded(cid, node) = self {
            editor.replaced.push(*cid);
            *self = Self::Changed(Arc::clone(node));
        }
        match self {
            Self::Changed(node) => Ok(Arc::make_mut(node)),
            Self::Stored(_) | Self::Loaded(..) => unreachable!("made changed above"),
        }
    }

    /// The node by value, to be taken apart.
    pub(super) fn into_node(mut self, editor: &mut Editor<'_>, place: &Place) -> Result<Node, MstError> {
        self.edit(editor, place)?;
        match self {
            Self::Changed(node) => Ok(Arc::unwrap_or_clone(node)),
            Self::Stored(_) | Self::Loaded(..) => unreachable!("made changed above"),
        }
    }
}
