//! The membership machine in the simulator: the driver of a real node, with simulated links and disk.
//!
//! Every heartbeat is signed, encoded, decoded and verified for real, once: its receivers share the result, as a node
//! does that remembers what it verified. What differs per receiver, clock, sequence, admission, is judged by each.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use angel_protocol::crypto::NodeKey;
use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::membership::{
    Admission, Capability, Config, Effect, Input, Invite, LocalNode, NodeEventKind, NodeRecord, NodeType,
    OpenedHeartbeat, Profile, Region, Rotation, ScalingModel, Source, State, Status, StoredEntry, VerifiedHeartbeat,
};
use angel_protocol::time::Timestamp;
use angel_protocol::wire::envelope::EnvelopeError;
use angel_protocol::wire::registry::{RegistryPage, RegistryRequest};

use super::{Context, Links, NodeIndex, Process, World};

/// A node under simulation: the machine and its driver.
pub struct Member {
    state: State,
    effects: Vec<Effect>,
    directory: Arc<Directory>,
    record: Option<Arc<[u8]>>,
    keep_entries: bool,
}

/// What a node is made from at each start.
#[derive(Clone)]
pub struct MemberSetup {
    /// How it takes part.
    pub config: Config,
    /// Its key.
    pub key: Arc<NodeKey>,
    /// What it says of itself.
    pub profile: Profile,
    /// Its public record.
    pub record: Option<Arc<[u8]>>,
    /// The invitation it comes with.
    pub invite: Option<Invite>,
    /// The statement of its former key.
    pub rotation: Option<Rotation>,
    /// Whether its disk keeps registry entries; a benchmark of many nodes spares the memory.
    pub keep_entries: bool,
    directory: Arc<Directory>,
}

/// What survives a crash.
#[derive(Default)]
pub struct MemberDisk {
    /// The first sequence number that was never reserved.
    pub high_water: u64,
    /// Registry entries by DID.
    pub entries: BTreeMap<Did, StoredEntry>,
    /// Every number this node has ever signed with, newest last; kept to check that they rise.
    pub last_sequence: u64,
    /// Records of other nodes.
    pub records: BTreeMap<Did, Cid>,
}

/// What a test wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A status changed in the eyes of the reporting node.
    Status {
        /// Whose.
        of: NodeIndex,
        /// Before.
        from: Status,
        /// Now.
        to: Status,
    },
    /// The reporting node changed its mind on being cut off.
    Isolated(bool),
    /// A heartbeat was refused.
    Refused {
        /// Whose.
        of: NodeIndex,
        /// By which name.
        label: &'static str,
    },
    /// Another kind of event.
    Event {
        /// About whom.
        of: NodeIndex,
        /// What.
        kind: NodeEventKind,
    },
    /// A valid heartbeat of the reporting node's own key that it never sent.
    OwnKeySeenElsewhere,
}

/// What travels.
#[derive(Clone)]
pub enum Message {
    /// A gossiped heartbeat, verified from its bytes.
    Heartbeat(Arc<VerifiedHeartbeat>),
    /// What do you hold?
    RegistryRequest(RegistryRequest),
    /// This.
    RegistryPage(Arc<RegistryPage>),
    /// What is your record?
    RecordRequest(Did),
    /// This.
    Record(Did, Option<Arc<[u8]>>),
}

/// Who is who, and what was verified.
pub struct Directory {
    network: NetworkId,
    known: RwLock<Known>,
    verified: Mutex<HashMap<Did, Arc<VerifiedHeartbeat>>>,
}

struct Known {
    dids: Vec<Did>,
    places: HashMap<Did, NodeIndex>,
}

impl Directory {
    fn known<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn place(&self, did: &Did) -> NodeIndex {
        self.known(|known| known.places.get(did).copied().expect("every DID in the world is in the directory"))
    }

    fn did(&self, node: NodeIndex) -> Did {
        self.known(|known| known.dids[node as usize].clone())
    }

    /// Verifies, unless these very bytes were the last verified of their issuer.
    fn verify(&self, opened: OpenedHeartbeat) -> Result<Arc<VerifiedHeartbeat>, EnvelopeError> {
        let verified = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let issuer = opened.head().issuer.clone();
        if let Some(known) = verified().get(&issuer).filter(|known| known.bytes() == opened.bytes()) {
            return Ok(Arc::clone(known));
        }
        let heartbeat = Arc::new(VerifiedHeartbeat::verify(opened)?);
        verified().insert(issuer, Arc::clone(&heartbeat));
        Ok(heartbeat)
    }

    /// Adds a second DID for a node, as a rotation does.
    pub fn add_key(&self, node: NodeIndex, key: &NodeKey) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.dids[node as usize] = key.did();
        known.places.insert(key.did(), node);
    }
}

/// The network id of simulated worlds.
#[must_use]
pub fn network() -> NetworkId {
    "sim-dev".parse().expect("a valid id")
}

/// The key of a node in every world.
#[must_use]
pub fn key(node: NodeIndex) -> NodeKey {
    let mut seed = [0x5a; 32];
    seed[..4].copy_from_slice(&node.to_be_bytes());
    NodeKey::from_seed(&seed)
}

/// A world of `nodes` members on an open network, with a chance to change each one's setup.
#[must_use]
pub fn world(
    seed: u64,
    nodes: NodeIndex,
    links: Links,
    mut adapt: impl FnMut(NodeIndex, &mut MemberSetup),
) -> World<Member> {
    let keys: Vec<Arc<NodeKey>> = (0..nodes).map(|node| Arc::new(key(node))).collect();
    let dids: Vec<Did> = keys.iter().map(|key| key.did()).collect();
    let directory = Arc::new(Directory {
        network: network(),
        known: RwLock::new(Known { places: dids.iter().cloned().zip(0..).collect(), dids }),
        verified: Mutex::default(),
    });
    let setups = keys.into_iter().zip(0..).map(|(key, node)| {
        let mut setup = MemberSetup {
            config: Config { admission: Admission::Open, ..Config::default() },
            key,
            profile: profile(node),
            record: None,
            invite: None,
            rotation: None,
            keep_entries: true,
            directory: Arc::clone(&directory),
        };
        adapt(node, &mut setup);
        setup
    });
    World::new(seed, links, setups.collect())
}

/// What a node says about itself in every world.
#[must_use]
pub fn profile(node: NodeIndex) -> Profile {
    Profile {
        node_id: format!("node-{node}").parse().expect("a valid name"),
        endpoint: Some(format!("https://node-{node}.example").into()),
        api_endpoint: Some(format!("https://node-{node}.example/api/federation").into()),
        region: Region::Europe,
        node_type: NodeType::SingleInstance,
        scaling_model: ScalingModel::SingleServer,
        capabilities: vec![Capability::TenantHosting],
        record_cid: None,
        software_version: "0.1.0".into(),
        listen_addresses: vec![format!("/ip4/192.0.2.{}/tcp/2584", node % 250).into()],
    }
}

impl MemberSetup {
    /// Gives the node a record, which its heartbeats name.
    pub fn with_record(&mut self, record: &NodeRecord) {
        let bytes: Arc<[u8]> = record.to_cbor().into();
        self.profile.record_cid = Some(NodeRecord::cid(&bytes));
        self.record = Some(bytes);
    }

    /// Who is who.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

impl Member {
    /// The machine.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The status this node shows of another one.
    #[must_use]
    pub fn status_of(&self, node: NodeIndex) -> Option<Status> {
        self.state.status_of(&self.directory.did(node))
    }

    /// Feeds the machine, and performs what it asks for until it asks for nothing more.
    fn feed(&mut self, input: Input, context: &mut Context<'_, Self>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.state.handle(context.now, input, &mut effects);
        let mut done = 0;
        while done < effects.len() {
            let effect = effects[done].clone();
            done += 1;
            if let Some(input) = self.perform(effect, context) {
                self.state.handle(context.now, input, &mut effects);
            }
        }
        effects.clear();
        self.effects = effects;
    }

    /// Performs one effect. What the disk answers at once comes back as an input.
    fn perform(&self, effect: Effect, context: &mut Context<'_, Self>) -> Option<Input> {
        match effect {
            Effect::Publish(bytes) => self.publish(&bytes, context),
            Effect::ReserveSequence { up_to } => {
                context.disk.high_water = context.disk.high_water.max(up_to);
                return Some(Input::SequenceReserved { up_to });
            }
            Effect::Persist(entry) if self.keep_entries => {
                context.disk.entries.insert(entry.did.clone(), *entry);
            }
            Effect::Persist(_) => {}
            Effect::Forget(did) => drop(context.disk.entries.remove(&did)),
            Effect::RequestRegistry { peer, request } => {
                context.send_reliably(self.directory.place(&peer), Message::RegistryRequest(request));
            }
            Effect::AnswerRegistry { request_id, page } => {
                let to = NodeIndex::try_from(request_id).expect("requests are named by the node that asked");
                context.send_reliably(to, Message::RegistryPage(Arc::new(page)));
            }
            Effect::FetchRecord { did, .. } => {
                context.send_reliably(self.directory.place(&did), Message::RecordRequest(did));
            }
            Effect::RecordVerified { did, cid, .. } => drop(context.disk.records.insert(did, cid)),
            Effect::Event(event) => self.observe_event(&event.did, event.kind, context),
            Effect::IsolationChanged { isolated } => context.observe(Seen::Isolated(isolated)),
            Effect::Refused { did, refusal, .. } => {
                context.observe(Seen::Refused { of: self.directory.place(&did), label: refusal.label() });
            }
            Effect::OwnKeySeenElsewhere { .. } => context.observe(Seen::OwnKeySeenElsewhere),
            Effect::Discovered { .. } => {}
        }
        None
    }

    fn publish(&self, bytes: &[u8], context: &mut Context<'_, Self>) {
        let opened = OpenedHeartbeat::from_cbor(bytes, &self.directory.network).expect("a node's own form is right");
        let sequence = opened.head().sequence;
        assert!(sequence < context.disk.high_water, "number {sequence} was used before it was reserved");
        assert!(sequence >= context.disk.last_sequence, "number {sequence} was used before");
        context.disk.last_sequence = sequence;
        let heartbeat = self.directory.verify(opened).expect("a node's own signature holds");
        context.gossip(Message::Heartbeat(heartbeat));
    }

    fn observe_event(&self, did: &Did, kind: NodeEventKind, context: &mut Context<'_, Self>) {
        let of = self.directory.place(did);
        match kind {
            // A thousand nodes make a million of these, and the state shows as much.
            NodeEventKind::Created => {}
            NodeEventKind::StatusChange { from, to } => context.observe(Seen::Status { of, from, to }),
            kind => context.observe(Seen::Event { of, kind }),
        }
    }
}

impl Process for Member {
    type Message = Message;
    type Disk = MemberDisk;
    type Setup = MemberSetup;
    type Observation = Seen;

    fn boot(setup: &MemberSetup, context: &mut Context<'_, Self>) -> Self {
        let local = LocalNode {
            network: setup.directory.network.clone(),
            key: Arc::clone(&setup.key),
            profile: setup.profile.clone(),
            invite: setup.invite.clone(),
            rotation: setup.rotation.clone(),
            sequence_high_water: context.disk.high_water,
        };
        let seed = context.draw_seed();
        let mut state = State::new(setup.config.clone(), local, seed, context.now).expect("a valid profile");
        let mut effects = Vec::new();
        state.restore(context.disk.entries.values().cloned(), &mut effects);
        let member = Self {
            state,
            effects: Vec::new(),
            directory: Arc::clone(&setup.directory),
            record: setup.record.clone(),
            keep_entries: setup.keep_entries,
        };
        for effect in effects {
            let answer = member.perform(effect, context);
            assert!(answer.is_none(), "restoring asks for nothing that is answered");
        }
        member
    }

    fn on_message(&mut self, from: NodeIndex, message: &Message, context: &mut Context<'_, Self>) {
        match message {
            Message::Heartbeat(heartbeat) => {
                let input = Input::HeartbeatReceived { heartbeat: Arc::clone(heartbeat), source: Source::Gossip };
                self.feed(input, context);
            }
            Message::RegistryRequest(request) => {
                let peer = self.directory.did(from);
                let input = Input::RegistryRequested { peer, request_id: u64::from(from), request: request.clone() };
                self.feed(input, context);
            }
            Message::RegistryPage(page) => {
                let sifted = self.state.sift(context.now, page);
                let page = sifted.verify_with(|opened| self.directory.verify(opened));
                assert!(page.invalid().is_none(), "honest nodes send honest pages: {:?}", page.invalid());
                self.feed(Input::RegistryReceived { peer: self.directory.did(from), page }, context);
            }
            Message::RecordRequest(did) => {
                let record = self.record.clone().filter(|_| did == self.state.did());
                context.send_reliably(from, Message::Record(did.clone(), record));
            }
            Message::Record(did, Some(bytes)) => {
                self.feed(Input::RecordReceived { did: did.clone(), bytes: Arc::clone(bytes) }, context);
            }
            Message::Record(did, None) => self.feed(Input::RecordFailed { did: did.clone() }, context),
        }
    }

    fn on_undelivered(&mut self, to: NodeIndex, message: &Message, context: &mut Context<'_, Self>) {
        match message {
            Message::RegistryRequest(_) => {
                self.feed(Input::RegistryFailed { peer: self.directory.did(to) }, context);
            }
            Message::RecordRequest(did) => self.feed(Input::RecordFailed { did: did.clone() }, context),
            Message::Heartbeat(_) | Message::RegistryPage(_) | Message::Record(..) => {}
        }
    }

    fn on_link(&mut self, peer: NodeIndex, up: bool, context: &mut Context<'_, Self>) {
        let did = self.directory.did(peer);
        if up {
            let rtt_ms = u32::try_from(context.round_trip(peer).as_millis()).unwrap_or(u32::MAX);
            self.feed(Input::PeerConnected(did.clone()), context);
            self.feed(Input::PingMeasured { peer: did, rtt_ms }, context);
        } else {
            self.feed(Input::PeerDisconnected(did), context);
        }
    }

    fn on_deadline(&mut self, context: &mut Context<'_, Self>) {
        self.feed(Input::Tick, context);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        Some(self.state.next_deadline())
    }

    fn foresee(&self, message: &Message) -> Option<u32> {
        let Message::Heartbeat(heartbeat) = message else { return None };
        self.state.locate(heartbeat)
    }

    fn glance(&self, place: u32) -> u64 {
        self.state.glance(place)
    }

    fn apart(message: &Message) -> Message {
        match message {
            Message::Heartbeat(heartbeat) => Message::Heartbeat(Arc::new(VerifiedHeartbeat::clone(heartbeat))),
            other => other.clone(),
        }
    }

    fn digest(message: &Message) -> u64 {
        let first = |bytes: &[u8]| bytes.iter().take(8).fold(0_u64, |digest, byte| digest << 8 | u64::from(*byte));
        match message {
            Message::Heartbeat(heartbeat) => first(&heartbeat.head().key).wrapping_add(heartbeat.head().sequence),
            Message::RegistryRequest(request) => first(&*request.digest) ^ 1,
            Message::RegistryPage(page) => page.envelopes.len() as u64,
            Message::RecordRequest(did) => first(did.identifier().as_bytes()),
            Message::Record(did, bytes) => first(did.identifier().as_bytes()) ^ u64::from(bytes.is_some()),
        }
    }
}
