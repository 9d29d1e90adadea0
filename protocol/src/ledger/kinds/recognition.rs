//! One person recognises another with tokens (KAR-02, TOK-05).

use super::super::action::{Anomaly, PeerRecognition};
use super::super::amount::Amount;
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::parameters::DAY;
use super::super::rows::{Kind, Moved, Pair, Wallet};
use super::super::token::TokenType::PeerRecognition as TOKEN;
use super::super::transfer::Side;
use super::super::view::{View, ViewError};
use super::Done;
use super::cause::CauseKey;
use crate::ids::Did;

const MONTH: u64 = 30 * DAY;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &PeerRecognition) -> Done {
    let signer = tx.signer();
    let giver = tx.state.existing(signer)?;
    tx.require(!matches!(giver.kind, Kind::Agent(_)), Outcome::AgentMayNotGrant)?;
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    let receiver = tx.state.wallet(&it.to)?;
    let receiver = tx.some(receiver, Outcome::UnknownReceiver)?;
    tx.require(it.to != *signer, Outcome::SameWallet)?;
    tx.require(receiver.kind != Kind::Agent(signer.clone()), Outcome::OwnAgent)?;
    tx.require(giver.is_human(), Outcome::NotHuman)?;
    tx.require(receiver.is_human(), Outcome::ReceiverNotHuman)?;
    let (from, to) = (signer.as_str().as_bytes(), it.to.as_str().as_bytes());
    let key = CauseKey { within: &[b"peer", from, to], subject: &it.cause.uri };
    tx.cause_is_new(it.cause.at.as_millis(), &key)?;
    tx.witnessed(&it.cause, &it.to, 0)?;
    let now = tx.now();
    let today = if giver.day == now / DAY { giver.day_recognitions } else { 0 };
    tx.require(today < tx.state.parameters.recognitions_per_day, Outcome::RecognitionLimit)?;
    not_alone_together(tx, &giver, &receiver, &it.to)?;
    tx.require(tx.day_has_room(TOKEN, it.amount), Outcome::DailyCeiling)?;
    let payer = Side { account: signer, tenant: it.tenant.as_ref() };
    let there = tx.state.balance(signer, payer.tenant)?.total();
    tx.require(there >= it.amount, Outcome::InsufficientBalance)?;
    // Nothing may fail from here on.

    tx.use_cause(&key);
    tx.count_contribution(&it.to, &it.cause)?;
    count(tx, &it.to)?;
    tx.count_day(TOKEN, it.amount);
    tx.debit(payer, it.amount)?;
    tx.credit(Side { account: &it.to, ..payer }, TOKEN, it.amount)?;
    Ok(Some(Moved {
        from: Some(signer.clone()),
        from_tenant: it.tenant.clone(),
        to: it.to.clone(),
        to_tenant: it.tenant.clone(),
        token: TOKEN,
        amount: it.amount,
        fee: Amount::ZERO,
    }))
}

fn pair_of<'a>(a: &'a Did, b: &'a Did) -> [&'a [u8]; 2] {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    [first.as_str().as_bytes(), second.as_str().as_bytes()]
}

/// Two people who recognise each other and nobody else soon reach a limit; going on raises a flag on both.
fn not_alone_together<V: View>(
    tx: &mut Tx<'_, '_, V>,
    giver: &Wallet,
    receiver: &Wallet,
    to: &Did,
) -> Result<(), Stop> {
    let month = tx.now() / MONTH;
    let signer = tx.signer();
    let pair: Pair = tx.state.get(&pair_of(signer, to))?.filter(|pair: &Pair| pair.month == month).unwrap_or_default();
    let (given, taken) = if signer < to { (pair.forth, pair.back) } else { (pair.back, pair.forth) };
    let all_of = |wallet: &Wallet| if wallet.month == month { wallet.month_recognitions } else { 0 };
    let alone = given > 0 && taken > 0 && all_of(giver) == given && all_of(receiver) == taken;
    let limit_reached = alone && given + taken >= tx.state.parameters.reciprocal_recognitions;
    if limit_reached {
        tx.flags = vec![(signer.clone(), Anomaly::ReciprocalRecognition), (to.clone(), Anomaly::ReciprocalRecognition)];
    }
    tx.require(!limit_reached, Outcome::ReciprocalRecognition)
}

/// Counts a recognition for the day, the month and the pair.
fn count<V: View>(tx: &mut Tx<'_, '_, V>, to: &Did) -> Result<(), ViewError> {
    let now = tx.now();
    let signer = tx.signer();
    let mut giver = tx.state.existing(signer)?;
    if giver.day != now / DAY {
        (giver.day, giver.day_recognitions) = (now / DAY, 0);
    }
    if giver.month != now / MONTH {
        (giver.month, giver.month_recognitions) = (now / MONTH, 0);
    }
    giver.day_recognitions += 1;
    giver.month_recognitions += 1;
    tx.state.put_wallet(signer, giver);
    let parts = pair_of(signer, to);
    let mut pair: Pair = tx.state.get(&parts)?.unwrap_or_default();
    if pair.month != now / MONTH {
        pair = Pair { month: now / MONTH, ..Pair::default() };
    }
    *(if signer < to { &mut pair.forth } else { &mut pair.back }) += 1;
    tx.state.put(&parts, &pair);
    Ok(())
}
