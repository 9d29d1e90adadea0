//! What a business could not be told yet: it takes no writes for a moment, as after a failover until a standby has confirmed
//! the new primary, or while it is handed over. Events wait here in their order and are told once it takes writes again.
//!
//! They wait in memory: a node that ends before they are told loses them. An orderly end logs how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use angel_protocol::ids::Did;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Spaces;
use super::announce::{Announcement, Telling};
use crate::tasks::TaskResult;

/// Events that wait for one business: nobody reads more of them at once, and each makes room for its successor.
const OF_ONE_MAX: usize = 256;

/// Events that wait for all of them.
const MAX: usize = 8192;

/// How often is looked whether they can be told.
const AGAIN: Duration = Duration::from_millis(500);

/// What is still to be told.
#[derive(Default)]
pub(super) struct Untold {
    waiting: Mutex<Waiting>,
    pushed: Notify,
}

/// The oldest first, by whom they are for, each with a number of its own. No queue is empty.
#[derive(Default)]
struct Waiting {
    by_tenant: BTreeMap<Did, VecDeque<(u64, Announcement)>>,
    count: usize,
    next: u64,
}

/// Tells what waits, until told to stop.
pub(crate) async fn run(spaces: Spaces, stop: CancellationToken) -> TaskResult {
    let untold = &spaces.0.untold;
    loop {
        let mut tenants = untold.tenants();
        if tenants.is_empty() {
            if stop.run_until_cancelled(untold.pushed.notified()).await.is_none() {
                return Ok(());
            }
            tenants = untold.tenants();
        }
        for tenant in &tenants {
            while !stop.is_cancelled()
                && let Some((number, announcement)) = untold.first(tenant)
                && spaces.tell(tenant, &announcement).await == Telling::Done
            {
                untold.lock().told(tenant, number);
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            let left = untold.lock().count;
            if left > 0 {
                tracing::warn!(left, "events of tenants that took no writes were not told");
            }
            return Ok(());
        }
    }
}

impl Untold {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something waits for a business.
    pub(super) fn is_waiting(&self, tenant: &Did) -> bool {
        self.lock().by_tenant.contains_key(tenant)
    }

    /// Has something wait behind what waits already. Where there is no room the oldest of its own business gives way, or
    /// it is not told itself.
    pub(super) fn push(&self, tenant: &Did, announcement: Announcement) {
        let event = announcement.event;
        match self.lock().push(tenant, announcement) {
            Pushed::First => tracing::info!(%tenant, event, "an event of a tenant waits until it takes writes"),
            Pushed::Behind => {}
            Pushed::Instead(lost) => {
                tracing::warn!(%tenant, event = lost, "an event of a tenant was not told: too many wait");
            }
        }
        self.pushed.notify_one();
    }

    fn tenants(&self) -> Vec<Did> {
        self.lock().by_tenant.keys().cloned().collect()
    }

    fn first(&self, tenant: &Did) -> Option<(u64, Announcement)> {
        self.lock().by_tenant.get(tenant)?.front().cloned()
    }
}

/// What a new one met.
#[derive(Debug, PartialEq, Eq)]
enum Pushed {
    First,
    Behind,
    /// An event of this name is told no more.
    Instead(&'static str),
}

impl Waiting {
    fn push(&mut self, tenant: &Did, announcement: Announcement) -> Pushed {
        let of_it = self.by_tenant.get(tenant).map_or(0, VecDeque::len);
        let lost = if of_it >= OF_ONE_MAX || (of_it > 0 && self.count >= MAX) { self.pop(tenant) } else { None };
        if self.count >= MAX {
            return Pushed::Instead(announcement.event);
        }
        self.by_tenant.entry(tenant.clone()).or_default().push_back((self.next, announcement));
        (self.count, self.next) = (self.count + 1, self.next + 1);
        match lost {
            Some(lost) => Pushed::Instead(lost.event),
            None if of_it == 0 => Pushed::First,
            None => Pushed::Behind,
        }
    }

    /// The oldest of a business is told. Another may have taken its place meanwhile, and waits on.
    fn told(&mut self, tenant: &Did, number: u64) {
        let oldest = self.by_tenant.get(tenant).and_then(VecDeque::front);
        if oldest.is_some_and(|(oldest, _)| *oldest == number) {
            self.pop(tenant);
        }
    }

    fn pop(&mut self, tenant: &Did) -> Option<Announcement> {
        let queue = self.by_tenant.get_mut(tenant)?;
        let first = queue.pop_front();
        self.count -= usize::from(first.is_some());
        if queue.is_empty() {
            self.by_tenant.remove(tenant);
        }
        first.map(|(_, announcement)| announcement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(number: usize) -> Did {
        format!("did:web:n{number}.example.com").parse().expect("a DID")
    }

    fn event(number: usize) -> Announcement {
        let event = angel_protocol::spaces::EVENTS[number % angel_protocol::spaces::EVENTS.len()];
        Announcement { event, subject: Some(number.to_string()), ..Announcement::default() }
    }

    fn subjects(waiting: &mut Waiting, tenant: &Did) -> Vec<usize> {
        let popped = std::iter::from_fn(|| waiting.pop(tenant));
        popped.filter_map(|told| told.subject?.parse().ok()).collect()
    }

    #[test]
    fn they_are_told_in_their_order_each_to_whom_it_is_for() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.push(&did(1), event(1)), Pushed::First);
        assert_eq!(waiting.push(&did(2), event(2)), Pushed::First);
        assert_eq!(waiting.push(&did(1), event(3)), Pushed::Behind);
        assert_eq!(subjects(&mut waiting, &did(1)), [1, 3]);
        assert_eq!(subjects(&mut waiting, &did(2)), [2]);
        assert_eq!((waiting.count, waiting.by_tenant.len()), (0, 0));
    }

    #[test]
    fn one_business_has_its_newest_and_takes_no_room_from_others() {
        let mut waiting = Waiting::default();
        for number in 0..OF_ONE_MAX {
            waiting.push(&did(1), event(number));
        }
        assert_eq!(waiting.push(&did(1), event(OF_ONE_MAX)), Pushed::Instead(event(0).event));
        assert_eq!(waiting.push(&did(2), event(7)), Pushed::First);
        // It was being told when it gave way.
        waiting.told(&did(1), 0);
        assert_eq!(subjects(&mut waiting, &did(1)), (1..=OF_ONE_MAX).collect::<Vec<_>>());
        assert_eq!(subjects(&mut waiting, &did(2)), [7]);
    }

    #[test]
    fn all_together_have_a_bound() {
        let mut waiting = Waiting::default();
        for number in 0..MAX {
            assert_eq!(waiting.push(&did(number), event(number)), Pushed::First);
        }
        assert_eq!(waiting.push(&did(MAX), event(3)), Pushed::Instead(event(3).event), "who comes last is not told");
        assert_eq!(waiting.push(&did(0), event(5)), Pushed::Instead(event(0).event), "or has its own oldest give way");
        assert_eq!((waiting.count, subjects(&mut waiting, &did(0))), (MAX, vec![5]));
    }
}
