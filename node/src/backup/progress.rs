//! How far a backup has got, and the way to stop it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::BackupError;

/// Shared by who works and who watches. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    phase: Mutex<&'static str>,
    rows: AtomicU64,
    bytes: AtomicU64,
    stop: CancellationToken,
}

impl Progress {
    /// One that is stopped by `stop`.
    pub(crate) fn stopped_by(stop: CancellationToken) -> Self {
        Self(Arc::new(Shared { stop, ..Shared::default() }))
    }

    /// What is being done from now on.
    pub(crate) fn phase(&self, phase: &'static str) {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.0.rows.store(0, Ordering::Relaxed);
        self.0.bytes.store(0, Ordering::Relaxed);
    }

    pub(crate) fn rows(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether to go on.
    pub(crate) fn check(&self) -> Result<(), BackupError> {
        if self.0.stop.is_cancelled() { Err(BackupError::Stopped) } else { Ok(()) }
    }

    /// Phase, rows and bytes.
    pub(crate) fn now(&self) -> (&'static str, u64, u64) {
        let phase = *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner);
        (phase, self.0.rows.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn to_json(&self) -> Value {
        let (phase, rows, bytes) = self.now();
        json!({ "phase": phase, "rows": rows, "bytes": bytes })
    }
}
