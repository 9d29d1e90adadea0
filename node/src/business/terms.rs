//! What a tenant has agreed on with the platform, looked up for an order that is being placed (REV-05, REV-06, REV-09).

use std::sync::Arc;

use angel_protocol::business::TENANT_SETTINGS;
use angel_protocol::business::revenue::{self, Terms};
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::tenants::Month;
use quick_cache::sync::Cache;

use super::{Business, BusinessError, Revenue, nsid};
use crate::clock;
use crate::tenants::Tenant;

/// Tenants whose growth is known at once; of others it is found out again.
const KNOWN_MAX: usize = 1000;

/// Of which tenants revenue grew with the last month, by the month that it counts for, and in which currencies. Found out
/// once, since it takes a look at all orders; what is given back afterwards changes no rate within the month.
pub(super) struct Growth(Cache<(Did, Month), Arc<[String]>>);

impl Default for Growth {
    fn default() -> Self {
        Self(Cache::new(KNOWN_MAX))
    }
}

/// The terms under which an order is placed.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) terms: Terms,
    /// The currencies in which revenue grew.
    grew: Arc<[String]>,
}

impl InForce {
    /// Whether revenue in this currency grew.
    pub(super) fn grew(&self, currency: &str) -> bool {
        self.grew.iter().any(|grew| grew == currency)
    }
}

impl Business {
    /// What a tenant has agreed on, as it is now.
    pub(super) async fn terms(&self, tenant: &Tenant) -> Result<InForce, BusinessError> {
        let path = RepoPath::new(nsid(TENANT_SETTINGS), "self".parse().expect("a word is a record key"));
        let settings = self.entry(tenant.did(), &path).await?;
        let now = clock::now();
        let terms = Terms::read(settings.as_ref().and_then(|entry| entry.record.get("revenueSharing")), now);
        let grew = if terms.asks_for_growth() { self.growth(tenant, Month::of(now)).await? } else { Arc::default() };
        Ok(InForce { terms, grew })
    }

    /// The currencies in which revenue grew from the month before the last to the last, seen from `month`.
    async fn growth(&self, tenant: &Tenant, month: Month) -> Result<Arc<[String]>, BusinessError> {
        let key = (tenant.did().clone(), month);
        if let Some(known) = self.0.growth.0.get(&key) {
            return Ok(known);
        }
        let last = month.previous();
        let after = self.revenue(tenant, Some(last)).await?;
        let before = self.revenue(tenant, Some(last.previous())).await?;
        let grew: Arc<[String]> = grown(&before, after).into();
        self.0.growth.0.insert(key, grew.clone());
        Ok(grew)
    }
}

/// The currencies in which revenue grew: there is no rate between them, so each is looked at by itself.
fn grown(before: &[Revenue], after: Vec<Revenue>) -> Vec<String> {
    let grew = after.into_iter().filter(|sum| {
        let then = before.iter().find(|then| then.currency == sum.currency).map_or(0, |then| then.goods);
        revenue::grew(then, sum.goods)
    });
    grew.map(|sum| sum.currency).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_of_one_currency_and_of_what_was_paid_for_the_goods() {
        let sum =
            |currency: &str, goods, base| Revenue { currency: currency.to_owned(), goods, base, ..Revenue::default() };
        let before = [sum("EUR", 1000, 1000), sum("USD", 1000, 1000)];
        // From the third month on less is shared out, since the fee alone is: that is no loss of revenue.
        let after = vec![sum("CAD", 9000, 9000), sum("EUR", 1200, 120), sum("USD", 1199, 1199)];
        assert_eq!(grown(&before, after), ["EUR"]);
    }
}
