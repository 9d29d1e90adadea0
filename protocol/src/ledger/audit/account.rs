//! An account with its whole history, and a transfer between two.

use std::collections::{BTreeMap, BTreeSet};

use super::super::TokenType;
use super::super::action::Anomaly;
use crate::ids::Did;

/// Whose account it is.
#[derive(Clone, PartialEq)]
pub(in super::super) enum Who {
    Person,
    Business,
    Agent(Did),
    Node,
}

pub(super) type Scope = Option<Did>;

/// What an account owes after a reversal it could not cover.
pub(super) struct Owed {
    pub(super) to: Option<Did>,
    pub(super) from_scope: Scope,
    pub(super) to_scope: Scope,
    pub(super) token: TokenType,
    pub(super) amount: u64,
}

/// An account with its whole history.
pub(in super::super) struct Account {
    pub(in super::super) who: Who,
    pub(in super::super) home: Did,
    pub(in super::super) key: [u8; 32],
    pub(in super::super) next: u64,
    pub(super) money: BTreeMap<(Scope, TokenType), u64>,
    pub(super) staked: BTreeMap<TokenType, u64>,
    pub(super) returning: Vec<(u64, BTreeMap<TokenType, u64>)>,
    pub(super) owes: Vec<Owed>,
    pub(super) flags: BTreeSet<Anomaly>,
    pub(super) angels: Vec<(Did, Did)>,
    pub(super) operators_word: bool,
    pub(super) karma: u64,
    pub(super) decided_at: Vec<u64>,
    pub(super) recognised: Vec<(u64, Did)>,
}

impl Account {
    pub(super) fn new(who: Who, home: Did, key: [u8; 32]) -> Self {
        Self {
            who,
            home,
            key,
            next: 0,
            money: BTreeMap::new(),
            staked: BTreeMap::new(),
            returning: Vec::new(),
            owes: Vec::new(),
            flags: BTreeSet::new(),
            angels: Vec::new(),
            operators_word: false,
            karma: 0,
            decided_at: Vec::new(),
            recognised: Vec::new(),
        }
    }

    /// Staked, or on its way back.
    pub(super) fn locked(&self) -> u64 {
        let returning = self.returning.iter().flat_map(|(_, parts)| parts.values()).sum::<u64>();
        self.staked.values().sum::<u64>() + returning
    }
}

/// A movement of money that was posted.
pub(super) struct Transfer {
    pub(super) from: Option<Did>,
    pub(super) from_scope: Scope,
    pub(super) to: Did,
    pub(super) to_scope: Scope,
    pub(super) token: TokenType,
    pub(super) amount: u64,
    pub(super) reversed: bool,
}

impl Transfer {
    pub(super) fn minted(to: &Did, scope: &Scope, token: TokenType, amount: u64) -> Self {
        let (to, to_scope) = (to.clone(), scope.clone());
        Self { from: None, from_scope: None, to, to_scope, token, amount, reversed: false }
    }

    pub(super) fn between(from: (&Did, &Scope), to: (&Did, &Scope), token: TokenType, amount: u64) -> Self {
        Self { from: Some(from.0.clone()), from_scope: from.1.clone(), ..Self::minted(to.0, to.1, token, amount) }
    }
}
