//! A batch: the transactions of one height in their order, and the header that commits to what becomes of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use sha2::{Digest, Sha256};

use super::transaction::{InvalidTransaction, Signed, encode};
use crate::ids::NetworkId;
use crate::limits::{BATCH_BYTES_MAX, BATCH_TIME_AHEAD_MAX, BATCH_TIME_BEHIND_MAX, BATCH_TRANSACTIONS_MAX};
use crate::time::Timestamp;

/// The transactions of one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The height; one above the one before.
    pub height: u64,
    /// When it was proposed; above the time of the one before.
    pub time: Timestamp,
    /// In the order in which they take effect.
    pub transactions: Vec<Signed>,
}

/// As it is read, without copying the transactions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    height: u64,
    time: Timestamp,
    #[serde(borrow)]
    transactions: Vec<&'a Bytes>,
}

/// The same for writing, without copying the transactions.
#[derive(Serialize)]
struct Written<'a> {
    height: u64,
    time: Timestamp,
    transactions: Vec<&'a Bytes>,
}

/// Why bytes are no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatch {
    /// More bytes than a full batch has.
    #[error("a batch has at most {BATCH_BYTES_MAX} bytes of transactions")]
    TooLarge,
    /// More than [`BATCH_TRANSACTIONS_MAX`] transactions.
    #[error("a batch has at most {BATCH_TRANSACTIONS_MAX} transactions")]
    TooMany,
    /// Not the DAG-CBOR of a batch.
    #[error("not the canonical DAG-CBOR of a batch: {0}")]
    Encoding(String),
    /// One of them is no transaction.
    #[error("transaction {0} of the batch: {1}")]
    Transaction(usize, InvalidTransaction),
}

impl Batch {
    /// SHA-256 over height, time and the digest of every transaction.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"angel/batch/1\0");
        hash.update(self.height.to_be_bytes());
        hash.update(self.time.as_millis().to_be_bytes());
        for signed in &self.transactions {
            hash.update(signed.digest());
        }
        hash.finalize().into()
    }

    /// As it travels and is stored: canonical DAG-CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let transactions = self.transactions.iter().map(|signed| Bytes::new(signed.bytes())).collect();
        encode(&Written { height: self.height, time: self.time, transactions }).expect("only integers and bytes")
    }

    /// Reads a batch from untrusted bytes.
    ///
    /// # Errors
    /// [`InvalidBatch`], by what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidBatch> {
        Self::decode_with(bytes, |_| None)
    }

    /// The same where some of its transactions may have been read before: `known` finds one by [`Signed::digest`].
    ///
    /// # Errors
    /// [`InvalidBatch`], by what is wrong.
    pub fn decode_with(bytes: &[u8], known: impl Fn(&[u8; 32]) -> Option<Signed>) -> Result<Self, InvalidBatch> {
        // Each transaction brings up to five bytes of its own length, the batch itself fewer than a hundred.
        if bytes.len() > BATCH_BYTES_MAX + 5 * BATCH_TRANSACTIONS_MAX + 100 {
            return Err(InvalidBatch::TooLarge);
        }
        let wire: Wire<'_> =
            serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidBatch::Encoding(error.to_string()))?;
        if wire.transactions.len() > BATCH_TRANSACTIONS_MAX {
            return Err(InvalidBatch::TooMany);
        }
        if wire.transactions.iter().map(|bytes| bytes.len()).sum::<usize>() > BATCH_BYTES_MAX {
            return Err(InvalidBatch::TooLarge);
        }
        let transactions = wire
            .transactions
            .iter()
            .enumerate()
            .map(|(index, bytes)| match known(&Sha256::digest(&***bytes).into()) {
                Some(signed) => Ok(signed),
                None => Signed::decode(bytes).map_err(|error| InvalidBatch::Transaction(index, error)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { height: wire.height, time: wire.time, transactions })
    }

    /// Reads one transaction of an encoded batch, by its place; the others are not looked at.
    ///
    /// # Errors
    /// [`InvalidBatch`], by what is wrong.
    pub fn decode_one(bytes: &[u8], index: usize) -> Result<Option<Signed>, InvalidBatch> {
        let wire: Wire<'_> =
            serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidBatch::Encoding(error.to_string()))?;
        let Some(bytes) = wire.transactions.get(index) else { return Ok(None) };
        Signed::decode(bytes).map(Some).map_err(|error| InvalidBatch::Transaction(index, error))
    }
}

/// What validators decide: a batch together with the state it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// The network.
    pub network: NetworkId,
    /// The height.
    pub height: u64,
    /// The batch's time.
    pub time: Timestamp,
    /// [`Header::hash`] of the height before; zeros at genesis.
    #[serde(with = "serde_bytes")]
    pub previous: [u8; 32],
    /// [`Batch::hash`]; the hash of the genesis at height 0.
    #[serde(with = "serde_bytes")]
    pub batch: [u8; 32],
    /// Root of the state after the batch.
    #[serde(with = "serde_bytes")]
    pub root: [u8; 32],
}

impl Header {
    /// The value that consensus votes on: SHA-256 over the header's canonical DAG-CBOR.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let bytes = encode(self).expect("a header has only integers, a name and hashes");
        Sha256::new().chain_update(b"angel/header/1\0").chain_update(bytes).finalize().into()
    }
}

/// Why a proposed time is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    /// Not above the batch before.
    #[error("the time is not after that of the batch before")]
    NotAfter,
    /// Ahead of this node's clock.
    #[error("the time lies {0:?} ahead of this node's clock; check the clocks")]
    Ahead(Duration),
    /// Behind this node's clock.
    #[error("the time lies {0:?} behind this node's clock; check the clocks")]
    Behind(Duration),
}

/// Whether a validator whose clock says `now` may vote for a new proposal of time `proposed`.
///
/// Time in the ledger is the proposer's, within what two thirds of the validators' clocks accept, and it never goes
/// back. A value that was proposed in an earlier round, and is proposed again, is judged with `fresh` false: it
/// may have aged, and its time was accepted when it was new.
///
/// # Errors
/// [`InvalidTime`], by what is wrong.
pub fn check_time(previous: Timestamp, proposed: Timestamp, now: Timestamp, fresh: bool) -> Result<(), InvalidTime> {
    if proposed <= previous {
        return Err(InvalidTime::NotAfter);
    }
    if proposed.since(now) > BATCH_TIME_AHEAD_MAX && proposed.since(previous) > Duration::from_millis(1) {
        return Err(InvalidTime::Ahead(proposed.since(now)));
    }
    if fresh && now.since(proposed) > BATCH_TIME_BEHIND_MAX {
        return Err(InvalidTime::Behind(now.since(proposed)));
    }
    Ok(())
}

/// The time a proposer whose clock says `now` gives its batch.
#[must_use]
pub fn proposal_time(previous: Timestamp, now: Timestamp) -> Timestamp {
    now.max(previous + Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn time_moves_forward_within_what_clocks_accept() {
        let now = at(1_000_000);
        assert_eq!(check_time(at(999_999), now, now, true), Ok(()));
        assert_eq!(check_time(now, now, now, true), Err(InvalidTime::NotAfter));
        assert_eq!(check_time(at(1), at(1_010_000), now, true), Ok(()));
        assert_eq!(check_time(at(1), at(1_010_001), now, true), Err(InvalidTime::Ahead(Duration::from_millis(10_001))));
        assert_eq!(check_time(at(1), at(879_999), now, true), Err(InvalidTime::Behind(Duration::from_millis(120_001))));
        assert_eq!(check_time(at(1), at(879_999), now, false), Ok(()));
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_network() {
        // The batch before lies an hour ahead of every clock: the smallest step is still accepted.
        let (previous, now) = (at(5_000_000), at(1_400_000));
        assert_eq!(check_time(previous, proposal_time(previous, now), now, true), Ok(()));
    }
}
