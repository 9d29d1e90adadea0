//! What is on stock, in the private half of a product (ORD-05): taken when an order is placed, given back when it is
//! called off, in the same write as the order.

use angel_protocol::business::{PRODUCT, PRODUCT_SETTINGS, stock};
use angel_protocol::data::{Cid, Map, Value, cbor};
use angel_protocol::ids::{Did, RecordKey, RepoPath};
use angel_protocol::rules::{By, Place};

use super::{Business, BusinessError, Entry, nsid};
use crate::accounts::Account;
use crate::blocking;
use crate::repos::{Action, NewRecord, Owner, RepoWrite, Swap};

/// What is taken from the stock of a product or one of its variants, or given back.
#[derive(Clone, Debug)]
pub(super) struct Move {
    /// The key of the product.
    pub(super) rkey: RecordKey,
    /// The variant.
    pub(super) sku: Option<String>,
    /// How many more there are then; fewer, below zero.
    pub(super) by: i64,
    /// The number of the line.
    pub(super) line: usize,
    /// Whether there may be fewer than none.
    pub(super) beyond: bool,
}

/// The private half of a product, whose stock has changed.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// The key of the product.
    pub(super) rkey: RecordKey,
    /// As it was, if that is known.
    pub(super) before: Option<Value>,
    /// As it is.
    pub(super) after: Value,
}

/// The stocks that an order touches, as they were and as they are to be.
#[derive(Default)]
pub(super) struct Stocks {
    changed: Vec<(Entry, Map)>,
    /// Products of which few are left now.
    pub(super) low: Vec<RepoPath>,
}

impl Stocks {
    /// The writes that make it so.
    pub(super) fn into_writes(self) -> Vec<(RepoPath, Map, Option<Cid>)> {
        self.changed.into_iter().map(|(before, after)| (before.path, after, Some(before.cid))).collect()
    }

    /// What was counted of which product, and what is now.
    pub(super) fn counted(&self) -> Vec<Counted> {
        let counted = self.changed.iter().map(|(before, after)| Counted {
            rkey: before.path.rkey.clone(),
            before: Some(Value::Map(before.record.clone())),
            after: Value::Map(after.clone()),
        });
        counted.collect()
    }

    /// The products whose stock changes.
    pub(super) fn paths(&self) -> Vec<RepoPath> {
        self.changed.iter().map(|(before, _)| before.path.clone()).collect()
    }
}

impl Business {
    /// Finds what `moves` make of the stocks. Products without settings, and settings without a number, are not counted.
    pub(super) async fn stocks(&self, tenant: &Did, moves: Vec<Move>) -> Result<Stocks, BusinessError> {
        let mut stocks = Stocks::default();
        for step in moves {
            let path = RepoPath::new(nsid(PRODUCT_SETTINGS), step.rkey.clone());
            let known = stocks.changed.iter().position(|(before, _)| before.path == path);
            let place = match known {
                Some(place) => place,
                None => {
                    let Some(before) = self.entry(tenant, &path).await? else { continue };
                    let after = before.record.clone();
                    stocks.changed.push((before, after));
                    stocks.changed.len() - 1
                }
            };
            let (before, after) = &mut stocks.changed[place];
            let Some(quantity) = quantity(after, step.sku.as_deref()) else {
                if before.record == *after {
                    stocks.changed.remove(place);
                }
                continue;
            };
            let left = quantity.checked_add(step.by).filter(|left| step.by > 0 || *left >= 0 || step.beyond);
            *quantity = left.ok_or(BusinessError::OutOfStock { line: step.line, left: *quantity })?;
            let left = *quantity;
            let threshold = after.get("inventory").and_then(|stock| stock.get("lowStockThreshold"));
            let threshold = threshold.and_then(Value::as_integer).unwrap_or(0);
            // Told when it is crossed, not each time that one more goes.
            let was = left - step.by;
            if step.by < 0 && left <= threshold && was > threshold && !stocks.low.contains(&path) {
                stocks.low.push(path);
            }
        }
        Ok(stocks)
    }
}

impl Business {
    /// Lets products say whether any of them is left (ORD-05). The stock has changed whatever comes of this, and an order looks
    /// at the stock itself: what fails is told in the log, and done when the stock changes again.
    pub(super) async fn show_stock(&self, account: &Account, counted: Vec<Counted>) {
        for counted in counted {
            if let Err(error) = self.show_one(account, &counted).await {
                let (tenant, product) = (account.did(), &counted.rkey);
                tracing::warn!(%tenant, %product, %error, "whether a product is in stock was not brought up to date");
            }
        }
    }

    async fn show_one(&self, account: &Account, counted: &Counted) -> Result<(), BusinessError> {
        let path = RepoPath::new(nsid(PRODUCT), counted.rkey.clone());
        let (repos, id, at) = (self.0.repos.clone(), account.id(), path.to_string());
        let Some(found) = blocking::run(move || repos.record_blocking(id, &at)).await? else { return Ok(()) };
        let Ok(before) = cbor::decode(&found.bytes) else { return Ok(()) };
        let Some(status) = stock::status(&before, counted.before.as_ref(), &counted.after) else { return Ok(()) };
        let mut product = before.clone();
        if let Value::Map(map) = &mut product {
            map.insert("status".to_owned(), Value::String(status.to_owned()));
        }
        let how = (Place::Public, By::Node);
        let judging = self.0.rulebook.judge(account, account.did(), how, &path.collection, product, Some(&before));
        let action = Action::Put(NewRecord::new(&judging.await??));
        let key = self.0.accounts.signing_key(id).await?;
        let owner = Owner { id, did: account.did().clone(), key };
        // Whoever changed the product meanwhile has seen it as it is.
        let write = RepoWrite { path, action, swap: Some(Swap::Record(found.cid)) };
        self.0.repos.write(&owner, vec![write], None).await?;
        Ok(())
    }
}

/// How many there are of a product or a variant; `None` when they are not counted.
fn quantity<'m>(settings: &'m mut Map, sku: Option<&str>) -> Option<&'m mut i64> {
    let Value::Map(inventory) = settings.get_mut("inventory")? else { return None };
    let counted = match sku {
        None => inventory.get_mut("quantity")?,
        Some(sku) => {
            let Value::List(variants) = inventory.get_mut("variants")? else { return None };
            let variant = variants.iter_mut().find(|variant| {
                variant.get("sku").and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(sku))
            })?;
            let Value::Map(variant) = variant else { return None };
            variant.get_mut("quantity")?
        }
    };
    match counted {
        Value::Integer(quantity) => Some(quantity),
        _ => None,
    }
}
