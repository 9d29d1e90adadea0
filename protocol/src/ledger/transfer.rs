//! Moving tokens: the only place where balances change.
//!
//! Every function reads a row, changes it and writes it back before the next, so that it does not matter when payer,
//! receiver and creditor are the same wallet. Callers have made all checks.

use super::amount::Amount;
use super::apply::Tx;
use super::rows::{Debt, Moved};
use super::token::TokenType;
use super::transaction::TransactionId;
use super::view::{View, ViewError};
use crate::ids::Did;

/// A movement of one balance, as histories show it (`records.md` 6.4, `balanceHistory`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The transaction.
    pub id: TransactionId,
    /// Whose balance.
    pub account: Did,
    /// In which scope.
    pub tenant: Option<Did>,
    /// By how much, in micro-tokens.
    pub change: i64,
    /// What is there afterwards.
    pub balance: Amount,
}

/// One side of a movement.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) account: &'a Did,
    pub(crate) tenant: Option<&'a Did>,
}

impl<V: View> Tx<'_, '_, V> {
    /// Takes `amount` from a balance that covers it.
    pub(crate) fn debit(&mut self, side: Side<'_>, amount: Amount) -> Result<(), ViewError> {
        let mut balance = self.state.balance(side.account, side.tenant)?;
        balance.parts.spend(amount);
        balance.spent = balance.spent.saturating_add(amount.micro());
        self.post(side, balance, amount, false)
    }

    /// Adds `amount` as `token` to a balance, and pays the wallet's debts out of it, the oldest first.
    pub(crate) fn credit(&mut self, side: Side<'_>, token: TokenType, amount: Amount) -> Result<(), ViewError> {
        self.restore(side, token, amount)?;
        if self.state.look(side.account)?.debts.is_empty() {
            return Ok(());
        }
        let mut wallet = self.state.existing(side.account)?;
        let mut left = amount;
        let mut payments = Vec::new();
        for debt in wallet.debts.iter_mut().filter(|debt| debt.tenant.as_ref() == side.tenant) {
            let pay = left.min(debt.amount);
            if !pay.is_zero() {
                left = left.minus(pay).expect("a minimum is not larger");
                debt.amount = debt.amount.minus(pay).expect("a minimum is not larger");
                payments.push(Debt { amount: pay, ..debt.clone() });
            }
        }
        wallet.debts.retain(|debt| !debt.amount.is_zero());
        self.state.put_wallet(side.account, wallet);
        for payment in payments {
            self.debit(side, payment.amount)?;
            self.give_back(payment.to.as_ref(), payment.to_tenant.as_ref(), payment.token, payment.amount)?;
        }
        Ok(())
    }

    /// Returns tokens to whom they were taken from; nobody means the pool. Debts are not paid out of it.
    pub(crate) fn give_back(
        &mut self,
        to: Option<&Did>,
        tenant: Option<&Did>,
        token: TokenType,
        amount: Amount,
    ) -> Result<(), ViewError> {
        match to {
            Some(account) => self.restore(Side { account, tenant }, token, amount),
            None => {
                self.fill_pool(amount);
                Ok(())
            }
        }
    }

    /// Adds to the pool from which nodes are paid.
    pub(crate) fn fill_pool(&mut self, amount: Amount) {
        let supply = &mut self.state.supply;
        supply.pool = supply.pool.plus(amount).expect("the supply bounds the pool");
    }

    /// Makes new tokens.
    pub(crate) fn mint(&mut self, amount: Amount) {
        let supply = &mut self.state.supply;
        supply.minted = supply.minted.plus(amount).expect("the ceiling of the supply was checked");
    }

    /// Counts `amount` towards the day's ceiling of `token`.
    pub(crate) fn count_day(&mut self, token: TokenType, amount: Amount) {
        let now = self.now();
        self.state.supply.count(token, amount, now);
    }

    /// Whether the day has room for `amount` of `token`.
    pub(crate) fn day_has_room(&self, token: TokenType, amount: Amount) -> bool {
        let used = self.state.supply.used(token, self.now());
        used.saturating_add(amount.micro()) <= self.state.parameters.ceilings.of(token).micro()
    }

    fn restore(&mut self, side: Side<'_>, token: TokenType, amount: Amount) -> Result<(), ViewError> {
        let mut balance = self.state.balance(side.account, side.tenant)?;
        balance.parts.add(token, amount);
        balance.earned = balance.earned.saturating_add(amount.micro());
        self.post(side, balance, amount, true)
    }

    fn post(
        &mut self,
        side: Side<'_>,
        mut balance: super::token::Balance,
        amount: Amount,
        income: bool,
    ) -> Result<(), ViewError> {
        let id = self.signed.id();
        if balance.latest != id.0 {
            balance.transactions += 1;
        }
        balance.latest = id.0;
        balance.latest_at = self.now();
        let change = i64::try_from(amount.micro()).expect("the supply is below 2^63");
        self.postings.push(Posting {
            id,
            account: side.account.clone(),
            tenant: side.tenant.cloned(),
            change: if income { change } else { -change },
            balance: balance.total(),
        });
        self.state.put_balance(side.account, side.tenant, balance)
    }
}

/// The movement of a reward or grant.
pub(crate) fn minted(to: &Did, tenant: Option<&Did>, token: TokenType, amount: Amount) -> Moved {
    Moved {
        from: None,
        from_tenant: None,
        to: to.clone(),
        to_tenant: tenant.cloned(),
        token,
        amount,
        fee: Amount::ZERO,
    }
}
