//! Which record is what to a space of a copy: the index by which spaces, channels and messages that another node serves
//! are found by their URIs. It is made from the copied rows as they come and go, so it is never compared or told.

use angel_protocol::ids::Did;
use angel_protocol::spaces::{CHANNEL, MESSAGE, SPACE};

use super::OwnRow;
use crate::batch::{Batch, RowRefused};
use crate::codec::{self, Cbor};
use crate::key::{AccountId, Key};
use crate::reader::{ReadError, Reader};
use crate::spaces::{ChannelNumber, ChannelRow, MessageRow, Place, SpaceId, SpaceRow};
use crate::tables::{Table, TableId};

/// What a record is to which space of the copy under an account, by its author and `collection/key`. Several copies may
/// tell of one record.
pub const PLACES: Table<(Did, String, AccountId), Cbor<Place>> = Table::new(TableId::ReplicaPlaces);

/// Copies of which one record may be, as far as they are looked at.
const COPIES_MAX: usize = 16;

type Placed = ((Did, String), Place);

/// The copies that tell of a record at `path` of `author`, by their accounts; a few of them where there are many.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn copies_with(reader: &Reader, author: &Did, path: &str) -> Result<Vec<AccountId>, ReadError> {
    let page = reader.scan(&PLACES).prefix(&(author.clone(), path.to_owned())).page(COPIES_MAX)?;
    Ok(page.rows.into_iter().map(|((_, _, account), _)| account).collect())
}

/// Adds to `batch` what a changed row of the copy under `account` changes.
pub(super) fn stage(
    batch: &mut Batch,
    account: AccountId,
    (table, key): (TableId, &[u8]),
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Result<(), RowRefused> {
    let place = |value: Option<&[u8]>| value.and_then(|value| placed(table, key, value));
    let (before, after) = (place(before), place(after));
    if before == after {
        return Ok(());
    }
    if let Some((record, _)) = before {
        batch.delete(&PLACES, &keyed(record, account))?;
    }
    if let Some((record, place)) = after {
        batch.put(&PLACES, &keyed(record, account), &Cbor(place))?;
    }
    Ok(())
}

/// Adds to `batch` the removal of what a row of the copy under `account` had made.
pub(super) fn stage_removal(batch: &mut Batch, account: AccountId, table: u8, row: &OwnRow) -> Result<(), RowRefused> {
    match TableId::from_byte(table) {
        Some(table) => stage(batch, account, (table, &row.key), Some(&row.value), None),
        None => Ok(()),
    }
}

fn keyed((author, path): (Did, String), account: AccountId) -> (Did, String, AccountId) {
    (author, path, account)
}

/// The record that a row is about, and what it is.
fn placed(table: TableId, mut key: &[u8], value: &[u8]) -> Option<Placed> {
    let at = |did: Did, collection: &str, rkey: &str, place| Some(((did, format!("{collection}/{rkey}")), place));
    match table {
        TableId::Spaces => {
            let row: SpaceRow = codec::decode(value).ok()?;
            let id = SpaceId::decode(&mut key).ok()?;
            row.gone_at.is_none().then_some(())?;
            at(row.holder, SPACE, &row.rkey, Place::Space(id))
        }
        TableId::SpaceChannels => {
            let row: ChannelRow = codec::decode(value).ok()?;
            let (id, number) = <(SpaceId, ChannelNumber)>::decode(&mut key).ok()?;
            row.gone_at.is_none().then_some(())?;
            at(row.holder, CHANNEL, &row.rkey, Place::Channel(id, number))
        }
        TableId::SpaceMessages => {
            let row: MessageRow = codec::decode(value).ok()?;
            let (id, position) = <(SpaceId, u64)>::decode(&mut key).ok()?;
            at(row.author, MESSAGE, &row.rkey, Place::Message(id, position))
        }
        _ => None,
    }
}
