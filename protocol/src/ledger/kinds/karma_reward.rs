//! A home node pays a person for karma gained (TOK-03 to TOK-06).

use super::super::action::KarmaReward;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::token::TokenType::KarmaReward as TOKEN;
use super::super::transfer::{Side, minted};
use super::super::view::View;
use super::Done;
use super::cause::CauseKey;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &KarmaReward) -> Done {
    tx.signed_by_node()?;
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    let receiver = tx.state.wallet(&it.to)?;
    let receiver = tx.some(receiver, Outcome::UnknownReceiver)?;
    tx.require(receiver.home == *tx.signer(), Outcome::NotHomeNode)?;
    tx.require(receiver.is_human(), Outcome::ReceiverNotHuman)?;
    let key = CauseKey { within: &[b"karma"], subject: &it.cause.uri };
    tx.cause_is_new(it.cause.at.as_millis(), &key)?;
    tx.witnessed(&it.cause, &it.to, tx.state.parameters.karma_reward_witnesses)?;
    // One reward for every multiple of a hundred that was passed, never for one passed before.
    let passed = (it.karma / 100).saturating_sub(receiver.karma / 100);
    let earned = tx.state.parameters.karma_reward_per_hundred.times(passed, 1);
    tx.require(earned == Some(it.amount), Outcome::RewardNotEarned)?;
    tx.require(tx.day_has_room(TOKEN, it.amount), Outcome::DailyCeiling)?;
    tx.require(it.amount <= tx.state.supply.left(), Outcome::SupplyExhausted)?;
    // Nothing may fail from here on.

    tx.use_cause(&key);
    tx.count_contribution(&it.to, &it.cause)?;
    let mut receiver = tx.state.existing(&it.to)?;
    receiver.karma = it.karma;
    tx.state.put_wallet(&it.to, receiver);
    tx.count_day(TOKEN, it.amount);
    tx.mint(it.amount);
    tx.credit(Side { account: &it.to, tenant: it.tenant.as_ref() }, TOKEN, it.amount)?;
    Ok(Some(minted(&it.to, it.tenant.as_ref(), TOKEN, it.amount)))
}
