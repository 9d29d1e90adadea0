//! Proof of humanity by the word of others (TOK-05).

use super::super::action::Vouch;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Kind, Voucher};
use super::super::view::View;
use super::Done;
use crate::limits::VOUCHERS_MAX;

pub(super) fn vouch<V: View>(tx: &mut Tx<'_, '_, V>, it: &Vouch) -> Done {
    let signer = tx.signer();
    let by = tx.state.existing(signer)?;
    let person = tx.state.wallet(&it.person)?;
    let mut person = tx.some(person, Outcome::UnknownAccount)?;
    tx.require(it.person != *signer, Outcome::SameWallet)?;
    let by_home = person.home == *signer;
    let by_guardian = by.is_human() && by.karma >= tx.state.parameters.guardian_karma;
    tx.require(by_home || by_guardian, Outcome::NotPermitted)?;
    tx.require(person.kind == Kind::Person, Outcome::NotAPerson)?;
    let already =
        if by_home { person.vouched_by_home } else { person.vouchers.iter().any(|voucher| voucher.by == *signer) };
    tx.require(!already, Outcome::AlreadyVouched)?;
    let node = if by_home { tx.state.node(signer)? } else { None };
    let room = if by_home {
        node.as_ref().is_some_and(|node| node.vouched < tx.state.parameters.vouches_per_node)
    } else {
        person.vouchers.len() < VOUCHERS_MAX
    };
    tx.require(room, Outcome::VouchesSpent)?;
    // Nothing may fail from here on.

    if let Some(mut node) = node {
        // The first users only: a withdrawn word is spent all the same.
        node.vouched += 1;
        tx.state.put_node(signer, &node);
        person.vouched_by_home = true;
    } else {
        person.vouchers.push(Voucher { by: signer.clone(), home: by.home });
    }
    tx.state.put_wallet(&it.person, person);
    Ok(None)
}

pub(super) fn withdraw<V: View>(tx: &mut Tx<'_, '_, V>, it: &Vouch) -> Done {
    let signer = tx.signer();
    let person = tx.state.wallet(&it.person)?;
    let mut person = tx.some(person, Outcome::UnknownAccount)?;
    let by_home = person.home == *signer && person.vouched_by_home;
    let by_guardian = person.vouchers.iter().any(|voucher| voucher.by == *signer);
    tx.require(by_home || by_guardian, Outcome::NotVouched)?;
    // Nothing may fail from here on.

    if by_home {
        person.vouched_by_home = false;
    }
    person.vouchers.retain(|voucher| voucher.by != *signer);
    tx.state.put_wallet(&it.person, person);
    Ok(None)
}
