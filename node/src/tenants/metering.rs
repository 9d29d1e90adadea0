//! Room in a plan for what is about to be written: asked for last, held while it is written, and given back when it is
//! not written after all.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::tenants::{Feature, FeatureDisabled, LimitReached, Month, Use};
use angel_storage::AccountId;
use tokio::sync::OwnedMutexGuard;

use super::{Tenant, Tenants};
use crate::clock;

/// Locks under which what is there is counted and added to, one for many tenants.
pub(super) const LOCKS: usize = 64;

/// A turn at adding to what a tenant has.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// Room that is held for a write. Whoever drops it gives back what was counted; [`Self::written`] keeps it.
#[derive(Debug)]
#[must_use = "what was counted is given back when this is dropped"]
pub(crate) struct Admitted {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    tenants: Tenants,
    id: AccountId,
    uses: Vec<Use>,
    month: Month,
    /// While what is there was counted and is added to.
    _turn: Option<Turn>,
}

impl Admitted {
    /// For an account that is no tenant: it has no plan.
    pub(crate) const fn without_plan() -> Self {
        Self { held: None }
    }

    /// Says that it was written: what was counted stays.
    pub(crate) fn written(mut self) {
        if let Some(held) = &mut self.held {
            held.uses.clear();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.uses.is_empty() {
            self.tenants.counters().take_back(self.id, &self.uses, self.month);
        }
    }
}

impl Tenants {
    /// Waits until nobody else adds to what there is of a tenant's things, and keeps others from it until what is
    /// answered is dropped: who counts what is there, and then adds to it, holds this meanwhile.
    pub(crate) async fn turn_to_add(&self, tenant: &Tenant) -> Turn {
        let place = usize::try_from(tenant.id().0 % LOCKS as u64).unwrap_or(0);
        Arc::clone(&self.0.adding[place]).lock_owned().await
    }

    /// Holds room in a tenant's plan for all of these uses, or for none.
    ///
    /// # Errors
    /// [`LimitReached`], with the figures of the first that has no room.
    pub(crate) fn hold(&self, tenant: &Tenant, uses: Vec<Use>, turn: Option<Turn>) -> Result<Admitted, LimitReached> {
        let month = Month::of(clock::now());
        self.counters().take_all(tenant.id(), &tenant.row().allowance, &uses, month)?;
        Ok(Admitted { held: Some(Held { tenants: self.clone(), id: tenant.id(), uses, month, _turn: turn }) })
    }

    /// Whether a tenant's plan has a feature. An account that is no tenant has no plan, and lacks nothing.
    ///
    /// # Errors
    /// [`FeatureDisabled`].
    pub fn check_feature(&self, tenant: &Did, feature: Feature) -> Result<(), FeatureDisabled> {
        self.find(tenant).map_or(Ok(()), |tenant| tenant.row().allowance.check(feature))
    }
}
