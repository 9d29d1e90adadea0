//! For readers of the event log to whom commits of repositories say nothing: they are woken for the rest, and pass over runs
//! of commits without reading them.

use std::time::Duration;

use tokio::sync::watch;

/// How long commits are gathered before they are passed over.
const GATHER: Duration = Duration::from_millis(25);

/// Tells a reader when to read.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    newest: watch::Receiver<u64>,
    beside: watch::Receiver<u64>,
}

/// The store's writer ended: nothing will happen any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's writer ended")]
pub(crate) struct Ended;

impl Beside {
    /// `newest` is the sequence of the newest durable event, `beside` that of the newest that is no commit or one behind it,
    /// which is told first.
    pub(super) const fn new(newest: watch::Receiver<u64>, beside: watch::Receiver<u64>) -> Self {
        Self { newest, beside }
    }

    /// Where a reader that is at `cursor` goes on: there when it has something to read, else behind the commits that there
    /// are.
    pub(crate) fn pass(&mut self, cursor: u64) -> u64 {
        // In this order: what lies up to the newest that is seen here is in `beside` by then.
        let newest = *self.newest.borrow_and_update();
        if *self.beside.borrow_and_update() > cursor { cursor } else { newest.max(cursor) }
    }

    /// Waits until [`Self::pass`] is worth asking again: at once when something else than a commit happens, after a while
    /// when commits do. May be given up at any time.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn changed(&mut self) -> Result<(), Ended> {
        tokio::select! {
            biased;
            changed = self.beside.changed() => return changed.map_err(|_| Ended),
            changed = self.newest.changed() => changed.map_err(|_| Ended)?,
        }
        tokio::select! {
            changed = self.beside.changed() => changed.map_err(|_| Ended),
            () = tokio::time::sleep(GATHER) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn commits_are_passed_over_and_nothing_else_is() {
        let (newest, beside) = (watch::Sender::new(7), watch::Sender::new(7));
        let mut reader = Beside::new(newest.subscribe(), beside.subscribe());
        assert_eq!(reader.pass(3), 3, "what was there before is read");
        assert_eq!(reader.pass(7), 7);
        newest.send_replace(9);
        assert_eq!(reader.pass(3), 3, "there may be something before the commits");
        assert_eq!(reader.pass(7), 9);
        beside.send_replace(12);
        assert_eq!(reader.pass(9), 9, "it is told before the newest is");
        newest.send_replace(12);
        assert_eq!(reader.pass(9), 9);
        assert_eq!(reader.pass(12), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn commits_are_gathered_and_the_rest_is_told_at_once() {
        let (newest, beside) = (watch::Sender::new(0), watch::Sender::new(0));
        let mut reader = Beside::new(newest.subscribe(), beside.subscribe());
        newest.send_replace(1);
        let began = tokio::time::Instant::now();
        assert_eq!(reader.changed().await, Ok(()));
        assert_eq!(began.elapsed(), GATHER);
        reader.pass(0);
        assert_eq!(reader.changed().now_or_never(), None, "nothing happened since");
        beside.send_replace(2);
        newest.send_replace(2);
        assert_eq!(reader.changed().now_or_never(), Some(Ok(())));
        drop((newest, beside));
        assert_eq!(reader.changed().await, Err(Ended));
    }
}
