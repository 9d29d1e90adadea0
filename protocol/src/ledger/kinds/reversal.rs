//! Undoes a posted transfer: the receiver agrees, or the validators found fraud (`network.md` 7.6).
//!
//! The receiver gives back what is there and owes the rest out of its next income. A reward or grant that is undone
//! goes to the pool of node rewards: tokens are never burned. The fee is not given back.

use super::super::action::Reversal;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Debt, Receipt};
use super::super::transfer::Side;
use super::super::view::View;
use super::Done;
use crate::limits::DEBTS_MAX;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &Reversal) -> Done {
    let receipt: Option<Receipt> = tx.state.get(&[&it.reverses])?;
    let found = receipt.and_then(|receipt| receipt.moved.clone().map(|moved| (receipt, moved)));
    let (mut receipt, moved) = tx.some(found, Outcome::UnknownTransfer)?;
    let by_receiver = it.approvals.is_empty();
    let permitted =
        if by_receiver { moved.to == *tx.signer() } else { tx.state.validators.current().contains(tx.signer()) };
    tx.require(permitted, Outcome::NotPermitted)?;
    tx.require(receipt.reversed_by.is_none(), Outcome::AlreadyReversed)?;
    if !by_receiver {
        tx.approved(&it.approvals)?;
    }
    let receiver = Side { account: &moved.to, tenant: moved.to_tenant.as_ref() };
    let there = tx.state.balance(receiver.account, receiver.tenant)?.total();
    let paid = moved.amount.min(there);
    let debt = Debt {
        to: moved.from.clone(),
        tenant: moved.to_tenant.clone(),
        to_tenant: moved.from_tenant.clone(),
        token: moved.token,
        amount: moved.amount.minus(paid).expect("a minimum is not larger"),
    };
    let mut debts = tx.state.existing(&moved.to)?.debts;
    let room = owe(&mut debts, debt);
    tx.require(room, Outcome::DebtsFull)?;
    // Nothing may fail from here on.

    let mut wallet = tx.state.existing(&moved.to)?;
    wallet.debts = debts;
    if !by_receiver {
        wallet.count_reversal(tx.now());
    }
    tx.state.put_wallet(&moved.to, wallet);
    if !paid.is_zero() {
        tx.debit(receiver, paid)?;
        tx.give_back(moved.from.as_ref(), moved.from_tenant.as_ref(), moved.token, paid)?;
    }
    receipt.reversed_by = Some(tx.signed.id().0);
    tx.state.put(&[&it.reverses], &receipt);
    Ok(None)
}

/// Adds a debt, to one that is already owed to the same creditor if there is one; false when there is no room.
fn owe(debts: &mut Vec<Debt>, debt: Debt) -> bool {
    if debt.amount.is_zero() {
        return true;
    }
    let alike = |other: &&mut Debt| {
        (&other.to, &other.tenant, &other.to_tenant, other.token)
            == (&debt.to, &debt.tenant, &debt.to_tenant, debt.token)
    };
    if let Some(sum) = debts.iter_mut().find(alike) {
        // Debts are no balances, so the supply does not bound their sum; what does not fit is forgiven.
        sum.amount = sum.amount.plus(debt.amount).unwrap_or(sum.amount);
        return true;
    }
    if debts.len() == DEBTS_MAX {
        return false;
    }
    debts.push(debt);
    true
}
