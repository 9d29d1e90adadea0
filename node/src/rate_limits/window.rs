//! Counts in fixed windows, and what the answer to a request will tell of them.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use angel_protocol::time::Timestamp;
use quick_cache::unsync;

use super::Limit;

/// Counts kept; the least used make room. At about 150 bytes each this stays below 16 MiB.
const WINDOWS_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct Windows(Mutex<unsync::Cache<(Limit, String), Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    ends_at: Timestamp,
    used: u32,
}

/// How a limit stands after it was counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) ends_at: Timestamp,
    pub(super) window: Duration,
    pub(super) exceeded: bool,
}

impl Verdict {
    pub(super) fn seconds_left(&self, now: Timestamp) -> u64 {
        self.ends_at.since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }
}

tokio::task_local! {
    static TIGHTEST: Cell<Option<Verdict>>;
}

/// Serves a request and gives the tightest limit that was counted against on the way.
pub(super) async fn observed<T>(serve: impl Future<Output = T>) -> (T, Option<Verdict>) {
    TIGHTEST
        .scope(Cell::new(None), async {
            let served = serve.await;
            (served, TIGHTEST.with(Cell::get))
        })
        .await
}

/// Remembers a verdict for the answer, if it is the tightest so far.
pub(super) fn note(verdict: Verdict) {
    // Outside a request there is no answer to tell it.
    let _ = TIGHTEST.try_with(|tightest| {
        let looser = |known: Verdict| verdict.exceeded || (!known.exceeded && verdict.remaining < known.remaining);
        if tightest.get().is_none_or(looser) {
            tightest.set(Some(verdict));
        }
    });
}

impl Windows {
    pub(super) fn new() -> Self {
        Self(Mutex::new(unsync::Cache::new(WINDOWS_MAX)))
    }

    pub(super) fn spend(&self, limit: Limit, whom: &str, points: u32, now: Timestamp) -> Verdict {
        let (count, length) = limit.rule();
        // Whoever panicked inside left at worst one count out.
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (limit, whom.to_owned());
        let fresh = Window { ends_at: now + length, used: 0 };
        let mut window = windows.get(&key).copied().filter(|window| window.ends_at > now).unwrap_or(fresh);
        window.used = window.used.saturating_add(points);
        windows.insert(key, window);
        Verdict {
            limit: count,
            remaining: count.saturating_sub(window.used),
            ends_at: window.ends_at,
            window: length,
            exceeded: window.used > count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_window_counts_down_and_begins_anew() {
        let windows = Windows::new();
        let first = windows.spend(Limit::Logins, "a", 1, NOW);
        assert_eq!((first.limit, first.remaining, first.exceeded), (30, 29, false));
        assert_eq!(first.seconds_left(NOW), 300);
        let most = windows.spend(Limit::Logins, "a", 29, NOW);
        assert_eq!((most.remaining, most.exceeded), (0, false));
        assert!(windows.spend(Limit::Logins, "a", 1, NOW).exceeded);
        assert_eq!(windows.spend(Limit::Logins, "a", 1, first.ends_at).remaining, 29);
    }

    #[tokio::test]
    async fn the_answer_tells_the_tightest_limit() {
        let windows = Windows::new();
        let verdict = |points| windows.spend(Limit::Logins, "a", points, NOW);
        let ((), told) = observed(async {
            note(verdict(1));
            note(Verdict { remaining: 1000, ..verdict(1) });
        })
        .await;
        assert_eq!(told.map(|told| told.remaining), Some(29));
        assert_eq!(observed(async {}).await.1, None);
        let exceeded = verdict(100);
        let ((), told) = observed(async {
            note(exceeded);
            note(Verdict { exceeded: false, ..exceeded });
        })
        .await;
        assert_eq!(told, Some(exceeded), "what refused the request is told");
    }
}
