//! People, those who vouch for them, and what stands against them.

use std::collections::BTreeSet;

use super::super::action::Flag;
use super::super::{Outcome, Signed};
use super::account::Who;
use super::{Auditor, Verdict};
use crate::ids::Did;

impl Auditor<'_> {
    pub(super) fn human(&self, did: &Did) -> bool {
        let account = &self.accounts[did];
        let homes: BTreeSet<_> = account.angels.iter().map(|(_, home)| home).collect();
        account.who == Who::Person && (account.operators_word || homes.len() >= 2)
    }

    pub(super) fn vouch(&mut self, by: &Did, person: &Did) -> Verdict {
        if !self.accounts.contains_key(person) {
            return Err(Outcome::UnknownAccount);
        }
        let home = self.accounts[person].home == *by;
        let angel = self.human(by) && self.accounts[by].karma >= self.parameters.guardian_karma;
        let account = &self.accounts[person];
        let spent = if home {
            self.vouched.get(by).copied().unwrap_or(0) >= self.parameters.vouches_per_node || !self.is_node(by)
        } else {
            account.angels.len() >= 4
        };
        let already = if home { account.operators_word } else { account.angels.iter().any(|(did, _)| did == by) };
        refuse! {
            person == by => SameWallet,
            !home && !angel => NotPermitted,
            account.who != Who::Person => NotAPerson,
            already => AlreadyVouched,
            spent => VouchesSpent,
        }
        let angels_home = self.accounts[by].home.clone();
        let account = self.accounts.get_mut(person).expect("found before");
        if home {
            account.operators_word = true;
            *self.vouched.entry(by.clone()).or_default() += 1;
        } else {
            account.angels.push((by.clone(), angels_home));
        }
        Ok(())
    }

    pub(super) fn withdraw(&mut self, by: &Did, person: &Did) -> Verdict {
        let Some(account) = self.accounts.get_mut(person) else { return Err(Outcome::UnknownAccount) };
        let home = account.home == *by && account.operators_word;
        let angel = account.angels.iter().any(|(did, _)| did == by);
        refuse! { !home && !angel => NotVouched }
        account.operators_word &= !home;
        account.angels.retain(|(did, _)| did != by);
        Ok(())
    }

    pub(super) fn flag(&mut self, signed: &Signed, by: &Did, it: &Flag) -> Verdict {
        let Some(account) = self.accounts.get(&it.account) else { return Err(Outcome::UnknownAccount) };
        let home = it.approvals.is_empty();
        let may = if home { account.home == *by } else { self.validators.contains(by) };
        refuse! { !may => NotPermitted }
        if !home {
            self.approved(signed, &it.approvals)?;
        }
        let flags = &mut self.accounts.get_mut(&it.account).expect("found before").flags;
        if it.raised {
            flags.insert(it.anomaly)
        } else {
            flags.remove(&it.anomaly)
        };
        Ok(())
    }
}
