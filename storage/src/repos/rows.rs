//! The stored forms. Blocks are written by hand: they are most of what a node stores, and are read most often.

use angel_protocol::data::{Cid, Codec};
use angel_protocol::ids::Tid;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Row, StoredValue, from_cbor};
use crate::limits::VALUE_BYTES_MAX;

/// Bytes of a block per row. What a first row says besides, and the version byte, need the rest.
pub const PART_BYTES: usize = VALUE_BYTES_MAX - 64;

/// Bytes ahead of a block in its first row: version, mark, revision, digest and the number of rows.
const HEAD_BYTES_MAX: usize = 1 + 1 + 8 + 32 + 2;

/// Marks a row with the start of a block.
const FIRST: u8 = 0;

/// Marks a row with more of a block.
const FURTHER: u8 = 1;

/// Stored form of a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadRow {
    #[serde(with = "serde_bytes")]
    pub(super) commit: Vec<u8>,
    pub(super) generation: u32,
    pub(super) records: u64,
    pub(super) nodes: u64,
    pub(super) nodes_in_parts: u64,
    #[serde(default)]
    pub(super) fresh_nodes: u64,
    #[serde(default)]
    pub(super) packed_records: u64,
}

impl Row for HeadRow {
    const VERSION: u8 = 3;

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        match version {
            // None of the nodes lay apart at first, and until then no record in a pack.
            1 | 2 => from_cbor(body),
            version => Err(CodecError::UnknownVersion { version }),
        }
    }
}

/// Stored form of a tree node, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRow {
    /// Its first row.
    First {
        /// The revision that wrote it.
        rev: Tid,
        /// How many rows it has.
        parts: u16,
        /// As much of it as fits.
        bytes: Vec<u8>,
    },
    /// More of it.
    Further(Vec<u8>),
}

impl StoredValue for NodeRow {
    const VERSION: u8 = 1;

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Self::First { rev, parts, bytes } => NodeView::First { rev: *rev, parts: *parts, bytes },
            Self::Further(bytes) => NodeView::Further(bytes),
        }
        .encode(out);
        Ok(())
    }

    fn decode_body(body: &[u8]) -> Result<Self, CodecError> {
        Ok(match NodeView::of(body)? {
            NodeView::First { rev, parts, bytes } => Self::First { rev, parts, bytes: bytes.to_vec() },
            NodeView::Further(bytes) => Self::Further(bytes.to_vec()),
        })
    }
}

impl NodeRow {
    /// What a stored row says, without a copy.
    pub(super) fn view(stored: &[u8]) -> Result<NodeView<'_>, CodecError> {
        body_of::<Self>(stored).and_then(NodeView::of)
    }
}

/// What a [`NodeRow`] says, its bytes where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NodeView<'a> {
    First { rev: Tid, parts: u16, bytes: &'a [u8] },
    Further(&'a [u8]),
}

impl<'a> NodeView<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Result<Self, CodecError> {
        match body.split_first().ok_or_else(too_short)? {
            (&FIRST, rest) => {
                let (rev, rest) = decode_rev(rest)?;
                let (parts, bytes) = rest.split_first_chunk().ok_or_else(too_short)?;
                Ok(Self::First { rev, parts: u16::from_be_bytes(*parts), bytes })
            }
            (&FURTHER, rest) => Ok(Self::Further(rest)),
            _ => Err(unknown_mark()),
        }
    }

    /// The stored form, for whoever has the bytes elsewhere: they are copied once.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let (Self::First { bytes, .. } | Self::Further(bytes)) = self;
        let mut out = Vec::with_capacity(HEAD_BYTES_MAX + bytes.len());
        out.push(NodeRow::VERSION);
        self.encode(&mut out);
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::First { rev, parts, bytes } => {
                out.push(FIRST);
                encode_rev(*rev, out);
                out.extend_from_slice(&parts.to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Further(bytes) => {
                out.push(FURTHER);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// Stored form of a record, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordRow {
    /// Its first row.
    First {
        /// The revision that wrote it.
        rev: Tid,
        /// Its CID.
        cid: Cid,
        /// How many rows it has.
        parts: u16,
        /// As much of it as fits.
        bytes: Vec<u8>,
    },
    /// More of it.
    Further(Vec<u8>),
}

impl StoredValue for RecordRow {
    const VERSION: u8 = 1;

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Self::First { rev, cid, parts, bytes } => RecordView::First { rev: *rev, cid: *cid, parts: *parts, bytes },
            Self::Further(bytes) => RecordView::Further(bytes),
        }
        .encode(out);
        Ok(())
    }

    fn decode_body(body: &[u8]) -> Result<Self, CodecError> {
        Ok(match RecordView::of(body)? {
            RecordView::First { rev, cid, parts, bytes } => Self::First { rev, cid, parts, bytes: bytes.to_vec() },
            RecordView::Further(bytes) => Self::Further(bytes.to_vec()),
        })
    }
}

impl RecordRow {
    /// What a stored row says, without a copy.
    pub(crate) fn view(stored: &[u8]) -> Result<RecordView<'_>, CodecError> {
        body_of::<Self>(stored).and_then(RecordView::of)
    }
}

/// What a [`RecordRow`] says, its bytes where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RecordView<'a> {
    First { rev: Tid, cid: Cid, parts: u16, bytes: &'a [u8] },
    Further(&'a [u8]),
}

impl<'a> RecordView<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Result<Self, CodecError> {
        match body.split_first().ok_or_else(too_short)? {
            (&FIRST, rest) => {
                let (rev, rest) = decode_rev(rest)?;
                let (digest, rest) = rest.split_first_chunk().ok_or_else(too_short)?;
                let (parts, bytes) = rest.split_first_chunk().ok_or_else(too_short)?;
                let cid = Cid::from_digest(Codec::DagCbor, *digest);
                Ok(Self::First { rev, cid, parts: u16::from_be_bytes(*parts), bytes })
            }
            (&FURTHER, rest) => Ok(Self::Further(rest)),
            _ => Err(unknown_mark()),
        }
    }

    /// The stored form, for whoever has the bytes elsewhere: they are copied once.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let (Self::First { bytes, .. } | Self::Further(bytes)) = self;
        let mut out = Vec::with_capacity(HEAD_BYTES_MAX + bytes.len());
        out.push(RecordRow::VERSION);
        self.encode(&mut out);
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::First { rev, cid, parts, bytes } => {
                out.push(FIRST);
                encode_rev(*rev, out);
                out.extend_from_slice(cid.digest());
                out.extend_from_slice(&parts.to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Further(bytes) => {
                out.push(FURTHER);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// The body of a stored row of the one version that there has been.
pub(super) fn body_of<V: StoredValue>(stored: &[u8]) -> Result<&[u8], CodecError> {
    match stored.split_first() {
        Some((version, body)) if *version == V::VERSION => Ok(body),
        Some((&version, _)) if version > V::VERSION => Err(CodecError::Newer { version, known: V::VERSION }),
        Some((&version, _)) => Err(CodecError::UnknownVersion { version }),
        None => Err(CodecError::Empty),
    }
}

pub(super) fn encode_rev(rev: Tid, out: &mut Vec<u8>) {
    out.extend_from_slice(&((rev.micros() << 10) | u64::from(rev.clock_id())).to_be_bytes());
}

pub(super) fn decode_rev(bytes: &[u8]) -> Result<(Tid, &[u8]), CodecError> {
    let (rev, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
    let rev = u64::from_be_bytes(*rev);
    Ok((Tid::new(rev >> 10, (rev & 0x3ff) as u16), rest))
}

pub(super) fn too_short() -> CodecError {
    CodecError::Decode { detail: "too short".to_owned() }
}

fn unknown_mark() -> CodecError {
    CodecError::Decode { detail: "neither a first row nor a further one".to_owned() }
}

/// A block in pieces, each small enough for a row.
pub(crate) fn pieces(block: &[u8]) -> (u16, &[u8], impl Iterator<Item = (u16, &[u8])>) {
    let (first, rest) = block.split_at(block.len().min(PART_BYTES));
    let further = rest.chunks(PART_BYTES);
    // A block has at most a megabyte, which is far below u16::MAX pieces.
    let parts = u16::try_from(1 + further.len()).unwrap_or(u16::MAX);
    (parts, first, (1..).zip(further))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    #[test]
    fn a_view_is_stored_as_its_row_and_read_back() {
        let (rev, cid) = (Tid::new(1_700_000_000_000_000, 5), Cid::of(Codec::DagCbor, b"block"));
        for bytes in [&b""[..], b"block"] {
            let rows = [NodeRow::First { rev, parts: 3, bytes: bytes.to_vec() }, NodeRow::Further(bytes.to_vec())];
            let views = [NodeView::First { rev, parts: 3, bytes }, NodeView::Further(bytes)];
            for (row, view) in rows.into_iter().zip(views) {
                assert_eq!(encode(&row).as_ref(), Ok(&view.stored()));
                assert_eq!(decode(&view.stored()), Ok(row));
            }
            let rows =
                [RecordRow::First { rev, cid, parts: 3, bytes: bytes.to_vec() }, RecordRow::Further(bytes.to_vec())];
            let views = [RecordView::First { rev, cid, parts: 3, bytes }, RecordView::Further(bytes)];
            for (row, view) in rows.into_iter().zip(views) {
                assert_eq!(encode(&row).as_ref(), Ok(&view.stored()));
                assert_eq!(decode(&view.stored()), Ok(row));
            }
        }
    }
}
