//! A second ledger, slow and simple, that predicts what [`super::apply()`] will say.
//!
//! Written from the rules and sharing no code with the first: it keeps whole histories and counts them anew for every
//! transaction, where the ledger keeps counters. It knows the kinds that move tokens and what they depend on: people,
//! their humanity, flags, stakes. The words are shared: transactions, outcomes, parameters, signed statements.

use std::collections::{BTreeMap, BTreeSet};

use super::action::*;
use super::parameters::{Currency, Parameters};
use super::signatures::Signatures;
use super::statement::{self, Statement};
use super::{Outcome, Signed, TokenType, TransactionId};
use crate::crypto::NodePublicKey;
use crate::ids::{Did, NetworkId};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const MONTH: u64 = 30 * DAY;
const MOST: u64 = 9_007_199_254_740_991;

/// `network.md` 8.2: exchanges first, then grants, karma, node rewards, recognition, justice.
const SPEND_ORDER: [TokenType; 6] = [
    TokenType::CrossTenantExchange,
    TokenType::SystemGrant,
    TokenType::KarmaReward,
    TokenType::NodeReward,
    TokenType::PeerRecognition,
    TokenType::JusticeFund,
];

/// Whose account it is.
#[derive(Clone, PartialEq)]
pub(super) enum Who {
    Person,
    Business,
    Agent(Did),
    Node,
}

type Scope = Option<Did>;

struct Owed {
    to: Option<Did>,
    from_scope: Scope,
    to_scope: Scope,
    token: TokenType,
    amount: u64,
}

/// An account with its whole history.
pub(super) struct Account {
    pub(super) who: Who,
    pub(super) home: Did,
    pub(super) key: [u8; 32],
    pub(super) next: u64,
    money: BTreeMap<(Scope, TokenType), u64>,
    staked: BTreeMap<TokenType, u64>,
    returning: Vec<(u64, BTreeMap<TokenType, u64>)>,
    owes: Vec<Owed>,
    flags: BTreeSet<Anomaly>,
    angels: Vec<(Did, Did)>,
    operators_word: bool,
    karma: u64,
    decided_at: Vec<u64>,
    recognised: Vec<(u64, Did)>,
}

struct Transfer {
    from: Option<Did>,
    from_scope: Scope,
    to: Did,
    to_scope: Scope,
    token: TokenType,
    amount: u64,
    reversed: bool,
}

/// The second ledger.
pub(super) struct Auditor<'s> {
    pub(super) network: NetworkId,
    pub(super) parameters: Parameters,
    pub(super) validators: BTreeSet<Did>,
    pub(super) accounts: BTreeMap<Did, Account>,
    pub(super) minted: u64,
    pub(super) pool: u64,
    pub(super) posted: u64,
    signatures: &'s dyn Signatures,
    decided: BTreeMap<TransactionId, [u8; 32]>,
    transfers: BTreeMap<[u8; 32], Transfer>,
    by_day: BTreeMap<(u64, TokenType), u64>,
    causes: BTreeSet<String>,
    vouched: BTreeMap<Did, u32>,
}

macro_rules! refuse {
    ($($condition:expr => $outcome:ident),+ $(,)?) => {
        $(if $condition {
            return Outcome::$outcome;
        })+
    };
}

impl<'s> Auditor<'s> {
    pub(super) fn new(network: NetworkId, parameters: Parameters, signatures: &'s dyn Signatures) -> Self {
        Self {
            network,
            parameters,
            validators: BTreeSet::new(),
            accounts: BTreeMap::new(),
            minted: 0,
            pool: 0,
            posted: 0,
            signatures,
            decided: BTreeMap::new(),
            transfers: BTreeMap::new(),
            by_day: BTreeMap::new(),
            causes: BTreeSet::new(),
            vouched: BTreeMap::new(),
        }
    }

    pub(super) fn open(&mut self, did: Did, who: Who, home: Did, key: [u8; 32], grant: u64, human: bool) {
        let account = Account {
            who,
            home,
            key,
            next: 0,
            money: BTreeMap::from([((None, TokenType::SystemGrant), grant)]),
            staked: BTreeMap::new(),
            returning: Vec::new(),
            owes: Vec::new(),
            flags: BTreeSet::new(),
            angels: Vec::new(),
            operators_word: human,
            karma: 0,
            decided_at: Vec::new(),
            recognised: Vec::new(),
        };
        self.minted += grant;
        self.accounts.insert(did, account);
    }

    /// What one account has in one scope.
    pub(super) fn has(&self, did: &Did, scope: &Scope) -> u64 {
        let money = self.accounts.get(did).map(|account| &account.money);
        money.into_iter().flatten().filter(|((at, _), _)| at == scope).map(|(_, amount)| amount).sum()
    }

    /// What one account has of one type in one scope.
    pub(super) fn part(&self, did: &Did, scope: &Scope, token: TokenType) -> u64 {
        self.accounts[did].money.get(&(scope.clone(), token)).copied().unwrap_or(0)
    }

    /// Everything anybody has, in every form.
    pub(super) fn everything(&self) -> u64 {
        let locked = |account: &Account| {
            let returning = account.returning.iter().flat_map(|(_, parts)| parts.values()).sum::<u64>();
            account.staked.values().sum::<u64>() + returning
        };
        self.accounts.values().map(|account| account.money.values().sum::<u64>() + locked(account)).sum::<u64>()
            + self.pool
    }

    /// Every scope somebody has money in.
    pub(super) fn scopes(&self) -> BTreeSet<(Did, Scope)> {
        let of = |(did, account): (&Did, &Account)| {
            account.money.keys().map(|(scope, _)| (did.clone(), scope.clone())).collect::<Vec<_>>()
        };
        self.accounts.iter().flat_map(of).collect()
    }

    pub(super) fn staked(&self, did: &Did) -> u64 {
        self.accounts[did].staked.values().sum()
    }

    fn human(&self, did: &Did) -> bool {
        let account = &self.accounts[did];
        let homes: BTreeSet<_> = account.angels.iter().map(|(_, home)| home).collect();
        account.who == Who::Person && (account.operators_word || homes.len() >= 2)
    }

    /// Predicts the outcome and follows it.
    pub(super) fn expect(&mut self, signed: &Signed, now: u64) -> Outcome {
        let tx = signed.transaction();
        refuse! {
            tx.network != self.network => WrongNetwork,
            tx.expires.as_millis() < now => Expired,
            tx.expires.as_millis() > now + 25 * HOUR => ExpiresTooLate,
        }
        if let Some(digest) = self.decided.get(&signed.id()) {
            return if digest == signed.digest() { Outcome::AlreadyDecided } else { Outcome::IdReused };
        }
        let Some(account) = self.accounts.get_mut(&tx.wallet) else { return Outcome::WalletUnknown };
        let limit = match account.who {
            Who::Node => self.parameters.node_transactions_per_hour,
            _ => self.parameters.transactions_per_hour,
        };
        let this_hour = account.decided_at.iter().filter(|at| **at / HOUR == now / HOUR).count();
        refuse! {
            !self.signatures.transaction_holds(&account.key, signed) => BadSignature,
            tx.sequence < account.next => SequencePassed,
            tx.sequence > account.next => SequenceAhead,
            this_hour >= limit as usize => RateLimited,
        }
        account.next += 1;
        account.decided_at.retain(|at| *at / HOUR == now / HOUR);
        account.decided_at.push(now);
        let (due, later) = std::mem::take(&mut account.returning).into_iter().partition(|(at, _)| *at <= now);
        account.returning = later;
        for (_, parts) in due {
            for (token, amount) in parts {
                *account.money.entry((None, token)).or_default() += amount;
            }
        }
        self.decided.insert(signed.id(), *signed.digest());
        let outcome = self.judge(signed, now);
        self.posted += u64::from(outcome == Outcome::Posted);
        outcome
    }

    fn judge(&mut self, signed: &Signed, now: u64) -> Outcome {
        let by = signed.transaction().wallet.clone();
        match &signed.transaction().action {
            Action::KarmaReward(it) => self.karma_reward(signed, &by, it, now),
            Action::PeerRecognition(it) => self.recognition(signed, &by, it, now),
            Action::CrossTenantExchange(it) => self.exchange(signed, &by, it, now),
            Action::NodeReward(it) => self.node_reward(signed, &by, it, now),
            Action::JusticeFund(it) => self.justice_fund(signed, &by, it, now),
            Action::SystemGrant(it) => self.grant(signed, &by, it, now),
            Action::Reversal(it) => self.reversal(signed, &by, it),
            Action::Stake(it) => self.stake(&by, it.amount.micro()),
            Action::Unstake(it) => self.unstake(&by, it.amount.micro(), now),
            Action::Vouch(it) => self.vouch(&by, &it.person),
            Action::WithdrawVouch(it) => self.withdraw(&by, &it.person),
            Action::Flag(it) => self.flag(signed, &by, it),
            other => panic!("the auditor does not know {other:?}"),
        }
    }

    fn holds(&self, key: &[u8; 32], statement: &Statement, signature: &[u8; 64]) -> bool {
        self.signatures.holds(key, statement.0, &statement.1, signature)
    }

    fn node_holds(&self, node: &Did, statement: &Statement, signature: &[u8; 64]) -> bool {
        NodePublicKey::from_did(node).is_ok_and(|key| self.holds(&key.to_bytes(), statement, signature))
    }

    fn is_node(&self, did: &Did) -> bool {
        self.accounts.get(did).is_some_and(|account| account.who == Who::Node)
    }

    fn approved(&self, signed: &Signed, approvals: &[Approval]) -> Outcome {
        let people: BTreeSet<_> = approvals.iter().map(|approval| &approval.validator).collect();
        let in_order = people.iter().copied().eq(approvals.iter().map(|approval| &approval.validator));
        let what = statement::approval(&self.network, signed.id(), &signed.transaction().action);
        refuse! {
            !in_order || !people.iter().all(|did| self.validators.contains(*did)) => ApprovalInvalid,
            people.len() * 3 <= self.validators.len() * 2 => NoQuorum,
            !approvals.iter().all(|it| self.node_holds(&it.validator, &what, &it.signature)) => BadApproval,
        }
        Outcome::Posted
    }

    fn cause(&self, signed: &Signed, cause: &Cause, receiver: &Did, name: &str, needed: u8, now: u64) -> Outcome {
        let by = &signed.transaction().wallet;
        let at = cause.at.as_millis();
        let names: BTreeSet<_> = cause.witnesses.iter().map(|witness| &witness.account).collect();
        let tenants: BTreeSet<_> = cause.witnesses.iter().filter_map(|witness| witness.tenant.as_ref()).collect();
        let impact = std::cmp::min(100, names.len() * 20 + tenants.len() * 10);
        refuse! {
            at > now + 120_000 => CauseInFuture,
            at + self.parameters.cause_age < now => CauseTooOld,
            self.causes.contains(name) => CauseRewarded,
            names.len() < cause.witnesses.len() => WitnessRepeated,
            names.contains(receiver) || names.contains(by) => WitnessIsParty,
            names.iter().any(|did| !self.accounts.contains_key(*did)) => WitnessUnknown,
            names.iter().any(|did| !self.human(did)) => WitnessNotHuman,
            impact != cause.impact as usize => ImpactWrong,
            names.len() < needed as usize => TooFewWitnesses,
        }
        for witness in &cause.witnesses {
            let action = &signed.transaction().action;
            let what =
                statement::witness(&self.network, signed.id(), action, &witness.account, witness.tenant.as_ref());
            if !self.holds(&self.accounts[&witness.account].key, &what, &witness.signature) {
                return Outcome::BadWitnessSignature;
            }
        }
        Outcome::Posted
    }

    fn day_is_full(&self, token: TokenType, amount: u64, now: u64) -> bool {
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
    fn take(&mut self, did: &Did, scope: &Scope, mut amount: u64) {
        let account = self.accounts.get_mut(did).expect("found before");
        for token in SPEND_ORDER {
            let part = account.money.entry((scope.clone(), token)).or_default();
            let step = (*part).min(amount);
            *part -= step;
            amount -= step;
        }
        assert_eq!(amount, 0, "checked before");
    }

    fn give(&mut self, did: &Did, scope: &Scope, token: TokenType, amount: u64) {
        let account = self.accounts.get_mut(did).expect("found before");
        *account.money.entry((scope.clone(), token)).or_default() += amount;
    }

    /// Income: what is owed from this scope goes on to whom it is owed.
    fn income(&mut self, did: &Did, scope: &Scope, token: TokenType, amount: u64) {
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

    fn moved(&mut self, signed: &Signed, transfer: Transfer, now: u64) -> Outcome {
        *self.by_day.entry((now / DAY, transfer.token)).or_default() += transfer.amount;
        let (to, scope) = (transfer.to.clone(), transfer.to_scope.clone());
        self.income(&to, &scope, transfer.token, transfer.amount);
        self.transfers.insert(signed.id().0, transfer);
        Outcome::Posted
    }

    fn karma_reward(&mut self, signed: &Signed, by: &Did, it: &KarmaReward, now: u64) -> Outcome {
        let amount = it.amount.micro();
        let name = format!("karma {}", it.cause.uri);
        refuse! {
            !self.is_node(by) => NotANode,
            amount == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
            self.accounts[&it.to].home != *by => NotHomeNode,
            !self.human(&it.to) => ReceiverNotHuman,
        }
        match self.cause(signed, &it.cause, &it.to, &name, self.parameters.karma_reward_witnesses, now) {
            Outcome::Posted => {}
            refused => return refused,
        }
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
        let transfer = Transfer {
            from: None,
            from_scope: None,
            to: it.to.clone(),
            to_scope: it.tenant.clone(),
            token: TokenType::KarmaReward,
            amount,
            reversed: false,
        };
        self.moved(signed, transfer, now)
    }

    fn recognition(&mut self, signed: &Signed, by: &Did, it: &PeerRecognition, now: u64) -> Outcome {
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
        match self.cause(signed, &it.cause, &it.to, &name, 0, now) {
            Outcome::Posted => {}
            refused => return refused,
        }
        let today = self.accounts[by].recognised.iter().filter(|(at, _)| at / DAY == now / DAY).count();
        let month = |did: &Did, to: Option<&Did>| {
            let given = &self.accounts[did].recognised;
            given.iter().filter(|(at, who)| at / MONTH == now / MONTH && to.is_none_or(|to| who == to)).count()
        };
        let (mine, theirs) = (month(by, Some(&it.to)), month(&it.to, Some(by)));
        let only_each_other = mine > 0 && theirs > 0 && mine == month(by, None) && theirs == month(&it.to, None);
        if today >= self.parameters.recognitions_per_day as usize {
            return Outcome::RecognitionLimit;
        }
        if only_each_other && mine + theirs >= self.parameters.reciprocal_recognitions as usize {
            for did in [by, &it.to] {
                self.accounts.get_mut(did).expect("found before").flags.insert(Anomaly::ReciprocalRecognition);
            }
            return Outcome::ReciprocalRecognition;
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
        let transfer = Transfer {
            from: Some(by.clone()),
            from_scope: it.tenant.clone(),
            to: it.to.clone(),
            to_scope: it.tenant.clone(),
            token: TokenType::PeerRecognition,
            amount,
            reversed: false,
        };
        self.moved(signed, transfer, now)
    }

    fn exchange(&mut self, signed: &Signed, by: &Did, it: &Exchange, now: u64) -> Outcome {
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
        let Ok(amount) = u64::try_from(converted) else { return Outcome::NothingMoves };
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
        let transfer = Transfer {
            from: Some(by.clone()),
            from_scope: it.from_tenant.clone(),
            to: it.to.clone(),
            to_scope: it.to_tenant.clone(),
            token: TokenType::CrossTenantExchange,
            amount,
            reversed: false,
        };
        self.moved(signed, transfer, now)
    }

    fn node_reward(&mut self, signed: &Signed, by: &Did, it: &NodeReward, now: u64) -> Outcome {
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
        let transfer = Transfer {
            from: None,
            from_scope: None,
            to: it.to.clone(),
            to_scope: None,
            token: TokenType::NodeReward,
            amount,
            reversed: false,
        };
        self.moved(signed, transfer, now)
    }

    fn justice_fund(&mut self, signed: &Signed, by: &Did, it: &JusticeFund, now: u64) -> Outcome {
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
        let transfer = Transfer {
            from: Some(by.clone()),
            from_scope: None,
            to: it.to.clone(),
            to_scope: None,
            token: TokenType::JusticeFund,
            amount,
            reversed: false,
        };
        self.moved(signed, transfer, now)
    }

    fn grant(&mut self, signed: &Signed, by: &Did, it: &SystemGrant, now: u64) -> Outcome {
        let amount = it.amount.micro();
        refuse! {
            !self.validators.contains(by) => NotAValidator,
            amount == 0 => AmountZero,
            !self.accounts.contains_key(&it.to) => UnknownReceiver,
        }
        match self.approved(signed, &it.approvals) {
            Outcome::Posted => {}
            refused => return refused,
        }
        refuse! {
            self.day_is_full(TokenType::SystemGrant, amount, now) => DailyCeiling,
            self.minted + amount > MOST => SupplyExhausted,
        }
        self.minted += amount;
        let transfer = Transfer {
            from: None,
            from_scope: None,
            to: it.to.clone(),
            to_scope: it.tenant.clone(),
            token: TokenType::SystemGrant,
            amount,
            reversed: false,
        };
        self.moved(signed, transfer, now)
    }

    fn reversal(&mut self, signed: &Signed, by: &Did, it: &Reversal) -> Outcome {
        let Some(transfer) = self.transfers.get(&it.reverses) else { return Outcome::UnknownTransfer };
        let agreed = it.approvals.is_empty();
        let may = if agreed { transfer.to == *by } else { self.validators.contains(by) };
        refuse! { !may => NotPermitted, transfer.reversed => AlreadyReversed }
        if !agreed {
            match self.approved(signed, &it.approvals) {
                Outcome::Posted => {}
                refused => return refused,
            }
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
                None if owes.len() >= 16 => return Outcome::DebtsFull,
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
        Outcome::Posted
    }

    fn stake(&mut self, by: &Did, amount: u64) -> Outcome {
        refuse! { amount == 0 => AmountZero, self.has(by, &None) < amount => InsufficientBalance }
        let before: Vec<_> = TokenType::ALL.iter().map(|token| (*token, self.part(by, &None, *token))).collect();
        self.take(by, &None, amount);
        for (token, had) in before {
            let taken = had - self.part(by, &None, token);
            *self.accounts.get_mut(by).expect("it signed").staked.entry(token).or_default() += taken;
        }
        Outcome::Posted
    }

    fn unstake(&mut self, by: &Did, amount: u64, now: u64) -> Outcome {
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
        Outcome::Posted
    }

    fn vouch(&mut self, by: &Did, person: &Did) -> Outcome {
        if !self.accounts.contains_key(person) {
            return Outcome::UnknownAccount;
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
        Outcome::Posted
    }

    fn withdraw(&mut self, by: &Did, person: &Did) -> Outcome {
        let Some(account) = self.accounts.get_mut(person) else { return Outcome::UnknownAccount };
        let home = account.home == *by && account.operators_word;
        let angel = account.angels.iter().any(|(did, _)| did == by);
        refuse! { !home && !angel => NotVouched }
        account.operators_word &= !home;
        account.angels.retain(|(did, _)| did != by);
        Outcome::Posted
    }

    fn flag(&mut self, signed: &Signed, by: &Did, it: &Flag) -> Outcome {
        let Some(account) = self.accounts.get(&it.account) else { return Outcome::UnknownAccount };
        let home = it.approvals.is_empty();
        let may = if home { account.home == *by } else { self.validators.contains(by) };
        refuse! { !may => NotPermitted }
        if !home {
            match self.approved(signed, &it.approvals) {
                Outcome::Posted => {}
                refused => return refused,
            }
        }
        let flags = &mut self.accounts.get_mut(&it.account).expect("found before").flags;
        if it.raised {
            flags.insert(it.anomaly)
        } else {
            flags.remove(&it.anomaly)
        };
        Outcome::Posted
    }
}
