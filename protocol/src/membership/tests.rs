//! The machine from outside: feed an input, look at the effects. Filed by what is asked of it.

mod admission;
mod exchange;
mod liveness;
mod properties;
mod publishing;
mod record;
mod registration;
mod rotation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::crypto::NodeKey;
use crate::ids::{Did, NetworkId};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn network() -> NetworkId {
    "home-dev".parse().expect("valid")
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn profile(name: &str) -> Profile {
    Profile {
        node_id: name.parse().expect("valid"),
        endpoint: Some("https://node.example".into()),
        api_endpoint: None,
        region: Region::Europe,
        node_type: NodeType::SingleInstance,
        scaling_model: ScalingModel::SingleServer,
        capabilities: vec![Capability::TenantHosting],
        record_cid: None,
        software_version: "0.1.0".into(),
        listen_addresses: vec!["/ip4/192.0.2.1/tcp/2584".into()],
    }
}

/// Another node, as far as it can be heard.
struct Other {
    key: NodeKey,
    body: Heartbeat,
    sequence: u64,
}

impl Other {
    fn new(seed: u8) -> Self {
        Self { key: key(seed), body: Heartbeat::of(profile(&format!("node-{seed}"))), sequence: 0 }
    }

    fn did(&self) -> Did {
        self.key.did()
    }

    fn beat(&mut self, at: Timestamp) -> Arc<VerifiedHeartbeat> {
        self.sequence += 1;
        self.beat_as(self.sequence, at)
    }

    fn beat_as(&self, sequence: u64, at: Timestamp) -> Arc<VerifiedHeartbeat> {
        let sealed = VerifiedHeartbeat::seal(&self.key, &network(), sequence, at, self.body.clone());
        Arc::new(sealed.expect("within bounds"))
    }
}

/// The machine under test, with a driver that grants sequence numbers and keeps what it is told to keep.
struct Node {
    state: State,
    now: Timestamp,
    reserved: u64,
    stored: BTreeMap<Did, StoredEntry>,
}

impl Node {
    fn new() -> Self {
        Self::with(Config { admission: Admission::Open, ..Config::default() })
    }

    fn with(config: Config) -> Self {
        Self::start(config, local(), START, 0, BTreeMap::new())
    }

    fn start(
        config: Config,
        local: LocalNode,
        now: Timestamp,
        reserved: u64,
        stored: BTreeMap<Did, StoredEntry>,
    ) -> Self {
        let local = LocalNode { sequence_high_water: reserved, ..local };
        let mut state = State::new(config, local, [7; 32], now).expect("the profile is within bounds");
        let mut effects = Vec::new();
        state.restore(stored.values().cloned(), &mut effects);
        let mut node = Self { state, now, reserved, stored };
        node.perform(&effects);
        node.tick();
        node
    }

    /// Feeds one input and performs what a driver performs without the network.
    fn feed(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.state.handle(self.now, input, &mut effects);
        self.perform(&effects);
        let reserve = effects.iter().find_map(|effect| match effect {
            Effect::ReserveSequence { up_to } => Some(*up_to),
            _ => None,
        });
        if let Some(up_to) = reserve {
            self.reserved = self.reserved.max(up_to);
            effects.extend(self.feed(Input::SequenceReserved { up_to }));
        }
        effects
    }

    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Persist(entry) => drop(self.stored.insert(entry.did.clone(), (**entry).clone())),
                Effect::Forget(did) => drop(self.stored.remove(did)),
                _ => {}
            }
        }
    }

    fn tick(&mut self) -> Vec<Effect> {
        self.feed(Input::Tick)
    }

    /// Lets time pass, ticking at every deadline.
    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        let end = self.now + time;
        let mut effects = Vec::new();
        while self.state.next_deadline() <= end {
            self.now = self.now.max(self.state.next_deadline());
            effects.extend(self.tick());
        }
        self.now = end;
        effects
    }

    fn hear(&mut self, heartbeat: Arc<VerifiedHeartbeat>) -> Vec<Effect> {
        self.feed(Input::HeartbeatReceived { heartbeat, source: Source::Gossip })
    }

    /// Hears `other` every half minute for `time`.
    fn hear_regularly(&mut self, others: &mut [Other], time: Duration) -> Vec<Effect> {
        let end = self.now + time;
        let mut effects = Vec::new();
        while self.now + secs(30) <= end {
            effects.extend(self.pass(secs(30)));
            for other in &mut *others {
                let heartbeat = other.beat(self.now);
                effects.extend(self.hear(heartbeat));
            }
        }
        effects
    }

    fn refusal(&mut self, heartbeat: Arc<VerifiedHeartbeat>) -> Option<Refusal> {
        refusal(&self.hear(heartbeat))
    }

    fn status(&self, other: &Other) -> Option<Status> {
        self.state.status_of(&other.did())
    }
}

fn local() -> LocalNode {
    LocalNode {
        network: network(),
        key: Arc::new(key(0)),
        profile: profile("myself"),
        invite: None,
        rotation: None,
        sequence_high_water: 0,
    }
}

fn refusal(effects: &[Effect]) -> Option<Refusal> {
    effects.iter().find_map(|effect| match effect {
        Effect::Refused { refusal, .. } => Some(refusal.clone()),
        _ => None,
    })
}

fn events(effects: &[Effect]) -> Vec<NodeEventKind> {
    let kinds = effects.iter().filter_map(|effect| match effect {
        Effect::Event(event) => Some(event.kind.clone()),
        _ => None,
    });
    kinds.collect()
}

fn published(effects: &[Effect]) -> Vec<Arc<VerifiedHeartbeat>> {
    let bytes = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(bytes) => Some(bytes),
        _ => None,
    });
    let read = |bytes: &Arc<[u8]>| {
        let opened = OpenedHeartbeat::from_cbor(bytes, &network()).expect("its own form is right");
        Arc::new(VerifiedHeartbeat::verify(opened).expect("its own signature holds"))
    };
    bytes.map(read).collect()
}
