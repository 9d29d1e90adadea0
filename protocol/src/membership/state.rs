//! The machine: what happens on each input. Each has a method named after it; [`State::handle`] only dispatches.

mod catch_up;
mod publish;
mod receive;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::config::Config;
use super::declared::{DeclaredStatus, Profile, Resources};
use super::effect::{Effect, NodeEvent, NodeEventKind};
use super::exchange::Exchange;
use super::failure_detector::{Observed, Status};
use super::fetches::Fetches;
use super::heartbeat::{Leases, LedgerHead, VerifiedHeartbeat};
use super::input::Input;
use super::isolation::Isolation;
use super::registry::{Entry, HeldRecord, Key, Registry, Slot};
use super::rotation::Rotation;
use super::sequence::Sequence;
use super::stored::StoredEntry;
use super::topology::{self, TopologyNode, TopologyView};
use super::view::{self, KnownAddresses, NodeView};
use super::{Invite, NodeRecord, OpenedHeartbeat};
use crate::crypto::NodeKey;
use crate::data::Cid;
use crate::ids::{Did, NetworkId, NodeName};
use crate::limits::MEMBERS_MAX;
use crate::time::Timestamp;

/// Who this node is.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// The network it takes part in.
    pub network: NetworkId,
    /// Its key.
    pub key: Arc<NodeKey>,
    /// What it says about itself.
    pub profile: Profile,
    /// The invitation it came with.
    pub invite: Option<Invite>,
    /// The statement of its former key; carried until the overlap ends.
    pub rotation: Option<Rotation>,
    /// The first sequence number that no earlier run of this key reserved; 0 for a new key.
    pub sequence_high_water: u64,
}

/// The membership of one node: what it knows of the others and says of itself.
#[derive(Clone, Debug)]
pub struct State {
    config: Config,
    rng: ChaCha8Rng,

    // Myself.
    network: NetworkId,
    key: Arc<NodeKey>,
    own_did: Did,
    own_key: Key,
    profile: Profile,
    status: DeclaredStatus,
    resources: Resources,
    leases: Leases,
    ledger: Option<LedgerHead>,
    invite: Option<Invite>,
    rotation: Option<Rotation>,
    sequence: Sequence,
    latest: Option<Arc<VerifiedHeartbeat>>,

    // The others.
    registry: Registry,
    exchange: Exchange,
    fetches: Fetches,
    isolation: Isolation,
    /// A verdict changed since isolation was judged.
    verdicts_changed: bool,

    // Time.
    now: Timestamp,
    /// When the driver was to call at the latest, as it stood after the last input.
    due_by: Timestamp,
    started: Timestamp,
    /// Silence counts from here at the earliest: before, this node was not running, or not listening.
    listening_since: Timestamp,
    next_publish: Timestamp,
    /// When the mesh has settled after a connection; the newest heartbeat goes out again then.
    settled: Option<Timestamp>,
    /// How often the newest heartbeat has gone out again.
    republished: u8,
}

impl State {
    /// A node that starts at `now`. Call [`Self::restore`] next, then [`Self::handle`] with [`Input::Tick`].
    ///
    /// # Errors
    /// What in the profile is out of bounds.
    pub fn new(config: Config, local: LocalNode, seed: [u8; 32], now: Timestamp) -> Result<Self, &'static str> {
        local.profile.check()?;
        let config = Config { members_max: config.members_max.min(MEMBERS_MAX), ..config };
        Ok(Self {
            rng: ChaCha8Rng::from_seed(seed),
            own_did: local.key.did(),
            own_key: local.key.public().to_bytes(),
            network: local.network,
            key: local.key,
            profile: local.profile,
            status: DeclaredStatus::default(),
            resources: Resources::default(),
            leases: Leases::default(),
            ledger: None,
            invite: local.invite,
            rotation: local.rotation,
            sequence: Sequence::after(local.sequence_high_water, config.sequence_block),
            latest: None,
            registry: Registry::new(config.grain),
            exchange: Exchange::starting(now),
            fetches: Fetches::new(config.fetch_retry),
            isolation: Isolation::starting(now, config.isolation_window, 0),
            verdicts_changed: false,
            now,
            due_by: now,
            started: now,
            listening_since: now,
            next_publish: now,
            settled: None,
            republished: 0,
            config,
        })
    }

    /// Takes back what earlier runs persisted. Nobody counts as heard until it is; uptime goes on where it stopped.
    /// Entries that do not verify, or whose name or key is there already, are forgotten.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = StoredEntry>, effects: &mut Vec<Effect>) {
        let mut seen_before = 0;
        for stored in entries {
            let did = stored.did.clone();
            let was_seen = stored.observed == Observed::Online;
            match self.restored(stored) {
                Some(entry) => {
                    let due = self.listening_since + self.config.offline_after;
                    let slot = self.registry.insert(entry, due);
                    self.want_record(slot);
                    seen_before += usize::from(was_seen);
                }
                None => effects.push(Effect::Forget(did)),
            }
        }
        self.isolation = Isolation::starting(self.now, self.config.isolation_window, seen_before);
        self.verdicts_changed = true;
    }

    fn restored(&self, stored: StoredEntry) -> Option<Entry> {
        let opened = OpenedHeartbeat::from_cbor(&stored.heartbeat, &self.network).ok()?;
        let latest = Arc::new(VerifiedHeartbeat::verify(opened).ok()?);
        let head = latest.head();
        let known = self.registry.find(&head.key).is_some() || self.registry.named(&latest.body().node_id).is_some();
        let full = self.registry.len() >= self.config.members_max;
        if head.issuer != stored.did || head.key == self.own_key || known || full || !self.is_listed(&head.issuer) {
            return None;
        }
        let mut entry = Entry::new(self.now, stored.last_heard.min(self.now), latest, stored.admitted_by);
        entry.observed = if stored.observed == Observed::Offline { Observed::Offline } else { Observed::Unheard };
        entry.streak = 0;
        entry.uptime = stored.uptime;
        entry.uptime.resume(self.now);
        entry.rest.created_at = stored.created_at;
        entry.rest.former_keys = stored.former_keys;
        entry.rest.record = stored.record.and_then(|bytes| self.held(&entry, bytes).ok());
        Some(entry)
    }

    /// Takes in what happened at `now`, and adds what should be done about it to `effects`.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        self.observe_clock(now);
        match input {
            Input::HeartbeatReceived { heartbeat, source } => self.heartbeat_received(&heartbeat, source, effects),
            Input::Tick => self.tick(effects),
            Input::SequenceReserved { up_to } => self.sequence_reserved(up_to, effects),
            Input::PeerConnected(peer) => self.peer_connected(&peer, effects),
            Input::PeerDisconnected(peer) => self.exchange.disconnected(&peer),
            Input::PingMeasured { peer, rtt_ms } => self.ping_measured(&peer, rtt_ms),
            Input::HealthMeasured { peer, response_ms } => self.health_measured(&peer, response_ms),
            Input::RegistryRequested { peer, request_id, request } => {
                self.registry_requested(&peer, request_id, &request, effects);
            }
            Input::RegistryReceived { peer, page } => self.registry_received(&peer, page, effects),
            Input::RegistryFailed { peer } => drop(self.exchange.answered(now, &peer, false)),
            Input::RecordReceived { did, bytes } => self.record_received(&did, bytes, effects),
            Input::RecordFailed { did } => self.fetches.failed(&did),
            Input::ProfileChanged(profile) => self.profile_changed(*profile),
            Input::StatusDeclared(status) => self.status_declared(status),
            Input::ResourcesMeasured(resources) => self.resources = resources,
            Input::LeasesChanged(leases) => self.leases = leases,
            Input::LedgerAdvanced(ledger) => self.ledger = Some(ledger),
            Input::AbsenceAccepted => self.absence_accepted(),
            Input::NodeRemoved(did) => self.node_removed(&did, effects),
        }
        self.start_fetches(effects);
        self.judge_isolation(effects);
        self.due_by = self.next_deadline().max(now);
    }

    /// When [`Input::Tick`] is due. May lie in the past; then it is due now.
    #[must_use]
    pub fn next_deadline(&self) -> Timestamp {
        let fixed = self.next_publish.min(self.isolation.next_sample());
        let others = [self.settled, self.registry.first_due(), self.exchange.next(), self.fetches.next()];
        others.into_iter().flatten().fold(fixed, Timestamp::min)
    }

    /// This node's DID.
    #[must_use]
    pub const fn did(&self) -> &Did {
        &self.own_did
    }

    /// This node's newest heartbeat; nothing before the first.
    #[must_use]
    pub const fn own_heartbeat(&self) -> Option<&Arc<VerifiedHeartbeat>> {
        self.latest.as_ref()
    }

    /// NET-08: whether this node must assume that it is cut off. It starts no failover then.
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// How many nodes are registered, this one not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Whether no other node is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registry.len() == 0
    }

    /// How many registered nodes are heard.
    #[must_use]
    pub const fn online(&self) -> usize {
        self.registry.online()
    }

    /// The status shown of a registered node, by its current DID.
    #[must_use]
    pub fn status_of(&self, did: &Did) -> Option<Status> {
        self.registry.find_did(did).map(|slot| self.registry.entry(slot).status())
    }

    /// The status shown of every registered node, in no order.
    pub fn statuses(&self) -> impl Iterator<Item = Status> {
        self.registry.iter().map(Entry::status)
    }

    /// The DID that now stands for `did`: itself while it is current, its successor when the key was rotated.
    #[must_use]
    pub fn current_did(&self, did: &Did) -> Option<Did> {
        let slot = self.registry.find(&super::registry::key_of(did)?)?;
        Some(self.registry.entry(slot).did().clone())
    }

    /// The newest heartbeat of a registered node, as it signed it.
    #[must_use]
    pub fn heartbeat_of(&self, did: &Did) -> Option<&Arc<VerifiedHeartbeat>> {
        self.registry.find_did(did).map(|slot| &self.registry.entry(slot).latest)
    }

    /// The verified record of a registered node.
    #[must_use]
    pub fn record_of(&self, did: &Did) -> Option<&Arc<NodeRecord>> {
        let slot = self.registry.find_did(did)?;
        self.registry.entry(slot).rest.record.as_ref().map(|held| &held.record)
    }

    /// The bytes of a verified record of any registered node: a peer that wants it may have it from here.
    #[must_use]
    pub fn record_named(&self, cid: &Cid) -> Option<&Arc<[u8]>> {
        let mut records = self.registry.iter().filter_map(|entry| entry.rest.record.as_ref());
        records.find(|held| held.cid == *cid).map(|held| &held.bytes)
    }

    /// Everything known of one node.
    #[must_use]
    pub fn node(&self, did: &Did, now: Timestamp) -> Option<NodeView> {
        self.registry.find_did(did).map(|slot| self.view(self.registry.entry(slot), now))
    }

    /// Everything known of all others, by DID.
    #[must_use]
    pub fn nodes(&self, now: Timestamp) -> Vec<NodeView> {
        let mut nodes: Vec<_> = self.registry.iter().map(|entry| self.view(entry, now)).collect();
        nodes.sort_unstable_by(|a, b| a.did.cmp(&b.did));
        nodes
    }

    /// Where the other nodes may be dialled, by DID.
    #[must_use]
    pub fn known_addresses(&self) -> Vec<KnownAddresses> {
        let known = self.registry.iter().map(|entry| KnownAddresses {
            did: entry.did().clone(),
            status: entry.status(),
            addresses: entry.latest.body().listen_addresses.clone(),
        });
        let mut known: Vec<_> = known.filter(|known| !known.addresses.is_empty()).collect();
        known.sort_unstable_by(|a, b| a.did.cmp(&b.did));
        known
    }

    /// The map of the network (NET-07), from the heartbeats of the newest ten minutes.
    #[must_use]
    pub fn topology(&self, now: Timestamp) -> TopologyView {
        let point = |heartbeat: &VerifiedHeartbeat, status| TopologyNode {
            did: heartbeat.head().issuer.clone(),
            node_id: heartbeat.body().node_id.clone(),
            region: heartbeat.body().region.clone(),
            status,
        };
        let fresh = |entry: &&Entry| now.since(entry.last_heard) <= self.config.topology_window;
        let others = self.registry.iter().filter(fresh).map(|entry| (&entry.latest, entry.status()));
        let own = self.latest.iter().map(|latest| (latest, Observed::Online.shown(self.status)));
        let reports = own.chain(others);
        let reports = reports.map(|(heartbeat, status)| (point(heartbeat, status), heartbeat.body().peers.as_slice()));
        topology::draw(self.own_did.clone(), now, reports)
    }

    fn view(&self, entry: &Entry, now: Timestamp) -> NodeView {
        view::node(entry, now, &self.config, self.exchange.is_connected(entry.did()))
    }

    /// A random duration up to `limit`, in whole milliseconds.
    fn draw(&mut self, limit: Duration) -> Duration {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.next_u64() % limit_ms.saturating_add(1))
    }

    fn event(&self, slot: Slot, kind: NodeEventKind, effects: &mut Vec<Effect>) {
        let entry = self.registry.entry(slot);
        effects.push(self.event_of(entry, kind));
    }

    fn event_of(&self, entry: &Entry, kind: NodeEventKind) -> Effect {
        Effect::Event(NodeEvent { at: self.now, did: entry.did().clone(), node_id: entry.name().clone(), kind })
    }

    fn persist(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let now = self.now;
        let entry = self.registry.entry_mut(slot);
        entry.persisted_at = now;
        effects.push(Effect::Persist(Box::new(entry.stored())));
    }

    fn held(&self, entry: &Entry, bytes: Arc<[u8]>) -> Result<HeldRecord, super::RecordError> {
        let profile = entry.latest.body().profile();
        let record = NodeRecord::verify(&bytes, entry.did(), &profile)?;
        Ok(HeldRecord { cid: NodeRecord::cid(&bytes), bytes, record: Arc::new(record) })
    }

    fn is_own_name(&self, name: &NodeName) -> bool {
        self.profile.node_id == *name
    }
}
