//! Reading what was decided.

use angel_protocol::ids::Did;
use angel_protocol::ledger::{Batch, ValidatorSet};

use super::{BATCHES, CHECKPOINTS, DECISIONS, Decision, HISTORY, Movement, StoredCheckpoint, VALIDATORS};
use crate::codec::{Cbor, CodecError};
use crate::reader::{ReadError, Reader};

/// Where a movement stands in an account's history: height and number.
pub type Place = (u64, u32);

/// The header and certificate of a height; nothing for genesis and for heights to come.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn decision(reader: &Reader, height: u64) -> Result<Option<Decision>, ReadError> {
    Ok(reader.get(&DECISIONS, &height)?.map(|Cbor(decision)| decision))
}

/// The batch of a height, as it travelled.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn encoded_batch(reader: &Reader, height: u64) -> Result<Option<Vec<u8>>, ReadError> {
    BATCHES.get(reader, &height)
}

/// The batch of a height.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn batch(reader: &Reader, height: u64) -> Result<Option<Batch>, ReadError> {
    let Some(encoded) = encoded_batch(reader, height)? else { return Ok(None) };
    let damaged = |error: angel_protocol::ledger::batch::InvalidBatch| {
        ReadError::row(&BATCHES.rows(), &(height, 0), CodecError::Decode { detail: error.to_string() })
    };
    Batch::decode(&encoded).map(Some).map_err(damaged)
}

/// The validators that decide, or decided, `height`.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn validators(reader: &Reader, height: u64) -> Result<Option<ValidatorSet>, ReadError> {
    let newest = reader.scan(&VALIDATORS).until(&height.saturating_add(1)).reverse().page(1)?;
    Ok(newest.rows.into_iter().next().map(|(_, Cbor(set))| set))
}

/// Movements of an account's balances before `before`, the newest first.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn history(
    reader: &Reader,
    account: &Did,
    before: Option<Place>,
    limit: usize,
) -> Result<Vec<(Place, Movement)>, ReadError> {
    let mut scan = reader.scan(&HISTORY).prefix(account).reverse();
    if let Some((height, number)) = before {
        scan = scan.until(&(account.clone(), height, number));
    }
    let rows = scan.page(limit)?.rows;
    Ok(rows.into_iter().map(|((_, height, number), Cbor(movement))| ((height, number), movement)).collect())
}

/// The newest checkpoint and its height.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn latest_checkpoint(reader: &Reader) -> Result<Option<(u64, StoredCheckpoint)>, ReadError> {
    let newest = reader.scan(&CHECKPOINTS).reverse().page(1)?;
    Ok(newest.rows.into_iter().next().map(|(height, Cbor(checkpoint))| (height, checkpoint)))
}
