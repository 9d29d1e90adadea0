//! Double votes, brought before the ledger: the proof of one removes the validator from the set. Proofs that were found
//! before a restart are reported again, until the validator is gone.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::ledger::Action;
use angel_protocol::ledger::action::{ReportDoubleVote, SignedVote};
use angel_protocol::ledger::certificate::Vote;
use angel_storage::ledger::decided;
use angel_storage::ledger::undecided::{self, Evidence};
use tokio::sync::mpsc;

use crate::blocking;
use crate::ledger::{LedgerError, NodeWallet, Shared};

/// Proofs that are looked at after a restart.
const KEPT_MAX: usize = 256;

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
