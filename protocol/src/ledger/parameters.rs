//! The numbers a network agrees on. Every one is a setting with a default; a decided transaction changes them.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::amount::{Amount, MICRO_PER_TOKEN, SUPPLY_MAX};
use super::token::TokenType;
use crate::ids::Did;
use crate::limits::{ALLOWLIST_MAX, LEDGER_DID_BYTES_MAX};
use crate::time::Timestamp;

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
/// Milliseconds in a day.
pub(crate) const DAY: u64 = 24 * HOUR;

/// What an exchange is counted in (TOK-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Currency {
    /// US dollars: unavailable until somebody sets a rate.
    Usd,
    /// Karma points.
    KarmaPoints,
    /// Tokens themselves: always one to one.
    AngelTokens,
}

/// A currency's rate from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// Micro-tokens for one unit.
    pub micro_per_unit: u64,
    /// When it takes effect, in milliseconds since 1970.
    pub from: u64,
}

/// Who may register a node (`network.md` 2.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Admission {
    /// Anyone.
    Open,
    /// Whoever a member invites.
    Invite,
    /// These DIDs.
    Allowlist(Vec<Did>),
}

/// The most that one day may see of each token type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ceilings {
    /// Of karma rewards.
    pub karma_reward: Amount,
    /// Of peer recognition.
    pub peer_recognition: Amount,
    /// Of exchanges.
    pub cross_tenant_exchange: Amount,
    /// Of node rewards.
    pub node_reward: Amount,
    /// To and from the justice fund.
    pub justice_fund: Amount,
    /// Of grants.
    pub system_grant: Amount,
}

impl Ceilings {
    pub(crate) const fn of(&self, token: TokenType) -> Amount {
        match token {
            TokenType::KarmaReward => self.karma_reward,
            TokenType::PeerRecognition => self.peer_recognition,
            TokenType::CrossTenantExchange => self.cross_tenant_exchange,
            TokenType::NodeReward => self.node_reward,
            TokenType::JusticeFund => self.justice_fund,
            TokenType::SystemGrant => self.system_grant,
        }
    }
}

/// The numbers. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    /// The account of the justice fund (REV-03).
    pub justice_fund: Did,
    /// Who may register a node.
    pub admission: Admission,
    /// Daily ceilings (TOK-02).
    pub ceilings: Ceilings,
    /// For each hundred karma points (TOK-04).
    pub karma_reward_per_hundred: Amount,
    /// Witnesses that a karma reward needs.
    pub karma_reward_witnesses: u8,
    /// The most a node gets for one day.
    pub node_reward_per_day: Amount,
    /// Fee of an exchange between nodes, basis points (TOK-07).
    pub exchange_fee: u16,
    /// Longest life of a quote.
    pub quote_life: u64,
    /// Oldest cause that is still rewarded (`network.md` 7.4).
    pub cause_age: u64,
    /// Recognitions one person may give in a day (KAR-02).
    pub recognitions_per_day: u32,
    /// Recognitions between two people who recognise each other alone, in thirty days (KAR-02).
    pub reciprocal_recognitions: u32,
    /// Transactions of one wallet in an hour (`network.md` 7.4).
    pub transactions_per_hour: u32,
    /// The same for a node's wallet, which acts for all its accounts.
    pub node_transactions_per_hour: u32,
    /// Identities created in an hour, by anybody: creating one costs nobody anything.
    pub identities_per_hour: u32,
    /// Karma from which a person may vouch for others (KAR-03).
    pub guardian_karma: u64,
    /// People a node's operator may vouch for (TOK-05).
    pub vouches_per_node: u32,
    /// Notice before unstaked tokens are free (TOK-12).
    pub unstake_notice: u64,
    /// Shortest and longest time a proposal is open.
    pub voting_min: u64,
    /// See `voting_min`.
    pub voting_max: u64,
    /// Voting power that must take part for a proposal to pass.
    pub voting_power_min: u64,
    /// Time on the network before a node may become a validator (`network.md` 7.3).
    pub candidate_age: u64,
    /// Silence after which a primary counts as gone (NET-03).
    pub silence: u64,
    /// Oldest observation that still counts: as much as two clocks may be apart, and time for the network to decide. Whoever
    /// gave its word follows no primary for as long, and as much again as the clocks.
    pub observation_age: u64,
    /// Time in which a migration can be undone (`network.md` 5.2).
    pub grace: u64,
    /// Posted transactions after which a checkpoint is due (`network.md` 7.8).
    pub checkpoint_transactions: u64,
    /// Time after which a checkpoint is due, when anything was posted.
    pub checkpoint_interval: u64,
}

impl Parameters {
    /// The defaults of the rules, for a network whose justice fund is `justice_fund`.
    #[must_use]
    pub const fn new(justice_fund: Did) -> Self {
        let unlimited = Amount::tokens(SUPPLY_MAX / MICRO_PER_TOKEN);
        Self {
            justice_fund,
            admission: Admission::Invite,
            ceilings: Ceilings {
                karma_reward: Amount::tokens(10_000),
                peer_recognition: unlimited,
                cross_tenant_exchange: unlimited,
                node_reward: Amount::tokens(10_000),
                justice_fund: unlimited,
                system_grant: Amount::tokens(100_000),
            },
            karma_reward_per_hundred: Amount::tokens(1),
            karma_reward_witnesses: 0,
            node_reward_per_day: Amount::tokens(10),
            exchange_fee: 10,
            quote_life: 60 * SECOND,
            cause_age: 30 * DAY,
            recognitions_per_day: 10,
            reciprocal_recognitions: 5,
            transactions_per_hour: 100,
            node_transactions_per_hour: 10_000,
            identities_per_hour: 3600,
            guardian_karma: 1000,
            vouches_per_node: 25,
            unstake_notice: 7 * DAY,
            voting_min: HOUR,
            voting_max: 90 * DAY,
            voting_power_min: 1,
            candidate_age: 7 * DAY,
            silence: 300 * SECOND,
            observation_age: 240 * SECOND,
            grace: 72 * HOUR,
            checkpoint_transactions: 100,
            checkpoint_interval: 600 * SECOND,
        }
    }

    /// Whether a network can run with these numbers.
    #[must_use]
    pub fn valid(&self) -> bool {
        const LONGEST: u64 = 3650 * DAY;
        let lists = match &self.admission {
            Admission::Allowlist(list) => {
                list.len() <= ALLOWLIST_MAX && list.iter().all(|did| did.as_str().len() <= LEDGER_DID_BYTES_MAX)
            }
            Admission::Open | Admission::Invite => true,
        };
        let times = [
            self.quote_life,
            self.cause_age,
            self.unstake_notice,
            self.voting_min,
            self.voting_max,
            self.candidate_age,
            self.silence,
            self.observation_age,
            self.grace,
            self.checkpoint_interval,
        ];
        lists
            && times.iter().all(|time| *time <= LONGEST)
            && self.justice_fund.as_str().len() <= LEDGER_DID_BYTES_MAX
            && self.exchange_fee <= 10_000
            && self.transactions_per_hour > 0
            && self.node_transactions_per_hour > 0
            && self.voting_min <= self.voting_max
            && self.silence > 0
            && self.checkpoint_transactions > 0
    }
}

/// The rates in force and to come (TOK-07).
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rates {
    usd: Vec<Entry>,
    karma_points: Vec<Entry>,
}

/// A rate, or its absence, from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Entry {
    from: u64,
    micro_per_unit: Option<u64>,
}

impl Rates {
    /// The defaults: 100 karma points are one token, and no dollars.
    pub(crate) fn defaults() -> Self {
        let points = Entry { from: 0, micro_per_unit: Some(MICRO_PER_TOKEN / 100) };
        Self { usd: Vec::new(), karma_points: vec![points] }
    }

    /// Micro-tokens for one unit of `currency` at `time`; absent where the currency is unavailable.
    #[must_use]
    pub fn at(&self, currency: Currency, time: Timestamp) -> Option<u64> {
        let list = match currency {
            Currency::AngelTokens => return Some(MICRO_PER_TOKEN),
            Currency::Usd => &self.usd,
            Currency::KarmaPoints => &self.karma_points,
        };
        list.iter().rev().find(|entry| entry.from <= time.as_millis())?.micro_per_unit
    }

    /// Sets a rate. Entries from the same time on give way to it.
    pub(crate) fn set(&mut self, currency: Currency, from: u64, micro_per_unit: Option<u64>) {
        let list = match currency {
            Currency::AngelTokens => return,
            Currency::Usd => &mut self.usd,
            Currency::KarmaPoints => &mut self.karma_points,
        };
        list.retain(|entry| entry.from < from);
        list.push(Entry { from, micro_per_unit });
        if list.len() > crate::limits::RATES_KEPT {
            list.remove(0);
        }
    }
}
