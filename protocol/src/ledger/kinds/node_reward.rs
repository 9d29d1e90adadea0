//! A validator pays a node for a day's work, out of the pool of fees first (TOK-03, TOK-07).

use super::super::action::NodeReward;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::parameters::DAY;
use super::super::token::TokenType::NodeReward as TOKEN;
use super::super::transfer::{Side, minted};
use super::super::view::View;
use super::Done;
use super::cause::CauseKey;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &NodeReward) -> Done {
    tx.signed_by_validator()?;
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    let receiver = tx.state.node(&it.to)?;
    tx.require(receiver.is_some(), Outcome::ReceiverNotANode)?;
    let day = it.day.to_string();
    let key = CauseKey { within: &[b"node", it.to.as_str().as_bytes()], subject: &day };
    tx.cause_is_new(it.day.saturating_mul(DAY), &key)?;
    tx.require(it.amount <= tx.state.parameters.node_reward_per_day, Outcome::RewardNotEarned)?;
    tx.require(tx.day_has_room(TOKEN, it.amount), Outcome::DailyCeiling)?;
    let from_pool = it.amount.min(tx.state.supply.pool);
    let fresh = it.amount.minus(from_pool).expect("a minimum is not larger");
    tx.require(fresh <= tx.state.supply.left(), Outcome::SupplyExhausted)?;
    // Nothing may fail from here on.

    tx.use_cause(&key);
    tx.count_day(TOKEN, it.amount);
    let supply = &mut tx.state.supply;
    supply.pool = supply.pool.minus(from_pool).expect("a minimum is not larger");
    tx.mint(fresh);
    tx.credit(Side { account: &it.to, tenant: None }, TOKEN, it.amount)?;
    Ok(Some(minted(&it.to, None, TOKEN, it.amount)))
}
