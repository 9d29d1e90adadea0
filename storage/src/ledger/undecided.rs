//! Proposals that may be decided: kept before anybody votes for them, because the engine's log remembers their hash alone.
//! The one that is decided stays, as the batch of its height; the others of the height go.
//!
//! And what consensus remembers about itself.

use angel_protocol::ids::Did;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::chunked::ChunkedTable;
use crate::codec::{Cbor, CodecError, Row};
use crate::events::TrimError;
use crate::limits::BATCH_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

const UNDECIDED: ChunkedTable<(u64, [u8; 32])> = ChunkedTable::new(TableId::LedgerUndecided);
const EVIDENCE: Table<(u64, u32), Cbor<Evidence>> = Table::new(TableId::LedgerEvidence);
const NOTES: Table<String, Cbor<Note>> = Table::new(TableId::LedgerNotes);

const VOTING: &str = "voting";

/// A proposal with its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undecided {
    /// The round in which it came.
    pub round: u32,
    /// The round in which two thirds had prevoted for it, when it was proposed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pol_round: Option<u32>,
    /// Who proposed it first.
    pub proposer: Did,
    /// The encoded batch.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Row for Undecided {
    const VERSION: u8 = 1;
}

/// Two messages of one validator that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Who.
    pub validator: Did,
    /// `vote` or `proposal`.
    pub kind: String,
    /// One message, as its signature covers it.
    #[serde(with = "serde_bytes")]
    pub first: Vec<u8>,
    /// Its signature.
    #[serde(with = "serde_bytes")]
    pub first_signature: Vec<u8>,
    /// The other.
    #[serde(with = "serde_bytes")]
    pub second: Vec<u8>,
    /// Its signature.
    #[serde(with = "serde_bytes")]
    pub second_signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    height: u64,
}

/// Adds a proposal to `batch`.
///
/// # Errors
/// It is larger than a batch of rows.
pub fn keep(batch: &mut Batch, height: u64, value: [u8; 32], undecided: &Undecided) -> Result<(), RowRefused> {
    let refused = |error: String| RowRefused::Value {
        table: TableId::LedgerUndecided,
        source: CodecError::Encode { detail: error },
    };
    let bytes = crate::codec::encode(undecided).map_err(|error| refused(error.to_string()))?;
    UNDECIDED.put(batch, &(height, value), &bytes)
}

/// One proposal.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn get(reader: &Reader, height: u64, value: [u8; 32]) -> Result<Option<Undecided>, ReadError> {
    let key = (height, value);
    let Some(bytes) = UNDECIDED.get(reader, &key)? else { return Ok(None) };
    let decoded = crate::codec::decode::<Undecided>(&bytes);
    decoded.map(Some).map_err(|source| ReadError::row(&UNDECIDED.rows(), &(key, 0), source))
}

/// The values proposed at a height.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn at(reader: &Reader, height: u64) -> Result<Vec<[u8; 32]>, ReadError> {
    let rows = UNDECIDED.rows();
    let scan = reader.scan(&rows).from(&((height, [0; 32]), 0)).until(&((height.saturating_add(1), [0; 32]), 0));
    let page = scan.page(crate::limits::PAGE_ROWS_MAX)?;
    Ok(page.rows.into_iter().filter(|((_, part), _)| *part == 0).map(|((key, _), _)| key.1).collect())
}

/// Whether a proposal is kept.
///
/// # Errors
/// The engine fails.
pub fn is_kept(reader: &Reader, height: u64, value: [u8; 32]) -> Result<bool, ReadError> {
    Ok(reader.get(&UNDECIDED.rows(), &((height, value), 0))?.is_some())
}

/// Adds the removal of every proposal of `height` but the one decided to `batch`, as far as it has room.
pub(super) fn forget_others(
    reader: &Reader,
    batch: &mut Batch,
    height: u64,
    decided: [u8; 32],
) -> Result<(), TrimError> {
    let rows = UNDECIDED.rows();
    let before = reader.scan(&rows).from(&((height, [0; 32]), 0)).until(&((height, decided), 0));
    let behind =
        reader.scan(&rows).from(&((height, decided), u16::MAX)).until(&((height.saturating_add(1), [0; 32]), 0));
    for scan in [before, behind] {
        for (key, _) in scan.page(1000)?.rows {
            if batch.rows() < BATCH_ROWS_MAX {
                batch.delete(&rows, &key)?;
            }
        }
    }
    Ok(())
}

/// Notes that this node takes part in deciding `height`: its votes are in the engine's log from here on.
///
/// # Errors
/// The batch is full.
pub fn note_voting(batch: &mut Batch, height: u64) -> Result<(), RowRefused> {
    batch.put(&NOTES, &VOTING.to_owned(), &Cbor(Note { height }))
}

/// The last height that this node took part in deciding; nothing if it never did.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn voting(reader: &Reader) -> Result<Option<u64>, ReadError> {
    Ok(reader.get(&NOTES, &VOTING.to_owned())?.map(|Cbor(note)| note.height))
}

/// Keeps evidence found while `height` was decided.
///
/// # Errors
/// The batch is full.
pub fn keep_evidence(batch: &mut Batch, height: u64, evidence: Vec<Evidence>) -> Result<(), RowRefused> {
    for (number, evidence) in (0_u32..).zip(evidence) {
        batch.put(&EVIDENCE, &(height, number), &Cbor(evidence))?;
    }
    Ok(())
}

/// Evidence, the newest first.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn evidence(reader: &Reader, limit: usize) -> Result<Vec<(u64, Evidence)>, ReadError> {
    let page = reader.scan(&EVIDENCE).reverse().page(limit)?;
    Ok(page.rows.into_iter().map(|((height, _), Cbor(evidence))| (height, evidence)).collect())
}
