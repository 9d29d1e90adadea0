//! Proposals and votes (TOK-12). A proposal that passes is carried out when it is closed.

use super::super::action::{CastVote, Change, Close, Propose};
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::reputation;
use super::super::rows::{Ballot, Delegators, Proposal};
use super::super::transaction::encode;
use super::super::view::{View, ViewError};
use super::{Done, change};
use crate::ids::Did;

pub(super) fn propose<V: View>(tx: &mut Tx<'_, '_, V>, it: &Propose) -> Done {
    let wallet = tx.state.existing(tx.signer())?;
    let power = reputation::voting_power(&wallet, tx.now());
    tx.require(power > 0, Outcome::NoVotingPower)?;
    let open = it.ends.as_millis().saturating_sub(tx.now());
    let parameters = &tx.state.parameters;
    let in_time = (parameters.voting_min..=parameters.voting_max).contains(&open);
    tx.require(in_time, Outcome::VotingTimeWrong)?;
    let valid = it.change.as_ref().is_none_or(change::valid);
    tx.require(valid, Outcome::ChangeInvalid)?;
    // Nothing may fail from here on.

    let proposal = Proposal {
        by: tx.signer().clone(),
        title: it.title.clone(),
        ends: it.ends.as_millis(),
        change: it.change.as_ref().map(|change| encode(change).expect("a decoded change encodes")),
        in_favour: 0,
        against: 0,
        passed: None,
    };
    tx.state.put(&[&tx.signed.id().0], &proposal);
    Ok(None)
}

pub(super) fn vote<V: View>(tx: &mut Tx<'_, '_, V>, it: &CastVote) -> Done {
    let signer = tx.signer();
    let proposal: Option<Proposal> = tx.state.get(&[&it.proposal])?;
    let mut proposal = tx.some(proposal, Outcome::UnknownProposal)?;
    let open = proposal.passed.is_none() && tx.now() <= proposal.ends;
    tx.require(open, Outcome::VotingOver)?;
    let wallet = tx.state.existing(signer)?;
    tx.require(wallet.delegate.is_none(), Outcome::PowerDelegated)?;
    let voted: Option<Ballot> = tx.state.get(&[&it.proposal, signer.as_str().as_bytes()])?;
    tx.require(voted.is_none(), Outcome::AlreadyVoted)?;
    let ballots = ballots(tx, &it.proposal)?;
    let power = ballots.iter().map(|(_, power)| power).sum::<u64>();
    tx.require(power > 0, Outcome::NoVotingPower)?;
    // Nothing may fail from here on.

    for (account, power) in ballots {
        let ballot = Ballot { in_favour: it.in_favour, power };
        tx.state.put(&[&it.proposal, account.as_str().as_bytes()], &ballot);
    }
    *(if it.in_favour { &mut proposal.in_favour } else { &mut proposal.against }) += power;
    tx.state.put(&[&it.proposal], &proposal);
    let mut wallet = tx.state.existing(signer)?;
    wallet.votes += 1;
    tx.state.put_wallet(signer, wallet);
    Ok(None)
}

/// The powers that the signer votes with: its own, and those of its delegators that were not used on this proposal
/// before, so that moving a delegation counts no power twice.
fn ballots<V: View>(tx: &mut Tx<'_, '_, V>, proposal: &[u8; 32]) -> Result<Vec<(Did, u64)>, ViewError> {
    let signer = tx.signer();
    let delegators: Delegators = tx.state.get(&[signer.as_str().as_bytes()])?.unwrap_or_default();
    let mut ballots = Vec::with_capacity(1 + delegators.0.len());
    for account in std::iter::once(signer).chain(&delegators.0) {
        if tx.state.get::<Ballot>(&[proposal, account.as_str().as_bytes()])?.is_none() {
            let wallet = tx.state.existing(account)?;
            ballots.push((account.clone(), reputation::voting_power(&wallet, tx.now())));
        }
    }
    Ok(ballots)
}

pub(super) fn close<V: View>(tx: &mut Tx<'_, '_, V>, it: &Close) -> Done {
    let proposal: Option<Proposal> = tx.state.get(&[&it.proposal])?;
    let mut proposal = tx.some(proposal, Outcome::UnknownProposal)?;
    tx.require(tx.now() > proposal.ends, Outcome::VotingNotOver)?;
    tx.require(proposal.passed.is_none(), Outcome::ProposalClosed)?;
    // Nothing may fail from here on.

    let enough = proposal.in_favour + proposal.against >= tx.state.parameters.voting_power_min;
    let passed = enough && proposal.in_favour > proposal.against;
    proposal.passed = Some(passed);
    tx.state.put(&[&it.proposal], &proposal);
    if let Some(bytes) = proposal.change.filter(|_| passed) {
        let change: Change = serde_ipld_dagcbor::from_slice(&bytes).map_err(|_| ViewError::Damaged { table: 0x30 })?;
        change::carry_out(tx, &change);
    }
    Ok(None)
}
