//! Any sequence of inputs keeps the invariants.

use proptest::prelude::*;
use serde_bytes::ByteArray;

use super::*;
use crate::limits::REGISTRY_PAGES_MAX;
use crate::wire::registry::RegistryRequest;

const MEMBERS: usize = 4;

/// Something that may happen. Nodes are numbered; there are more of them than the registry holds.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    ClockBack(u64),
    Beat { node: usize, number: u64, off: i64 },
    Rename { node: usize, name: usize },
    Rotate { node: usize },
    Connect(usize),
    Disconnect(usize),
    Ping(usize, u32),
    Ask(usize),
    Page(usize, Vec<usize>),
    Remove(usize),
    Accept,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..7_usize;
    prop_oneof![
        6 => (0..400_u64).prop_map(Step::Pass),
        1 => (0..4_000_u64).prop_map(Step::ClockBack),
        12 => (node(), 0..4_u64, -130..130_i64).prop_map(|(node, number, off)| Step::Beat { node, number, off }),
        1 => (node(), node()).prop_map(|(node, name)| Step::Rename { node, name }),
        1 => node().prop_map(|node| Step::Rotate { node }),
        2 => node().prop_map(Step::Connect),
        1 => node().prop_map(Step::Disconnect),
        1 => (node(), any::<u32>()).prop_map(|(node, rtt)| Step::Ping(node, rtt)),
        1 => node().prop_map(Step::Ask),
        2 => (node(), prop::collection::vec(node(), 0..5)).prop_map(|(node, of)| Step::Page(node, of)),
        1 => node().prop_map(Step::Remove),
        1 => Just(Step::Accept),
        1 => Just(Step::Restart),
    ]
}

/// The machine, the nodes it hears, and what has been seen of it so far.
struct Model {
    node: Node,
    others: Vec<Other>,
    keys: u8,
    last_number: u64,
}

impl Model {
    fn new() -> Self {
        let config = Self::config();
        let others = (1..=7).map(Other::new).collect();
        Self { node: Node::with(config), others, keys: 100, last_number: 1 }
    }

    fn config() -> Config {
        Config { admission: Admission::Open, members_max: MEMBERS, sequence_block: 8, ..Config::default() }
    }

    fn apply(&mut self, step: Step) {
        let now = self.node.now;
        let effects = match step {
            Step::Pass(seconds) => self.node.pass(secs(seconds)),
            Step::ClockBack(seconds) => {
                self.node.now = now - secs(seconds);
                self.node.tick()
            }
            Step::Beat { node, number, off } => {
                let other = &mut self.others[node];
                other.sequence += number;
                let at = Timestamp::from_millis(now.as_millis().saturating_add_signed(off * 1_000));
                let heartbeat = other.beat_as(other.sequence, at);
                self.node.hear(heartbeat)
            }
            Step::Rename { node, name } => {
                self.others[node].body.node_id = format!("node-{name}").parse().expect("valid");
                vec![]
            }
            Step::Rotate { node } => {
                self.keys = self.keys.wrapping_add(1);
                let (old, new) = (&self.others[node].key, key(self.keys));
                let statement = Rotation::sign(&network(), old, &new, now, now + OVERLAP);
                self.others[node].body.rotation = Some(statement);
                self.others[node].key = new;
                vec![]
            }
            Step::Connect(node) => self.node.feed(Input::PeerConnected(self.others[node].did())),
            Step::Disconnect(node) => self.node.feed(Input::PeerDisconnected(self.others[node].did())),
            Step::Ping(node, rtt_ms) => self.node.feed(Input::PingMeasured { peer: self.others[node].did(), rtt_ms }),
            Step::Ask(node) => self.node.feed(Input::RegistryRequested {
                peer: self.others[node].did(),
                request_id: 1,
                request: RegistryRequest { after: None, digest: ByteArray::new([0; 32]) },
            }),
            Step::Page(node, of) => {
                let heartbeats: Vec<_> = of.into_iter().map(|other| self.others[other].beat(now)).collect();
                let peer = self.others[node].did();
                exchange::answer(&mut self.node, &peer, &heartbeats)
            }
            Step::Remove(node) => self.node.feed(Input::NodeRemoved(self.others[node].did())),
            Step::Accept => self.node.feed(Input::AbsenceAccepted),
            Step::Restart => return self.restart(),
        };
        self.check(&effects);
    }

    /// What was persisted comes back as it was, and nothing else does.
    fn restart(&mut self) {
        let (now, reserved) = (self.node.now, self.node.reserved);
        let stored = std::mem::take(&mut self.node.stored);
        self.node = Node::start(Self::config(), local(), now, reserved, stored.clone());
        assert_eq!(self.node.state.len(), stored.len());
        for (did, entry) in &stored {
            let view = self.node.state.node(did, now).expect("restored");
            assert_eq!((view.created_at, &view.admitted_by), (entry.created_at, &entry.admitted_by));
            assert_eq!(view.measured.last_seen, entry.last_heard.min(now));
            assert_eq!(view.status, Status::Offline);
            assert_eq!(self.node.state.heartbeat_of(did).expect("restored").bytes(), &entry.heartbeat);
            for former in &entry.former_keys {
                assert_eq!(self.node.state.current_did(&former.did).as_ref(), Some(did));
            }
        }
        let first = self.node.state.own_heartbeat().expect("published at the start").head().sequence;
        assert!(first > self.last_number, "{first} after {}", self.last_number);
        self.last_number = first;
    }

    fn check(&mut self, effects: &[Effect]) {
        let state = &self.node.state;
        assert!(state.len() <= MEMBERS, "the registry is bounded");
        assert_eq!(state.len(), self.node.stored.len(), "what is known is stored");
        let nodes = state.nodes(self.node.now);
        let names: BTreeSet<_> = nodes.iter().map(|node| node.declared.node_id.clone()).collect();
        assert_eq!(names.len(), nodes.len(), "names are unique");
        assert!(!names.contains(&"myself".parse().expect("valid")), "and this node's own is its own");
        assert_eq!(nodes.iter().filter(|node| node.status == Status::Online).count(), state.online());
        assert!(nodes.iter().all(|node| node.measured.uptime_bp <= 10_000));
        for heartbeat in published(effects) {
            let number = heartbeat.head().sequence;
            assert!(number >= self.last_number && number < self.node.reserved, "numbers rise within what is reserved");
            self.last_number = number;
        }
        for kind in events(effects) {
            if let NodeEventKind::StatusChange { from, to } = kind {
                assert_ne!(from, to);
            }
        }
        let pages = effects.iter().filter(|effect| matches!(effect, Effect::RequestRegistry { .. })).count();
        assert!(pages <= REGISTRY_PAGES_MAX as usize * 400, "asking is bounded by time");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_inputs_keeps_the_invariants(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
        }
    }

    /// Two machines fed alike do alike.
    #[test]
    fn the_machine_is_deterministic(steps in prop::collection::vec(step(), 1..40)) {
        let run = |steps: Vec<Step>| {
            let mut model = Model::new();
            steps.into_iter().for_each(|step| model.apply(step));
            let node = &model.node;
            (node.state.nodes(node.now), node.state.topology(node.now), node.state.next_deadline(), node.stored.clone())
        };
        prop_assert_eq!(run(steps.clone()), run(steps));
    }
}
