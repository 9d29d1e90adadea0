//! Reputation and voting power, from what the ledger knows (TOK-08 to TOK-12).
//!
//! These numbers describe recorded contributions and nothing else. They gate no basic right: reading, exporting and
//! leaving are open to everyone.

use serde::{Deserialize, Serialize};

use super::amount::MICRO_PER_TOKEN;
use super::parameters::DAY;
use super::rows::Wallet;

/// Contribution levels by karma (TOK-09).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Below 100.
    Newcomer,
    /// From 100.
    Contributor,
    /// From 1,000 (KAR-03).
    GuardianAngel,
    /// From 5,000.
    NetworkSteward,
    /// From 20,000.
    Elder,
}

/// Human worth, 0 to 1000 (TOK-08). `karma` is the person's score, which may be ahead of the last reward.
#[must_use]
pub fn human_worth(wallet: &Wallet, karma: u64) -> u64 {
    let impact = wallet.impact_sum.checked_div(wallet.impacts).unwrap_or(0);
    400 * karma.min(5000) / 5000
        + 300 * impact.min(100) / 100
        + 200 * wallet.witnesses.min(50) / 50
        + if wallet.is_human() { 100 } else { 0 }
}

/// The contribution level (TOK-09).
#[must_use]
pub const fn level(karma: u64) -> Level {
    match karma {
        0..100 => Level::Newcomer,
        100..1000 => Level::Contributor,
        1000..5000 => Level::GuardianAngel,
        5000..20_000 => Level::NetworkSteward,
        _ => Level::Elder,
    }
}

/// Trust, 0 to 100 (TOK-10). Only reversals for proven fraud count: who gives back freely loses no trust.
#[must_use]
pub fn trust(wallet: &Wallet, now: u64) -> u64 {
    let recent = wallet.reversals.iter().filter(|at| now.saturating_sub(**at) <= 180 * DAY).count();
    let good = 50 + (wallet.posted / 2).min(30) + if wallet.is_human() { 20 } else { 0 };
    let bad = 25 * u64::from(wallet.flags.count()) + 10 * u64::try_from(recent).unwrap_or(u64::MAX).min(10);
    good.saturating_sub(bad).min(100)
}

/// Network influence, 0 to 100 (TOK-11). Followers and connections are counted outside the ledger.
#[must_use]
pub fn influence(followers: u64, connections: u64) -> u64 {
    let sum = followers.saturating_add(connections);
    u64::from(8 * (u64::BITS - sum.leading_zeros())).min(100)
}

/// Voting power (TOK-12): the square root of the whole staked tokens, weighted by trust.
#[must_use]
pub fn voting_power(wallet: &Wallet, now: u64) -> u64 {
    (wallet.staked.total().micro() / MICRO_PER_TOKEN).isqrt() * trust(wallet, now) / 100
}

#[cfg(test)]
mod tests {
    use super::super::amount::Amount;
    use super::super::rows::{Kind, Voucher};
    use super::super::token::TokenType;
    use super::*;

    fn person() -> Wallet {
        let home: crate::ids::Did = "did:web:home".parse().expect("valid");
        let mut wallet = Wallet::new([0; 32], Kind::Person, home);
        wallet.vouched_by_home = true;
        wallet
    }

    #[test]
    fn human_worth_follows_the_worked_example() {
        let wallet = Wallet { impact_sum: 70, impacts: 1, witnesses: 12, ..person() };
        assert_eq!(human_worth(&wallet, 1000), 438);
    }

    #[test]
    fn levels_begin_where_the_rule_says() {
        use Level::{Contributor, Elder, GuardianAngel, NetworkSteward, Newcomer};
        for (karma, expected) in [
            (99, Newcomer),
            (100, Contributor),
            (999, Contributor),
            (1000, GuardianAngel),
            (4999, GuardianAngel),
            (5000, NetworkSteward),
            (19_999, NetworkSteward),
            (20_000, Elder),
        ] {
            assert_eq!(level(karma), expected, "{karma}");
        }
    }

    #[test]
    fn influence_is_eight_times_the_bit_length() {
        assert_eq!(influence(60, 40), 56);
        assert_eq!(influence(0, 0), 0);
        assert_eq!(influence(u64::MAX, 1), 100);
    }

    #[test]
    fn voting_power_is_a_square_root_weighted_by_trust() {
        let mut wallet = person();
        wallet.staked.add(TokenType::SystemGrant, Amount::tokens(10_000));
        assert_eq!(trust(&wallet, 0), 70);
        assert_eq!(voting_power(&wallet, 0), 70);
    }

    #[test]
    fn two_angels_of_one_node_prove_nothing() {
        let voucher = |by: &str, home: &str| Voucher {
            by: format!("did:web:{by}").parse().expect("valid"),
            home: format!("did:web:{home}").parse().expect("valid"),
        };
        let mut wallet = Wallet { vouched_by_home: false, ..person() };
        wallet.vouchers = vec![voucher("a", "n1"), voucher("b", "n1")];
        assert!(!wallet.is_human());
        wallet.vouchers.push(voucher("c", "n2"));
        assert!(wallet.is_human());
        wallet.kind = Kind::Agent("did:web:a".parse().expect("valid"));
        assert!(!wallet.is_human());
    }
}
