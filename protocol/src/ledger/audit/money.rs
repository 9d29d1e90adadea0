//! Money in motion: what comes, what goes, what is owed, and the day's ceilings.

use std::collections::BTreeMap;

use super::super::action::Reversal;
use super::super::{Outcome, Signed, TokenType};
use super::account::{Owed, Scope};
use super::{Auditor, DAY, SPEND_ORDER, Transfer, Verdict};
use crate::ids::Did;

impl Auditor<'_> {
    pub(super) fn day_is_full(&self, token: TokenType, amount: u64, now: u64) -> bool {
        let ceilings = &self.parameters.ceilings;
        let ceiling = match token {
            TokenType::KarmaReward => ceilings.karma_reward,
            TokenType::PeerRecognition => ceilings.peer_recognition,
            TokenType::CrossTenantExchange => ceilings.cross_tenant_exchange,
            TokenType::NodeReward => ceilings.node_reward,
            TokenType::JusticeFund => ceilings.justice_fund,
            TokenType::SystemGrant => ceilings.system_grant,
        };
        self.by_day.get(&(now / DAY, token)).copied().unwrap_or(0) + amount > ceiling.micro()
    }

    /// Takes money out in the order of `network.md` 8.2.
    pub(super) fn take(&mut self, did: &Did, scope: &Scope, mut amount: u64) {
        let account = self.accounts.get_mut(did).expect("found before");
        for token in SPEND_ORDER {
            let part = account.money.entry((scope.clone(), token)).or_default();
            let step = (*part).min(amount);
            *part -= step;
            amount -= step;
        }
        assert_eq!(amount, 0, "checked before");
    }

    pub(super) fn give(&mut self, did: &Did, scope: &Scope, token: TokenType, amount: u64) {
        let account = self.accounts.get_mut(did).expect("found before");
        *account.money.entry((scope.clone(), token)).or_default() += amount;
    }

    /// Income: what is owed from this scope goes on to whom it is owed.
    pub(super) fn income(&mut self, did: &Did, scope: &Scope, token: TokenType, amount: u64) {
        self.give(did, scope, token, amount);
        let mut left = amount;
        let mut passed_on = Vec::new();
        let account = self.accounts.get_mut(did).expect("found before");
        for owed in &mut account.owes {
            if owed.from_scope == *scope && left > 0 {
                let pay = owed.amount.min(left);
                owed.amount -= pay;
                left -= pay;
                passed_on.push((owed.to.clone(), owed.to_scope.clone(), owed.token, pay));
            }
        }
        account.owes.retain(|owed| owed.amount > 0);
        for (to, to_scope, token, pay) in passed_on {
            self.take(did, scope, pay);
            match to {
                Some(to) => self.give(&to, &to_scope, token, pay),
                None => self.pool += pay,
            }
        }
    }

    pub(super) fn moved(&mut self, signed: &Signed, transfer: Transfer, now: u64) -> Verdict {
        *self.by_day.entry((now / DAY, transfer.token)).or_default() += transfer.amount;
        let (to, scope) = (transfer.to.clone(), transfer.to_scope.clone());
        self.income(&to, &scope, transfer.token, transfer.amount);
        self.transfers.insert(signed.id().0, transfer);
        Ok(())
    }

    pub(super) fn reversal(&mut self, signed: &Signed, by: &Did, it: &Reversal) -> Verdict {
        let Some(transfer) = self.transfers.get(&it.reverses) else { return Err(Outcome::UnknownTransfer) };
        let agreed = it.approvals.is_empty();
        let may = if agreed { transfer.to == *by } else { self.validators.contains(by) };
        refuse! { !may => NotPermitted, transfer.reversed => AlreadyReversed }
        if !agreed {
            self.approved(signed, &it.approvals)?;
        }
        let (to, to_scope) = (transfer.to.clone(), transfer.to_scope.clone());
        let (from, from_scope) = (transfer.from.clone(), transfer.from_scope.clone());
        let token = transfer.token;
        let there = self.has(&to, &to_scope).min(transfer.amount);
        let missing = transfer.amount - there;
        if missing > 0 {
            let owes = &mut self.accounts.get_mut(&to).expect("found before").owes;
            let same = owes.iter().position(|owed| {
                owed.to == from && owed.from_scope == to_scope && owed.to_scope == from_scope && owed.token == token
            });
            match same {
                Some(at) => owes[at].amount += missing,
                None if owes.len() >= 16 => return Err(Outcome::DebtsFull),
                None => owes.push(Owed {
                    to: from.clone(),
                    from_scope: to_scope.clone(),
                    to_scope: from_scope.clone(),
                    token,
                    amount: missing,
                }),
            }
        }
        self.transfers.get_mut(&it.reverses).expect("found before").reversed = true;
        self.take(&to, &to_scope, there);
        match from {
            Some(from) => self.give(&from, &from_scope, token, there),
            None => self.pool += there,
        }
        Ok(())
    }

    pub(super) fn stake(&mut self, by: &Did, amount: u64) -> Verdict {
        refuse! { amount == 0 => AmountZero, self.has(by, &None) < amount => InsufficientBalance }
        let before: Vec<_> = TokenType::ALL.iter().map(|token| (*token, self.part(by, &None, *token))).collect();
        self.take(by, &None, amount);
        for (token, had) in before {
            let taken = had - self.part(by, &None, token);
            *self.accounts.get_mut(by).expect("it signed").staked.entry(token).or_default() += taken;
        }
        Ok(())
    }

    pub(super) fn unstake(&mut self, by: &Did, amount: u64, now: u64) -> Verdict {
        refuse! {
            amount == 0 => AmountZero,
            self.accounts[by].returning.len() >= 8 => TooManyReleases,
            self.staked(by) < amount => InsufficientStake,
        }
        let notice = self.parameters.unstake_notice;
        let account = self.accounts.get_mut(by).expect("it signed");
        let mut left = amount;
        let mut taken = BTreeMap::new();
        for token in SPEND_ORDER {
            let part = account.staked.entry(token).or_default();
            let step = (*part).min(left);
            *part -= step;
            left -= step;
            taken.insert(token, step);
        }
        account.returning.push((now + notice, taken));
        Ok(())
    }
}
