//! A deterministic simulator for protocol machines: many nodes, one thread, virtual time, one seed.
//!
//! [`World`] runs any [`Process`]: it owns the clock, the links and the disks, and decides from its seed alone what is
//! lost, late, doubled or out of order. The same seed gives the same run, event by event; [`World::trace`] proves it.
//! A world that is dropped by a panic prints its seed.
//!
//! What it leaves out on purpose: computing takes no virtual time, and gossip is flooded over the mesh as the links
//! stand at the moment of publishing, every living node passing it on. Real gossip repairs what this one loses.

mod flood;
pub mod membership;
mod queue;
mod topology;

use std::time::Duration;

use angel_protocol::time::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use flood::Flood;
use queue::Queue;
use topology::Topology;

/// A node's place in the world, from 0.
pub type NodeIndex = u32;

/// When every world begins, by a clock without skew.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A machine with its driver: what runs on one node.
pub trait Process: Sized {
    /// What travels between nodes. Shared, so that one message to a thousand nodes is one allocation.
    type Message: Clone;
    /// What survives a crash.
    type Disk: Default;
    /// What a node is made from, each time it starts.
    type Setup;
    /// What a test wants to know about.
    type Observation;

    /// Starts on what the disk holds.
    fn boot(setup: &Self::Setup, context: &mut Context<'_, Self>) -> Self;

    /// A message came in.
    fn on_message(&mut self, from: NodeIndex, message: &Self::Message, context: &mut Context<'_, Self>);

    /// A reliable message could not be delivered.
    fn on_undelivered(&mut self, _to: NodeIndex, _message: &Self::Message, _context: &mut Context<'_, Self>) {}

    /// A neighbour came or went.
    fn on_link(&mut self, peer: NodeIndex, up: bool, context: &mut Context<'_, Self>);

    /// The deadline has passed.
    fn on_deadline(&mut self, context: &mut Context<'_, Self>);

    /// When it wants to be called, by its own clock.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Looks at what handling the message will touch, and changes nothing. A world of a thousand nodes is larger than
    /// any cache: waiting for many memory reads at once is what makes it quick. The value means nothing.
    fn foresee(&self, _message: &Self::Message) -> u64 {
        0
    }

    /// A digest of a message, for the trace.
    fn digest(message: &Self::Message) -> u64;
}

/// What a process may do while it handles something.
pub struct Context<'a, P: Process> {
    /// Which node this is.
    pub node: NodeIndex,
    /// The node's own clock.
    pub now: Timestamp,
    /// What survives a crash of the node.
    pub disk: &'a mut P::Disk,
    rng: &'a mut ChaCha8Rng,
    out: &'a mut Vec<Out<P::Message>>,
    topology: &'a Topology,
    observed: &'a mut Vec<Observed<P::Observation>>,
    true_now: Timestamp,
}

/// Something a process reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed<O> {
    /// When, by a clock without skew.
    pub at: Timestamp,
    /// At which node.
    pub node: NodeIndex,
    /// What.
    pub what: O,
}

enum Out<M> {
    Gossip(M),
    Datagram(NodeIndex, M),
    Reliable(NodeIndex, M),
}

impl<P: Process> Context<'_, P> {
    /// Gossips to everyone the mesh reaches.
    pub fn gossip(&mut self, message: P::Message) {
        self.out.push(Out::Gossip(message));
    }

    /// Sends to one node; may be lost, doubled or late.
    pub fn send(&mut self, to: NodeIndex, message: P::Message) {
        self.out.push(Out::Datagram(to, message));
    }

    /// Sends to one node as over a stream: late when the link is bad, lost only when there is none.
    pub fn send_reliably(&mut self, to: NodeIndex, message: P::Message) {
        self.out.push(Out::Reliable(to, message));
    }

    /// Round trip to a node on an idle link.
    #[must_use]
    pub fn round_trip(&self, to: NodeIndex) -> Duration {
        Duration::from_millis(2 * u64::from(self.topology.latency_ms(self.node, to)))
    }

    /// Reports something to the test.
    pub fn observe(&mut self, what: P::Observation) {
        self.observed.push(Observed { at: self.true_now, node: self.node, what });
    }

    /// Randomness for seeding a machine.
    pub fn draw_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }
}

/// How the links behave. Chances are in parts per million.
#[derive(Clone, Debug)]
pub struct Links {
    /// Neighbours per node.
    pub degree: usize,
    /// One-way latency of a link, drawn once per link.
    pub latency_ms: std::ops::Range<u32>,
    /// Added to each message, drawn anew.
    pub jitter_ms: u32,
    /// Chance that a message is lost on a link.
    pub loss_ppm: u32,
    /// Chance that a message arrives twice.
    pub duplicate_ppm: u32,
    /// Chance that a message is held up long enough for later ones to overtake it.
    pub reorder_ppm: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { degree: 8, latency_ms: 5..80, jitter_ms: 20, loss_ppm: 0, duplicate_ppm: 0, reorder_ppm: 0 }
    }
}

/// How long a message is held up when it is overtaken.
const HELD_UP_MS: u32 = 3_000;

/// What a lost message on a stream costs before it is sent again.
const RETRANSMIT_MS: u32 = 200;

/// A deadline that does not move although it was served this often is a machine that spins.
const SPINS_MAX: u32 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Event {
    Deliver { to: NodeIndex, from: NodeIndex, message: u32, life: u32, reliable: bool },
    Deadline { node: NodeIndex },
    Boot { node: NodeIndex },
}

struct Slot<P: Process> {
    setup: P::Setup,
    disk: P::Disk,
    process: Option<P>,
    /// Rises with every start, so that what was meant for an earlier life is not delivered.
    life: u32,
    paused: bool,
    waiting: Vec<Event>,
    /// This clock minus the true one, in milliseconds.
    skew_ms: i64,
    group: u32,
    deadline: u64,
}

struct Stored<M> {
    message: M,
    digest: u64,
    deliveries: u32,
}

/// All nodes and what is between them.
pub struct World<P: Process> {
    seed: u64,
    now_ms: u64,
    links: Links,
    rng: ChaCha8Rng,
    slots: Vec<Slot<P>>,
    topology: Topology,
    queue: Queue<Event>,
    flood: Flood,
    messages: Vec<Option<Stored<P::Message>>>,
    free: Vec<u32>,
    observed: Vec<Observed<P::Observation>>,
    out: Vec<Out<P::Message>>,
    trace: u64,
    delivered: u64,
}

impl<P: Process> World<P> {
    /// A world of as many nodes as there are `setups`, none of them running.
    #[must_use]
    pub fn new(seed: u64, links: Links, setups: Vec<P::Setup>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let topology = Topology::random(setups.len(), links.degree, links.latency_ms.clone(), &mut rng);
        let slot = |setup| Slot {
            setup,
            disk: P::Disk::default(),
            process: None,
            life: 0,
            paused: false,
            waiting: Vec::new(),
            skew_ms: 0,
            group: 0,
            deadline: u64::MAX,
        };
        Self {
            seed,
            now_ms: 0,
            flood: Flood::new(setups.len()),
            slots: setups.into_iter().map(slot).collect(),
            links,
            rng,
            topology,
            queue: Queue::new(),
            messages: Vec::new(),
            free: Vec::new(),
            observed: Vec::new(),
            out: Vec::new(),
            trace: seed,
            delivered: 0,
        }
    }

    /// The true time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        EPOCH + Duration::from_millis(self.now_ms)
    }

    /// Every node there is.
    pub fn nodes(&self) -> std::ops::Range<NodeIndex> {
        0..NodeIndex::try_from(self.slots.len()).expect("worlds are small")
    }

    /// The process on a node, while it runs.
    #[must_use]
    pub fn process(&self, node: NodeIndex) -> Option<&P> {
        self.slots[node as usize].process.as_ref()
    }

    /// A node's disk.
    #[must_use]
    pub fn disk(&self, node: NodeIndex) -> &P::Disk {
        &self.slots[node as usize].disk
    }

    /// What a node is made from at its next start.
    pub fn setup_mut(&mut self, node: NodeIndex) -> &mut P::Setup {
        &mut self.slots[node as usize].setup
    }

    /// Messages handed to processes so far.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// A digest of every event so far. Equal seeds and equal commands give equal traces.
    #[must_use]
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    /// What was reported since the last call.
    pub fn take_observations(&mut self) -> Vec<Observed<P::Observation>> {
        std::mem::take(&mut self.observed)
    }

    /// Starts every node, each at a random moment within `spread`.
    pub fn start_all(&mut self, spread: Duration) {
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX).max(1);
        for node in self.nodes() {
            let at = self.now_ms + 1 + self.rng.next_u64() % spread_ms;
            self.queue.push(at, Event::Boot { node });
        }
    }

    /// Starts a node now.
    pub fn start(&mut self, node: NodeIndex) {
        let slot = &mut self.slots[node as usize];
        assert!(slot.process.is_none(), "node {node} runs already");
        slot.life += 1;
        slot.deadline = u64::MAX;
        let (now, true_now) = (self.local_now(node), self.now());
        let mut out = std::mem::take(&mut self.out);
        let slot = &mut self.slots[node as usize];
        let mut context = Context {
            node,
            now,
            disk: &mut slot.disk,
            rng: &mut self.rng,
            out: &mut out,
            topology: &self.topology,
            observed: &mut self.observed,
            true_now,
        };
        slot.process = Some(P::boot(&slot.setup, &mut context));
        self.post(node, &mut out);
        self.out = out;
        self.announce(node, true);
        self.settle(node);
    }

    /// Stops a node without a word. Its disk stays.
    pub fn crash(&mut self, node: NodeIndex) {
        if self.slots[node as usize].process.is_some() {
            self.announce(node, false);
            let slot = &mut self.slots[node as usize];
            slot.process = None;
            slot.paused = false;
            slot.waiting.clear();
        }
    }

    /// Freezes a node: what arrives waits.
    pub fn pause(&mut self, node: NodeIndex) {
        self.slots[node as usize].paused = true;
    }

    /// Lets a frozen node go on.
    pub fn resume(&mut self, node: NodeIndex) {
        let slot = &mut self.slots[node as usize];
        slot.paused = false;
        // The deadlines first: the machine has to find out by itself that it slept.
        slot.deadline = self.now_ms + 1;
        self.queue.push(self.now_ms + 1, Event::Deadline { node });
        for event in std::mem::take(&mut slot.waiting) {
            self.queue.push(self.now_ms + 1, event);
        }
    }

    /// Sets a node's clock apart from the true one.
    pub fn set_skew(&mut self, node: NodeIndex, skew_ms: i64) {
        self.slots[node as usize].skew_ms = skew_ms;
        self.settle(node);
    }

    /// Changes the chance that a message is lost on a link.
    pub fn set_loss(&mut self, loss_ppm: u32) {
        self.links.loss_ppm = loss_ppm;
    }

    /// Cuts the network: nodes of different groups do not reach each other. Nodes in no group form one of their own.
    pub fn partition(&mut self, groups: &[&[NodeIndex]]) {
        let mut group_of = vec![0; self.slots.len()];
        for (number, group) in (1..).zip(groups) {
            for node in *group {
                group_of[*node as usize] = number;
            }
        }
        self.regroup(&group_of);
    }

    /// Ends every partition.
    pub fn heal(&mut self) {
        self.regroup(&vec![0; self.slots.len()]);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now_ms + u64::try_from(time.as_millis()).expect("a run has an end");
        self.run_to(end);
    }

    /// Lets time pass until `done`, looking every `step`. False when `limit` passed first.
    pub fn run_until(&mut self, limit: Duration, step: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now() + limit;
        while !done(self) {
            if self.now() >= end {
                return false;
            }
            self.run_for(step);
        }
        true
    }

    fn run_to(&mut self, end: u64) {
        while let Some((at, events)) = self.queue.pop(end) {
            self.now_ms = at;
            self.foresee(&events);
            for event in &events {
                self.perform(*event);
            }
            self.queue.recycle(events);
        }
        self.now_ms = end;
    }

    fn foresee(&self, events: &[Event]) {
        let mut seen = 0_u64;
        for event in events {
            if let Event::Deliver { to, message, .. } = event
                && let Some(process) = &self.slots[*to as usize].process
                && let Some(stored) = &self.messages[*message as usize]
            {
                seen = seen.wrapping_add(process.foresee(&stored.message));
            }
        }
        std::hint::black_box(seen);
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, message, life, reliable } => {
                if self.slots[to as usize].paused {
                    self.slots[to as usize].waiting.push(event);
                } else {
                    self.deliver(to, from, message, life, reliable);
                }
            }
            Event::Deadline { node } => self.deadline(node),
            Event::Boot { node } => {
                if self.slots[node as usize].process.is_none() {
                    self.note(1, u64::from(node), 0);
                    self.start(node);
                }
            }
        }
    }

    fn deliver(&mut self, to: NodeIndex, from: NodeIndex, message: u32, life: u32, reliable: bool) {
        let stored = self.messages[message as usize].as_mut().expect("a message stays until it is delivered");
        stored.deliveries -= 1;
        let last = stored.deliveries == 0;
        let (digest, content) = (stored.digest, stored.message.clone());
        if last {
            self.messages[message as usize] = None;
            self.free.push(message);
        }
        if self.slots[to as usize].process.is_some() && self.slots[to as usize].life == life {
            self.delivered += 1;
            self.note(2, u64::from(to) << 32 | u64::from(from), digest);
            self.with(to, |process, context| process.on_message(from, &content, context));
        } else if reliable {
            self.undelivered(from, to, &content);
        }
    }

    fn undelivered(&mut self, from: NodeIndex, to: NodeIndex, message: &P::Message) {
        if self.slots[from as usize].process.is_some() {
            self.with(from, |process, context| process.on_undelivered(to, message, context));
        }
    }

    fn deadline(&mut self, node: NodeIndex) {
        let slot = &mut self.slots[node as usize];
        // An earlier booking may have replaced this one.
        if slot.deadline == self.now_ms {
            slot.deadline = u64::MAX;
            self.settle(node);
        }
    }

    /// Serves the deadline if it has passed, and books the next.
    fn settle(&mut self, node: NodeIndex) {
        if self.slots[node as usize].paused {
            return;
        }
        for _ in 0..SPINS_MAX {
            let slot = &self.slots[node as usize];
            let Some(deadline) = slot.process.as_ref().and_then(Process::next_deadline) else { return };
            let at = self.true_ms(node, deadline);
            if at > self.now_ms {
                let slot = &mut self.slots[node as usize];
                if at < slot.deadline {
                    slot.deadline = at;
                    self.queue.push(at, Event::Deadline { node });
                }
                return;
            }
            self.note(3, u64::from(node), 0);
            self.call(node, |process, context| process.on_deadline(context));
        }
        panic!("node {node} names a deadline that is never served");
    }

    fn with(&mut self, node: NodeIndex, handle: impl FnOnce(&mut P, &mut Context<'_, P>)) {
        self.call(node, handle);
        self.settle(node);
    }

    fn call(&mut self, node: NodeIndex, handle: impl FnOnce(&mut P, &mut Context<'_, P>)) {
        let mut out = std::mem::take(&mut self.out);
        let (now, true_now) = (self.local_now(node), self.now());
        let slot = &mut self.slots[node as usize];
        let process = slot.process.as_mut().expect("only running nodes are called");
        let mut context = Context {
            node,
            now,
            disk: &mut slot.disk,
            rng: &mut self.rng,
            out: &mut out,
            topology: &self.topology,
            observed: &mut self.observed,
            true_now,
        };
        handle(process, &mut context);
        self.post(node, &mut out);
        self.out = out;
    }

    fn post(&mut self, from: NodeIndex, out: &mut Vec<Out<P::Message>>) {
        for out in out.drain(..) {
            match out {
                Out::Gossip(message) => self.post_gossip(from, message),
                Out::Datagram(to, message) => self.post_datagram(from, to, message),
                Out::Reliable(to, message) => self.post_reliable(from, to, message),
            }
        }
    }

    fn post_gossip(&mut self, from: NodeIndex, message: P::Message) {
        let id = self.store(message);
        let group = self.slots[from as usize].group;
        let slots = &self.slots;
        let reached = |node: NodeIndex| slots[node as usize].process.is_some() && slots[node as usize].group == group;
        let mut flood = std::mem::replace(&mut self.flood, Flood::new(0));
        flood.run(from, &self.topology, &self.links, &mut self.rng, reached);
        for (to, after_ms) in flood.arrivals() {
            self.book(id, from, to, after_ms, false);
            if chance(&mut self.rng, self.links.duplicate_ppm) {
                let later = after_ms + 1 + self.draw_ms(HELD_UP_MS);
                self.book(id, from, to, later, false);
            }
        }
        self.flood = flood;
        self.discard_unbooked(id);
    }

    fn post_datagram(&mut self, from: NodeIndex, to: NodeIndex, message: P::Message) {
        if !self.reaches(from, to) || chance(&mut self.rng, self.links.loss_ppm) {
            return;
        }
        let id = self.store(message);
        let copies = 1 + u32::from(chance(&mut self.rng, self.links.duplicate_ppm));
        for _ in 0..copies {
            let mut after_ms = self.delay_ms(from, to);
            if chance(&mut self.rng, self.links.reorder_ppm) {
                after_ms += self.draw_ms(HELD_UP_MS);
            }
            self.book(id, from, to, after_ms, false);
        }
    }

    fn post_reliable(&mut self, from: NodeIndex, to: NodeIndex, message: P::Message) {
        if !self.reaches(from, to) {
            return self.undelivered(from, to, &message);
        }
        let mut after_ms = self.delay_ms(from, to);
        while chance(&mut self.rng, self.links.loss_ppm) {
            after_ms += RETRANSMIT_MS;
        }
        let id = self.store(message);
        self.book(id, from, to, after_ms, true);
    }

    fn book(&mut self, message: u32, from: NodeIndex, to: NodeIndex, after_ms: u32, reliable: bool) {
        let stored = self.messages[message as usize].as_mut().expect("the message was just stored");
        stored.deliveries += 1;
        let life = self.slots[to as usize].life;
        let at = self.now_ms + u64::from(after_ms.max(1));
        self.queue.push(at, Event::Deliver { to, from, message, life, reliable });
    }

    fn store(&mut self, message: P::Message) -> u32 {
        let stored = Some(Stored { digest: P::digest(&message), message, deliveries: 0 });
        if let Some(id) = self.free.pop() {
            self.messages[id as usize] = stored;
            return id;
        }
        self.messages.push(stored);
        u32::try_from(self.messages.len() - 1).expect("far fewer messages are on their way")
    }

    fn discard_unbooked(&mut self, id: u32) {
        if self.messages[id as usize].as_ref().is_some_and(|stored| stored.deliveries == 0) {
            self.messages[id as usize] = None;
            self.free.push(id);
        }
    }

    fn reaches(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let (from, to) = (&self.slots[from as usize], &self.slots[to as usize]);
        to.process.is_some() && from.group == to.group
    }

    fn delay_ms(&mut self, from: NodeIndex, to: NodeIndex) -> u32 {
        self.topology.latency_ms(from, to) + self.draw_ms(self.links.jitter_ms)
    }

    fn draw_ms(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % (limit + 1)
    }

    /// Tells a node and its neighbours that their links came up, or its neighbours that they went down.
    fn announce(&mut self, node: NodeIndex, up: bool) {
        for peer in self.topology.neighbours(node).to_vec() {
            if self.reaches(node, peer) {
                self.with(peer, |process, context| process.on_link(node, up, context));
                if up {
                    self.with(node, |process, context| process.on_link(peer, up, context));
                }
            }
        }
    }

    fn regroup(&mut self, group_of: &[u32]) {
        let before: Vec<u32> = self.slots.iter().map(|slot| slot.group).collect();
        for (slot, group) in self.slots.iter_mut().zip(group_of) {
            slot.group = *group;
        }
        for node in self.nodes() {
            for peer in self.topology.neighbours(node).to_vec() {
                let (a, b) = (node as usize, peer as usize);
                let (was, is) = (before[a] == before[b], group_of[a] == group_of[b]);
                if was != is && self.slots[a].process.is_some() && self.slots[b].process.is_some() {
                    self.with(node, |process, context| process.on_link(peer, is, context));
                }
            }
        }
    }

    fn local_now(&self, node: NodeIndex) -> Timestamp {
        let local = (EPOCH.as_millis() + self.now_ms).saturating_add_signed(self.slots[node as usize].skew_ms);
        Timestamp::from_millis(local)
    }

    /// When the node's clock shows `local`, in true milliseconds since the epoch of the world.
    fn true_ms(&self, node: NodeIndex, local: Timestamp) -> u64 {
        let skew = self.slots[node as usize].skew_ms;
        local.as_millis().saturating_add_signed(-skew).saturating_sub(EPOCH.as_millis())
    }

    fn note(&mut self, kind: u64, whom: u64, what: u64) {
        for value in [self.now_ms << 2 | kind, whom, what] {
            self.trace = (self.trace ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
}

impl<P: Process> Drop for World<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated world had seed {} and stood at {} ms", self.seed, self.now_ms);
        }
    }
}

/// The seed to run with: `ANGEL_SEED` when it is set, to repeat a failure; otherwise the one given.
#[must_use]
pub fn seed_or(default: u64) -> u64 {
    std::env::var("ANGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default)
}

fn chance(rng: &mut ChaCha8Rng, ppm: u32) -> bool {
    ppm > 0 && rng.next_u32() % 1_000_000 < ppm
}
