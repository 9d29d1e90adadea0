//! Rung for a business of which there may be something to tell. Who tells looks at the records: that a ring is missed costs
//! time alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::ids::Did;
use tokio::sync::Notify;

/// A bell, with a list of for whom it was rung. Only those who are tenants here are: so the list is bounded. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: Mutex<BTreeSet<Did>>,
    ringing: Notify,
}

impl Bell {
    /// Rings for a tenant.
    pub(crate) fn ring(&self, tenant: &Did) {
        self.rung().insert(tenant.clone());
        self.0.ringing.notify_one();
    }

    /// Waits until it is rung, and says for whom. Cancel-safe.
    pub(super) async fn heard(&self) -> BTreeSet<Did> {
        loop {
            let rung = std::mem::take(&mut *self.rung());
            if !rung.is_empty() {
                return rung;
            }
            self.0.ringing.notified().await;
        }
    }

    fn rung(&self) -> MutexGuard<'_, BTreeSet<Did>> {
        self.0.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
