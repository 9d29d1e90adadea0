//! Double votes, brought before the ledger: the proof of one removes the validator from the set. Proofs that were found
//! before a restart are reported again, until the validator is gone.

use std::sync::Arc;

use angel_protocol::consensus::LedgerContext;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::ledger::Action;
use angel_protocol::ledger::action::{ReportDoubleVote, SignedVote};
use angel_protocol::ledger::certificate::Vote;
use angel_storage::ledger::decided;
use angel_storage::ledger::undecided::{self, Evidence};
use malachitebft_core_consensus::MisbehaviorEvidence;
use tokio::sync::mpsc;

use crate::blocking;
use crate::ledger::{LedgerError, NodeWallet, Shared};

/// Proofs that are looked at after a restart.
const KEPT_MAX: usize = 256;

/// The engine's proofs as they are kept: what each signature covers, and the signatures.
pub(super) fn evidence(network: &NetworkId, found: &MisbehaviorEvidence<LedgerContext>) -> Vec<Evidence> {
    let votes = found.votes.iter().flat_map(|(address, pairs)| {
        pairs.iter().filter_map(move |(first, second)| {
            Some(Evidence {
                validator: address.0.clone(),
                kind: "vote".to_owned(),
                first: first.message.in_ledger(network)?.sign_bytes(),
                first_signature: first.signature.to_vec(),
                second: second.message.in_ledger(network)?.sign_bytes(),
                second_signature: second.signature.to_vec(),
            })
        })
    });
    let proposals = found.proposals.iter().flat_map(|(address, pairs)| {
        pairs.iter().map(move |(first, second)| Evidence {
            validator: address.0.clone(),
            kind: "proposal".to_owned(),
            first: first.message.sign_bytes(network),
            first_signature: first.signature.to_vec(),
            second: second.message.sign_bytes(network),
            second_signature: second.signature.to_vec(),
        })
    });
    votes.chain(proposals).collect()
}

/// Keeps proofs that were found while `height` was decided; durable when it returns.
///
/// # Errors
/// The store fails.
pub(super) async fn keep(shared: &Arc<Shared>, height: u64, evidence: Vec<Evidence>) -> Result<(), LedgerError> {
    let shared = Arc::clone(shared);
    let kept = blocking::run(move || {
        let mut batch = angel_storage::Batch::new();
        match undecided::keep_evidence(&mut batch, height, evidence) {
            Ok(()) => shared.writer.commit(batch).map(drop),
            Err(error) => {
                tracing::error!(%error, "the proof does not fit a batch of rows");
                Ok(())
            }
        }
    });
    Ok(kept.await?)
}

/// Reports what is found until nobody looks any more.
pub(super) async fn run(shared: Arc<Shared>, wallet: NodeWallet, mut found: mpsc::Receiver<Evidence>) {
    match kept(&shared).await {
        Ok(kept) => {
            for evidence in kept {
                report(&shared, &wallet, evidence).await;
            }
        }
        Err(error) => tracing::warn!(%error, "proofs of double votes cannot be read"),
    }
    while let Some(evidence) = found.recv().await {
        report(&shared, &wallet, evidence).await;
    }
}

async fn kept(shared: &Arc<Shared>) -> Result<Vec<Evidence>, LedgerError> {
    let reader = shared.reader.clone();
    let kept = blocking::run(move || undecided::evidence(&reader, KEPT_MAX)).await?;
    Ok(kept.into_iter().map(|(_, evidence)| evidence).collect())
}

async fn report(shared: &Arc<Shared>, wallet: &NodeWallet, evidence: Evidence) {
    let validator = evidence.validator.clone();
    let validates = still_validates(shared, &validator).await;
    let Some(action) = proof(evidence).filter(|_| validates) else { return };
    match wallet.act(Action::ReportDoubleVote(action)).await {
        Ok(id) => tracing::warn!(%validator, %id, "a double vote was reported; the validator is removed"),
        // Others have reported it too.
        Err(error) => tracing::info!(%validator, %error, "the report of a double vote was not needed, or not possible"),
    }
}

async fn still_validates(shared: &Arc<Shared>, validator: &Did) -> bool {
    let (shared, validator) = (Arc::clone(shared), validator.clone());
    let next = move || {
        decided::validators(&shared.reader, shared.tip().height + 1).ok().flatten().map(|set| set.contains(&validator))
    };
    blocking::run(next).await.unwrap_or(false)
}

/// The transaction's form of it; only votes are punished.
fn proof(evidence: Evidence) -> Option<ReportDoubleVote> {
    let Evidence { validator, kind, first, first_signature, second, second_signature } = evidence;
    let signed = |vote: &[u8], signature: Vec<u8>| {
        Some(SignedVote { vote: Vote::from_sign_bytes(vote)?, signature: signature.try_into().ok()? })
    };
    if kind != "vote" {
        return None;
    }
    Some(ReportDoubleVote {
        validator,
        first: signed(&first, first_signature)?,
        second: signed(&second, second_signature)?,
    })
}
