//! Pays into the justice fund, or out of it to whom it helps (REV-03).

use super::super::action::JusticeFund;
use super::super::amount::Amount;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::Moved;
use super::super::token::TokenType::JusticeFund as TOKEN;
use super::super::transfer::Side;
use super::super::view::View;
use super::Done;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &JusticeFund) -> Done {
    let signer = tx.signer();
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    let receiver = tx.state.wallet(&it.to)?;
    tx.require(receiver.is_some(), Outcome::UnknownReceiver)?;
    tx.require(it.to != *signer, Outcome::SameWallet)?;
    let fund = &tx.state.parameters.justice_fund;
    let involved = it.to == *fund || signer == fund;
    tx.require(involved, Outcome::NotJusticeFund)?;
    tx.require(tx.day_has_room(TOKEN, it.amount), Outcome::DailyCeiling)?;
    let there = tx.state.balance(signer, None)?.total();
    tx.require(there >= it.amount, Outcome::InsufficientBalance)?;
    // Nothing may fail from here on.

    tx.count_day(TOKEN, it.amount);
    tx.debit(Side { account: signer, tenant: None }, it.amount)?;
    tx.credit(Side { account: &it.to, tenant: None }, TOKEN, it.amount)?;
    Ok(Some(Moved {
        from: Some(signer.clone()),
        from_tenant: None,
        to: it.to.clone(),
        to_tenant: None,
        token: TOKEN,
        amount: it.amount,
        fee: Amount::ZERO,
    }))
}
