//! What a sale is shared out into, and what the platform takes of it. Amounts are in minor units of one currency.

use crate::data::Value;
use crate::ids::Datetime;
use crate::time::Timestamp;

/// A part of the whole in basis points: ten thousand of them are all of it.
pub type BasisPoints = i64;

const WHOLE: i128 = 10_000;

/// What is taken where nothing else says how much (REV-05).
pub const DEFAULT_RATE: BasisPoints = 1500;

/// The lowest rate that is agreed on, before what the source of a sale makes of it (REV-05, REV-06).
pub const RATE_MIN: BasisPoints = 800;

/// The highest rate, agreed on or set for a product (REV-05, REV-08).
pub const RATE_MAX: BasisPoints = 3000;

/// By how much revenue has to have grown from month to month for the rate to be lower (REV-06).
const GROWTH: BasisPoints = 2000;

/// By how much the rate is lower then.
const REWARD: BasisPoints = 100;

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

/// The rate for a type of product and why (REV-07); `None` for a type that the rules do not know.
#[must_use]
pub fn template(product_type: &str) -> Option<(BasisPoints, &'static str)> {
    Some(match product_type {
        "ai_print_demand" => (1500, "AI design and print partner included"),
        "consultation_solo" => (800, "expert time is the value"),
        "group_event" => (1000, "several paying participants"),
        "livekit_stream" => (1200, "streaming cost"),
        "digital_download" => (2000, "no cost of goods"),
        "physical" => (1000, "goods and shipping cost"),
        "subscription" => (1200, "recurring"),
        "course_training" => (1500, "content plus delivery"),
        "business_service" => (800, "as consultations"),
        "automation" => (2000, "mostly platform work"),
        _ => return None,
    })
}

/// Why a product of an unknown type has the rate that it has.
pub const DEFAULT_RATIONALE: &str = "the tenant's default rate, for want of one for the product's type";

/// What a sale is shared out from (REV-02).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaseKind {
    /// The goods, less discount, without tax and sending.
    #[default]
    OrderNet,
    /// What the platform takes of that; the rest is the seller's.
    PlatformFee,
}

impl BaseKind {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderNet => "order_net",
            Self::PlatformFee => "platform_fee",
        }
    }

    /// The kind of this name; what no name says is the goods.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        if name == Self::PlatformFee.name() { Self::PlatformFee } else { Self::OrderNet }
    }
}

/// How a tenant's rate is found (REV-06).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Agreement {
    /// By the type of what is sold.
    #[default]
    Standard,
    /// One rate for all.
    Negotiated,
    /// One rate for all, lower after a month that went well.
    Performance,
}

/// What a tenant and the platform have agreed on: `revenueSharing` of `co.kendev.tenants.settings`, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    default_rate: BasisPoints,
    agreement: Agreement,
    base_kind: BaseKind,
}

impl Default for Terms {
    /// Those of a tenant that has agreed on nothing.
    fn default() -> Self {
        Self { default_rate: DEFAULT_RATE, agreement: Agreement::Standard, base_kind: BaseKind::OrderNet }
    }
}

/// Something that is sold, as far as what the platform takes depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sale<'a> {
    /// The type of the product.
    pub product_type: &'a str,
    /// The rate that was set for the product, if it is used (REV-08).
    pub custom_rate: Option<BasisPoints>,
    /// Where the customer came from.
    pub source: &'a str,
    /// What the product says that its source makes of the rate; else [`multiplier_of`] does.
    pub multiplier: Option<BasisPoints>,
}

impl Terms {
    /// What `sharing`, the field `revenueSharing` of a tenant's settings, says at `now`. An agreement that has not begun,
    /// is switched off or names no contract counts for nothing; nor does a rate that nobody may set.
    #[must_use]
    pub fn read(sharing: Option<&Value>, now: Timestamp) -> Self {
        let Some(sharing) = sharing else { return Self::default() };
        let text = |name: &str| sharing.get(name).and_then(Value::as_str);
        let rate = sharing.get("defaultRate").and_then(Value::as_integer);
        let default_rate = rate.filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate)).unwrap_or(DEFAULT_RATE);
        let has_begun = text("effectiveDate").is_none_or(|from| {
            let from = from.parse::<Datetime>();
            from.is_ok_and(|from| from.timestamp().is_none_or(|from| from <= now))
        });
        let has_contract = text("contractId").is_some_and(|id| !id.trim().is_empty());
        let is_on = sharing.get("enabled") != Some(&Value::Bool(false));
        let agreement = match text("agreementType") {
            Some("negotiated") if has_begun && has_contract && is_on => Agreement::Negotiated,
            Some("performance") if has_begun && has_contract && is_on => Agreement::Performance,
            _ => Agreement::Standard,
        };
        let base_kind = BaseKind::from_name(text("splitBase").unwrap_or_default());
        Self { default_rate, agreement, base_kind }
    }

    /// What the tenant's sales are shared out from, from now on.
    #[must_use]
    pub const fn base_kind(&self) -> BaseKind {
        self.base_kind
    }

    /// The rate of products whose type the rules do not know.
    #[must_use]
    pub const fn default_rate(&self) -> BasisPoints {
        self.default_rate
    }

    /// Whether the rate depends on how the last month went.
    #[must_use]
    pub const fn asks_for_growth(&self) -> bool {
        matches!(self.agreement, Agreement::Performance)
    }

    /// What the platform takes of a sale (REV-09): the product's own rate, or the rate that was agreed on, or that of the
    /// product's type; and of that what the source makes of it. `grew` says whether revenue [`grew`] with the last month.
    #[must_use]
    pub fn rate(&self, sale: &Sale<'_>, grew: bool) -> BasisPoints {
        let agreed = match self.agreement {
            Agreement::Standard => None,
            Agreement::Performance if grew => Some((self.default_rate - REWARD).max(RATE_MIN)),
            Agreement::Negotiated | Agreement::Performance => Some(self.default_rate),
        };
        let custom = sale.custom_rate.map(|rate| rate.clamp(0, RATE_MAX));
        let of_type = || template(sale.product_type).map_or(self.default_rate, |(rate, _)| rate);
        let rate = custom.or(agreed).unwrap_or_else(of_type);
        effective(rate, sale.multiplier.unwrap_or_else(|| multiplier_of(sale.source)))
    }
}

/// Whether revenue grew by a fifth or more from one month to the next (REV-06). From nothing nothing grows.
#[must_use]
pub fn grew(before: i64, after: i64) -> bool {
    before > 0 && i128::from(after) * WHOLE >= i128::from(before) * (WHOLE + i128::from(GROWTH))
}

/// What the platform takes of an appointment (REV-10): consultations as consultations, everything else as a service, and
/// of that what the source makes of it.
#[must_use]
pub fn appointment_rate(appointment_type: &str, source: &str) -> BasisPoints {
    let product_type = match appointment_type {
        "consultation" | "quote_consultation" => "consultation_solo",
        _ => "business_service",
    };
    let (rate, _) = template(product_type).unwrap_or((DEFAULT_RATE, ""));
    effective(rate, multiplier_of(source))
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
    use serde_json::json;

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

    const NOW: Timestamp = Timestamp::from_millis(1_795_273_200_000);

    fn terms(sharing: serde_json::Value) -> Terms {
        let sharing = crate::data::from_json(&sharing).expect("of the data model");
        Terms::read(Some(&sharing), NOW)
    }

    fn of_type(product_type: &str) -> Sale<'_> {
        Sale { product_type, source: "system_generated", ..Sale::default() }
    }

    #[test]
    fn commissions_are_as_the_rules_say() {
        let amount = |product_type, source| {
            let sale = Sale { product_type, source, ..Sale::default() };
            take(10_000, Terms::default().rate(&sale, false))
        };
        assert_eq!(amount("consultation_solo", "pickup_job"), 400);
        assert_eq!(amount("ai_print_demand", "referral_source"), 2250);
        assert_eq!(amount("ai_print_demand", "system_generated"), 1500);
        assert_eq!(take(5, 1000), 1, "half a unit is rounded up");
        assert_eq!(mean_rate(&[(100, 1000), (300, 2000)]), 1750);
        assert_eq!(mean_rate(&[]), 0);
    }

    #[test]
    fn the_products_own_rate_comes_first_then_the_agreement_then_the_type() {
        let agreed = terms(json!({ "agreementType": "negotiated", "contractId": "c-1", "defaultRate": 900 }));
        let custom = Sale { custom_rate: Some(2500), ..of_type("physical") };
        assert_eq!(agreed.rate(&custom, false), 2500);
        assert_eq!(agreed.rate(&of_type("physical"), false), 900);
        assert_eq!(agreed.rate(&of_type("livekit_stream"), true), 900, "a negotiated rate does not depend on growth");
        assert_eq!(Terms::default().rate(&of_type("physical"), true), 1000);
        assert_eq!(Terms::default().rate(&Sale { custom_rate: Some(0), ..of_type("physical") }, false), 0);
        let halved = Sale { multiplier: Some(5_000), ..of_type("physical") };
        assert_eq!(agreed.rate(&halved, false), 450, "what the source makes of a rate may be below the lowest rate");
    }

    #[test]
    fn an_unknown_type_has_the_tenants_default_rate_under_every_agreement() {
        assert_eq!(terms(json!({ "defaultRate": 2100 })).rate(&of_type("sundial"), false), 2100);
        assert_eq!(terms(json!({ "defaultRate": 2100 })).rate(&of_type("physical"), false), 1000, "standard");
        assert_eq!(Terms::default().rate(&of_type("sundial"), false), DEFAULT_RATE);
        for outside in [799, 3001, 0, -1] {
            assert_eq!(terms(json!({ "defaultRate": outside })).default_rate(), DEFAULT_RATE, "{outside}");
        }
        for edge in [800, 3000] {
            assert_eq!(terms(json!({ "defaultRate": edge })).default_rate(), edge);
        }
    }

    #[test]
    fn an_agreement_counts_from_its_day_on_and_with_its_contract() {
        let agreed = |more: serde_json::Value| {
            let mut sharing = json!({ "agreementType": "negotiated", "contractId": "c-1", "defaultRate": 900 });
            sharing.as_object_mut().expect("a map").extend(more.as_object().cloned().expect("a map"));
            terms(sharing).rate(&of_type("physical"), false)
        };
        let at = |millis: u64| json!({ "effectiveDate": Timestamp::from_millis(millis).to_string() });
        assert_eq!(agreed(at(NOW.as_millis())), 900);
        assert_eq!(agreed(at(NOW.as_millis() + 1)), 1000, "it has not begun");
        assert_eq!(agreed(json!({ "effectiveDate": "some day" })), 1000);
        assert_eq!(agreed(json!({ "contractId": " " })), 1000, "no contract");
        assert_eq!(agreed(json!({ "enabled": false })), 1000, "switched off");
        assert_eq!(agreed(json!({ "enabled": true })), 900);
        assert_eq!(agreed(json!({ "agreementType": "sundial" })), 1000);
    }

    #[test]
    fn a_month_that_went_well_lowers_the_rate_to_the_lowest_at_most() {
        let agreed =
            |rate: i64| terms(json!({ "agreementType": "performance", "contractId": "c", "defaultRate": rate }));
        assert!(agreed(1000).asks_for_growth() && !Terms::default().asks_for_growth());
        let rate = |rate, grew| agreed(rate).rate(&of_type("physical"), grew);
        assert_eq!((rate(1200, true), rate(1200, false)), (1100, 1200));
        assert_eq!((rate(850, true), rate(800, true)), (800, 800), "never below, before what the source makes of it");
        assert_eq!((grew(1000, 1200), grew(1000, 1199), grew(1000, 5000)), (true, false, true));
        assert_eq!((grew(0, 100), grew(-5, 100), grew(i64::MAX, i64::MAX)), (false, false, false));
    }

    #[test]
    fn appointments_pay_by_kind_and_source() {
        assert_eq!(appointment_rate("consultation", "system_generated"), 800);
        assert_eq!(appointment_rate("auto_repair", "pickup_job"), 400);
        assert_eq!(appointment_rate("general_meeting", "referral_source"), 1200);
        assert_eq!(appointment_rate("quote_consultation", "repeat_customer"), 800);
    }

    #[test]
    fn what_is_shared_out_is_the_goods_unless_agreed_otherwise() {
        assert_eq!(Terms::default().base_kind(), BaseKind::OrderNet);
        assert_eq!(terms(json!({ "splitBase": "platform_fee" })).base_kind(), BaseKind::PlatformFee);
        for kind in [BaseKind::OrderNet, BaseKind::PlatformFee] {
            assert_eq!(BaseKind::from_name(kind.name()), kind);
        }
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
