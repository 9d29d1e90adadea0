//! The wish that a node should end, from wherever it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Why a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Asked,
    /// It should be started again, under a new key.
    Restart,
}

/// Asks the node to end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    wish: Arc<watch::Sender<Option<Ended>>>,
    preparing: Arc<AtomicBool>,
}

/// The right to prepare a restart, held by one at a time. Dropped unused, the node goes on as it is.
#[derive(Debug)]
pub(crate) struct Restart {
    control: Control,
}

impl Restart {
    /// End and start again.
    pub(crate) fn go(self) {
        self.control.ask(Ended::Restart);
    }
}

impl Drop for Restart {
    fn drop(&mut self) {
        self.control.preparing.store(false, Ordering::Release);
    }
}

impl Control {
    pub(crate) fn new() -> Self {
        Self { wish: Arc::new(watch::channel(None).0), preparing: Arc::default() }
    }

    /// Prepares a restart, as a rotation of the key does, unless another is being prepared or the node is ending.
    pub(crate) fn prepare_restart(&self) -> Option<Restart> {
        let taken = self.preparing.swap(true, Ordering::AcqRel);
        if taken {
            return None;
        }
        let restart = Restart { control: self.clone() };
        self.wish.borrow().is_none().then_some(restart)
    }

    /// The first wish counts.
    pub(crate) fn ask(&self, wanted: Ended) {
        self.wish.send_if_modified(|wish| wish.is_none() && wish.replace(wanted).is_none());
    }

    pub(crate) async fn asked(&self) -> Ended {
        let mut wish = self.wish.subscribe();
        let asked = *wish.wait_for(Option::is_some).await.expect("the sender lives as long as self");
        asked.expect("waited for a wish")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_restart_is_prepared_at_a_time_and_the_first_wish_counts() {
        let control = Control::new();
        let restart = control.prepare_restart().expect("free");
        assert!(control.prepare_restart().is_none(), "one is being prepared");
        drop(restart);
        control.prepare_restart().expect("given up, so free again").go();
        assert!(control.prepare_restart().is_none(), "the node is ending");
        control.ask(Ended::Asked);
        assert_eq!(control.asked().await, Ended::Restart);
    }
}
