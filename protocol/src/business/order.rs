//! The life of an order (ORD-03, ORD-04): which step may follow which, and what each step says in the record. Times,
//! sums and shares follow from that by the table of rules.

use super::revenue::BaseKind;
use crate::data::{Map, Value};
use crate::ids::Datetime;
use crate::tenants::Month;

/// Something that is done with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its payment has come.
    Capture,
    /// It is sent.
    Ship,
    /// It has arrived.
    Deliver,
    /// All is done.
    Complete,
    /// It is called off; what was paid is given back.
    Cancel,
    /// Some of what was paid is given back, or all of it.
    Refund(Option<i64>),
}

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepRefused {
    /// The order is not where the step begins.
    #[error("the order is {status} and its payment {payment}: it cannot be {step} now")]
    NotNow {
        /// Where the order stands.
        status: &'static str,
        /// Where its payment stands.
        payment: &'static str,
        /// What was to be done.
        step: &'static str,
    },
    /// Only what is sent is shipped and delivered.
    #[error("the order is not sent anywhere: complete it instead")]
    NotSent,
    /// More is to be given back than was paid for the goods.
    #[error("at most {left} can be given back in part; without an amount all of it is")]
    TooMuch {
        /// What is left.
        left: i64,
    },
}

/// Where an order stands.
const STATUSES: [&str; 7] = ["pending", "processing", "shipped", "delivered", "completed", "cancelled", "refunded"];

/// Where its payment stands.
const PAYMENTS: [&str; 6] = ["pending", "authorized", "captured", "partially_refunded", "refunded", "failed"];

fn word(record: &Map, field: &str, words: &[&'static str]) -> &'static str {
    let said = record.get(field).and_then(Value::as_str);
    words.iter().find(|word| said == Some(**word)).copied().unwrap_or(words[0])
}

/// Where an order stands.
#[must_use]
pub fn status(record: &Map) -> &'static str {
    word(record, "status", &STATUSES)
}

/// Where its payment stands.
#[must_use]
pub fn payment(record: &Map) -> &'static str {
    word(record, "paymentStatus", &PAYMENTS)
}

/// Whether its payment has come and not all of it gone back.
#[must_use]
pub fn is_paid(record: &Map) -> bool {
    matches!(payment(record), "captured" | "partially_refunded")
}

/// Whether its payment has ever come.
#[must_use]
pub fn was_paid(record: &Map) -> bool {
    matches!(payment(record), "captured" | "partially_refunded" | "refunded")
}

/// The month in which an order was paid, whatever was given back since; `None` of one that was not. By it what was taken is
/// counted: a month that is over does not lose an order to the month in which a part of it goes back (REV-03, REV-04).
#[must_use]
pub fn paid_in(record: &Map) -> Option<Month> {
    let moment = |object: &str, field: &str| {
        record.get(object)?.get(field)?.as_str()?.parse::<Datetime>().ok()?.timestamp().map(Month::of)
    };
    // What was not paid is not shared out: only from what it would be is known.
    let shared = moment("revenueDistribution", "calculatedAt")?;
    Some(moment("paymentDetails", "paymentProcessedAt").unwrap_or(shared))
}

fn amount(record: &Map, field: &str) -> i64 {
    record.get(field).and_then(Value::as_integer).unwrap_or(0)
}

/// What the goods cost: the lines less the discount, without tax and sending.
fn goods(record: &Map) -> i64 {
    amount(record, "subtotal").saturating_sub(amount(record, "discountAmount")).max(0)
}

/// What was given back of that. Orders of earlier releases do not say; of what was shared out there it was taken off.
#[must_use]
pub fn refunded(record: &Map) -> i64 {
    let within = |object: &str, field: &str| record.get(object).and_then(|object| object.get(field));
    if let Some(refunded) = within("paymentDetails", "refundedAmount").and_then(Value::as_integer) {
        return refunded;
    }
    let kind = within("revenueDistribution", "baseKind").and_then(Value::as_str);
    let base = within("revenueDistribution", "base").and_then(Value::as_integer);
    match base {
        Some(base) if kind == Some(BaseKind::OrderNet.name()) => goods(record).saturating_sub(base).max(0),
        _ => 0,
    }
}

/// What was paid for the goods and not given back: what can be given back, and what the platform takes its part of.
#[must_use]
pub fn left(record: &Map) -> i64 {
    goods(record).saturating_sub(refunded(record)).max(0)
}

impl Step {
    const fn done(self) -> &'static str {
        match self {
            Self::Capture => "paid",
            Self::Ship => "shipped",
            Self::Deliver => "delivered",
            Self::Complete => "completed",
            Self::Cancel => "cancelled",
            Self::Refund(_) => "refunded",
        }
    }

    /// Whether the step gives back what was taken from the stock.
    #[must_use]
    pub const fn returns_stock(self) -> bool {
        matches!(self, Self::Cancel)
    }
}

/// Takes a step: says in the record where it stands then.
///
/// # Errors
/// [`StepRefused`]; the record is as it was then.
pub fn take(record: &mut Map, step: Step) -> Result<(), StepRefused> {
    let (status, payment) = (status(record), payment(record));
    let method = record.get("fulfillment").and_then(|how| how.get("method")).and_then(Value::as_str);
    let is_sent = method == Some("physical");
    let next = match (step, status) {
        (Step::Capture, "pending") if matches!(payment, "pending" | "authorized" | "failed") => "processing",
        (Step::Ship | Step::Deliver, "processing" | "shipped") if !is_sent => return Err(StepRefused::NotSent),
        (Step::Ship, "processing") => "shipped",
        (Step::Deliver, "shipped") => "delivered",
        (Step::Complete, "delivered") => "completed",
        (Step::Complete, "processing") if !is_sent => "completed",
        (Step::Cancel, "pending" | "processing") => "cancelled",
        (Step::Refund(None), "processing" | "shipped" | "delivered" | "completed") if is_paid(record) => "refunded",
        (Step::Refund(Some(_)), "processing" | "shipped" | "delivered" | "completed") if is_paid(record) => status,
        _ => return Err(StepRefused::NotNow { status, payment, step: step.done() }),
    };
    let given_back = match step {
        Step::Refund(Some(amount)) if amount <= 0 || amount > left(record) => {
            return Err(StepRefused::TooMuch { left: left(record) });
        }
        Step::Refund(Some(amount)) => Some(amount),
        Step::Refund(None) | Step::Cancel if is_paid(record) => Some(left(record)),
        _ => None,
    };
    let payment = match (step, given_back) {
        (Step::Capture, _) => "captured",
        (Step::Refund(Some(_)), _) => "partially_refunded",
        (_, Some(_)) => "refunded",
        _ => payment,
    };
    if let Some(more) = given_back {
        let all = refunded(record).saturating_add(more);
        within(record, "paymentDetails").insert("refundedAmount".to_owned(), Value::Integer(all));
    }
    if matches!(next, "processing" | "shipped" | "delivered" | "completed") {
        within(record, "fulfillment").insert("status".to_owned(), text(next));
    }
    record.insert("status".to_owned(), text(next));
    record.insert("paymentStatus".to_owned(), text(payment));
    Ok(())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The object in a field, made when there is none.
fn within<'m>(record: &'m mut Map, field: &str) -> &'m mut Map {
    let place = record.entry(field.to_owned()).or_insert_with(|| Value::Map(Map::new()));
    if !matches!(place, Value::Map(_)) {
        *place = Value::Map(Map::new());
    }
    match place {
        Value::Map(map) => map,
        _ => unreachable!("a map was put there"),
    }
}

/// The number behind the newest one: the short name in capitals, at most six letters and digits of it, the year, and a
/// counter that begins anew with each year (ORD-02).
#[must_use]
pub fn next_number(slug: &str, year: u32, newest: Option<&str>) -> String {
    let short: String = slug.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    let short = short.to_ascii_uppercase();
    let counted = newest.and_then(|newest| {
        let mut parts = newest.rsplit('-');
        let counter: u32 = parts.next()?.parse().ok()?;
        (parts.next()?.parse() == Ok(year)).then_some(counter)
    });
    format!("{short}-{year:04}-{:06}", counted.unwrap_or(0).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(method: &str) -> Map {
        let how = Map::from([("method".to_owned(), text(method))]);
        Map::from([
            ("status".to_owned(), text("pending")),
            ("paymentStatus".to_owned(), text("pending")),
            ("fulfillment".to_owned(), Value::Map(how)),
        ])
    }

    fn paid(method: &str, goods: i64) -> Map {
        let mut record = order(method);
        take(&mut record, Step::Capture).expect("is paid");
        record.insert("subtotal".to_owned(), Value::Integer(goods));
        record
    }

    #[test]
    fn goods_are_paid_sent_delivered_and_done() {
        let mut record = paid("physical", 1000);
        for (step, then) in [(Step::Ship, "shipped"), (Step::Deliver, "delivered"), (Step::Complete, "completed")] {
            assert_eq!(take(&mut record, step), Ok(()));
            assert_eq!(status(&record), then);
        }
        assert!(matches!(take(&mut record, Step::Cancel), Err(StepRefused::NotNow { status: "completed", .. })));
        assert_eq!(take(&mut record, Step::Refund(None)), Ok(()));
        assert_eq!((status(&record), payment(&record), left(&record)), ("refunded", "refunded", 0));
        assert!(take(&mut record, Step::Refund(None)).is_err(), "what was given back is not given back again");
    }

    #[test]
    fn every_other_step_is_refused_and_changes_nothing() {
        let all = [Step::Capture, Step::Ship, Step::Deliver, Step::Complete, Step::Cancel, Step::Refund(None)];
        let allowed = |status: &str| match status {
            "pending" => vec![Step::Capture, Step::Cancel],
            "processing" => vec![Step::Ship, Step::Cancel, Step::Refund(None)],
            "shipped" => vec![Step::Deliver, Step::Refund(None)],
            "delivered" => vec![Step::Complete, Step::Refund(None)],
            "completed" => vec![Step::Refund(None)],
            _ => vec![],
        };
        for status in STATUSES {
            for step in all {
                let mut record = paid("physical", 1000);
                record.insert("status".to_owned(), text(status));
                if status == "pending" {
                    record.insert("paymentStatus".to_owned(), text("pending"));
                }
                let before = record.clone();
                let taken = take(&mut record, step);
                assert_eq!(taken.is_ok(), allowed(status).contains(&step), "{step:?} of one that is {status}");
                assert!(taken.is_ok() || record == before, "{step:?} of one that is {status}");
            }
        }
    }

    #[test]
    fn services_are_done_without_being_sent() {
        let mut record = paid("service", 1000);
        assert_eq!(take(&mut record, Step::Ship), Err(StepRefused::NotSent));
        assert_eq!(take(&mut record, Step::Complete), Ok(()));
    }

    #[test]
    fn no_more_is_given_back_than_was_paid() {
        let mut record = paid("physical", 1000);
        assert_eq!(take(&mut record, Step::Refund(Some(400))), Ok(()));
        assert_eq!((status(&record), payment(&record), left(&record)), ("processing", "partially_refunded", 600));
        assert_eq!(take(&mut record, Step::Refund(Some(601))), Err(StepRefused::TooMuch { left: 600 }));
        assert_eq!(take(&mut record, Step::Refund(Some(0))), Err(StepRefused::TooMuch { left: 600 }));
        assert_eq!(take(&mut record, Step::Cancel), Ok(()));
        assert_eq!((payment(&record), left(&record)), ("refunded", 0));
        let mut unpaid = order("physical");
        assert!(take(&mut unpaid, Step::Refund(None)).is_err());
        assert_eq!(take(&mut unpaid, Step::Cancel), Ok(()));
        assert_eq!(payment(&unpaid), "pending", "nothing was paid, so nothing goes back");
    }

    #[test]
    fn orders_of_earlier_releases_say_by_their_shares_what_was_given_back() {
        let mut record = paid("physical", 1000);
        let shared = within(&mut record, "revenueDistribution");
        shared.insert("base".to_owned(), Value::Integer(700));
        shared.insert("baseKind".to_owned(), text("order_net"));
        assert_eq!((refunded(&record), left(&record)), (300, 700));
        assert_eq!(take(&mut record, Step::Refund(Some(701))), Err(StepRefused::TooMuch { left: 700 }));
        assert_eq!(take(&mut record, Step::Refund(Some(200))), Ok(()));
        assert_eq!((refunded(&record), left(&record)), (500, 500), "and from now on by itself");
        within(&mut record, "revenueDistribution").insert("baseKind".to_owned(), text("platform_fee"));
        assert_eq!(left(&record), 500, "whatever is shared out");
    }

    #[test]
    fn an_order_counts_in_the_month_in_which_it_was_paid() {
        let mut record = paid("physical", 1000);
        assert_eq!(paid_in(&record), None, "nothing is shared out yet");
        let at = |record: &mut Map, object: &str, field: &str, at: &str| {
            within(record, object).insert(field.to_owned(), text(at));
        };
        at(&mut record, "revenueDistribution", "calculatedAt", "2026-10-31T23:59:59.999Z");
        assert_eq!(paid_in(&record).map(Month::number), Some(202_610), "as orders of early releases say it");
        at(&mut record, "paymentDetails", "paymentProcessedAt", "2026-10-31T23:59:59.999Z");
        // A part is given back in the next month: the shares are computed anew.
        at(&mut record, "revenueDistribution", "calculatedAt", "2026-11-01T00:00:00.000Z");
        assert_eq!(paid_in(&record).map(Month::number), Some(202_610));
    }

    #[test]
    fn numbers_count_within_their_year() {
        assert_eq!(next_number("hays-cactus", 2026, None), "HAYSCA-2026-000001");
        assert_eq!(next_number("hays-cactus", 2026, Some("HAYSCA-2026-000041")), "HAYSCA-2026-000042");
        assert_eq!(next_number("hays-cactus", 2027, Some("HAYSCA-2026-000041")), "HAYSCA-2027-000001");
        assert_eq!(next_number("a", 2026, Some("A-2026-999999")), "A-2026-1000000");
    }
}
