//! Rows as chunks: where one ends, and what its bytes are.
//!
//! A chunk ends behind a row whose key says so, by its hash, and never within a table. So a row that comes, goes or
//! changes alters the chunk that it is in and no other, wherever it lies.

use sha2::{Digest as _, Sha256};

use super::cipher::{BackupKey, ChunkName};
use crate::limits::BACKUP_CHUNK_BYTES_MAX;

/// Bytes that a chunk has at least, unless its table ends.
const BYTES_MIN: usize = 64 * 1024;

/// Bytes after which a chunk ends in any case.
const BYTES_ENOUGH: usize = 1024 * 1024;

/// One in so many bytes of rows is the end of a chunk, where a chunk may end.
const BYTES_MEAN: usize = 192 * 1024;

/// A stored row: key and value.
pub type StoredRow = (Vec<u8>, Vec<u8>);

/// Gathers rows into chunks.
#[derive(Debug, Default)]
pub struct Gather {
    bytes: Vec<u8>,
    rows: u64,
}

/// The rows of one chunk, as bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered {
    /// The chunk's content.
    pub content: Vec<u8>,
    /// Rows in it.
    pub rows: u64,
}

impl Gather {
    /// Adds a row; answers the chunk that it ends, if it ends one.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Option<Gathered> {
        let before = self.bytes.len();
        for part in [key, value] {
            let length = u32::try_from(part.len()).expect("a row is far below 4 GiB");
            self.bytes.extend_from_slice(&length.to_be_bytes());
            self.bytes.extend_from_slice(part);
        }
        self.rows += 1;
        let size = self.bytes.len();
        let may_end = size >= BYTES_MIN && ends_chunk(key, size - before);
        if may_end || size >= BYTES_ENOUGH { self.end() } else { None }
    }

    /// The chunk that is not full yet: the table ends.
    pub fn end(&mut self) -> Option<Gathered> {
        let rows = std::mem::take(&mut self.rows);
        (rows > 0).then(|| Gathered { content: std::mem::take(&mut self.bytes), rows })
    }
}

/// Whether a chunk may end behind a row with this key and of this size: the larger, the likelier.
fn ends_chunk(key: &[u8], bytes: usize) -> bool {
    let digest = Sha256::digest(key);
    let drawn = u32::from_be_bytes(digest[..4].try_into().expect("a digest has 32 bytes"));
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(BYTES_MEAN as u64);
    u64::from(drawn) < (u64::from(u32::MAX) / BYTES_MEAN as u64).saturating_mul(bytes)
}

/// The content of a chunk is no sequence of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunk holds no rows of a table")]
pub struct NoRows;

/// Reads the rows of a chunk. Their keys must rise, begin with `table`, and lie behind `last`.
///
/// # Errors
/// [`NoRows`].
pub fn read(content: &[u8], table: u8, last: Option<&[u8]>) -> Result<Vec<StoredRow>, NoRows> {
    if content.len() > BACKUP_CHUNK_BYTES_MAX {
        return Err(NoRows);
    }
    let mut rest = content;
    let mut rows: Vec<StoredRow> = Vec::new();
    while !rest.is_empty() {
        let key = part(&mut rest)?;
        let value = part(&mut rest)?;
        let before = rows.last().map(|(key, _)| key.as_slice()).or(last);
        if key.first() != Some(&table) || before.is_some_and(|before| before >= key) {
            return Err(NoRows);
        }
        rows.push((key.to_vec(), value.to_vec()));
    }
    Ok(rows)
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], NoRows> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(NoRows)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| NoRows)?;
    let (part, after) = after.split_at_checked(length).ok_or(NoRows)?;
    *rest = after;
    Ok(part)
}

/// The root of a table: a hash over all its rows in the order of keys.
#[derive(Clone, Debug, Default)]
pub struct TableRoot {
    hash: Sha256,
    rows: u64,
    bytes: u64,
}

impl TableRoot {
    /// Adds the next row.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.hash.update(length.to_be_bytes());
            self.hash.update(part);
            self.bytes += length;
        }
        self.rows += 1;
    }

    /// What the rows come to.
    #[must_use]
    pub fn sum(self, table: u8, name: &str) -> super::TableSum {
        let root = ChunkName(self.hash.finalize().into());
        super::TableSum { table, name: name.to_owned(), rows: self.rows, bytes: self.bytes, root }
    }
}

/// Seals the content of a chunk.
#[must_use]
pub fn sealed(key: &BackupKey, content: &[u8]) -> (ChunkName, Vec<u8>) {
    let name = key.name(content);
    (name, key.seal(name, content))
}
