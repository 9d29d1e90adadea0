//! How far the copying of each tenant has come, for the operator.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use angel_protocol::ids::Did;
use serde::Serialize;

/// What is being copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum What {
    /// The public repository.
    Repository,
    /// Rows that only the hosts see.
    PrivateRows,
    /// Files.
    Files,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Progress {
    /// What.
    pub(crate) what: What,
    /// Bytes that have come of it.
    pub(crate) bytes: u64,
}

/// The progress of every tenant whose copying is under way.
#[derive(Debug, Default)]
pub(crate) struct Progresses(Mutex<BTreeMap<Did, Progress>>);

impl Progresses {
    pub(super) fn note(&self, tenant: &Did, what: What, bytes: u64) {
        self.map().insert(tenant.clone(), Progress { what, bytes });
    }

    /// The copy is complete, or is not made any more.
    pub(super) fn done(&self, tenant: &Did) {
        self.map().remove(tenant);
    }

    pub(super) fn of(&self, tenant: &Did) -> Option<Progress> {
        self.map().get(tenant).copied()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Did, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
