//! Taking out of the index what was made of people's records, so that it is made anew from their repositories.

use super::{BY_CHANNEL, BY_THREAD, LOG, MESSAGES, Place, REACTIONS, RECORDS, SPACES, SpaceRow, VERSIONS, WORDS};
use crate::batch::{Batch, RowRefused};
use crate::codec::{Cbor, StoredValue};
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

/// Removes messages, reactions, words and the log of every space; spaces, channels, members, invitations and marks stay.
/// What moderators hid is shown again, and earlier versions are gone: neither is in any repository. Blocks.
///
/// # Errors
/// [`ForgetError`].
pub fn forget_messages(reader: &Reader, writer: &Writer) -> Result<(), ForgetError> {
    clear(reader, writer, &MESSAGES)?;
    clear(reader, writer, &VERSIONS)?;
    clear(reader, writer, &BY_CHANNEL)?;
    clear(reader, writer, &BY_THREAD)?;
    clear(reader, writer, &REACTIONS)?;
    clear(reader, writer, &WORDS)?;
    clear(reader, writer, &LOG)?;
    let is_said = |place: &Cbor<Place>| matches!(place.0, Place::Message(..) | Place::Reaction(..));
    each(
        reader,
        writer,
        &RECORDS,
        |batch, key, place| {
            if is_said(&place) { batch.delete(&RECORDS, key) } else { Ok(()) }
        },
    )?;
    each(reader, writer, &SPACES, |batch, id, row| {
        let row = SpaceRow { messages: 0, words_upto: row.last, words_waiting: 0, ..row };
        batch.put(&SPACES, id, &row)
    })
}

fn clear<K: Key, V: StoredValue>(reader: &Reader, writer: &Writer, table: &Table<K, V>) -> Result<(), ForgetError> {
    each(reader, writer, table, |batch, key, _| batch.delete(table, key))
}

fn each<K: Key, V: StoredValue>(
    reader: &Reader,
    writer: &Writer,
    table: &Table<K, V>,
    mut change: impl FnMut(&mut Batch, &K, V) -> Result<(), RowRefused>,
) -> Result<(), ForgetError> {
    let mut last: Option<K> = None;
    loop {
        let mut scan = reader.scan(table);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        let mut batch = Batch::new();
        for (key, value) in page.rows {
            change(&mut batch, &key, value)?;
            last = Some(key);
        }
        if !batch.is_empty() {
            writer.commit(batch)?;
        }
        if !page.more {
            return Ok(());
        }
    }
}
