//! A second ledger, slow and simple, that predicts what [`super::apply()`] will say.
//!
//! Written from the rules and sharing no code with the first: it keeps whole histories and counts them anew for every
//! transaction, where the ledger keeps counters. It knows the kinds that move tokens and what they depend on (people,
//! their humanity, flags, stakes), nodes, the places of tenants, and identities. The words are shared: transactions,
//! outcomes, parameters, signed statements; and so is the log of one identity, which has judges of its own.

/// Refuses with the first outcome whose condition is true.
macro_rules! refuse {
    ($($condition:expr => $outcome:ident),+ $(,)?) => {
        $(if $condition {
            return Err(Outcome::$outcome);
        })+
    };
}

mod account;
mod evidence;
mod identities;
mod money;
mod nodes;
mod people;
mod placement;
mod transfers;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use account::Who;
use account::{Account, Scope, Transfer};
use identities::Identities;
pub(super) use nodes::Node;
pub(super) use placement::Placement;

use super::action::Action;
use super::parameters::Parameters;
use super::signatures::Signatures;
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

/// Posted, or refused and why.
type Verdict = Result<(), Outcome>;

/// The second ledger.
pub(super) struct Auditor<'s> {
    pub(super) network: NetworkId,
    pub(super) parameters: Parameters,
    pub(super) validators: BTreeSet<Did>,
    pub(super) accounts: BTreeMap<Did, Account>,
    pub(super) nodes: BTreeMap<Did, Node>,
    pub(super) placements: BTreeMap<Did, Placement>,
    pub(super) identities: Identities,
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

impl<'s> Auditor<'s> {
    pub(super) fn new(network: NetworkId, parameters: Parameters, signatures: &'s dyn Signatures) -> Self {
        Self {
            network,
            parameters,
            validators: BTreeSet::new(),
            accounts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            placements: BTreeMap::new(),
            identities: Identities::default(),
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
        let mut account = Account::new(who, home, key);
        account.money.insert((None, TokenType::SystemGrant), grant);
        account.operators_word = human;
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
        let all = |account: &Account| account.money.values().sum::<u64>() + account.locked();
        self.accounts.values().map(all).sum::<u64>() + self.pool
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

    /// Predicts the outcome and follows it.
    pub(super) fn expect(&mut self, signed: &Signed, now: u64) -> Outcome {
        let verdict = self.decide(signed, now);
        self.posted += u64::from(verdict.is_ok());
        verdict.err().unwrap_or(Outcome::Posted)
    }

    fn decide(&mut self, signed: &Signed, now: u64) -> Verdict {
        let tx = signed.transaction();
        refuse! {
            tx.network != self.network => WrongNetwork,
            tx.expires.as_millis() < now => Expired,
            signed.operation().is_none() && tx.expires.as_millis() > now + 25 * HOUR => ExpiresTooLate,
        }
        match self.decided.get(&signed.id()) {
            Some(digest) if digest == signed.digest() => return Err(Outcome::AlreadyDecided),
            Some(_) => return Err(Outcome::IdReused),
            None => {}
        }
        // Without a sequence number to use up, a refusal is as if nothing had been said.
        if signed.operation().is_some() {
            self.identity(signed, now)?;
            self.decided.insert(signed.id(), *signed.digest());
            return Ok(());
        }
        if !self.accounts.contains_key(&tx.wallet) {
            self.introduce(signed, now)?;
            self.decided.insert(signed.id(), *signed.digest());
            return Ok(());
        }
        self.admit(signed, now)?;
        self.decided.insert(signed.id(), *signed.digest());
        self.judge(signed, now)
    }

    /// The account's next transaction counts, whatever comes of it.
    fn admit(&mut self, signed: &Signed, now: u64) -> Verdict {
        let tx = signed.transaction();
        let account = self.accounts.get_mut(&tx.wallet).expect("found before");
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
        Ok(())
    }

    /// The first transaction of somebody unknown: only a node can introduce itself here.
    fn introduce(&mut self, signed: &Signed, now: u64) -> Verdict {
        let tx = signed.transaction();
        let Action::RegisterNode(it) = &tx.action else { return Err(Outcome::WalletUnknown) };
        let Ok(key) = NodePublicKey::from_did(&tx.wallet).map(NodePublicKey::to_bytes) else {
            return Err(Outcome::BadSignature);
        };
        refuse! {
            !self.signatures.transaction_holds(&key, signed) => BadSignature,
            tx.sequence > 0 => SequenceAhead,
        }
        self.register_node(&tx.wallet, it, now)?;
        let mut account = Account::new(Who::Node, tx.wallet.clone(), key);
        account.next = 1;
        self.accounts.insert(tx.wallet.clone(), account);
        Ok(())
    }

    fn judge(&mut self, signed: &Signed, now: u64) -> Verdict {
        let by = &signed.transaction().wallet;
        match &signed.transaction().action {
            Action::KarmaReward(it) => self.karma_reward(signed, by, it, now),
            Action::PeerRecognition(it) => self.recognition(signed, by, it, now),
            Action::CrossTenantExchange(it) => self.exchange(signed, by, it, now),
            Action::NodeReward(it) => self.node_reward(signed, by, it, now),
            Action::JusticeFund(it) => self.justice_fund(signed, by, it, now),
            Action::SystemGrant(it) => self.grant(signed, by, it, now),
            Action::Reversal(it) => self.reversal(signed, by, it),
            Action::Stake(it) => self.stake(by, it.amount.micro()),
            Action::Unstake(it) => self.unstake(by, it.amount.micro(), now),
            Action::Vouch(it) => self.vouch(by, &it.person),
            Action::WithdrawVouch(it) => self.withdraw(by, &it.person),
            Action::Flag(it) => self.flag(signed, by, it),
            Action::RegisterNode(it) => self.register_node(by, it, now),
            Action::RetireNode => self.retire_node(by),
            Action::PlaceTenant(it) => self.place(by, it),
            Action::ChangeHosts(it) => self.change_hosts(by, it),
            Action::Migrate(it) => self.migrate(by, it, now),
            Action::RollBack(it) => self.roll_back(by, it, now),
            Action::Failover(it) => self.failover(by, it, now),
            Action::Claim(it) => self.claim(by, it, now),
            other => panic!("the auditor does not know {other:?}"),
        }
    }
}
