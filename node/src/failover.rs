//! Watching over the primaries of the tenants that this node backs up: the driver of [`angel_protocol::failover`].
//!
//! The watches lie in memory; what they promise is on disk before anybody hears of it. What happens once the ledger has
//! decided is in `roles`; what an owner decides is in `claim`.

mod claim;
mod roles;
mod round;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::failover::{Config, Effect, Input, Poll, Promise, Suspicion, Watch};
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Observation;
use angel_protocol::ledger::statement;
use angel_protocol::limits::CLOCK_SKEW_MAX;
use angel_protocol::replication::wire::Answer;
use angel_storage::codec::Cbor;
use angel_storage::replicas::{PROMISES, PromiseRow};
use angel_storage::{Batch, CommitError, Reader, Writer};

use crate::placement::{Placement, Tenant};
use crate::replication::ReplicationError;
use crate::{blocking, clock};

pub(crate) use claim::{NotClaimed, SignedClaim, ToSign};
pub(crate) use roles::HAND_OVER_LIMIT;

/// How long to wait before asking the others again.
const PATIENCE: Duration = Duration::from_secs(3);

/// The watches of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Failover(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    placement: Placement,
    watches: Mutex<BTreeMap<Did, Watch>>,
}

impl Failover {
    pub(crate) fn new(reader: Reader, writer: Writer, placement: Placement) -> Self {
        Self(Arc::new(Shared { reader, writer, placement, watches: Mutex::default() }))
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<Did, Watch>> {
        self.0.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Config {
        let parameters = self.0.placement.parameters();
        let silence = Duration::from_millis(parameters.silence);
        let promise = Duration::from_millis(parameters.observation_age) + CLOCK_SKEW_MAX;
        Config { silence, promise, patience: PATIENCE.min(silence) }
    }

    /// Begins to watch tenants that are new, tells watches of new hosts, and forgets tenants that are not backed up here
    /// any more. Blocks.
    fn follow_placements_blocking(&self) -> Result<(), ReplicationError> {
        let now = self.0.placement.uptime().now();
        let tenants = self.0.placement.tenants();
        for tenant in tenants.iter().filter(|tenant| !tenant.is_primary()) {
            let promise = self.stored_promise_blocking(&tenant.did)?;
            let mut watches = self.watches();
            match watches.get_mut(&tenant.did) {
                Some(watch) if *watch.hosts() == tenant.hosts() => {}
                Some(watch) => watch.handle(now, Input::Placed(tenant.hosts()), &mut Vec::new()),
                None => {
                    let own = self.0.placement.own().clone();
                    let watch = Watch::new(own, self.config(), tenant.hosts(), promise, now);
                    watches.insert(tenant.did.clone(), watch);
                }
            }
        }
        let backed_up = |did: &Did| tenants.iter().any(|tenant| tenant.did == *did && !tenant.is_primary());
        self.watches().retain(|did, _| backed_up(did));
        Ok(())
    }

    fn stored_promise_blocking(&self, tenant: &Did) -> Result<Option<Promise>, ReplicationError> {
        let Some(Cbor(row)) = self.0.reader.get(&PROMISES, tenant)? else { return Ok(None) };
        let age = clock::now().since(row.at);
        Ok(Some(row.promise(self.0.placement.uptime().now(), age, self.config().promise)))
    }

    async fn store_promise(&self, tenant: &Did, promise: Promise) -> Result<(), CommitError> {
        let (writer, tenant) = (self.0.writer.clone(), tenant.clone());
        blocking::run(move || {
            let row = PromiseRow { epoch: promise.epoch, cursor: promise.cursor, at: clock::now() };
            let mut batch = Batch::new();
            batch.put(&PROMISES, &tenant, &Cbor(row)).expect("a promise is a small row");
            writer.commit(batch).map(drop)
        })
        .await
    }

    fn handle(&self, tenant: &Did, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.0.placement.uptime().now();
        if let Some(watch) = self.watches().get_mut(tenant) {
            watch.handle(now, input, &mut effects);
        }
        effects
    }

    /// The primary of the present epoch spoke.
    pub(crate) fn heard(&self, tenant: &Did) {
        self.handle(tenant, Input::Heard);
    }

    /// The copy is complete up to here, durably.
    pub(crate) fn advanced(&self, tenant: &Did, epoch: u64, cursor: u64) {
        if let Some(watch) = self.watches().get_mut(tenant) {
            watch.handle(self.0.placement.uptime().now(), Input::Advanced { epoch, cursor }, &mut Vec::new());
        }
    }

    /// How far the copy is complete in this epoch.
    pub(crate) fn complete(&self, tenant: &Did, epoch: u64) -> Option<u64> {
        let watches = self.watches();
        watches.get(tenant).filter(|watch| watch.hosts().epoch == epoch).and_then(Watch::complete)
    }

    /// Whether this node may confirm and follow the primary of `epoch`. Not before it is watched.
    pub(crate) fn may_follow(&self, tenant: &Did, epoch: u64) -> bool {
        let now = self.0.placement.uptime().now();
        self.watches().get(tenant).is_some_and(|watch| watch.may_follow(epoch, now))
    }

    /// For how long this node follows no primary of a tenant, if no failover comes about.
    pub(crate) fn promised_for(&self, tenant: &Did) -> Option<Duration> {
        let now = self.0.placement.uptime().now();
        self.watches().get(tenant)?.promised_for(now)
    }

    /// How long the primary of a tenant has been silent, where this node backs the tenant up.
    pub(crate) fn silent_for(&self, tenant: &Did) -> Option<Duration> {
        let now = self.0.placement.uptime().now();
        self.watches().get(tenant).map(|watch| watch.silent_for(now))
    }

    /// What this node answers when it is asked whether it finds a primary silent.
    pub(crate) fn poll(&self, tenant: &Did, epoch: u64) -> Answer {
        let now = self.0.placement.uptime().now();
        let poll = self.watches().get(tenant).map_or(Poll::No, |watch| watch.poll(epoch, now));
        match poll {
            Poll::Silent { cursor } => Answer::Silent { silent: true, cursor },
            Poll::No => Answer::Silent { silent: false, cursor: None },
        }
    }

    /// Signs that a primary is silent, if this node finds it so. The promise is on disk when this returns.
    pub(crate) async fn observe(
        &self,
        tenant: &Did,
        epoch: u64,
        key: &NodeKey,
    ) -> Result<Option<Observation>, ReplicationError> {
        let mut effects = Vec::new();
        let suspicion = {
            let now = self.0.placement.uptime().now();
            let mut watches = self.watches();
            watches.get_mut(tenant).and_then(|watch| watch.observe(epoch, now, &mut effects))
        };
        for effect in effects {
            if let Effect::Promise(promise) = effect {
                self.store_promise(tenant, promise).await?;
            }
        }
        Ok(suspicion.map(|suspicion| self.sign(tenant, suspicion, key)))
    }

    fn sign(&self, tenant: &Did, suspicion: Suspicion, key: &NodeKey) -> Observation {
        let at = clock::now();
        let mut observation = Observation {
            observer: self.0.placement.own().clone(),
            heard: at - suspicion.silent_for,
            at,
            cursor: suspicion.cursor,
            signature: [0; 64],
        };
        let network = self.0.placement.ledger().network();
        let (domain, message) = statement::silence(network, tenant, suspicion.epoch, &observation);
        observation.signature = key.sign(domain, &message);
        observation
    }

    /// The tenants whose watch is due, and whether any is about to be.
    fn due(&self) -> (Vec<Did>, bool) {
        let now = self.0.placement.uptime().now();
        let watches = self.watches();
        let due = watches.iter().filter(|(_, watch)| watch.next_deadline() <= now);
        let due: Vec<_> = due.map(|(did, _)| did.clone()).collect();
        let silence = Duration::from_millis(self.0.placement.parameters().silence);
        let soon = watches.values().any(|watch| watch.silent_for(now) > silence / 2);
        (due, soon)
    }

    fn isolated(&self, isolated: bool) {
        let now = self.0.placement.uptime().now();
        for watch in self.watches().values_mut() {
            watch.handle(now, Input::Isolated(isolated), &mut Vec::new());
        }
    }
}

/// The epoch that a failover of the tenant would begin.
const fn next_epoch(tenant: &Tenant) -> u64 {
    tenant.placed.epoch + 1
}
