//! Pays across tenants, nodes or scopes (TOK-07, `network.md` 6.3).
//!
//! The currency is what the amount is counted in: 250 karma points at 0.01 tokens move 2.5 tokens. What leaves one
//! balance is what arrives at the other and in the fee pool, whatever the rate, so no exchange makes tokens.

use super::super::action::{Exchange, Quote};
use super::super::amount::MICRO_PER_TOKEN;
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::parameters::Currency;
use super::super::rows::Moved;
use super::super::state::node_key;
use super::super::statement;
use super::super::token::TokenType::CrossTenantExchange as TOKEN;
use super::super::transfer::Side;
use super::super::view::View;
use super::Done;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &Exchange) -> Done {
    let signer = tx.signer();
    let payer = tx.state.look(signer)?;
    let (payer_home, frozen) = (payer.home.clone(), !payer.flags.is_empty());
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    let receiver_home = tx.state.home(&it.to)?;
    let receiver_home = tx.some(receiver_home, Outcome::UnknownReceiver)?;
    let same = (signer, &it.from_tenant) == (&it.to, &it.to_tenant);
    tx.require(!same, Outcome::SameWallet)?;
    tx.require(!frozen, Outcome::Frozen)?;
    tx.require(it.quote.is_some() || it.currency == Currency::AngelTokens, Outcome::QuoteMissing)?;
    let rate = match &it.quote {
        Some(quote) => check_quote(tx, it.currency, quote)?,
        None => MICRO_PER_TOKEN,
    };
    let amount = it.amount.times(rate, MICRO_PER_TOKEN).filter(|amount| !amount.is_zero());
    let amount = tx.some(amount, Outcome::NothingMoves)?;
    let across_nodes = payer_home != receiver_home;
    let basis_points = if across_nodes { tx.state.parameters.exchange_fee } else { 0 };
    let fee = amount.times(u64::from(basis_points), 10_000).unwrap_or_default();
    tx.require(tx.day_has_room(TOKEN, amount), Outcome::DailyCeiling)?;
    let from = Side { account: signer, tenant: it.from_tenant.as_ref() };
    let there = tx.state.balance(signer, from.tenant)?.total();
    let price = amount.plus(fee).filter(|price| *price <= there);
    let price = tx.some(price, Outcome::InsufficientBalance)?;
    // Nothing may fail from here on.

    tx.count_day(TOKEN, amount);
    tx.debit(from, price)?;
    tx.fill_pool(fee);
    tx.credit(Side { account: &it.to, tenant: it.to_tenant.as_ref() }, TOKEN, amount)?;
    Ok(Some(Moved {
        from: Some(signer.clone()),
        from_tenant: it.from_tenant.clone(),
        to: it.to.clone(),
        to_tenant: it.to_tenant.clone(),
        token: TOKEN,
        amount,
        fee,
    }))
}

/// The quote is a node's, in time, and promises no other rate and fee than those in force when it was given.
fn check_quote<V: View>(tx: &mut Tx<'_, '_, V>, currency: Currency, quote: &Quote) -> Result<u64, Stop> {
    let (now, parameters) = (tx.now(), tx.state.parameters.clone());
    let node = tx.state.node(&quote.node)?;
    tx.require(node.is_some(), Outcome::QuoteNodeUnknown)?;
    let (issued, expires) = (quote.issued.as_millis(), quote.expires.as_millis());
    tx.require(issued <= now, Outcome::QuoteInFuture)?;
    tx.require(expires.saturating_sub(issued) <= parameters.quote_life, Outcome::QuoteTooLong)?;
    tx.require(expires >= now, Outcome::QuoteExpired)?;
    let rate = tx.state.rates.at(currency, quote.issued);
    let rate = tx.some(rate, Outcome::RateUnavailable)?;
    tx.require(quote.rate == rate && quote.fee == parameters.exchange_fee, Outcome::QuoteMismatch)?;
    let (domain, message) = statement::quote(&tx.state.network, currency, quote);
    let holds = node_key(&quote.node).is_some_and(|key| tx.signatures.holds(&key, domain, &message, &quote.signature));
    tx.require(holds, Outcome::BadQuoteSignature)?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::super::super::amount::Amount;
    use super::*;

    #[test]
    fn conversion_rounds_down() {
        let points = |micro| Amount::new(micro).expect("small").times(10_000, MICRO_PER_TOKEN);
        assert_eq!(points(250 * MICRO_PER_TOKEN), Amount::new(2_500_000).ok());
        assert_eq!(points(99), Amount::new(0).ok());
    }
}
