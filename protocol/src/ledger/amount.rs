//! Money: whole micro-tokens, never a float, every step checked.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Micro-tokens in one Angel Token.
pub const MICRO_PER_TOKEN: u64 = 1_000_000;

/// The most micro-tokens that may ever exist together: 2^53 - 1, the largest integer an AT Protocol record may hold
/// in every language. Because minting stops here, no sum of balances can overflow.
pub const SUPPLY_MAX: u64 = 9_007_199_254_740_991;

/// An amount in micro-tokens, at most [`SUPPLY_MAX`] when it came through [`Amount::new`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Amount(u64);

/// The number of micro-tokens is above [`SUPPLY_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is at most {SUPPLY_MAX} micro-tokens")]
pub struct AmountTooLarge;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From micro-tokens.
    ///
    /// # Errors
    /// [`AmountTooLarge`] above [`SUPPLY_MAX`].
    pub const fn new(micro: u64) -> Result<Self, AmountTooLarge> {
        if micro > SUPPLY_MAX { Err(AmountTooLarge) } else { Ok(Self(micro)) }
    }

    /// From whole tokens; for constants.
    ///
    /// # Panics
    /// Above [`SUPPLY_MAX`] micro-tokens.
    #[must_use]
    pub const fn tokens(whole: u64) -> Self {
        assert!(whole <= SUPPLY_MAX / MICRO_PER_TOKEN, "a constant within the supply");
        Self(whole * MICRO_PER_TOKEN)
    }

    /// In micro-tokens.
    #[must_use]
    pub const fn micro(self) -> u64 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it is above [`SUPPLY_MAX`].
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::new(self.0.checked_add(other.0)?).ok()
    }

    /// The difference, unless it is below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `self × numerator / denominator`, rounded down; absent when it is above [`SUPPLY_MAX`] or divides by zero.
    #[must_use]
    pub fn times(self, numerator: u64, denominator: u64) -> Option<Self> {
        let product = u128::from(self.0).checked_mul(u128::from(numerator))?;
        let quotient = product.checked_div(u128::from(denominator))?;
        Self::new(u64::try_from(quotient).ok()?).ok()
    }
}

impl TryFrom<u64> for Amount {
    type Error = AmountTooLarge;

    fn try_from(micro: u64) -> Result<Self, AmountTooLarge> {
        Self::new(micro)
    }
}

impl From<Amount> for u64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

/// Whole tokens and a fraction of six digits, for people.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / MICRO_PER_TOKEN, self.0 % MICRO_PER_TOKEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_both_ends() {
        let max = Amount::new(SUPPLY_MAX).expect("the bound itself");
        assert_eq!(Amount::new(SUPPLY_MAX + 1), Err(AmountTooLarge));
        assert_eq!(max.plus(Amount::new(1).expect("small")), None);
        assert_eq!(Amount::ZERO.minus(Amount::new(1).expect("small")), None);
    }

    #[test]
    fn scales_rounding_down() {
        let amount = Amount::new(12_345).expect("small");
        assert_eq!(amount.times(10, 10_000), Amount::new(12).ok());
        assert_eq!(amount.times(1, 0), None);
        assert_eq!(Amount::new(SUPPLY_MAX).expect("max").times(u64::MAX, 1), None);
    }

    #[test]
    fn reads_as_tokens() {
        assert_eq!(Amount::new(1_500_000).expect("small").to_string(), "1.500000");
    }
}
