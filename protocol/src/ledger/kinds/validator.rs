//! Validators come and go at a stated height (`network.md` 7.3 and 7.4).

use std::sync::Arc;

use super::super::action::{JoinValidators, LeaveValidators, RemoveValidator, ReportDoubleVote};
use super::super::apply::{Stop, Tx};
use super::super::certificate::VOTE;
use super::super::outcome::Outcome;
use super::super::state::node_key;
use super::super::validators::Unchangeable;
use super::super::view::{View, ViewError};
use super::Done;
use crate::ids::Did;
use crate::limits::VALIDATOR_LEAD_MAX;

pub(super) fn join<V: View>(tx: &mut Tx<'_, '_, V>, it: &JoinValidators) -> Done {
    let signer = tx.signer();
    let node = tx.signed_by_node()?;
    let age = tx.now().saturating_sub(node.since);
    let candidate = node.validates && age >= tx.state.parameters.candidate_age;
    tx.require(candidate, Outcome::NotACandidate)?;
    let already = tx.state.validators.present_and_future().any(|validator| validator == signer);
    tx.require(!already, Outcome::AlreadyValidator)?;
    let taken = operator_validates(tx, &node.operator)?;
    tx.require(!taken, Outcome::OperatorTaken)?;
    height_and_room(tx, it.at, true)?;
    tx.approved(&it.approvals)?;
    // Nothing may fail from here on.

    Arc::make_mut(&mut tx.state.validators).schedule(it.at, signer.clone(), true);
    Ok(None)
}

pub(super) fn leave<V: View>(tx: &mut Tx<'_, '_, V>, it: &LeaveValidators) -> Done {
    let signer = tx.signer();
    let stays = tx.state.validators.current().contains(signer) && tx.state.validators.will_contain(signer);
    tx.require(stays, Outcome::NotAValidator)?;
    height_and_room(tx, it.at, false)?;
    // Nothing may fail from here on.

    Arc::make_mut(&mut tx.state.validators).schedule(it.at, signer.clone(), false);
    Ok(None)
}

pub(super) fn remove<V: View>(tx: &mut Tx<'_, '_, V>, it: &RemoveValidator) -> Done {
    tx.signed_by_validator()?;
    let validators = &tx.state.validators;
    let stays = validators.current().contains(&it.validator) && validators.will_contain(&it.validator);
    tx.require(stays, Outcome::UnknownValidator)?;
    height_and_room(tx, it.at, false)?;
    tx.approved(&it.approvals)?;
    // Nothing may fail from here on.

    Arc::make_mut(&mut tx.state.validators).schedule(it.at, it.validator.clone(), false);
    Ok(None)
}

/// Anyone may show the proof; it speaks for itself.
pub(super) fn report_double_vote<V: View>(tx: &mut Tx<'_, '_, V>, it: &ReportDoubleVote) -> Done {
    let present = tx.state.validators.current().contains(&it.validator);
    tx.require(present, Outcome::UnknownValidator)?;
    let last = tx.state.validators.check_expel(&it.validator).is_err();
    tx.require(!last, Outcome::LastValidator)?;
    let (first, second) = (&it.first.vote, &it.second.vote);
    let contradict = first.network == tx.state.network && first.contradicts(second);
    tx.require(contradict, Outcome::VotesAgree)?;
    let key = node_key(&it.validator).unwrap_or_default();
    let holds = [&it.first, &it.second]
        .iter()
        .all(|signed| tx.signatures.holds(&key, VOTE, &signed.vote.sign_bytes(), &signed.signature));
    tx.require(holds, Outcome::BadVoteSignature)?;
    // Nothing may fail from here on.

    let at = tx.state.height + 1;
    Arc::make_mut(&mut tx.state.validators).expel(at, &it.validator);
    Ok(None)
}

/// The change is for a height to come, and the set can stand it.
fn height_and_room<V: View>(tx: &mut Tx<'_, '_, V>, at: u64, joins: bool) -> Result<(), Stop> {
    let height = tx.state.height;
    let ahead = at > height && at - height <= VALIDATOR_LEAD_MAX;
    tx.require(ahead, Outcome::HeightWrong)?;
    let verdict = tx.state.validators.check(joins);
    tx.require(verdict != Err(Unchangeable::Full), Outcome::ValidatorsFull)?;
    tx.require(verdict != Err(Unchangeable::Pending), Outcome::ChangesPending)?;
    tx.require(verdict != Err(Unchangeable::Last), Outcome::LastValidator)
}

fn operator_validates<V: View>(tx: &mut Tx<'_, '_, V>, operator: &Did) -> Result<bool, ViewError> {
    let validators: Vec<Did> = tx.state.validators.present_and_future().cloned().collect();
    for validator in validators {
        if tx.state.node(&validator)?.is_some_and(|node| node.operator == *operator) {
            return Ok(true);
        }
    }
    Ok(false)
}
