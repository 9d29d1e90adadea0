//! Token types and the balance they break down into (`network.md` 8, `rules.md` TOK-01).

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::amount::Amount;

/// Why tokens came to a wallet. Each type feeds one part of the balance.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// Minted for karma gained.
    KarmaReward,
    /// Given by one person to another.
    PeerRecognition,
    /// Paid across tenants, nodes or scopes.
    CrossTenantExchange,
    /// Paid to nodes for their work.
    NodeReward,
    /// To and from the justice fund.
    JusticeFund,
    /// Minted by the operators together.
    SystemGrant,
}

impl TokenType {
    /// All, in the order of the record's enum.
    pub const ALL: [Self; 6] = [
        Self::KarmaReward,
        Self::PeerRecognition,
        Self::CrossTenantExchange,
        Self::NodeReward,
        Self::JusticeFund,
        Self::SystemGrant,
    ];

    /// The order in which spending lowers the parts of a balance.
    pub const SPEND_ORDER: [Self; 6] = [
        Self::CrossTenantExchange,
        Self::SystemGrant,
        Self::KarmaReward,
        Self::NodeReward,
        Self::PeerRecognition,
        Self::JusticeFund,
    ];

    const fn index(self) -> usize {
        match self {
            Self::KarmaReward => 0,
            Self::PeerRecognition => 1,
            Self::CrossTenantExchange => 2,
            Self::NodeReward => 3,
            Self::JusticeFund => 4,
            Self::SystemGrant => 5,
        }
    }
}

/// Tokens by the type they came as. The sum never exceeds the supply, so it never overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Parts([Amount; 6]);

impl Parts {
    /// What came as `token` and is not spent.
    #[must_use]
    pub const fn get(&self, token: TokenType) -> Amount {
        self.0[token.index()]
    }

    /// The sum of all parts.
    #[must_use]
    pub fn total(&self) -> Amount {
        let micro = self.0.iter().map(|part| part.micro()).sum();
        Amount::new(micro).expect("the supply bounds the sum of all balances")
    }

    /// Adds to one part.
    pub(crate) fn add(&mut self, token: TokenType, amount: Amount) {
        let part = &mut self.0[token.index()];
        *part = part.plus(amount).expect("the supply bounds every balance");
    }

    /// Adds part by part.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for token in TokenType::ALL {
            self.add(token, other.get(token));
        }
    }

    /// Takes `amount` out, part by part in [`TokenType::SPEND_ORDER`], and returns what came out of each.
    ///
    /// The caller has checked that [`Parts::total`] covers it.
    pub(crate) fn spend(&mut self, amount: Amount) -> Self {
        let mut taken = Self::default();
        let mut left = amount;
        for token in TokenType::SPEND_ORDER {
            let part = &mut self.0[token.index()];
            let step = left.min(*part);
            *part = part.minus(step).expect("a minimum is not larger");
            left = left.minus(step).expect("a minimum is not larger");
            taken.0[token.index()] = step;
        }
        assert!(left.is_zero(), "the balance was checked to cover the amount before it was spent");
        taken
    }
}

/// One balance: of a wallet, or of a wallet inside one tenant (`records.md` 6.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Balance {
    /// What is there to spend, by type.
    pub parts: Parts,
    /// Everything ever received, debts paid out of it included.
    pub earned: u64,
    /// Everything ever paid, fees included.
    pub spent: u64,
    /// Transactions that moved this balance.
    pub transactions: u64,
    /// Batch time of the latest of them, in milliseconds.
    pub latest_at: u64,
    /// Id of the latest of them.
    pub latest: [u8; 32],
}

impl Balance {
    /// What is there to spend.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.parts.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(micro: u64) -> Amount {
        Amount::new(micro).expect("small")
    }

    #[test]
    fn spends_in_the_stated_order() {
        let mut parts = Parts::default();
        for token in TokenType::ALL {
            parts.add(token, amount(10));
        }
        let taken = parts.spend(amount(25));
        assert_eq!(taken.get(TokenType::CrossTenantExchange), amount(10));
        assert_eq!(taken.get(TokenType::SystemGrant), amount(10));
        assert_eq!(taken.get(TokenType::KarmaReward), amount(5));
        assert_eq!(parts.get(TokenType::KarmaReward), amount(5));
        assert_eq!(parts.get(TokenType::JusticeFund), amount(10));
        assert_eq!(parts.total(), amount(35));
    }

    #[test]
    #[should_panic(expected = "checked to cover")]
    fn spending_more_than_there_is_is_a_broken_invariant() {
        Parts::default().spend(amount(1));
    }
}
