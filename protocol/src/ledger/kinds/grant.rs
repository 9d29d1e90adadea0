//! The operators together grant tokens (TOK-03, `network.md` 7.5).

use super::super::action::SystemGrant;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::token::TokenType::SystemGrant as TOKEN;
use super::super::transfer::{Side, minted};
use super::super::view::View;
use super::Done;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &SystemGrant) -> Done {
    tx.signed_by_validator()?;
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    let receiver = tx.state.wallet(&it.to)?;
    tx.require(receiver.is_some(), Outcome::UnknownReceiver)?;
    tx.approved(&it.approvals)?;
    tx.require(tx.day_has_room(TOKEN, it.amount), Outcome::DailyCeiling)?;
    tx.require(it.amount <= tx.state.supply.left(), Outcome::SupplyExhausted)?;
    // Nothing may fail from here on.

    tx.count_day(TOKEN, it.amount);
    tx.mint(it.amount);
    tx.credit(Side { account: &it.to, tenant: it.tenant.as_ref() }, TOKEN, it.amount)?;
    Ok(Some(minted(&it.to, it.tenant.as_ref(), TOKEN, it.amount)))
}
