//! Whose turn it is to be looked at. What is due lies in memory: it is drawn up from the rows when the node starts, every ten
//! minutes, and when businesses come, go or change; a business of which something is told is rung for.
//!
//! Hooks are called side by side, each of them one call at a time, so that one receiver that is slow holds up nobody else.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::deliver::Look;
use super::{WebhookError, Webhooks};
use crate::tasks::TaskResult;
use crate::tenants::Tenant;
use crate::{blocking, clock};

/// Calls that are made at once: for all tenants together, and for one.
const CALLS_MAX: usize = 32;
const CALLS_OF_TENANT_MAX: usize = 4;

/// How often what is due is drawn up anew.
const DRAW_UP_EVERY: Duration = Duration::from_mins(10);

/// How soon after businesses have changed.
const SETTLE: Duration = Duration::from_secs(1);

/// When a hook is looked at again that could not be looked at: the store is busy, or the tenant is on its way to another node.
const AGAIN: Duration = Duration::from_secs(10);

/// Tenants that are listed at once.
const TENANTS: usize = 100;

/// A hook: whose, and its name.
type Key = (Did, String);

/// What is due, and what is being looked at.
#[derive(Default)]
struct Agenda {
    due: BTreeMap<Key, Timestamp>,
    /// Whether something happened while it was looked at.
    busy: HashMap<Key, bool>,
}

impl Agenda {
    /// Has a hook looked at `at`, or earlier where that is due already.
    fn note(&mut self, key: Key, at: Timestamp) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
            return;
        }
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// Takes those whose turn it is, the longest due first, as far as calls may be made.
    fn take(&mut self, now: Timestamp) -> Vec<Key> {
        let mut of_tenant: HashMap<Did, usize> = HashMap::new();
        for (did, _) in self.busy.keys() {
            *of_tenant.entry(did.clone()).or_default() += 1;
        }
        let mut due: Vec<_> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(key, at)| (*at, key.clone())).collect();
        due.sort_unstable();
        let mut taken = vec![];
        for (_, key) in due {
            let calls = of_tenant.entry(key.0.clone()).or_default();
            if self.busy.len() >= CALLS_MAX || *calls >= CALLS_OF_TENANT_MAX {
                continue;
            }
            *calls += 1;
            self.due.remove(&key);
            self.busy.insert(key.clone(), false);
            taken.push(key);
        }
        taken
    }

    /// A hook was looked at.
    fn ended(&mut self, key: Key, look: Look, now: Timestamp) {
        let again = self.busy.remove(&key).unwrap_or_default();
        match look {
            Look::At(at) => self.note(key, at),
            Look::Idle if again => self.note(key, now),
            Look::Idle => {}
        }
    }

    /// When the next one is due that is not due yet.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.due.values().filter(|at| **at > now).min().copied()
    }
}

/// Calls what is due until told to stop. Calls that are being made then are made again: their receivers know them by their ids.
pub(crate) async fn run(webhooks: Webhooks, stop: CancellationToken) -> TaskResult {
    let (mut changes, bell) = (webhooks.0.tenants.changes(), webhooks.0.spaces.bell().clone());
    let mut agenda = Agenda::default();
    let mut looks: JoinSet<(Key, Look)> = JoinSet::new();
    let mut draw_up_at = clock::now();
    loop {
        let now = clock::now();
        if now >= draw_up_at {
            changes.borrow_and_update();
            for key in webhooks.all().await {
                agenda.note(key, now);
            }
            draw_up_at = now + DRAW_UP_EVERY;
        }
        for key in agenda.take(now) {
            let this = webhooks.clone();
            let look = async move {
                let look = this.look(&key.0, &key.1).await;
                (key.clone(), look.unwrap_or_else(|error| later(&key, &error)))
            };
            looks.spawn(look.in_current_span());
        }
        let wait = agenda.next(now).map_or(draw_up_at, |next| next.min(draw_up_at)).since(now);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => {
                changed.map_err(|_| "the tenants ended")?;
                draw_up_at = draw_up_at.min(now + SETTLE);
            }
            rung = bell.heard() => {
                for tenant in rung {
                    for name in webhooks.names_of(&tenant).await {
                        agenda.note((tenant.clone(), name), now);
                    }
                }
            }
            Some(ended) = looks.join_next() => {
                let (key, look) = ended?;
                agenda.ended(key, look, clock::now());
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn later((tenant, name): &Key, error: &WebhookError) -> Look {
    tracing::debug!(%tenant, webhook = name, %error, "a webhook could not be looked at; it is tried again");
    Look::At(clock::now() + AGAIN)
}

impl Webhooks {
    /// All hooks of the tenants that this node serves. What cannot be read is left out, and the log says so.
    async fn all(&self) -> Vec<Key> {
        let (mut all, mut after) = (vec![], None);
        loop {
            let tenants = self.0.tenants.list(after, TENANTS, |_, _| true, None);
            let Some(last) = tenants.last() else { return all };
            after = Some(last.id());
            let this = self.clone();
            all.extend(blocking::run(move || this.names_blocking(&tenants)).await);
        }
    }

    async fn names_of(&self, tenant: &Did) -> Vec<String> {
        let Some(tenant) = self.0.tenants.find(tenant) else { return vec![] };
        let this = self.clone();
        blocking::run(move || this.names_blocking(&[tenant])).await.into_iter().map(|(_, name)| name).collect()
    }

    fn names_blocking(&self, tenants: &[Tenant]) -> Vec<Key> {
        let names = |tenant: &Tenant| match self.0.tenants.webhooks_blocking(tenant) {
            Ok(rows) => rows.into_iter().map(|(name, _)| (tenant.did().clone(), name)).collect(),
            Err(error) => {
                tracing::warn!(tenant = %tenant.did(), %error, "the webhooks of a tenant cannot be read");
                vec![]
            }
        };
        tenants.iter().flat_map(names).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn key(tenant: usize, hook: usize) -> Key {
        (format!("did:web:t{tenant}.example").parse().expect("a DID"), format!("{hook:03}"))
    }

    #[test]
    fn one_tenant_takes_no_calls_from_others_and_all_together_are_bounded() {
        let mut agenda = Agenda::default();
        for hook in 0..10 {
            agenda.note(key(1, hook), NOW);
        }
        agenda.note(key(2, 0), NOW);
        let taken = agenda.take(NOW);
        assert_eq!(taken.len(), CALLS_OF_TENANT_MAX + 1);
        assert!(taken.contains(&key(2, 0)));
        assert!(agenda.take(NOW).is_empty(), "they have not ended");
        agenda.ended(key(1, 0), Look::Idle, NOW);
        assert_eq!(agenda.take(NOW), [key(1, 4)]);
        for tenant in 3..100 {
            agenda.note(key(tenant, 0), NOW);
        }
        agenda.take(NOW);
        assert_eq!(agenda.busy.len(), CALLS_MAX);
    }

    #[test]
    fn what_happens_during_a_look_is_looked_at_and_a_wait_is_kept() {
        let later = NOW + Duration::from_secs(5);
        let mut agenda = Agenda::default();
        agenda.note(key(1, 0), NOW);
        assert_eq!(agenda.take(NOW), [key(1, 0)]);
        agenda.note(key(1, 0), NOW);
        assert!(agenda.take(NOW).is_empty(), "one call at a time");
        agenda.ended(key(1, 0), Look::Idle, NOW);
        assert_eq!(agenda.take(NOW), [key(1, 0)]);
        agenda.ended(key(1, 0), Look::At(later), NOW);
        assert_eq!((agenda.take(NOW), agenda.next(NOW)), (vec![], Some(later)));
        assert_eq!(agenda.take(later), [key(1, 0)]);
    }
}
