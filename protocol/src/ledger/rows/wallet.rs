//! Wallets and what belongs to them.

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest, Sha256};

use super::super::action::Anomaly;
use super::super::amount::Amount;
use super::super::token::{Balance, Parts, TokenType};
use crate::ids::Did;
use crate::limits::RELEASES_MAX;

/// Whose wallet it is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Kind {
    /// A person.
    Person,
    /// A tenant.
    Business,
    /// An agent of somebody.
    Agent(Did),
    /// A node.
    Node,
}

/// Signs of fraud that stand against a wallet (TOK-13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Flags(u8);

impl Flags {
    const fn bit(anomaly: Anomaly) -> u8 {
        1 << anomaly as u8
    }

    /// Whether `anomaly` stands.
    #[must_use]
    pub const fn contains(self, anomaly: Anomaly) -> bool {
        self.0 & Self::bit(anomaly) != 0
    }

    /// How many stand.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether none stands.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn set(&mut self, anomaly: Anomaly, raised: bool) {
        if raised {
            self.0 |= Self::bit(anomaly);
        } else {
            self.0 &= !Self::bit(anomaly);
        }
    }
}

/// Unstaked tokens on their way back.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Release {
    /// Free from this batch time on, in milliseconds.
    pub at: u64,
    /// What returns.
    pub parts: Parts,
}

/// What a wallet owes after a reversal its balance did not cover; paid out of its next income.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Debt {
    /// To whom; nobody means the node reward pool.
    pub to: Option<Did>,
    /// The scope on the debtor's side.
    pub tenant: Option<Did>,
    /// The scope on the creditor's side.
    pub to_tenant: Option<Did>,
    /// The part of the creditor's balance it returns to.
    pub token: TokenType,
    /// How much is left of it.
    pub amount: Amount,
}

/// Somebody's word that a person is human.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Voucher {
    /// Who vouches.
    pub by: Did,
    /// His home node when he did.
    pub home: Did,
}

/// A wallet: an account's entry in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Wallet {
    /// The Ed25519 key that signs for it.
    pub key: [u8; 32],
    /// Whose it is.
    pub kind: Kind,
    /// The node that hosts the account.
    pub home: Did,
    /// Number of its next transaction.
    pub sequence: u64,
    /// What it has outside every tenant.
    pub balance: Balance,
    /// What it has locked for voting power.
    pub staked: Parts,
    /// What it has unlocked and not yet back, in the order of time.
    pub releases: Vec<Release>,
    /// What it owes.
    pub debts: Vec<Debt>,
    /// Who votes for it.
    pub delegate: Option<Did>,
    /// For how many it votes.
    pub delegators: u32,
    /// What stands against it.
    pub flags: Flags,
    /// Guardian Angels who vouch for the person.
    pub vouchers: Vec<Voucher>,
    /// Whether the home node's operator vouches for the person.
    pub vouched_by_home: bool,
    /// Karma as last rewarded.
    pub karma: u64,
    /// Sum and number of the impact scores of posted contributions.
    pub impact_sum: u64,
    /// See `impact_sum`.
    pub impacts: u64,
    /// Distinct people who confirmed a contribution.
    pub witnesses: u64,
    /// Transactions it signed that were posted.
    pub posted: u64,
    /// Proposals it voted on.
    pub votes: u64,
    /// Times of the latest reversals against it, at most ten: more change nothing (TOK-10).
    pub reversals: Vec<u64>,
    /// The hour that `hour_count` speaks of.
    pub hour: u64,
    /// Decided transactions in that hour.
    pub hour_count: u32,
    /// The day that `day_recognitions` speaks of.
    pub day: u64,
    /// Recognitions given on that day.
    pub day_recognitions: u32,
    /// The thirty days that `month_recognitions` speaks of.
    pub month: u64,
    /// Recognitions given in those thirty days.
    pub month_recognitions: u32,
}

impl Wallet {
    pub(crate) fn new(key: [u8; 32], kind: Kind, home: Did) -> Self {
        Self {
            key,
            kind,
            home,
            sequence: 0,
            balance: Balance::default(),
            staked: Parts::default(),
            releases: Vec::new(),
            debts: Vec::new(),
            delegate: None,
            delegators: 0,
            flags: Flags::default(),
            vouchers: Vec::new(),
            vouched_by_home: false,
            karma: 0,
            impact_sum: 0,
            impacts: 0,
            witnesses: 0,
            posted: 0,
            votes: 0,
            reversals: Vec::new(),
            hour: 0,
            hour_count: 0,
            day: 0,
            day_recognitions: 0,
            month: 0,
            month_recognitions: 0,
        }
    }

    /// Proof of humanity (TOK-05): the home node's operator vouches, or two Guardian Angels of different nodes.
    #[must_use]
    pub fn is_human(&self) -> bool {
        let first = self.vouchers.first();
        let two_nodes = first.is_some_and(|first| self.vouchers.iter().any(|voucher| voucher.home != first.home));
        self.kind == Kind::Person && (self.vouched_by_home || two_nodes)
    }

    /// Frees what its notice has run out for.
    pub(crate) fn mature(&mut self, now: u64) {
        while self.releases.first().is_some_and(|release| release.at <= now) {
            let release = self.releases.remove(0);
            self.balance.parts.add_all(&release.parts);
        }
    }

    /// Whether another part may be unstaked.
    pub(crate) fn can_release(&self) -> bool {
        self.releases.len() < RELEASES_MAX
    }

    /// Remembers a reversal.
    pub(crate) fn count_reversal(&mut self, now: u64) {
        if self.reversals.len() == 10 {
            self.reversals.remove(0);
        }
        self.reversals.push(now);
    }

    /// Everything the wallet has outside tenants, locked or not.
    #[must_use]
    pub fn holdings(&self) -> u64 {
        let releasing: u64 = self.releases.iter().map(|release| release.parts.total().micro()).sum();
        self.balance.total().micro() + self.staked.total().micro() + releasing
    }
}

/// A wallet's balance inside one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ScopedBalance {
    pub(crate) balance: Balance,
}

/// What two nodes compare to see that they agree on a balance (TOK-14): SHA-256 over user, tenant, balance,
/// breakdown, next sequence and latest transaction.
#[must_use]
pub fn verification_hash(account: &Did, tenant: Option<&Did>, balance: &Balance, sequence: u64) -> [u8; 32] {
    let content = (account, tenant, balance.total(), balance.parts, sequence, balance.latest);
    Sha256::digest(borsh::to_vec(&content).expect("memory takes every byte")).into()
}
