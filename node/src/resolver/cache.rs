//! What was found out, and what was not. However many ask for the same at once, one of them goes and looks.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;

use super::ResolveError;

/// How long answers are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// As long, an answer counts as new.
    pub(crate) new: Duration,
    /// As long, an old answer is given while a new one is fetched, and stands in when none can be had.
    pub(crate) old: Duration,
    /// As long, a "no" is believed.
    pub(crate) no: Duration,
    /// As long, whoever did not answer is not asked again.
    pub(crate) silence: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            new: Duration::from_secs(60 * 60),
            old: Duration::from_secs(24 * 60 * 60),
            no: Duration::from_secs(60),
            silence: Duration::from_secs(15),
        }
    }
}

/// A bounded memory.
pub(super) struct Cached<K, V> {
    entries: Cache<K, Entry<V>>,
    times: Times,
}

struct Entry<V> {
    at: Instant,
    answer: Result<Arc<V>, ResolveError>,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { at: self.at, answer: self.answer.clone() }
    }
}

/// What is remembered.
pub(super) enum Found<V> {
    /// An answer that counts.
    New(Result<Arc<V>, ResolveError>),
    /// An answer that counts and should be renewed.
    Old(Arc<V>),
    /// Nothing that counts.
    Nothing,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static, V: Send + Sync + 'static> Cached<K, V> {
    pub(super) fn new(entries_max: u64, times: Times) -> Self {
        let keep = times.old.max(times.no).max(times.silence);
        Self { entries: Cache::builder().max_capacity(entries_max).time_to_live(keep).build(), times }
    }

    pub(super) async fn find(&self, key: &K) -> Found<V> {
        let Some(Entry { at, answer }) = self.entries.get(key).await else { return Found::Nothing };
        let age = at.elapsed();
        match answer {
            Ok(value) if age <= self.times.new => Found::New(Ok(value)),
            Ok(value) if age <= self.times.old => Found::Old(value),
            Err(error) if age <= self.kept(&error) => Found::New(Err(error)),
            _ => Found::Nothing,
        }
    }

    /// Looks, unless somebody is looking already or has found something that counts: with `since`, only what was looked
    /// for after that does. When nobody answers, the last answer stands in as long as it may.
    pub(super) async fn load(
        &self,
        key: &K,
        since: Option<Instant>,
        look: impl Future<Output = Result<V, ResolveError>>,
    ) -> Result<Arc<V>, ResolveError> {
        let before = self.entries.get(key).await;
        let look = async {
            let at = Instant::now();
            match (look.await, before) {
                (Err(error), Some(Entry { at, answer: Ok(value) }))
                    if error.is_passing() && at.elapsed() <= self.times.old =>
                {
                    Entry { at, answer: Ok(value) }
                }
                (answer, _) => Entry { at, answer: answer.map(Arc::new) },
            }
        };
        let outdated = |entry: &Entry<V>| match since {
            Some(since) => entry.at < since,
            None => match &entry.answer {
                Ok(_) => entry.at.elapsed() > self.times.new,
                Err(error) => entry.at.elapsed() > self.kept(error),
            },
        };
        self.entries.entry_by_ref(key).or_insert_with_if(look, outdated).await.into_value().answer
    }

    const fn kept(&self, error: &ResolveError) -> Duration {
        if error.is_passing() { self.times.silence } else { self.times.no }
    }
}
