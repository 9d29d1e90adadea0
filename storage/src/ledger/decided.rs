//! Reading what was decided.

use angel_protocol::ledger::batch::InvalidBatch;
use angel_protocol::ledger::{Batch, Signed, ValidatorSet};

pub use super::history::{Place, history};
use super::{BATCHES, CHECKPOINTS, DECISIONS, Decided, Decision, StoredCheckpoint, VALIDATORS, undecided};
use crate::codec::{Cbor, CodecError};
use crate::reader::{ReadError, Reader};

/// The header and certificate of a height; nothing for genesis and for heights to come.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn decision(reader: &Reader, height: u64) -> Result<Option<Decision>, ReadError> {
    Ok(reader.get(&DECISIONS, &height)?.map(|Decided(decision)| decision))
}

/// The newest height that was decided; nothing before the first.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn newest(reader: &Reader) -> Result<Option<u64>, ReadError> {
    Ok(reader.scan(&DECISIONS).reverse().page(1)?.rows.first().map(|(height, _)| *height))
}

/// The batch of a height, as it travelled.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn encoded_batch(reader: &Reader, height: u64) -> Result<Option<Vec<u8>>, ReadError> {
    if let Some(encoded) = BATCHES.get(reader, &height)? {
        return Ok(Some(encoded));
    }
    let Some(decision) = decision(reader, height)? else { return Ok(None) };
    Ok(undecided::get(reader, height, decision.certificate.value.0)?.map(|kept| kept.body))
}

/// One transaction of a height, by its place in the batch.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn transaction(reader: &Reader, height: u64, index: usize) -> Result<Option<Signed>, ReadError> {
    let Some(encoded) = encoded_batch(reader, height)? else { return Ok(None) };
    Batch::decode_one(&encoded, index).map_err(|error| damaged(height, &error))
}

fn damaged(height: u64, error: &InvalidBatch) -> ReadError {
    ReadError::row(&BATCHES.rows(), &(height, 0), CodecError::Decode { detail: error.to_string() })
}

/// The batch of a height.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn batch(reader: &Reader, height: u64) -> Result<Option<Batch>, ReadError> {
    let Some(encoded) = encoded_batch(reader, height)? else { return Ok(None) };
    Batch::decode(&encoded).map(Some).map_err(|error| damaged(height, &error))
}

/// The validators that decide, or decided, `height`.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn validators(reader: &Reader, height: u64) -> Result<Option<ValidatorSet>, ReadError> {
    let newest = reader.scan(&VALIDATORS).until(&height.saturating_add(1)).reverse().page(1)?;
    Ok(newest.rows.into_iter().next().map(|(_, Cbor(set))| set))
}

/// The newest checkpoint and its height.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn latest_checkpoint(reader: &Reader) -> Result<Option<(u64, StoredCheckpoint)>, ReadError> {
    let newest = reader.scan(&CHECKPOINTS).reverse().page(1)?;
    Ok(newest.rows.into_iter().next().map(|(height, Cbor(checkpoint))| (height, checkpoint)))
}
