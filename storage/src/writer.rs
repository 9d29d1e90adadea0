//! The one writer: takes batches from a bounded queue, writes what is waiting, flushes once, answers all.
//!
//! It runs on a thread of its own, because a flush blocks and because the engine wants a single writer. Conditions are
//! checked and sequence numbers assigned here, where nothing can come in between. When the engine fails, the writer
//! stops for good: every later batch hears why, and the owner is told, so that the daemon stops instead of serving
//! promises it cannot keep.

mod flush;
mod queue;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use crate::backup::Cuts;
use crate::batch::Batch;
use crate::engine::{Engine, EngineError};
use crate::events::EventKind;
use crate::reader::hex;
use crate::stats::{Counters, WriterStats};
use crate::tables::TableId;

use flush::Flusher;
pub(crate) use flush::Sequence;
use queue::{Pending, Queue};

/// A handle on the writer. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// What a batch became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Sequence of the batch's first event; `None` when it has no events.
    pub first_sequence: Option<u64>,
    /// Sequence of the batch's last event.
    pub last_sequence: Option<u64>,
}

impl Committed {
    /// How many events the batch appended.
    fn events(&self) -> usize {
        let count = self.first_sequence.zip(self.last_sequence).map_or(0, |(first, last)| last + 1 - first);
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

/// Called once with the answer, on the writer's thread or, when the batch is turned away, on the caller's. Must not
/// block: everybody's commits wait for it. Must not call [`Writer::commit`].
type Done = Box<dyn FnOnce(Result<Committed, CommitError>) + Send>;

/// Called once when the engine fails.
pub type OnFailure = Box<dyn FnOnce(&EngineError) + Send>;

/// Called with the newest durable sequence whenever it grew, and with what kinds of events it grew by, on the writer's
/// thread. Must not block.
type OnDurable = Box<dyn Fn(u64, &BTreeSet<EventKind>) + Send + Sync>;

struct Shared {
    queue: Queue,
    counters: Counters,
    on_durable: OnceLock<OnDurable>,
    cuts: Cuts,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.shared.queue.len()).finish()
    }
}

impl Writer {
    /// Hands over a batch and returns at once; `done` hears the answer. A full queue answers [`CommitError::Busy`].
    pub fn submit(&self, batch: Batch, done: impl FnOnce(Result<Committed, CommitError>) + Send + 'static) {
        if let Err((error, pending)) = self.shared.queue.push(Pending { batch, done: Box::new(done) }) {
            if matches!(error, CommitError::Busy) {
                Counters::add(&self.shared.counters.busy, 1);
            }
            (pending.done)(Err(error));
        }
    }

    /// Like [`Writer::submit`], but waits for room in the queue.
    pub fn submit_blocking(&self, batch: Batch, done: impl FnOnce(Result<Committed, CommitError>) + Send + 'static) {
        if let Err((error, pending)) = self.shared.queue.push_blocking(Pending { batch, done: Box::new(done) }) {
            (pending.done)(Err(error));
        }
    }

    /// Writes a batch and waits until it is durable. Waits for room in the queue as well.
    ///
    /// # Errors
    ///
    /// See [`CommitError`].
    pub fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.submit_blocking(batch, move |result| {
            // The receiver is on this stack frame, waiting.
            let _ = answer.send(result);
        });
        answered.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Tells `listener` the newest durable sequence whenever events became durable, and the kinds of those events: on the
    /// writer's thread, before the batches are answered, so it must not block. There is one listener; whoever comes later
    /// hears `false`. Being told is a hint: what happened is in the event log.
    #[must_use]
    pub fn when_durable(&self, listener: impl Fn(u64, &BTreeSet<EventKind>) + Send + Sync + 'static) -> bool {
        self.shared.on_durable.set(Box::new(listener)).is_ok()
    }

    /// Where cuts through the store begin and end.
    pub(crate) fn cuts(&self) -> &Cuts {
        &self.shared.cuts
    }

    /// What the writer has done so far.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        self.shared.counters.snapshot(self.shared.queue.len())
    }
}

/// The writer's thread, held by the store.
#[derive(Debug)]
pub(crate) struct WriterThread {
    writer: Writer,
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    /// Starts the thread.
    pub(crate) fn start(
        engine: Arc<dyn Engine>,
        sequence: Sequence,
        durable_sequence: Arc<AtomicU64>,
        on_failure: OnFailure,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            queue: Queue::new(),
            counters: Counters::default(),
            on_durable: OnceLock::new(),
            cuts: Cuts::default(),
        });
        durable_sequence.store(sequence.last_used(), Ordering::Release);
        let mut flusher = Flusher::new(engine, sequence, durable_sequence)?;
        let inner = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || inner.run(&mut flusher, on_failure))
            .map_err(|error| EngineError::Failed { detail: format!("cannot start the writer thread: {error}") })?;
        Ok(Self { writer: Writer { shared }, thread: Some(thread) })
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Writes what is waiting, gives back unused sequence numbers, and ends the thread.
    pub(crate) fn stop(&mut self) -> Result<(), EngineError> {
        self.writer.shared.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            return Err(EngineError::Failed { detail: "the writer thread panicked".to_owned() });
        }
        self.writer.shared.queue.failure().map_or(Ok(()), Err)
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // The store reports errors when it is closed in the regular way.
        let _ = self.stop();
    }
}

impl Shared {
    fn run(&self, flusher: &mut Flusher, on_failure: OnFailure) {
        let failed = loop {
            let Some(pending) = self.queue.wait() else {
                break flusher.finish().err();
            };
            let flush = AssertUnwindSafe(|| flusher.flush(pending, self));
            let flushed = catch_unwind(flush).unwrap_or_else(|_| {
                Err(EngineError::Panicked { during: "writing", detail: "the writer panicked".to_owned() })
            });
            if let Err(error) = flushed {
                break Some(error);
            }
        };
        if let Some(error) = failed {
            tracing::error!(%error, "the store failed; no more writes are accepted");
            for Pending { done, .. } in self.queue.fail(error.clone()) {
                flush::answer(done, Err(CommitError::Stopped { error: error.clone() }));
            }
            on_failure(&error);
        }
    }
}

/// Why a batch was not written, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Too much is waiting already. Nothing was written; try again later.
    #[error("the store is busy: too many writes are waiting")]
    Busy,
    /// A condition did not hold. Nothing was written.
    #[error("row {key} of table {table} is not as expected: {conflict}")]
    Conflict {
        /// The table of the row.
        table: TableId,
        /// Its key, in hexadecimal.
        key: String,
        /// How it differs.
        conflict: Conflict,
    },
    /// All sequence numbers are used. Nothing was written.
    #[error("the event log has used all its sequence numbers")]
    SequenceExhausted,
    /// The engine failed while the batch was being written: after a restart it is there as a whole or not at all.
    #[error("the store failed while writing, the outcome is unknown until it is opened again: {error}")]
    Failed {
        /// What happened.
        error: EngineError,
    },
    /// The engine failed before. Nothing was written.
    #[error("the store stopped after a failure: {error}")]
    Stopped {
        /// What had happened.
        error: EngineError,
    },
    /// The store is closed. Nothing was written.
    #[error("the store is closed")]
    Closed,
}

impl CommitError {
    fn conflict(table: TableId, key: &[u8], conflict: Conflict) -> Self {
        Self::Conflict { table, key: hex(key), conflict }
    }
}

/// How a row differs from what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// It should have been absent.
    #[error("it exists")]
    Exists,
    /// It should have been there.
    #[error("it is absent")]
    Missing,
    /// It has another value.
    #[error("it has another value")]
    Differs,
}
