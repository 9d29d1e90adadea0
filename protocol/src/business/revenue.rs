//! What a sale is shared out into, and what the platform takes of it. Amounts are in minor units of one currency.

/// A part of the whole in basis points: ten thousand of them are all of it.
pub type BasisPoints = i64;

const WHOLE: i128 = 10_000;

/// What is taken where nothing else says how much (REV-05, REV-07).
pub const DEFAULT_RATE: BasisPoints = 1500;

/// The highest rate that a tenant sets for a product (REV-08).
pub const CUSTOM_RATE_MAX: BasisPoints = 3000;

/// Who gets which part of a sale (REV-01). The four add up to what was shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The agents': 15 per cent.
    pub ai_partner: i64,
    /// The people's: 30 per cent.
    pub human_partner: i64,
    /// The platform's: 50 per cent.
    pub platform_operations: i64,
    /// The justice fund's: 5 per cent.
    pub justice_fund: i64,
}

/// Shares `base` out by the largest remainder: each part is rounded down, and what is left goes unit by unit to the
/// largest fractions; of equal ones to the justice fund first, then people, agents and the platform. Nothing below zero
/// is shared out.
#[must_use]
pub fn split(base: i64) -> Split {
    // In the order in which equal fractions are served.
    const PARTS: [i128; 4] = [500, 3000, 1500, 5000];
    let base = i128::from(base.max(0));
    let mut shares = PARTS.map(|part| base * part / WHOLE);
    let mut order = [0, 1, 2, 3];
    // A stable sort leaves equal fractions as they are.
    order.sort_by_key(|index| std::cmp::Reverse(base * PARTS[*index] % WHOLE));
    let left = base - shares.iter().sum::<i128>();
    for index in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[index] += 1;
    }
    // A part of an i64 is one.
    let [justice_fund, human_partner, ai_partner, platform_operations] =
        shares.map(|share| i64::try_from(share).unwrap_or(i64::MAX));
    Split { ai_partner, human_partner, platform_operations, justice_fund }
}

/// The rate for a type of product (REV-07).
#[must_use]
pub fn rate_of(product_type: &str) -> BasisPoints {
    match product_type {
        "ai_print_demand" | "course_training" => 1500,
        "consultation_solo" | "business_service" => 800,
        "group_event" | "physical" => 1000,
        "livekit_stream" | "subscription" => 1200,
        "digital_download" | "automation" => 2000,
        _ => DEFAULT_RATE,
    }
}

/// What the source of a sale makes of a rate, in basis points, where the product does not say (REV-09, REV-10).
#[must_use]
pub fn multiplier_of(source: &str) -> BasisPoints {
    match source {
        "pickup_job" => 5_000,
        "referral_source" => 15_000,
        _ => 10_000,
    }
}

/// A rate after its multiplier, rounded down.
#[must_use]
pub fn effective(rate: BasisPoints, multiplier: BasisPoints) -> BasisPoints {
    let effective = i128::from(rate.max(0)) * i128::from(multiplier.max(0)) / WHOLE;
    i64::try_from(effective).unwrap_or(i64::MAX)
}

/// What a rate takes of an amount, rounded half up (REV-09).
#[must_use]
pub fn take(base: i64, rate: BasisPoints) -> i64 {
    let taken = (i128::from(base.max(0)) * i128::from(rate.max(0)) + WHOLE / 2) / WHOLE;
    i64::try_from(taken).unwrap_or(i64::MAX)
}

/// The one rate of a sale of several things, each with its amount and its own rate: the mean by amount, rounded down.
#[must_use]
pub fn mean_rate(parts: &[(i64, BasisPoints)]) -> BasisPoints {
    let whole: i128 = parts.iter().map(|(amount, _)| i128::from(*amount)).sum();
    let weighted: i128 = parts.iter().map(|(amount, rate)| i128::from(*amount) * i128::from(*rate)).sum();
    if whole <= 0 { 0 } else { i64::try_from(weighted / whole).unwrap_or(i64::MAX) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_shared_out_as_the_rules_say() {
        let parts = |base| {
            let split = split(base);
            [split.ai_partner, split.human_partner, split.platform_operations, split.justice_fund]
        };
        assert_eq!(parts(10_000), [1500, 3000, 5000, 500]);
        assert_eq!(parts(999), [150, 300, 499, 50]);
        assert_eq!(parts(101), [15, 30, 51, 5]);
        assert_eq!(parts(10), [1, 3, 5, 1]);
        assert_eq!(parts(1), [0, 0, 1, 0]);
        assert_eq!(parts(12_345), [1852, 3704, 6172, 617]);
        assert_eq!(parts(0), [0, 0, 0, 0]);
    }

    #[test]
    fn commissions_are_as_the_rules_say() {
        let amount = |kind, source| take(10_000, effective(rate_of(kind), multiplier_of(source)));
        assert_eq!(amount("consultation_solo", "pickup_job"), 400);
        assert_eq!(amount("ai_print_demand", "referral_source"), 2250);
        assert_eq!(amount("ai_print_demand", "system_generated"), 1500);
        assert_eq!(take(5, 1000), 1, "half a unit is rounded up");
        assert_eq!(mean_rate(&[(100, 1000), (300, 2000)]), 1750);
        assert_eq!(mean_rate(&[]), 0);
    }

    proptest! {
        #[test]
        fn nothing_is_made_or_lost(base in 0..i64::MAX) {
            let split = split(base);
            let parts = [split.ai_partner, split.human_partner, split.platform_operations, split.justice_fund];
            prop_assert!(parts.iter().all(|part| *part >= 0));
            prop_assert_eq!(parts.iter().map(|part| i128::from(*part)).sum::<i128>(), i128::from(base));
        }
    }
}
