//! The index: which chunks are what. A list of entries in a fixed order, itself cut into chunks where the entries say so.

use serde::{Deserialize, Serialize};

use super::cipher::ChunkName;
use super::manifest::ChunkRef;
use crate::limits::BACKUP_CHUNK_BYTES_MAX;

/// Entries that one chunk of the index has at least, unless the index ends.
const ENTRIES_MIN: usize = 32;

/// Entries after which a chunk of the index ends in any case.
const ENTRIES_ENOUGH: usize = 2_048;

/// Bytes after which it ends in any case: one entry more never goes beyond what a chunk may hold.
const BYTES_ENOUGH: usize = BACKUP_CHUNK_BYTES_MAX / 4;

/// One in so many entries is the end of a chunk, where a chunk may end.
const ENTRIES_MEAN: u8 = 128;

/// Pieces that one entry lists: a file of 64 GiB.
pub const PIECES_MAX: usize = 16 * 1024;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileKind {
    /// A blob of the accounts, by the text of its CID.
    Blob(String),
    /// A key or password, by its name in `secrets`.
    Secret(String),
    /// What else lies at the top of the data directory, by its name.
    Root(String),
}

/// One thing of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entry {
    /// Rows of one table, in the order of keys.
    Rows {
        /// The table's byte.
        table: u8,
        /// Rows.
        rows: u64,
        /// The chunk.
        chunk: ChunkRef,
    },
    /// A file.
    File {
        /// Which.
        kind: FileKind,
        /// Bytes.
        bytes: u64,
        /// Its pieces in order; none for an empty file.
        pieces: Vec<ChunkRef>,
    },
}

impl Entry {
    /// The chunks it names.
    pub fn chunks(&self) -> &[ChunkRef] {
        match self {
            Self::Rows { chunk, .. } => std::slice::from_ref(chunk),
            Self::File { pieces, .. } => pieces,
        }
    }

    fn ends_chunk(&self) -> bool {
        self.chunks().last().is_some_and(|chunk| chunk.name.0[0] < u8::MAX / ENTRIES_MEAN + 1)
    }
}

/// Gathers entries into chunks.
#[derive(Debug, Default)]
pub struct Gather {
    bytes: Vec<u8>,
    entries: usize,
}

impl Gather {
    /// Adds an entry; answers the content of the chunk that it ends, if it ends one.
    pub fn push(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        let encoded = serde_ipld_dagcbor::to_vec(entry).expect("an entry has a canonical form");
        let length = u32::try_from(encoded.len()).expect("an entry is far below 4 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&encoded);
        self.entries += 1;
        let may_end = self.entries >= ENTRIES_MIN && entry.ends_chunk();
        if may_end || self.entries >= ENTRIES_ENOUGH || self.bytes.len() >= BYTES_ENOUGH { self.end() } else { None }
    }

    /// The chunk that is not full yet: the index ends.
    pub fn end(&mut self) -> Option<Vec<u8>> {
        (std::mem::take(&mut self.entries) > 0).then(|| std::mem::take(&mut self.bytes))
    }
}

/// The content of a chunk is no part of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunk is no part of an index")]
pub struct NoIndex;

/// Reads a chunk of the index.
///
/// # Errors
/// [`NoIndex`].
pub fn read(content: &[u8]) -> Result<Vec<Entry>, NoIndex> {
    let mut rest = content;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(NoIndex)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| NoIndex)?;
        let (encoded, after) = after.split_at_checked(length).ok_or(NoIndex)?;
        let entry: Entry = serde_ipld_dagcbor::from_slice(encoded).map_err(|_| NoIndex)?;
        if entry.chunks().len() > PIECES_MAX {
            return Err(NoIndex);
        }
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// The name of a chunk, for those who only want to know which are in use.
pub fn names(entries: &[Entry]) -> impl Iterator<Item = ChunkName> + '_ {
    entries.iter().flat_map(Entry::chunks).map(|chunk| chunk.name)
}
