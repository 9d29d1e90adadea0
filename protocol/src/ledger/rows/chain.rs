//! The rows there is one of.

use borsh::{BorshDeserialize, BorshSerialize};

use super::super::amount::{Amount, SUPPLY_MAX};
use super::super::parameters::DAY;
use super::super::token::TokenType;

/// Which chain of heights this is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Chain {
    pub(crate) network: String,
    pub(crate) genesis: [u8; 32],
}

/// The latest height applied.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// The height; genesis is 0.
    pub height: u64,
    /// Its batch's time, in milliseconds.
    pub time: u64,
    /// Its batch's hash.
    pub batch: [u8; 32],
    /// Hash of the header before it.
    pub previous: [u8; 32],
    /// Transactions posted since genesis.
    pub posted: u64,
}

/// How many tokens there are. `minted` equals the sum of all balances, staked and released tokens, and the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Supply {
    /// Everything ever minted. Nothing is ever burned (TOK-15).
    pub minted: Amount,
    /// Fees and undone rewards, from which nodes are paid before anything is minted for them.
    pub pool: Amount,
    /// The day that `used` speaks of: whole days since 1970.
    pub day: u64,
    /// What this day has seen of each type, in the order of [`TokenType::ALL`].
    pub used: [u64; 6],
}

impl Supply {
    /// What the day of `now` has seen of `token`.
    pub(crate) fn used(&self, token: TokenType, now: u64) -> u64 {
        if self.day == now / DAY { self.used[index(token)] } else { 0 }
    }

    /// Counts `amount` of `token` on the day of `now`. Saturates far above every ceiling.
    pub(crate) fn count(&mut self, token: TokenType, amount: Amount, now: u64) {
        if self.day != now / DAY {
            self.day = now / DAY;
            self.used = [0; 6];
        }
        let used = &mut self.used[index(token)];
        *used = used.saturating_add(amount.micro());
    }

    /// What may still be minted.
    pub(crate) fn left(&self) -> Amount {
        Amount::new(SUPPLY_MAX - self.minted.micro()).expect("a difference of amounts")
    }
}

fn index(token: TokenType) -> usize {
    TokenType::ALL.iter().position(|it| *it == token).expect("all types are listed")
}

/// What the next checkpoint is counted from.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct CheckpointState {
    /// Height of the latest checkpoint.
    pub(crate) height: u64,
    /// Its time.
    pub(crate) time: u64,
    /// Its root. Known, and filled in, one height later: a root cannot be among the rows it covers.
    pub(crate) root: Option<[u8; 32]>,
    /// Transactions posted since.
    pub(crate) posted: u64,
}
