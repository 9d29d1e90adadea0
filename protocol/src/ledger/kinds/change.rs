//! Changes of rates and parameters: by the validators together, or by a proposal that passed.

use std::sync::Arc;

use super::super::action::{ApprovedChange, Change, RateChange};
use super::super::amount::SUPPLY_MAX;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::parameters::Currency;
use super::super::view::View;
use super::Done;

pub(super) fn approved<V: View>(tx: &mut Tx<'_, '_, V>, it: &ApprovedChange) -> Done {
    tx.signed_by_validator()?;
    tx.require(valid(&it.change), Outcome::ChangeInvalid)?;
    tx.approved(&it.approvals)?;
    // Nothing may fail from here on.

    carry_out(tx, &it.change);
    Ok(None)
}

/// Whether a network can run with it. A token is always worth one token.
pub(super) fn valid(change: &Change) -> bool {
    match change {
        Change::Rate(RateChange { currency, rate }) => {
            let possible = rate.is_none_or(|rate| (1..=SUPPLY_MAX).contains(&rate.micro_per_unit));
            *currency != Currency::AngelTokens && possible
        }
        Change::Parameters(parameters) => parameters.valid(),
    }
}

/// Carries a valid change out. A rate never takes effect in the past.
pub(crate) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, change: &Change) {
    let now = tx.now();
    match change {
        Change::Rate(RateChange { currency, rate: Some(rate) }) => {
            Arc::make_mut(&mut tx.state.rates).set(*currency, rate.from.max(now), Some(rate.micro_per_unit));
        }
        Change::Rate(RateChange { currency, rate: None }) => {
            Arc::make_mut(&mut tx.state.rates).set(*currency, now, None);
        }
        Change::Parameters(parameters) => tx.state.parameters = Arc::new((**parameters).clone()),
    }
}
