//! What survives of the ledger: the rows of its state, decided batches with their certificates, proposals that may still be
//! decided, and transactions that wait.
//!
//! A height is decided durably with its batch and certificate. State, receipts and history follow from those: they are
//! written for several heights together, as one atomic batch, so that the tables are as some height left them, and all
//! readers here see the newest (`late`). What the rows mean is the ledger's ([`angel_protocol::ledger`]); here they are
//! bytes.
//!
//! # Map
//!
//! | where | what |
//! |---|---|
//! | [`LedgerView`] | the state, read by the ledger's own code |
//! | [`decide`], [`Decision`] | writing one height |
//! | `late` | what follows from heights and is not written yet |
//! | [`genesis`] | writing height 0 |
//! | [`decided`] | reading heights, certificates, validators |
//! | `history` | movements of balances, by account |
//! | [`undecided`] | proposals, and what consensus remembers |
//! | [`waiting`] | the mempool's rows |

pub mod decided;
mod history;
pub(crate) mod late;
pub mod undecided;
pub mod waiting;

use std::collections::BTreeSet;

use angel_protocol::ids::Did;
use angel_protocol::ledger::certificate::Certificate;
use angel_protocol::ledger::view::ViewError;
use angel_protocol::ledger::{Applied, Changes, Checkpoint, Header, ValidatorSet, View};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::chunked::ChunkedTable;
use crate::codec::{self, Cbor, CodecError, Raw, Row};
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::writer::{CommitError, Writer};

pub use history::Movement;
pub use late::hold;

/// Rows of the state. A value larger than a row has more than one part; the first begins with their number.
pub(crate) const ROWS: Table<(Vec<u8>, u8), Raw> = Table::new(TableId::LedgerRows);
/// Decided batches, as they travelled, where this node did not keep them as proposals.
pub(crate) const BATCHES: ChunkedTable<u64> = ChunkedTable::new(TableId::LedgerBatches);
/// Headers with certificates.
pub(crate) const DECISIONS: Table<u64, Decided> = Table::new(TableId::LedgerDecisions);
/// Validators, from a height on.
pub(crate) const VALIDATORS: Table<u64, Cbor<ValidatorSet>> = Table::new(TableId::LedgerValidators);
/// Roots worth publishing.
pub(crate) const CHECKPOINTS: Table<u64, Cbor<StoredCheckpoint>> = Table::new(TableId::LedgerCheckpoints);

/// Bytes of a state row in one part: [`crate::limits::VALUE_BYTES_MAX`] less its version byte and the number of parts.
const PART_BYTES: usize = crate::limits::VALUE_BYTES_MAX - 2;

/// A decided height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What was decided.
    pub header: Header,
    /// That it was.
    pub certificate: Certificate,
    /// Who proposed it.
    pub proposer: Did,
    /// Transactions in the batch.
    pub transactions: u32,
}

/// A decided height as stored. Before version 2 its rows were written with it, and software that takes that for granted
/// must not go on from older ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Decided(pub(crate) Decision);

impl Row for Decided {
    const VERSION: u8 = 2;

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        if version == 1 { codec::from_cbor(body).map(Self) } else { Err(CodecError::UnknownVersion { version }) }
    }
}

/// A checkpoint as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredCheckpoint {
    /// Root of the state.
    #[serde(with = "serde_bytes")]
    pub root: [u8; 32],
    /// Transactions posted since the one before.
    pub transactions: u64,
    /// Root of the one before.
    #[serde(with = "serde_bytes")]
    pub previous: [u8; 32],
}

impl From<&Checkpoint> for StoredCheckpoint {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { root, transactions, previous, .. } = checkpoint;
        Self { root: *root, transactions: *transactions, previous: *previous }
    }
}

/// The ledger's state after the newest height.
#[derive(Clone, Copy, Debug)]
pub struct LedgerView<'a>(pub &'a Reader);

/// The ledger's state as its tables have it, after some earlier height.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TablesView<'a>(pub(crate) &'a Reader);

impl View for TablesView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        get_row(self.0, key).map_err(|error| ViewError::Storage(error.to_string()))
    }
}

impl View for LedgerView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match self.0.late().get(key) {
            Some(row) => Ok(row),
            None => TablesView(self.0).get(key),
        }
    }
}

/// A row as its table has it.
pub(crate) fn get_row(reader: &Reader, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let mut place = (key.to_vec(), 0);
    let Some(Raw(mut value)) = reader.get(&ROWS, &place)? else { return Ok(None) };
    if value.is_empty() {
        return Err(ReadError::missing(&ROWS, &place));
    }
    let parts = value.remove(0);
    for part in 1..parts {
        place.1 = part;
        let Raw(more) = reader.get(&ROWS, &place)?.ok_or_else(|| ReadError::missing(&ROWS, &place))?;
        value.extend_from_slice(&more);
    }
    Ok(Some(value))
}

/// Keys of the state's rows that begin with `first`, behind `after`, in their order: at most `limit`, and whether there
/// may be more. A row may be gone by the time it is read.
pub(crate) fn keys(
    reader: &Reader,
    first: u8,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, bool), ReadError> {
    let (prefix, until) = ([first], vec![first + 1]);
    let after = after.unwrap_or(&prefix);
    // What waits is looked at first: what is written meanwhile is in the table then.
    let late = reader.late().keys(after, &until, limit);
    let late_ends = late.len() < limit;
    // The last part of a row is its greatest key.
    let page = reader.scan(&ROWS).after(&(after.to_vec(), u8::MAX)).until(&(until, 0)).page(limit)?;
    let written_until = page.rows.last().filter(|_| page.more).map(|((key, _), _)| key.clone());
    let late_until = late.last().filter(|_| !late_ends).cloned();
    let mut keys: BTreeSet<_> = page.rows.into_iter().map(|((key, _), _)| key).collect();
    keys.extend(late);
    // Behind where either was left off, not all of them are known.
    let known = [written_until, late_until].into_iter().flatten().min();
    if let Some(known) = &known {
        keys.retain(|key| key <= known);
    }
    let more = known.is_some() || keys.len() > limit;
    Ok((keys.into_iter().take(limit).collect(), more))
}

/// Sets or removes a row of the state. A shorter value leaves later parts of the longer one behind, which nothing reads.
fn put_row(batch: &mut Batch, key: &[u8], value: Option<&[u8]>) -> Result<(), RowRefused> {
    let Some(value) = value else { return batch.delete(&ROWS, &(key.to_vec(), 0)) };
    let mut pieces = value.chunks(PART_BYTES);
    let first = pieces.next().unwrap_or_default();
    let too_large = |_| RowRefused::ValueTooLarge { table: TableId::LedgerRows, bytes: value.len() };
    let count = u8::try_from(1 + pieces.len()).map_err(too_large)?;
    batch.put(&ROWS, &(key.to_vec(), 0), &Raw([&[count], first].concat()))?;
    for (part, piece) in (1_u8..).zip(pieces) {
        batch.put(&ROWS, &(key.to_vec(), part), &Raw(piece.to_vec()))?;
    }
    Ok(())
}

/// Writes a decided height, and returns when it is durable. A batch that was kept as a proposal is not written again, and
/// what follows from the height is seen at once and written later, with that of others. Heights come one after another.
///
/// # Errors
/// The store fails, or the height is larger than heights may be.
pub fn decide(
    reader: &Reader,
    writer: &Writer,
    decision: Decision,
    applied: &Applied,
    encoded: &[u8],
) -> Result<(), DecideError> {
    let height = applied.header.height;
    let value = decision.certificate.value.0;
    let late = reader.late();
    let due = if late.is_due(applied) { Some(late.rows()?) } else { None };
    let mut batch = Batch::new();
    // What was kept before the vote stays where it lies.
    if !undecided::is_kept(reader, height, value)? {
        BATCHES.put(&mut batch, &height, encoded)?;
    }
    batch.put(&DECISIONS, &height, &Decided(decision))?;
    if decided::validators(reader, height)?.as_ref() != Some(&applied.validators) {
        batch.put(&VALIDATORS, &(height + 1), &Cbor(applied.validators.clone()))?;
    }
    if let Some(checkpoint) = &applied.checkpoint {
        batch.put(&CHECKPOINTS, &height, &Cbor(checkpoint.into()))?;
    }
    undecided::forget_others(reader, &mut batch, height, value)?;
    if let Some(due) = due {
        // As the height before left them: that one is durable.
        writer.commit(due)?;
        late.clear();
    }
    writer.commit(batch)?;
    late.add(applied);
    Ok(())
}

/// Writes what follows from decided heights and waits, for an orderly stop.
///
/// # Errors
/// The store fails.
pub fn settle(reader: &Reader, writer: &Writer) -> Result<(), DecideError> {
    let rows = reader.late().rows()?;
    if rows.rows() > 0 {
        writer.commit(rows)?;
        reader.late().clear();
    }
    Ok(())
}

/// Why a height was not written.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// A row is beyond its bounds.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What else was proposed for the height cannot be removed.
    #[error(transparent)]
    Others(#[from] crate::events::TrimError),
    /// The store failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Writes the rows of height 0, the one that says how far the ledger is last: a half-written genesis counts as none.
///
/// # Errors
/// The store fails.
pub fn genesis(writer: &Writer, changes: &Changes, validators: &ValidatorSet) -> Result<(), GenesisError> {
    // The rows that there is one of, the head among them, have keys of one byte.
    let (rows, singles): (Vec<_>, Vec<_>) = changes.iter().partition(|(key, _)| key.len() > 1);
    for chunk in rows.chunks(crate::limits::BULK_ROWS) {
        let mut batch = Batch::new();
        for (key, value) in chunk {
            put_row(&mut batch, key, value.as_deref())?;
        }
        writer.commit(batch)?;
    }
    let mut batch = Batch::new();
    for (key, value) in singles {
        put_row(&mut batch, key, value.as_deref())?;
    }
    batch.put(&VALIDATORS, &1, &Cbor(validators.clone()))?;
    writer.commit(batch)?;
    Ok(())
}

/// Why the genesis was not written.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// A row is beyond its bounds.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The store failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

#[cfg(test)]
mod tests;
