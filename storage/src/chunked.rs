//! Values larger than a row, split over several: repository blocks above 16 KiB.
//!
//! The rows of one value are written and removed in one batch, so it is there as a whole or not at all. Anything above
//! [`CHUNKED_BYTES_MAX`] belongs in a file.

use crate::batch::{Batch, RowRefused};
use crate::codec::{self, Raw};
use crate::key::Key;
use crate::limits::{CHUNKED_BYTES_MAX, VALUE_BYTES_MAX};
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

/// Bytes of a value per row; the version byte and, in the first row, the number of rows come on top.
const CHUNK_BYTES: usize = VALUE_BYTES_MAX - 8;

/// A table whose values may span rows. The row's key is the value's key with the chunk's number behind it.
#[derive(Debug)]
pub struct ChunkedTable<K> {
    rows: Table<(K, u16), Raw>,
}

impl<K> Clone for ChunkedTable<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for ChunkedTable<K> {}

impl<K: Key + Clone> ChunkedTable<K> {
    /// Ties a table's byte to its key type.
    #[must_use]
    pub const fn new(id: TableId) -> Self {
        Self { rows: Table::new(id) }
    }

    /// The rows themselves, for checks.
    #[must_use]
    pub const fn rows(&self) -> Table<(K, u16), Raw> {
        self.rows
    }

    /// Sets a value that is not there yet. To replace one, [`ChunkedTable::delete`] it in the same batch first.
    ///
    /// # Errors
    ///
    /// The value or the batch would exceed its bounds. The batch may then hold a part of the value: drop it.
    pub fn put(&self, batch: &mut Batch, key: &K, value: &[u8]) -> Result<(), RowRefused> {
        if value.len() > CHUNKED_BYTES_MAX {
            return Err(RowRefused::ChunkedTooLarge { table: self.rows.id(), bytes: value.len() });
        }
        let (first, rest) = value.split_at(value.len().min(CHUNK_BYTES));
        let further = rest.chunks(CHUNK_BYTES);
        // CHUNKED_BYTES_MAX / CHUNK_BYTES is far below u16::MAX.
        let count = u16::try_from(1 + further.len()).unwrap_or(u16::MAX);
        let head = [&count.to_be_bytes(), first].concat();
        for (number, chunk) in (0_u16..).zip(std::iter::once(head.as_slice()).chain(further)) {
            batch.put(&self.rows, &(key.clone(), number), &Raw(chunk.to_vec()))?;
        }
        Ok(())
    }

    /// The value, if it is there.
    ///
    /// # Errors
    ///
    /// The engine fails, or a part is missing.
    pub fn get(&self, reader: &Reader, key: &K) -> Result<Option<Vec<u8>>, ReadError> {
        let Some((count, mut value)) = self.head(reader, key)? else { return Ok(None) };
        let keys: Vec<_> = (1..count).map(|number| (key.clone(), number)).collect();
        for (chunk, key) in reader.multi_get(&self.rows, &keys)?.into_iter().zip(&keys) {
            let Raw(bytes) = chunk.ok_or_else(|| ReadError::missing(&self.rows, key))?;
            value.extend_from_slice(&bytes);
        }
        Ok(Some(value))
    }

    /// Adds the removal of a value to `batch`. The caller sees to it that nobody writes the value meanwhile.
    ///
    /// # Errors
    ///
    /// The engine fails, or the batch is full.
    pub fn delete(&self, reader: &Reader, batch: &mut Batch, key: &K) -> Result<(), crate::events::TrimError> {
        if let Some((count, _)) = self.head(reader, key)? {
            for number in 0..count {
                batch.delete(&self.rows, &(key.clone(), number))?;
            }
        }
        Ok(())
    }

    /// How many rows the value has, and the bytes in the first.
    fn head(&self, reader: &Reader, key: &K) -> Result<Option<(u16, Vec<u8>)>, ReadError> {
        let first = (key.clone(), 0);
        let Some(Raw(row)) = reader.get(&self.rows, &first)? else { return Ok(None) };
        let (count, bytes) = row.split_first_chunk::<2>().ok_or_else(|| {
            ReadError::row(&self.rows, &first, codec::CodecError::Decode { detail: "too short".to_owned() })
        })?;
        Ok(Some((u16::from_be_bytes(*count), bytes.to_vec())))
    }
}
