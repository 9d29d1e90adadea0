//! Taking the index away, so that it is made anew.

use super::{
    BY_CHANNEL, BY_THREAD, CHANNELS, INVITES, LOG, MEMBERS, MESSAGES, REACTIONS, READ_MARKS, RECORDS, SPACES,
    SPACES_OF, VERSIONS, WORDS,
};
use crate::batch::{Batch, RowRefused};
use crate::codec::StoredValue;
use crate::key::Key;
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::tables::Table;
use crate::writer::{CommitError, Writer};

/// Why not everything was forgotten. What was, stays so; call again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForgetError {
    /// The rows cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The batch is full.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The store did not write.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Removes the whole index; facts and blocks stay. It is made anew from the repositories and the facts, under other numbers
/// of its own. Blocks.
///
/// # Errors
/// [`ForgetError`].
pub fn forget_index(reader: &Reader, writer: &Writer) -> Result<(), ForgetError> {
    clear(reader, writer, &MESSAGES)?;
    clear(reader, writer, &VERSIONS)?;
    clear(reader, writer, &BY_CHANNEL)?;
    clear(reader, writer, &BY_THREAD)?;
    clear(reader, writer, &REACTIONS)?;
    clear(reader, writer, &READ_MARKS)?;
    clear(reader, writer, &WORDS)?;
    clear(reader, writer, &LOG)?;
    clear(reader, writer, &INVITES)?;
    clear(reader, writer, &SPACES_OF)?;
    clear(reader, writer, &MEMBERS)?;
    clear(reader, writer, &CHANNELS)?;
    clear(reader, writer, &RECORDS)?;
    clear(reader, writer, &SPACES)
}

fn clear<K: Key, V: StoredValue>(reader: &Reader, writer: &Writer, table: &Table<K, V>) -> Result<(), ForgetError> {
    loop {
        let page = reader.scan(table).page(BULK_ROWS)?;
        let mut batch = Batch::new();
        for (key, _) in page.rows {
            batch.delete(table, &key)?;
        }
        if !batch.is_empty() {
            writer.commit(batch)?;
        }
        if !page.more {
            return Ok(());
        }
    }
}
