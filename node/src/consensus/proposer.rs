//! Making a batch out of what waits, and handing it out in parts.

use std::sync::Arc;

use angel_protocol::consensus::part::{Part, PartHead, split};
use angel_protocol::consensus::{Address, Height, LedgerContext, ValueId};
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::NetworkId;
use angel_protocol::ledger::batch::proposal_time;
use angel_protocol::ledger::{ApplyError, Entry, Signed, assemble};
use angel_protocol::time::Timestamp;
use angel_storage::Batch as Rows;
use angel_storage::ledger::undecided::{self, Undecided};
use malachitebft_core_types::Round;
use malachitebft_engine::network::NetworkMsg;
use malachitebft_engine::util::streaming::{StreamContent, StreamId, StreamMessage};

use super::decide::Candidate;
use crate::ledger::{LedgerError, Shared};

/// Makes a batch for the height after the tip, with the outcomes of what cannot be decided any more. Blocks.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn make(
    shared: &Shared,
    waiting: Vec<Signed>,
    now: Timestamp,
) -> Result<(Candidate, Vec<Entry>), ApplyError> {
    let tip = shared.tip();
    let view = shared.view();
    let time = proposal_time(tip.time, now);
    let (batch, applied, unfit) = assemble(&view, tip.height + 1, time, waiting, &shared.verified)?;
    let value = ValueId::of(&applied.header);
    let encoded = batch.encode();
    Ok((Candidate { value, batch: Arc::new(batch), encoded, applied, proposer: shared.own.clone() }, unfit))
}

/// Keeps a proposal before anybody votes for it: the engine's log remembers its hash alone. Blocks until it is durable.
///
/// # Errors
/// The store fails.
pub(super) fn keep(
    shared: &Shared,
    height: u64,
    candidate: &Candidate,
    round: Round,
    pol_round: Round,
) -> Result<(), LedgerError> {
    let mut rows = Rows::new();
    let kept = undecided::keep(&mut rows, height, candidate.value.0, &row(candidate, round, pol_round))
        .and_then(|()| undecided::note_voting(&mut rows, height));
    if let Err(error) = kept {
        tracing::error!(%error, "a proposal does not fit a batch of rows");
        return Ok(());
    }
    shared.writer.commit(rows)?;
    Ok(())
}

/// Keeps what a peer sent of a height that others decided, before the engine's log remembers its hash: started again, the
/// engine decides by that and the certificate alone. Blocks until it is durable.
///
/// # Errors
/// The store fails.
pub(super) fn keep_followed(
    shared: &Shared,
    height: u64,
    candidate: &Candidate,
    round: Round,
) -> Result<(), LedgerError> {
    if undecided::is_kept(&shared.reader, height, candidate.value.0)? {
        return Ok(());
    }
    let mut rows = Rows::new();
    if let Err(error) = undecided::keep(&mut rows, height, candidate.value.0, &row(candidate, round, Round::Nil)) {
        tracing::error!(%error, "a decided batch does not fit a batch of rows");
        return Ok(());
    }
    shared.writer.commit(rows)?;
    Ok(())
}

fn row(candidate: &Candidate, round: Round, pol_round: Round) -> Undecided {
    Undecided {
        round: round.as_u32().unwrap_or(0),
        pol_round: pol_round.as_u32(),
        proposer: candidate.proposer.clone(),
        body: candidate.encoded.clone(),
    }
}

/// The messages that carry a candidate to the others: head, pieces, end.
pub(super) fn parts(
    candidate: &Candidate,
    height: Height,
    round: Round,
    pol_round: Round,
    network: &NetworkId,
    key: &NodeKey,
) -> Vec<NetworkMsg<LedgerContext>> {
    let head = PartHead {
        height,
        round,
        pol_round,
        value: candidate.value,
        proposer: Address(candidate.proposer.clone()),
        sender: Address(key.did()),
        bytes: u32::try_from(candidate.encoded.len()).unwrap_or(u32::MAX),
    };
    let nonce: u64 = rand::random();
    let id = borsh::to_vec(&(height, round, nonce)).expect("memory takes every byte");
    let stream = StreamId::new(id.into());
    let parts = std::iter::once(Part::head(head, network, key)).chain(split(&candidate.encoded));
    let message = |(sequence, part)| {
        NetworkMsg::PublishProposalPart(StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part)))
    };
    (0_u64..).zip(parts).map(message).collect()
}
