//! The queue before the writer: bounded in batches and in bytes, closed once, failed once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{CommitError, Done};
use crate::batch::Batch;
use crate::engine::EngineError;
use crate::limits::{FLUSH_BATCHES_MAX, FLUSH_BYTES_MAX, QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX};

/// A batch that waits, and whom to tell.
pub(super) struct Pending {
    pub(super) batch: Batch,
    pub(super) done: Done,
}

pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// There is work, or there will be none any more.
    work: Condvar,
    /// There is room, or there is no point in waiting for it.
    room: Condvar,
}

struct Inner {
    waiting: VecDeque<Pending>,
    bytes: usize,
    state: State,
}

enum State {
    Open,
    Closed,
    Failed(EngineError),
}

impl Queue {
    pub(super) fn new() -> Self {
        let inner = Inner { waiting: VecDeque::new(), bytes: 0, state: State::Open };
        Self { inner: Mutex::new(inner), work: Condvar::new(), room: Condvar::new() }
    }

    /// Appends, or says why not and hands the batch back.
    #[expect(clippy::result_large_err, reason = "the batch goes back to its owner")]
    pub(super) fn push(&self, pending: Pending) -> Result<(), (CommitError, Pending)> {
        let mut inner = self.lock();
        if let Some(error) = inner.refusal() {
            return Err((error, pending));
        }
        if !inner.has_room(&pending) {
            return Err((CommitError::Busy, pending));
        }
        inner.push(pending);
        drop(inner);
        self.work.notify_one();
        Ok(())
    }

    /// Appends as soon as there is room, or says why that will never be.
    #[expect(clippy::result_large_err, reason = "the batch goes back to its owner")]
    pub(super) fn push_blocking(&self, pending: Pending) -> Result<(), (CommitError, Pending)> {
        let mut inner = self.lock();
        loop {
            if let Some(error) = inner.refusal() {
                return Err((error, pending));
            }
            if inner.has_room(&pending) {
                break;
            }
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.push(pending);
        drop(inner);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for work and takes as much as shall share one flush. `None` once closed and empty.
    pub(super) fn wait(&self) -> Option<Vec<Pending>> {
        let mut inner = self.lock();
        while inner.waiting.is_empty() {
            if !matches!(inner.state, State::Open) {
                return None;
            }
            inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = inner.take();
        drop(inner);
        self.room.notify_all();
        Some(taken)
    }

    /// Accepts nothing from now on. What waits is still written.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        if matches!(inner.state, State::Open) {
            inner.state = State::Closed;
        }
        drop(inner);
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Accepts nothing from now on and hands back what waits.
    pub(super) fn fail(&self, error: EngineError) -> VecDeque<Pending> {
        let mut inner = self.lock();
        inner.state = State::Failed(error);
        inner.bytes = 0;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        self.room.notify_all();
        waiting
    }

    /// The failure that stopped the writer, if one did.
    pub(super) fn failure(&self) -> Option<EngineError> {
        match &self.lock().state {
            State::Failed(error) => Some(error.clone()),
            State::Open | State::Closed => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn refusal(&self) -> Option<CommitError> {
        match &self.state {
            State::Open => None,
            State::Closed => Some(CommitError::Closed),
            State::Failed(error) => Some(CommitError::Stopped { error: error.clone() }),
        }
    }

    /// One batch always fits an empty queue, however large it is.
    fn has_room(&self, pending: &Pending) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < QUEUE_BATCHES_MAX && self.bytes + pending.batch.bytes() <= QUEUE_BYTES_MAX)
    }

    fn push(&mut self, pending: Pending) {
        self.bytes += pending.batch.bytes();
        self.waiting.push_back(pending);
    }

    fn take(&mut self) -> Vec<Pending> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            let size = next.batch.bytes();
            if !taken.is_empty() && (taken.len() >= FLUSH_BATCHES_MAX || bytes + size > FLUSH_BYTES_MAX) {
                break;
            }
            bytes += size;
            self.bytes -= size;
            taken.extend(self.waiting.pop_front());
        }
        taken
    }
}
