//! The kinds of transactions that move money from one account to another, or make it.

use super::super::action::*;
use super::super::parameters::Currency;
use super::super::{Outcome, Signed, TokenType, statement};
use super::account::Who;
use super::{Auditor, DAY, MONTH, MOST, Transfer, Verdict};
use crate::ids::Did;

impl Auditor<'_> {
    pub(super) fn karma_reward(&mut self, signed: &Signed, by: &Did, it: &KarmaReward, now: u64) -> Verdict {
        let amount = it.amount.micro();
        let name = format!("karma {}", it.cause.uri);
        refuse! {
            !self.is_node(by) => NotANode,
            amount == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
            self.accounts[&it.to].home != *by => NotHomeNode,
            !self.human(&it.to) => ReceiverNotHuman,
        }
        self.cause(signed, &it.cause, &it.to, &name, self.parameters.karma_reward_witnesses, now)?;
        let before = self.accounts[&it.to].karma;
        let hundreds = if it.karma > before { it.karma / 100 - before / 100 } else { 0 };
        refuse! {
            hundreds * self.parameters.karma_reward_per_hundred.micro() != amount => RewardNotEarned,
            self.day_is_full(TokenType::KarmaReward, amount, now) => DailyCeiling,
            self.minted + amount > MOST => SupplyExhausted,
        }
        self.causes.insert(name);
        self.accounts.get_mut(&it.to).expect("found before").karma = it.karma;
        self.minted += amount;
        let transfer = Transfer::minted(&it.to, &it.tenant, TokenType::KarmaReward, amount);
        self.moved(signed, transfer, now)
    }

    pub(super) fn recognition(&mut self, signed: &Signed, by: &Did, it: &PeerRecognition, now: u64) -> Verdict {
        let amount = it.amount.micro();
        let name = format!("peer {by} {} {}", it.to, it.cause.uri);
        refuse! {
            matches!(self.accounts[by].who, Who::Agent(_)) => AgentMayNotGrant,
            amount == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
            it.to == *by => SameWallet,
            self.accounts[&it.to].who == Who::Agent(by.clone()) => OwnAgent,
            !self.human(by) => NotHuman,
            !self.human(&it.to) => ReceiverNotHuman,
        }
        self.cause(signed, &it.cause, &it.to, &name, 0, now)?;
        let today = self.accounts[by].recognised.iter().filter(|(at, _)| at / DAY == now / DAY).count();
        let month = |did: &Did, to: Option<&Did>| {
            let given = &self.accounts[did].recognised;
            given.iter().filter(|(at, who)| at / MONTH == now / MONTH && to.is_none_or(|to| who == to)).count()
        };
        let (mine, theirs) = (month(by, Some(&it.to)), month(&it.to, Some(by)));
        let only_each_other = mine > 0 && theirs > 0 && mine == month(by, None) && theirs == month(&it.to, None);
        if today >= self.parameters.recognitions_per_day as usize {
            return Err(Outcome::RecognitionLimit);
        }
        if only_each_other && mine + theirs >= self.parameters.reciprocal_recognitions as usize {
            for did in [by, &it.to] {
                self.accounts.get_mut(did).expect("found before").flags.insert(Anomaly::ReciprocalRecognition);
            }
            return Err(Outcome::ReciprocalRecognition);
        }
        refuse! {
            self.day_is_full(TokenType::PeerRecognition, amount, now) => DailyCeiling,
            self.has(by, &it.tenant) < amount => InsufficientBalance,
        }
        self.causes.insert(name);
        let giver = self.accounts.get_mut(by).expect("it signed");
        giver.recognised.retain(|(at, _)| at / MONTH == now / MONTH);
        giver.recognised.push((now, it.to.clone()));
        self.take(by, &it.tenant, amount);
        let transfer = Transfer::between((by, &it.tenant), (&it.to, &it.tenant), TokenType::PeerRecognition, amount);
        self.moved(signed, transfer, now)
    }

    pub(super) fn exchange(&mut self, signed: &Signed, by: &Did, it: &Exchange, now: u64) -> Verdict {
        refuse! {
            it.amount.micro() == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
            it.to == *by && it.from_tenant == it.to_tenant => SameWallet,
            !self.accounts[by].flags.is_empty() => Frozen,
            it.quote.is_none() && it.currency != Currency::AngelTokens => QuoteMissing,
        }
        // The rates never change where the auditor looks on: a hundred points are a token.
        let rate = match it.currency {
            Currency::AngelTokens => Some(1_000_000),
            Currency::KarmaPoints => Some(10_000),
            Currency::Usd => None,
        };
        if let Some(quote) = &it.quote {
            let what = statement::quote(&self.network, it.currency, quote);
            let (issued, expires) = (quote.issued.as_millis(), quote.expires.as_millis());
            refuse! {
                !self.is_node(&quote.node) => QuoteNodeUnknown,
                issued > now => QuoteInFuture,
                expires > issued + self.parameters.quote_life => QuoteTooLong,
                expires < now => QuoteExpired,
                rate.is_none() => RateUnavailable,
                Some(quote.rate) != rate || quote.fee != self.parameters.exchange_fee => QuoteMismatch,
                !self.node_holds(&quote.node, &what, &quote.signature) => BadQuoteSignature,
            }
        }
        let converted = u128::from(it.amount.micro()) * u128::from(rate.unwrap_or(0)) / 1_000_000;
        let Ok(amount) = u64::try_from(converted) else { return Err(Outcome::NothingMoves) };
        let across = self.accounts[by].home != self.accounts[&it.to].home;
        let fee = if across {
            u64::try_from(u128::from(amount) * u128::from(self.parameters.exchange_fee) / 10_000).expect("smaller")
        } else {
            0
        };
        refuse! {
            amount == 0 || amount > MOST => NothingMoves,
            self.day_is_full(TokenType::CrossTenantExchange, amount, now) => DailyCeiling,
            self.has(by, &it.from_tenant) < amount + fee => InsufficientBalance,
        }
        self.take(by, &it.from_tenant, amount + fee);
        self.pool += fee;
        let transfer =
            Transfer::between((by, &it.from_tenant), (&it.to, &it.to_tenant), TokenType::CrossTenantExchange, amount);
        self.moved(signed, transfer, now)
    }

    pub(super) fn node_reward(&mut self, signed: &Signed, by: &Did, it: &NodeReward, now: u64) -> Verdict {
        let amount = it.amount.micro();
        let name = format!("node {} {}", it.to, it.day);
        let begins = u128::from(it.day) * u128::from(DAY);
        let pays = amount.min(self.pool);
        refuse! {
            !self.validators.contains(by) => NotAValidator,
            amount == 0 => AmountZero,
            !self.is_node(&it.to) => ReceiverNotANode,
            begins > u128::from(now) + 120_000 => CauseInFuture,
            begins + u128::from(self.parameters.cause_age) < u128::from(now) => CauseTooOld,
            self.causes.contains(&name) => CauseRewarded,
            amount > self.parameters.node_reward_per_day.micro() => RewardNotEarned,
            self.day_is_full(TokenType::NodeReward, amount, now) => DailyCeiling,
            self.minted + (amount - pays) > MOST => SupplyExhausted,
        }
        self.causes.insert(name);
        self.pool -= pays;
        self.minted += amount - pays;
        let transfer = Transfer::minted(&it.to, &None, TokenType::NodeReward, amount);
        self.moved(signed, transfer, now)
    }

    pub(super) fn justice_fund(&mut self, signed: &Signed, by: &Did, it: &JusticeFund, now: u64) -> Verdict {
        let amount = it.amount.micro();
        let fund = self.parameters.justice_fund.clone();
        refuse! {
            amount == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
            it.to == *by => SameWallet,
            it.to != fund && *by != fund => NotJusticeFund,
            self.day_is_full(TokenType::JusticeFund, amount, now) => DailyCeiling,
            self.has(by, &None) < amount => InsufficientBalance,
        }
        self.take(by, &None, amount);
        let transfer = Transfer::between((by, &None), (&it.to, &None), TokenType::JusticeFund, amount);
        self.moved(signed, transfer, now)
    }

    pub(super) fn grant(&mut self, signed: &Signed, by: &Did, it: &SystemGrant, now: u64) -> Verdict {
        let amount = it.amount.micro();
        refuse! {
            !self.validators.contains(by) => NotAValidator,
            amount == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
        }
        self.approved(signed, &it.approvals)?;
        refuse! {
            self.day_is_full(TokenType::SystemGrant, amount, now) => DailyCeiling,
            self.minted + amount > MOST => SupplyExhausted,
        }
        self.minted += amount;
        let transfer = Transfer::minted(&it.to, &it.tenant, TokenType::SystemGrant, amount);
        self.moved(signed, transfer, now)
    }
}
