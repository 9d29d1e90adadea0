//! Judging a batch, and writing the height it decides. Both block; what was judged is not judged again when it is
//! written.

use std::sync::Arc;

use angel_protocol::consensus::{LedgerContext, ValueId};
use angel_protocol::ids::Did;
use angel_protocol::ledger::batch::{InvalidBatch, InvalidTime, check_time};
use angel_protocol::ledger::certificate::{Certificate, CertificateSignature};
use angel_protocol::ledger::{Applied, ApplyError, Batch, apply};
use angel_protocol::time::Timestamp;
use angel_storage::ledger::{self, Decision};
use malachitebft_core_types::CommitCertificate;

use crate::ledger::{LedgerError, Shared, Tip};

/// A batch that may be decided, with what applying it leaves behind.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) value: ValueId,
    pub(super) batch: Arc<Batch>,
    pub(super) encoded: Vec<u8>,
    pub(super) applied: Applied,
    pub(super) proposer: Did,
}

/// Why a proposed batch gets no vote.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unacceptable {
    /// It is no batch.
    #[error("it is no batch: {0}")]
    Batch(#[from] InvalidBatch),
    /// It does not apply.
    #[error("it does not apply: {0}")]
    Apply(#[from] ApplyError),
    /// Its time.
    #[error(transparent)]
    Time(#[from] InvalidTime),
    /// It leads elsewhere than its proposer says.
    #[error("it leads to {found}, not to {claimed}")]
    Value {
        /// What applying it gives.
        found: ValueId,
        /// What was claimed.
        claimed: ValueId,
    },
    /// It holds transactions that cannot be decided.
    #[error("it holds a transaction that cannot be decided: {0}")]
    Unfit(String),
}

/// Judges an encoded batch that is said to lead to `value`. `clock` is this node's, for a fresh proposal; a value that
/// others voted on already, or decided, is not judged by its age.
///
/// # Errors
/// [`Unacceptable`], by what is wrong.
pub(super) fn judge(
    shared: &Shared,
    value: ValueId,
    encoded: Vec<u8>,
    proposer: Did,
    clock: Option<Timestamp>,
) -> Result<Candidate, Unacceptable> {
    let (batch, applied) = read(shared, &encoded, clock)?;
    let found = ValueId::of(&applied.header);
    if found != value {
        return Err(Unacceptable::Value { found, claimed: value });
    }
    if let Some(entry) = applied.entries.iter().find(|entry| !entry.fit) {
        return Err(Unacceptable::Unfit(format!("{}: {}", entry.id, entry.outcome)));
    }
    Ok(Candidate { value, batch: Arc::new(batch), encoded, applied, proposer })
}

/// Applies an encoded batch that others have decided, as their certificate, which the engine checks, will show.
///
/// # Errors
/// [`Unacceptable`], by what is wrong.
pub(super) fn follow(shared: &Shared, encoded: Vec<u8>, proposer: Did) -> Result<Candidate, Unacceptable> {
    let (batch, applied) = read(shared, &encoded, None)?;
    Ok(Candidate { value: ValueId::of(&applied.header), batch: Arc::new(batch), encoded, applied, proposer })
}

/// What an encoded batch leads to. What is not known of its signatures is checked together.
fn read(shared: &Shared, encoded: &[u8], clock: Option<Timestamp>) -> Result<(Batch, Applied), Unacceptable> {
    let batch = Batch::decode_with(encoded, |digest| shared.verified.transaction(digest))?;
    if let Some(now) = clock {
        check_time(shared.tip().time, batch.time, now, true)?;
    }
    let view = shared.view();
    shared.verified.learn(&view, &batch.transactions).map_err(ApplyError::from)?;
    let applied = apply(&view, &batch, &shared.verified)?;
    Ok((batch, applied))
}

/// The ledger's certificate in the engine's: the same signatures, in the order of their validators.
fn certificate(shared: &Shared, decided: &CommitCertificate<LedgerContext>) -> Certificate {
    let mut signatures: Vec<_> = decided
        .commit_signatures
        .iter()
        .map(|entry| CertificateSignature { validator: entry.address.0.clone(), signature: entry.signature })
        .collect();
    signatures.sort_by(|a, b| a.validator.cmp(&b.validator));
    Certificate {
        network: shared.network.clone(),
        height: decided.height.0,
        round: decided.round.as_u32().unwrap_or(0),
        value: decided.value_id.into(),
        signatures,
    }
}

/// Writes a decided height and returns when it is durable. A height that is there already changes nothing.
///
/// # Errors
/// The store fails.
pub(super) fn write(
    shared: &Shared,
    candidate: &Candidate,
    decided: &CommitCertificate<LedgerContext>,
) -> Result<(), LedgerError> {
    let header = candidate.applied.header.clone();
    if header.height <= shared.tip().height {
        return Ok(());
    }
    let tip = Tip { height: header.height, time: header.time, root: header.root };
    let decision = Decision {
        certificate: certificate(shared, decided),
        header,
        proposer: candidate.proposer.clone(),
        transactions: u32::try_from(candidate.batch.transactions.len()).unwrap_or(u32::MAX),
    };
    shared.kept.begin();
    ledger::decide(&shared.reader, &shared.writer, decision, &candidate.applied, &candidate.encoded)?;
    shared.kept.end(&candidate.applied.changes);
    shared.verified.forget(&candidate.batch.transactions);
    shared.advance(tip, Arc::clone(&candidate.batch));
    Ok(())
}

#[cfg(test)]
mod tests;
