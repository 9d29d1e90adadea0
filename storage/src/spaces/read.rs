//! Reading the index: rows, records with their earlier versions, pages of messages.

use super::{BY_CHANNEL, BY_THREAD, ChannelNumber, MESSAGES, MessageRow, Overlay, SpaceId, VERSIONS};
use crate::batch::RowRefused;
use crate::codec::{Raw, StoredValue};
use crate::key::Key;
use crate::limits::VALUE_BYTES_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::Table;

/// Largest record that lies in its message's row, in bytes: with everything else there, well below a row's bound.
const INLINE_BYTES_MAX: usize = VALUE_BYTES_MAX / 2;

/// Bytes of a record per row of [`VERSIONS`].
const PART_BYTES: usize = VALUE_BYTES_MAX - 8;

/// Whatever gives single rows.
pub trait Reads {
    /// The row, if it is there.
    ///
    /// # Errors
    /// The engine fails, or the row cannot be read.
    fn row<K: Key, V: StoredValue>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError>;
}

impl Reads for Reader {
    fn row<K: Key, V: StoredValue>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        self.get(table, key)
    }
}

impl Reads for Overlay<'_> {
    fn row<K: Key, V: StoredValue>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        self.get(table, key)
    }
}

/// The bytes of a message's record.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn message_record(
    rows: &impl Reads,
    space: SpaceId,
    position: u64,
    message: &MessageRow,
) -> Result<Vec<u8>, ReadError> {
    if !message.record.is_empty() {
        return Ok(message.record.clone());
    }
    let missing = || ReadError::missing(&VERSIONS, &(space, position, message.version, 0));
    old_version(rows, space, position, message.version)?.ok_or_else(missing)
}

/// The bytes of a record that was superseded, by its number from 0 on.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn old_version(
    rows: &impl Reads,
    space: SpaceId,
    position: u64,
    version: u32,
) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(Raw(first)) = rows.row(&VERSIONS, &(space, position, version, 0))? else { return Ok(None) };
    let Some((count, bytes)) = first.split_first_chunk::<2>() else { return Ok(None) };
    let mut record = bytes.to_vec();
    for part in 1..u16::from_be_bytes(*count) {
        let key = (space, position, version, part);
        let Raw(bytes) = rows.row(&VERSIONS, &key)?.ok_or_else(|| ReadError::missing(&VERSIONS, &key))?;
        record.extend_from_slice(&bytes);
    }
    Ok(Some(record))
}

impl Overlay<'_> {
    /// Sets a message and its record.
    ///
    /// # Errors
    /// A value has no stored form.
    pub fn put_message(
        &mut self,
        space: SpaceId,
        position: u64,
        message: &MessageRow,
        record: &[u8],
    ) -> Result<(), RowRefused> {
        let inline = record.len() <= INLINE_BYTES_MAX;
        if !inline {
            self.put_version(space, position, message.version, record)?;
        }
        let row = MessageRow { record: if inline { record.to_vec() } else { vec![] }, ..message.clone() };
        self.put(&MESSAGES, &(space, position), &row)
    }

    /// Keeps a version of a record.
    ///
    /// # Errors
    /// A value has no stored form.
    pub fn put_version(
        &mut self,
        space: SpaceId,
        position: u64,
        version: u32,
        record: &[u8],
    ) -> Result<(), RowRefused> {
        let (first, rest) = record.split_at(record.len().min(PART_BYTES));
        let further = rest.chunks(PART_BYTES);
        // A record has at most 1 MB.
        let count = u16::try_from(1 + further.len()).unwrap_or(u16::MAX);
        let head = [&count.to_be_bytes(), first].concat();
        for (part, bytes) in (0_u16..).zip(std::iter::once(head.as_slice()).chain(further)) {
            self.put(&VERSIONS, &(space, position, version, part), &Raw(bytes.to_vec()))?;
        }
        Ok(())
    }

    /// Removes a version of a record.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read.
    pub fn delete_version(&mut self, space: SpaceId, position: u64, version: u32) -> Result<(), ReadError> {
        let Some(Raw(first)) = self.get(&VERSIONS, &(space, position, version, 0))? else { return Ok(()) };
        let count = first.first_chunk::<2>().map_or(1, |count| u16::from_be_bytes(*count));
        (0..count).for_each(|part| self.delete(&VERSIONS, &(space, position, version, part)));
        Ok(())
    }

    /// Removes a message, its record and all its earlier versions.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read.
    pub fn delete_message(&mut self, space: SpaceId, position: u64, message: &MessageRow) -> Result<(), ReadError> {
        for version in 0..=message.version {
            self.delete_version(space, position, version)?;
        }
        self.delete(&MESSAGES, &(space, position));
        self.delete(&BY_CHANNEL, &(space, message.channel, position));
        if let Some(root) = message.root {
            self.delete(&BY_THREAD, &(space, root, position));
        }
        Ok(())
    }
}

/// Which messages of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// All.
    Space,
    /// Those of a channel.
    Channel(ChannelNumber),
    /// The answers in a thread.
    Thread(u64),
}

/// Up to `limit` messages with a number below `before`, the newest first, and whether older ones follow.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn messages_back(
    reader: &Reader,
    space: SpaceId,
    among: Among,
    before: u64,
    limit: usize,
) -> Result<(Vec<(u64, MessageRow)>, bool), ReadError> {
    let (positions, more) = match among {
        Among::Space => {
            let page = reader.scan(&MESSAGES).prefix(&space).until(&(space, before)).reverse().page(limit)?;
            let rows = page.rows.into_iter().map(|((_, position), message)| (position, message)).collect();
            return Ok((rows, page.more));
        }
        Among::Channel(channel) => {
            let end = (space, channel, before);
            let page = reader.scan(&BY_CHANNEL).prefix(&(space, channel)).until(&end).reverse().page(limit)?;
            (page.rows.into_iter().map(|((_, _, position), _)| position).collect::<Vec<_>>(), page.more)
        }
        Among::Thread(root) => {
            let end = (space, root, before);
            let page = reader.scan(&BY_THREAD).prefix(&(space, root)).until(&end).reverse().page(limit)?;
            (page.rows.into_iter().map(|((_, _, position), _)| position).collect(), page.more)
        }
    };
    let keys: Vec<_> = positions.iter().map(|position| (space, *position)).collect();
    let rows = reader.multi_get(&MESSAGES, &keys)?.into_iter().zip(positions);
    Ok((rows.filter_map(|(message, position)| Some((position, message?))).collect(), more))
}
