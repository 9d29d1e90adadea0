//! Orders: placed by whoever buys, moved on by staff (ORD-01 to ORD-06).

use angel_protocol::business::order::{self, Step};
use angel_protocol::business::revenue::{self, BaseKind, Sale, Terms};
use angel_protocol::business::{ORDER, PRODUCT, PRODUCT_SETTINGS};
use angel_protocol::data::{Map, Value, cbor, from_json, to_json};
use angel_protocol::ids::{Did, RecordKey, RepoPath};
use angel_protocol::tenants::{Feature, Month, Resource};
use serde_json::Value as Json;

use super::stock::Move;
use super::terms::InForce;
use super::{Business, BusinessError, Entries, Entry, address, nsid, text};
use crate::accounts::Account;
use crate::spaces::announce::Announcement;
use crate::tenants::{Tenant, Use};
use crate::{blocking, clock};

/// What a customer says of an order, beside what is ordered.
const SAID: [&str; 3] = ["shippingAddress", "billingAddress", "customerNotes"];

/// An order that is to be placed.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    /// What is ordered.
    pub(crate) line_items: Vec<NewLine>,
    /// How it reaches the customer.
    pub(crate) method: String,
    /// How it is paid.
    pub(crate) payment_method: Option<String>,
    /// Where the customer came from.
    pub(crate) source: Option<String>,
    /// Where it goes.
    pub(crate) shipping_address: Option<Json>,
    /// Where the bill goes.
    pub(crate) billing_address: Option<Json>,
    /// What the customer says.
    pub(crate) customer_notes: Option<String>,
}

/// A line of it.
#[derive(Clone, Debug)]
pub(crate) struct NewLine {
    /// The product.
    pub(crate) product: String,
    /// How many.
    pub(crate) quantity: i64,
    /// Which variant.
    pub(crate) sku: Option<String>,
}

/// Which orders are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderFilter {
    /// Those of one customer.
    pub(crate) customer: Option<Did>,
    /// Those that stand here.
    pub(crate) status: Option<String>,
}

/// What a business has taken in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revenue {
    /// The currency.
    pub(crate) currency: String,
    /// Orders that are paid.
    pub(crate) orders: u64,
    /// What was paid for the goods and not given back.
    pub(crate) goods: i64,
    /// What was shared out.
    pub(crate) base: i64,
    /// The four parts, in the order agents, people, platform, justice fund.
    pub(crate) parts: [i64; 4],
    /// What the platform takes.
    pub(crate) commission: i64,
}

/// A line that was looked up.
struct Line {
    record: Map,
    total: i64,
    rate: i64,
    currency: String,
    stock: Option<Move>,
    needs_sending: bool,
}

impl Business {
    /// Places an order.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn place_order(
        &self,
        tenant: &Tenant,
        customer: &Did,
        by: &Did,
        wish: NewOrder,
    ) -> Result<Entry, BusinessError> {
        let account = self.account(tenant).await?;
        self.0.tenants.check_feature(tenant.did(), Feature::Ecommerce)?;
        if wish.line_items.is_empty() {
            return Err(BusinessError::Malformed("lineItems: an order has at least one line".to_owned()));
        }
        let in_force = self.terms(tenant).await?;
        let _turn = self.turn(tenant).await;
        let mut lines = vec![];
        for (index, line) in wish.line_items.iter().enumerate() {
            lines.push(self.line(&account, index, line, wish.source.as_deref(), &in_force).await?);
        }
        let newest = self.entries(tenant.did(), ORDER, None, 1, |_| true).await?.entries.pop();
        let kind = in_force.terms.base_kind();
        let record = record(tenant, customer, &wish, (&lines, kind), newest.as_ref())?;
        let record = self.judged(&account, by, ORDER, record, None).await?;
        let stocks = self.stocks(tenant.did(), lines.into_iter().filter_map(|line| line.stock).collect()).await?;
        let (low, moved, counted) = (stocks.low.clone(), stocks.paths(), stocks.counted());
        let room = self.0.tenants.hold(tenant, vec![Use::one(Resource::Orders)], None)?;
        let path = RepoPath::new(nsid(ORDER), self.next_key(newest.as_ref())?);
        let mut writes = vec![(path, record, None)];
        writes.extend(stocks.into_writes());
        let placed = self.write(&account, writes).await?.swap_remove(0);
        room.written();
        self.show_stock(&account, counted).await;
        self.tell_of_stock(tenant, &moved, &low, by).await;
        Ok(placed)
    }

    /// Takes a step with an order. `changes` are fields that go with it, which the step does not compute.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn step(
        &self,
        tenant: &Tenant,
        by: &Did,
        path: &RepoPath,
        step: Step,
        changes: &[(&str, &str, String)],
    ) -> Result<Entry, BusinessError> {
        let account = self.account(tenant).await?;
        let _turn = self.turn(tenant).await;
        let before = self.entry(tenant.did(), path).await?.ok_or(BusinessError::OrderNotFound)?;
        let mut record = before.record.clone();
        order::take(&mut record, step)?;
        for (object, field, value) in changes {
            let place = record.entry((*object).to_owned()).or_insert_with(|| Value::Map(Map::new()));
            if let Value::Map(place) = place {
                place.insert((*field).to_owned(), text(value.as_str()));
            }
        }
        let record = self.judged(&account, by, ORDER, record, Some(&before.record)).await?;
        let given_back = if step.returns_stock() { moves_of(&before.record, 1) } else { vec![] };
        let stocks = self.stocks(tenant.did(), given_back).await?;
        let (moved, counted) = (stocks.paths(), stocks.counted());
        let mut writes = vec![(path.clone(), record, Some(before.cid))];
        writes.extend(stocks.into_writes());
        let after = self.write(&account, writes).await?.swap_remove(0);
        self.show_stock(&account, counted).await;
        self.tell_of_stock(tenant, &moved, &[], by).await;
        Ok(after)
    }

    /// An order, for somebody who may see it: staff, or whoever placed it.
    ///
    /// # Errors
    /// [`BusinessError::OrderNotFound`], or the store cannot be read.
    pub(crate) async fn order(
        &self,
        tenant: &Tenant,
        path: &RepoPath,
        asking: Option<&Did>,
    ) -> Result<Entry, BusinessError> {
        let found = self.entry(tenant.did(), path).await?.ok_or(BusinessError::OrderNotFound)?;
        match asking {
            Some(customer) if !is_of(&found.record, customer) => Err(BusinessError::OrderNotFound),
            Some(_) => Ok(as_seen_by_the_customer(found)),
            None => Ok(found),
        }
    }

    /// Orders of a tenant, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn orders(
        &self,
        tenant: &Tenant,
        filter: &OrderFilter,
        is_staff: bool,
        cursor: Option<RecordKey>,
        limit: usize,
    ) -> Result<Entries, BusinessError> {
        let wanted = |record: &Map| {
            filter.customer.as_ref().is_none_or(|customer| is_of(record, customer))
                && filter.status.as_ref().is_none_or(|status| order::status(record) == status)
        };
        let mut page = self.entries(tenant.did(), ORDER, cursor, limit, wanted).await?;
        if !is_staff {
            page.entries = page.entries.into_iter().map(as_seen_by_the_customer).collect();
        }
        Ok(page)
    }

    /// What was taken with the orders of a month, or with all, by currency.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn revenue(&self, tenant: &Tenant, month: Option<Month>) -> Result<Vec<Revenue>, BusinessError> {
        let mut sums: Vec<Revenue> = vec![];
        let mut cursor = None;
        loop {
            let page = self.entries(tenant.did(), ORDER, cursor, super::LOOKED_AT_MAX, |_| true).await?;
            for Entry { record, .. } in &page.entries {
                let Some(shared) = record.get("revenueDistribution") else { continue };
                let paid_in = order::paid_in(record);
                if paid_in.is_none_or(|paid_in| month.is_some_and(|month| month != paid_in)) {
                    continue;
                }
                let currency = record.get("currency").and_then(Value::as_str).unwrap_or_default();
                let place = sums.iter().position(|sum| sum.currency == currency).unwrap_or_else(|| {
                    sums.push(Revenue { currency: currency.to_owned(), ..Revenue::default() });
                    sums.len() - 1
                });
                let part = |name: &str| shared.get(name).and_then(Value::as_integer).unwrap_or(0);
                let parts = ["aiPartner", "humanPartner", "platformOperations", "justiceFund"].map(part);
                let commission = record.get("commission").and_then(|commission| commission.get("amount"));
                let sum = &mut sums[place];
                sum.orders += 1;
                sum.goods = sum.goods.saturating_add(order::left(record));
                sum.base = sum.base.saturating_add(part("base"));
                for (sum, part) in sum.parts.iter_mut().zip(parts) {
                    *sum = sum.saturating_add(part);
                }
                sum.commission = sum.commission.saturating_add(commission.and_then(Value::as_integer).unwrap_or(0));
            }
            cursor = page.cursor.and_then(|cursor| cursor.parse().ok());
            if cursor.is_none() {
                sums.sort_by(|one, other| one.currency.cmp(&other.currency));
                return Ok(sums);
            }
        }
    }

    /// Looks a line up: only what the business offers in public is sold, at the price that it says there.
    async fn line(
        &self,
        account: &Account,
        index: usize,
        line: &NewLine,
        source: Option<&str>,
        in_force: &InForce,
    ) -> Result<Line, BusinessError> {
        let missing = || BusinessError::ProductNotFound(index);
        let (did, path) = address(&line.product, PRODUCT).ok_or_else(missing)?;
        if did != *account.did() {
            return Err(missing());
        }
        let (repos, id, at) = (self.0.repos.clone(), account.id(), path.to_string());
        let found = blocking::run(move || repos.record_blocking(id, &at)).await?.ok_or_else(missing)?;
        let product = cbor::decode(&found.bytes).map_err(|_| missing())?;
        let said = |object: &str, field: &str| product.get(object).and_then(|object| object.get(field)).cloned();
        let beyond = said("inventory", "allowBackorder") == Some(Value::Bool(true));
        if product.get("status").and_then(Value::as_str) == Some("out_of_stock") && !beyond {
            return Err(BusinessError::OutOfStock { line: index, left: 0 });
        }
        let unit = price(&product, line.sku.as_deref()).ok_or_else(missing)?;
        let too_many = || BusinessError::Malformed(format!("lineItems/{index}/quantity: the amounts do not add up"));
        let total = unit.checked_mul(line.quantity).filter(|_| line.quantity > 0).ok_or_else(too_many)?;
        let settings = RepoPath::new(nsid(PRODUCT_SETTINGS), path.rkey.clone());
        let settings = self.entry(account.did(), &settings).await?.map(|entry| entry.record);
        let tracked = said("inventory", "trackQuantity") == Some(Value::Bool(true));
        let mut record = Map::from([
            ("product".to_owned(), strong_ref(&line.product, &found.cid.to_string())),
            ("quantity".to_owned(), Value::Integer(line.quantity)),
            ("unitPrice".to_owned(), Value::Integer(unit)),
            ("productSnapshot".to_owned(), text(to_json(&product).to_string())),
        ]);
        if let Some(sku) = &line.sku {
            record.insert("sku".to_owned(), text(sku.as_str()));
        }
        let currency = said("pricing", "currency").and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
        let take = Move { rkey: path.rkey, sku: line.sku.clone(), by: -line.quantity, line: index, beyond };
        Ok(Line {
            record,
            total,
            rate: rate(&product, settings.as_ref(), source, (&in_force.terms, in_force.grew(&currency))),
            currency,
            stock: tracked.then_some(take),
            needs_sending: said("shipping", "requiresShipping") == Some(Value::Bool(true)),
        })
    }

    async fn tell_of_stock(&self, tenant: &Tenant, moved: &[RepoPath], low: &[RepoPath], by: &Did) {
        for (event, paths) in [("inventory.updated", moved), ("inventory.low", low)] {
            for path in paths {
                let subject = Some(format!("at://{}/{PRODUCT}/{}", tenant.did(), path.rkey));
                let actor = Some(by.clone());
                let told = Announcement { event, subject, actor, ..Announcement::of_department("operations") };
                self.0.spaces.announce(tenant.did(), told).await;
            }
        }
    }
}

/// The record of a new order; what follows from it by itself, the rules add.
fn record(
    tenant: &Tenant,
    customer: &Did,
    wish: &NewOrder,
    (lines, kind): (&[Line], BaseKind),
    newest: Option<&Entry>,
) -> Result<Map, BusinessError> {
    let malformed = |text: &str| BusinessError::Malformed(text.to_owned());
    let currency = &lines[0].currency;
    if lines.iter().any(|line| line.currency != *currency) {
        return Err(malformed("lineItems: all products of an order are in one currency"));
    }
    // Whoever fetches it needs none.
    if wish.method != "pickup" && wish.shipping_address.is_none() && lines.iter().any(|line| line.needs_sending) {
        return Err(malformed("shippingAddress: what is ordered has to be sent somewhere"));
    }
    let now = clock::now();
    let newest = newest.and_then(|entry| entry.record.get("orderNumber")).and_then(Value::as_str);
    let number = order::next_number(tenant.row().slug.as_str(), Month::of(now).number() / 100, newest);
    let rates: Vec<_> = lines.iter().map(|line| (line.total, line.rate)).collect();
    let mut commission = Map::from([("rate".to_owned(), Value::Integer(revenue::mean_rate(&rates)))]);
    if let Some(source) = &wish.source {
        commission.insert("source".to_owned(), text(source.as_str()));
    }
    let fulfillment =
        Map::from([("method".to_owned(), text(wish.method.as_str())), ("status".to_owned(), text("pending"))]);
    let mut record = Map::from([
        ("orderNumber".to_owned(), text(number)),
        ("tenant".to_owned(), text(tenant.did().as_str())),
        ("customer".to_owned(), text(customer.as_str())),
        ("status".to_owned(), text("pending")),
        ("paymentStatus".to_owned(), text("pending")),
        ("lineItems".to_owned(), Value::List(lines.iter().map(|line| Value::Map(line.record.clone())).collect())),
        ("currency".to_owned(), text(currency.as_str())),
        ("commission".to_owned(), Value::Map(commission)),
        ("revenueDistribution".to_owned(), Value::Map(Map::from([("baseKind".to_owned(), text(kind.name()))]))),
        ("fulfillment".to_owned(), Value::Map(fulfillment)),
        ("createdAt".to_owned(), text(now.to_string())),
    ]);
    if let Some(method) = &wish.payment_method {
        let how = Map::from([("paymentMethod".to_owned(), text(method.as_str()))]);
        record.insert("paymentDetails".to_owned(), Value::Map(how));
    }
    let said =
        [wish.shipping_address.clone(), wish.billing_address.clone(), wish.customer_notes.clone().map(Json::from)];
    for (field, value) in SAID.into_iter().zip(said) {
        let Some(value) = value else { continue };
        let value = from_json(&value).map_err(|error| BusinessError::Malformed(format!("{field}: {error}")))?;
        record.insert(field.to_owned(), value);
    }
    Ok(record)
}

/// What one of a product costs: the sale price if there is one, or the price of the variant.
fn price(product: &Value, sku: Option<&str>) -> Option<i64> {
    let pricing = product.get("pricing")?;
    let amount = |name: &str| pricing.get(name).and_then(Value::as_integer);
    let price = match sku {
        None => amount("salePrice").or_else(|| amount("basePrice"))?,
        Some(sku) => {
            let Value::List(variants) = pricing.get("variants")? else { return None };
            let is_it = |variant: &&Value| {
                variant.get("sku").and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(sku))
            };
            variants.iter().find(is_it)?.get("price")?.as_integer()?
        }
    };
    (price >= 0).then_some(price)
}

/// What the platform takes of a product (REV-07 to REV-09).
fn rate(product: &Value, settings: Option<&Map>, source: Option<&str>, (terms, grew): (&Terms, bool)) -> i64 {
    let commission = settings.and_then(|settings| settings.get("commission"));
    let said = |name: &str| commission.and_then(|commission| commission.get(name));
    let custom = said("customCommissionRate").and_then(Value::as_integer);
    let name = match source {
        Some("pickup_job") => "pickupJob",
        Some("referral_source") => "referralSource",
        _ => "systemGenerated",
    };
    let sale = Sale {
        product_type: product.get("productType").and_then(Value::as_str).unwrap_or_default(),
        custom_rate: custom.filter(|_| said("useCustomRate") == Some(&Value::Bool(true))),
        source: source.unwrap_or_default(),
        multiplier: said("sourceMultipliers").and_then(|of| of.get(name)).and_then(Value::as_integer),
    };
    terms.rate(&sale, grew)
}

/// What the lines of an order took from stocks whose products are counted, `times` over.
fn moves_of(order: &Map, times: i64) -> Vec<Move> {
    let Some(Value::List(lines)) = order.get("lineItems") else { return vec![] };
    let taken = lines.iter().enumerate().filter_map(|(line, item)| {
        let snapshot: Json = serde_json::from_str(item.get("productSnapshot")?.as_str()?).ok()?;
        if snapshot["inventory"]["trackQuantity"] != true {
            return None;
        }
        let (_, path) = address(item.get("product")?.get("uri")?.as_str()?, PRODUCT)?;
        let sku = item.get("sku").and_then(Value::as_str).map(str::to_owned);
        let by = item.get("quantity")?.as_integer()?.checked_mul(times)?;
        Some(Move { rkey: path.rkey, sku, by, line, beyond: true })
    });
    taken.collect()
}

fn strong_ref(uri: &str, cid: &str) -> Value {
    Value::Map(Map::from([("uri".to_owned(), text(uri)), ("cid".to_owned(), text(cid))]))
}

fn is_of(order: &Map, customer: &Did) -> bool {
    order.get("customer").and_then(Value::as_str) == Some(customer.as_str())
}

/// Without what staff say among themselves.
fn as_seen_by_the_customer(mut entry: Entry) -> Entry {
    for field in ["internalNotes", "commission", "revenueDistribution"] {
        entry.record.remove(field);
    }
    entry
}
