//! What is sold and what of it goes where: products, orders, appointments, invoices, donations.

use super::{Draft, referred, set, text};
use crate::business::order as life;
use crate::business::revenue::{self, BaseKind, Terms};
use crate::business::{PRODUCT, TENANT_SETTINGS};
use crate::data::Value;
use crate::ids::{RecordKey, RepoPath};
use crate::rules::Refused;

/// `records.md` 11.1: the early type follows from the later one.
pub(in crate::rules) fn product(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let kind = match draft.text("productType") {
        Some("ai_print_demand" | "physical") => Some("physical"),
        Some("consultation_solo" | "group_event") => Some("booking"),
        Some("livekit_stream" | "digital_download" | "course_training") => Some("digital"),
        Some("subscription") => Some("subscription"),
        Some("business_service" | "automation") => Some("service"),
        _ => None,
    };
    if let Some(kind) = kind {
        draft.set(&["type"], Value::String(kind.to_owned()));
    }
    let published = matches!(draft.text("status"), Some("active" | "out_of_stock"));
    draft.since(&["publishedAt"], published, false);
    Ok(())
}

/// The product whose private half it is, and what the tenant has agreed on.
pub(in crate::rules) fn product_of(record: &Value) -> Vec<RepoPath> {
    referred(record, "product", PRODUCT).into_iter().chain(tenant_settings()).collect()
}

/// Where a tenant says what it has agreed on.
fn tenant_settings() -> Option<RepoPath> {
    Some(RepoPath::new(TENANT_SETTINGS.parse().ok()?, "self".parse::<RecordKey>().ok()?))
}

/// REV-07: the rate that follows from the type of the product, and why. REV-08: who sets which rate of one's own.
pub(in crate::rules) fn product_settings(draft: &mut Draft<'_>) -> Result<(), Refused> {
    if draft.is_told() {
        check_custom_rate(draft)?;
    }
    let path = referred(draft.record, "product", PRODUCT);
    let kind = draft.known(path.as_ref()).and_then(|product| product.get("productType")?.as_str());
    let Some(kind) = kind else { return Ok(()) };
    let (rate, rationale) = revenue::template(kind).unwrap_or_else(|| {
        let sharing = draft.known(tenant_settings().as_ref()).and_then(|settings| settings.get("revenueSharing"));
        (Terms::read(sharing, draft.write.now).default_rate(), revenue::DEFAULT_RATIONALE)
    });
    draft.set(&["commissionTemplate", "defaultRate"], Value::Integer(rate));
    draft.set(&["commissionTemplate", "rationale"], text(rationale));
    Ok(())
}

/// The rate counts whether or not it is in use: switching it on is no change of the rate.
fn check_custom_rate(draft: &Draft<'_>) -> Result<(), Refused> {
    const FIELD: [&str; 2] = ["commission", "customCommissionRate"];
    let Some(rate) = draft.at(&FIELD).and_then(Value::as_integer) else { return Ok(()) };
    let path = format!("/{}", FIELD.join("/"));
    if !(0..=revenue::RATE_MAX).contains(&rate) {
        return Err(Refused::Rate { path, least: 0, most: revenue::RATE_MAX });
    }
    let is_as_before = draft.had(&FIELD) == Some(Value::Integer(rate));
    if rate < revenue::RATE_MIN && !draft.facts.super_admin && !is_as_before {
        return Err(Refused::LowRate { path, least: revenue::RATE_MIN });
    }
    Ok(())
}

/// ORD-01: line totals, subtotal, total. Then what follows from where the order stands: when it got there, and how it is
/// shared out (REV-01 to REV-04).
pub(in crate::rules) fn order(draft: &mut Draft<'_>) -> Result<(), Refused> {
    order_sums(draft)?;
    let says = |draft: &Draft<'_>, words: &[&str]| draft.text("status").is_some_and(|status| words.contains(&status));
    let how = |draft: &Draft<'_>| {
        let how = draft.record.get("fulfillment").and_then(|how| how.get("status"));
        how.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    draft.since(&["placedAt"], true, false);
    let (completed, cancelled) = (says(draft, &["completed"]), says(draft, &["cancelled"]));
    draft.since(&["completedAt"], completed, false);
    draft.since(&["cancelledAt"], cancelled, false);
    let (shipped, delivered) = (how(draft) == "shipped", how(draft) == "delivered");
    draft.since(&["fulfillment", "shippedAt"], shipped, false);
    draft.since(&["fulfillment", "deliveredAt"], delivered, false);
    order_shares(draft);
    Ok(())
}

fn order_sums(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let too_large = |path: &str| Refused::Amount { path: path.to_owned() };
    let mut subtotal = 0_i64;
    if let Value::Map(map) = &mut *draft.record
        && let Some(Value::List(lines)) = map.get_mut("lineItems")
    {
        for (index, line) in lines.iter_mut().enumerate() {
            let part = |name: &str| line.get(name).and_then(Value::as_integer).unwrap_or(0);
            let path = format!("/lineItems/{index}/totalPrice");
            let total = part("quantity").checked_mul(part("unitPrice")).ok_or_else(|| too_large(&path))?;
            subtotal = subtotal.checked_add(total).ok_or_else(|| too_large("/subtotal"))?;
            set(line, &["totalPrice"], Value::Integer(total), false);
        }
    }
    let discount = draft.integer("discountAmount");
    if discount > subtotal {
        return Err(too_large("/discountAmount"));
    }
    let further = draft.integer("taxAmount").checked_add(draft.integer("shippingAmount"));
    let total = further.and_then(|further| (subtotal - discount).checked_add(further));
    draft.set(&["subtotal"], Value::Integer(subtotal));
    draft.set(&["totalAmount"], Value::Integer(total.ok_or_else(|| too_large("/totalAmount"))?));
    Ok(())
}

/// What is shared out (REV-02): the goods without what was given back, or what the platform takes of them. Of what is said
/// when the order is placed follows all that comes later; the parts are known once it is paid (REV-04).
fn order_shares(draft: &mut Draft<'_>) {
    let Value::Map(map) = &*draft.record else { return };
    let (left, was_paid) = (life::left(map), life::was_paid(map));
    if !was_paid && draft.text("status") == Some("cancelled") {
        draft.unset(&["revenueDistribution"]);
        draft.unset(&["commission", "amount"]);
        return;
    }
    let kind = BaseKind::from_name(draft.text_at(&["revenueDistribution", "baseKind"]).unwrap_or_default());
    let rate = draft.at(&["commission", "rate"]).and_then(Value::as_integer);
    let fee = rate.map(|rate| revenue::take(left, rate));
    let base = match kind {
        BaseKind::OrderNet => left,
        BaseKind::PlatformFee => fee.unwrap_or(0),
    };
    if let Some(fee) = fee {
        draft.set(&["commission", "amount"], Value::Integer(fee));
    }
    draft.set(&["revenueDistribution", "baseKind"], text(kind.name()));
    draft.set(&["revenueDistribution", "base"], Value::Integer(base));
    if !was_paid {
        return;
    }
    draft.since(&["paymentDetails", "paymentProcessedAt"], true, false);
    let split = revenue::split(base);
    let parts = [
        ("aiPartner", split.ai_partner),
        ("humanPartner", split.human_partner),
        ("platformOperations", split.platform_operations),
        ("justiceFund", split.justice_fund),
    ];
    for (name, part) in parts {
        draft.set(&["revenueDistribution", name], Value::Integer(part));
    }
    let is_as_before = draft.had(&["revenueDistribution", "base"]) == Some(Value::Integer(base));
    match draft.had(&["revenueDistribution", "calculatedAt"]) {
        Some(had) if is_as_before => draft.set(&["revenueDistribution", "calculatedAt"], had),
        _ => {
            let now = draft.now();
            draft.set(&["revenueDistribution", "calculatedAt"], now);
        }
    }
}

/// APT-04, APT-05 and REV-10: where an appointment begins, and what the platform takes of it when it is over and paid.
pub(in crate::rules) fn appointment(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let is = |draft: &Draft<'_>, names: &[&str]| draft.at(names) == Some(&Value::Bool(true));
    let costs = is(draft, &["payment", "required"]);
    if costs {
        draft.initially(&["payment", "paymentStatus"], text("pending"));
    }
    let paid = draft.text_at(&["payment", "paymentStatus"]) == Some("paid");
    let waits = is(draft, &["bookingSettings", "requireConfirmation"]) || (costs && !paid);
    draft.initially(&["status"], text(if waits { "scheduled" } else { "confirmed" }));
    // Where it says nothing of its source, the lexicon says that it has to.
    if draft.at(&["revenueTracking"]).is_none() {
        return Ok(());
    }
    let kind = draft.text("appointmentType").unwrap_or_default();
    let rate = revenue::appointment_rate(kind, draft.text_at(&["revenueTracking", "source"]).unwrap_or_default());
    draft.set(&["revenueTracking", "commissionRate"], Value::Integer(rate));
    let amount = draft.at(&["payment", "amount"]).and_then(Value::as_integer);
    let currency = draft.text_at(&["payment", "currency"]).map(text);
    match (amount, currency) {
        (Some(amount), Some(currency)) if paid && draft.text("status") == Some("completed") => {
            let amount = Value::Integer(revenue::take(amount, rate));
            draft.set(&["revenueTracking", "commissionAmount", "amount"], amount);
            draft.set(&["revenueTracking", "commissionAmount", "currency"], currency);
        }
        _ => draft.unset(&["revenueTracking", "commissionAmount"]),
    }
    Ok(())
}

/// The sums of an invoice, which stay once it was sent, and when it was sent and paid.
pub(in crate::rules) fn invoice(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let was_sent = draft.had(&["status"]).is_some_and(|status| status.as_str().is_some_and(|status| status != "draft"));
    if let Some(field) =
        ["lines", "currency"].into_iter().find(|field| draft.had(&[field]).as_ref() != draft.at(&[field]))
        && was_sent
    {
        return Err(Refused::Sent { path: format!("/{field}") });
    }
    draft.initially(&["status"], text("draft"));
    let subtotal = invoice_lines(draft)?;
    let total = subtotal.checked_add(draft.integer("taxAmount"));
    let total = total.ok_or_else(|| Refused::Amount { path: "/totalAmount".to_owned() })?;
    draft.set(&["subtotal"], Value::Integer(subtotal));
    draft.set(&["totalAmount"], Value::Integer(total));
    let status = draft.text("status").unwrap_or_default().to_owned();
    draft.since(&["issuedAt"], matches!(status.as_str(), "sent" | "paid" | "overdue"), false);
    draft.since(&["paidAt"], status == "paid", false);
    match status.as_str() {
        "paid" => draft.set(&["amountPaid"], Value::Integer(total)),
        _ => draft.initially(&["amountPaid"], Value::Integer(0)),
    }
    Ok(())
}

/// Each line's total, which whoever writes may leave out; answers with their sum. A line that its lexicon refuses is left
/// to it.
fn invoice_lines(draft: &mut Draft<'_>) -> Result<i64, Refused> {
    let refused = |path: &str| Refused::Amount { path: path.to_owned() };
    let is_told = draft.is_told();
    let Value::Map(map) = &mut *draft.record else { return Ok(0) };
    let Some(Value::List(lines)) = map.get_mut("lines") else { return Ok(0) };
    let mut subtotal = 0_i64;
    for (index, line) in lines.iter_mut().enumerate() {
        let part = |name: &str| line.get(name).and_then(Value::as_integer);
        let (Some(1..=QUANTITY_MAX), Some(0..=AMOUNT_MAX)) = (part("quantity"), part("unitPrice")) else { continue };
        let path = format!("/lines/{index}/totalPrice");
        let total = part("quantity").unwrap_or(0).checked_mul(part("unitPrice").unwrap_or(0));
        let total = total.filter(|total| *total <= AMOUNT_MAX).ok_or_else(|| refused(&path))?;
        match part("totalPrice") {
            Some(claimed) if !(0..=AMOUNT_MAX).contains(&claimed) => continue,
            Some(claimed) if is_told && claimed != total => return Err(refused(&path)),
            _ => {}
        }
        subtotal = subtotal.checked_add(total).ok_or_else(|| refused("/subtotal"))?;
        set(line, &["totalPrice"], Value::Integer(total), false);
    }
    Ok(subtotal)
}

/// The largest amount, in minor units, and the largest quantity of a line (`records.md` 1.3, 7.13).
const AMOUNT_MAX: i64 = 9_007_199_254_740_991;
const QUANTITY_MAX: i64 = 100_000;

/// When a donation came in.
pub(in crate::rules) fn donation(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.initially(&["paymentStatus"], text("pending"));
    let received = matches!(draft.text("paymentStatus"), Some("captured" | "refunded"));
    draft.since(&["receivedAt"], received, false);
    Ok(())
}
