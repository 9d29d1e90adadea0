//! A deterministic simulator for protocol machines: many nodes, virtual time, one seed.
//!
//! [`World`] runs any [`Process`]: it owns the clock, the links and the disks, and decides from its seed alone what is
//! lost, late, doubled or out of order. The same seed gives the same run, event by event; [`World::trace`] proves it.
//! A world that is dropped by a panic prints its seed.
//!
//! A large world runs on several threads, and gives the same run on any number of them. No message takes less than the
//! lowest latency, so for that long the nodes cannot hear each other: the threads let them live through such a window,
//! one shard of them after the other, then what was sent is handed over. What is drawn for a message depends on its
//! sender and its number only, and what a node receives within one millisecond comes in order of sending.
//!
//! What it leaves out on purpose: computing takes no virtual time, and gossip is flooded over the mesh as the links
//! stand at the moment of publishing, every living node passing it on. Real gossip repairs what this one loses.

mod flood;
mod lockstep;
pub mod membership;
mod queue;
mod shard;
mod topology;

use std::collections::BTreeMap;
use std::time::Duration;

use angel_protocol::time::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use shard::{Out, Sent, Shard, Slot};
use topology::Topology;

/// A node's place in the world, from 0.
pub type NodeIndex = u32;

/// When every world begins, by a clock without skew.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A machine with its driver: what runs on one node.
pub trait Process: Sized + Send {
    /// What travels between nodes. Shared, so that one message to a thousand nodes is one allocation.
    type Message: Clone + Send;
    /// What survives a crash.
    type Disk: Default + Send;
    /// What a node is made from, each time it starts.
    type Setup: Send;
    /// What a test wants to know about.
    type Observation: Send;

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

    /// Which place of its memory handling the message will touch, and changes nothing. A world of a thousand nodes is
    /// larger than any cache: waiting for many memory reads at once is what makes it quick.
    fn foresee(&self, _message: &Self::Message) -> Option<u32> {
        None
    }

    /// Looks at such a place, and changes nothing. The value means nothing.
    fn glance(&self, _place: u32) -> u64 {
        0
    }

    /// A copy for the nodes of another shard. It should share nothing that is counted with the original: a counter
    /// that two processors write costs more than the copy.
    fn apart(message: &Self::Message) -> Self::Message {
        message.clone()
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
    drawn: &'a mut u64,
    out: &'a mut Vec<Sent<P::Message>>,
    common: &'a Common,
    observed: &'a mut Vec<Observed<P::Observation>>,
    now_ms: u64,
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

impl<P: Process> Context<'_, P> {
    /// Gossips to everyone the mesh reaches.
    pub fn gossip(&mut self, message: P::Message) {
        self.put(Out::Gossip(message));
    }

    /// Sends to one node; may be lost, doubled or late.
    pub fn send(&mut self, to: NodeIndex, message: P::Message) {
        self.put(Out::Datagram(to, message));
    }

    /// Sends to one node as over a stream: late when the link is bad, lost only when there is none.
    pub fn send_reliably(&mut self, to: NodeIndex, message: P::Message) {
        self.put(Out::Reliable(to, message));
    }

    /// Round trip to a node on an idle link.
    #[must_use]
    pub fn round_trip(&self, to: NodeIndex) -> Duration {
        Duration::from_millis(2 * u64::from(self.common.topology.latency_ms(self.node, to)))
    }

    /// Reports something to the test.
    pub fn observe(&mut self, what: P::Observation) {
        self.observed.push(Observed { at: true_time(self.now_ms), node: self.node, what });
    }

    /// Randomness for seeding a machine.
    pub fn draw_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.common.rng(self.node, self.number()).fill_bytes(&mut seed);
        seed
    }

    fn put(&mut self, out: Out<P::Message>) {
        let number = self.number();
        self.out.push(Sent { at: self.now_ms, from: self.node, number, out });
    }

    fn number(&mut self) -> u64 {
        *self.drawn += 1;
        *self.drawn
    }
}

/// How the links behave. Chances are in parts per million.
#[derive(Clone, Debug)]
pub struct Links {
    /// Neighbours per node.
    pub degree: usize,
    /// One-way latency of a link, drawn once per link. The lowest bounds how long threads run apart.
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

/// Worlds below this size run on one thread: others would mostly wait for each other.
const NODES_PER_THREAD: usize = 250;

/// Shards that several threads share the work on, for each of them: so many that none waits long for another, and so few
/// that there is something to do in each.
const SHARDS_PER_THREAD: usize = 2;

/// More threads than this have too little to do between two meetings.
const THREADS_MAX: usize = 4;

/// What all threads read, and nobody changes while time passes.
struct Common {
    seed: u64,
    links: Links,
    topology: Topology,
    standings: Vec<Standing>,
}

/// What others have to know of a node to reach it.
#[derive(Clone, Copy, Default)]
struct Standing {
    running: bool,
    /// Rises with every start, so that what was meant for an earlier life is not delivered.
    life: u32,
    group: u32,
}

impl Common {
    fn standing(&self, node: NodeIndex) -> Standing {
        self.standings[node as usize]
    }

    fn reaches(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let (from, to) = (self.standing(from), self.standing(to));
        to.running && from.group == to.group
    }

    /// The randomness of what a node does for the `number`th time.
    fn rng(&self, node: NodeIndex, number: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_be_bytes());
        key[8..16].copy_from_slice(&number.to_be_bytes());
        key[16..20].copy_from_slice(&node.to_be_bytes());
        ChaCha8Rng::from_seed(key)
    }

    /// No message is quicker: for so many milliseconds, nodes do not hear of each other.
    fn lookahead_ms(&self) -> u64 {
        u64::from(self.links.latency_ms.start.max(1))
    }
}

/// All nodes and what is between them.
pub struct World<P: Process> {
    now_ms: u64,
    rng: ChaCha8Rng,
    common: Common,
    shards: Vec<Shard<P>>,
    threads: usize,
    boots: BTreeMap<u64, Vec<NodeIndex>>,
}

impl<P: Process> World<P> {
    /// A world of as many nodes as there are `setups`, none of them running.
    #[must_use]
    pub fn new(seed: u64, links: Links, setups: Vec<P::Setup>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let topology = Topology::random(setups.len(), links.degree, links.latency_ms.clone(), &mut rng);
        let standings = vec![Standing::default(); setups.len()];
        let common = Common { seed, links, topology, standings };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (setups.len() / NODES_PER_THREAD).clamp(1, processors.min(THREADS_MAX));
        let slots = setups.into_iter().map(Slot::new).collect();
        let shards = Shard::split(slots, shards_for(threads));
        Self { now_ms: 0, rng, common, shards, threads, boots: BTreeMap::new() }
    }

    /// Chooses how many threads share the work. It changes nothing but the time it takes.
    ///
    /// # Panics
    /// When something has happened already.
    pub fn set_threads(&mut self, threads: usize) {
        assert!(self.now_ms == 0 && !self.common.standings.iter().any(|standing| standing.life > 0), "too late");
        let slots = std::mem::take(&mut self.shards).into_iter().flat_map(Shard::into_slots).collect();
        self.threads = threads.max(1);
        self.shards = Shard::split(slots, shards_for(self.threads));
    }

    /// How many threads share the work.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// The true time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        true_time(self.now_ms)
    }

    /// Every node there is.
    pub fn nodes(&self) -> std::ops::Range<NodeIndex> {
        0..NodeIndex::try_from(self.common.standings.len()).expect("worlds are small")
    }

    /// The process on a node, while it runs.
    #[must_use]
    pub fn process(&self, node: NodeIndex) -> Option<&P> {
        self.shard(node).slot(node).process.as_ref()
    }

    /// A node's disk.
    #[must_use]
    pub fn disk(&self, node: NodeIndex) -> &P::Disk {
        &self.shard(node).slot(node).disk
    }

    /// What a node is made from at its next start.
    pub fn setup_mut(&mut self, node: NodeIndex) -> &mut P::Setup {
        &mut self.shard_mut(node).0.slot_mut(node).setup
    }

    /// Messages handed to processes so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.shards.iter().map(Shard::delivered).sum()
    }

    /// A digest of every event so far. Equal seeds and equal commands give equal traces.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.shards.iter().flat_map(Shard::traces).fold(self.common.seed, fold)
    }

    /// What was reported since the last call, by time, and by node within a millisecond.
    pub fn take_observations(&mut self) -> Vec<Observed<P::Observation>> {
        let mut observed: Vec<_> = self.shards.iter_mut().flat_map(Shard::take_observations).collect();
        observed.sort_by_key(|observed| (observed.at, observed.node));
        observed
    }

    /// Starts every node, each at a random moment within `spread`.
    pub fn start_all(&mut self, spread: Duration) {
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX).max(1);
        for node in self.nodes() {
            let at = self.now_ms + 1 + self.rng.next_u64() % spread_ms;
            self.boots.entry(at).or_default().push(node);
        }
    }

    /// Starts a node now.
    pub fn start(&mut self, node: NodeIndex) {
        let standing = &mut self.common.standings[node as usize];
        assert!(!standing.running, "node {node} runs already");
        standing.running = true;
        standing.life += 1;
        let (shard, common) = self.shard_mut(node);
        shard.boot(node, common);
        self.hand_over();
        self.announce(node, true);
        self.settle(node);
    }

    /// Stops a node without a word. Its disk stays.
    pub fn crash(&mut self, node: NodeIndex) {
        if self.common.standing(node).running {
            self.announce(node, false);
            self.common.standings[node as usize].running = false;
            self.shard_mut(node).0.halt(node);
        }
    }

    /// Freezes a node: what arrives waits.
    pub fn pause(&mut self, node: NodeIndex) {
        self.shard_mut(node).0.slot_mut(node).paused = true;
    }

    /// Lets a frozen node go on.
    pub fn resume(&mut self, node: NodeIndex) {
        self.shard_mut(node).0.resume(node);
    }

    /// Sets a node's clock apart from the true one.
    pub fn set_skew(&mut self, node: NodeIndex, skew_ms: i64) {
        self.shard_mut(node).0.slot_mut(node).skew_ms = skew_ms;
        self.settle(node);
    }

    /// Changes the chance that a message is lost on a link.
    pub fn set_loss(&mut self, loss_ppm: u32) {
        self.common.links.loss_ppm = loss_ppm;
    }

    /// Cuts the network: nodes of different groups do not reach each other. Nodes in no group form one of their own.
    pub fn partition(&mut self, groups: &[&[NodeIndex]]) {
        let mut group_of = vec![0; self.common.standings.len()];
        for (number, group) in (1..).zip(groups) {
            for node in *group {
                group_of[*node as usize] = number;
            }
        }
        self.regroup(&group_of);
    }

    /// Ends every partition.
    pub fn heal(&mut self) {
        self.regroup(&vec![0; self.common.standings.len()]);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now_ms + u64::try_from(time.as_millis()).expect("a run has an end");
        while let Some(boot) = self.boots.first_entry().filter(|boot| *boot.key() <= end) {
            let (at, nodes) = boot.remove_entry();
            self.run_to(at);
            for node in nodes {
                if !self.common.standing(node).running {
                    self.start(node);
                }
            }
        }
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
        lockstep::run(&mut self.shards, self.threads, &self.common, end);
        self.now_ms = end;
    }

    /// Lets a node handle something between two runs.
    fn with(&mut self, node: NodeIndex, handle: impl FnOnce(&mut P, &mut Context<'_, P>)) {
        let (shard, common) = self.shard_mut(node);
        shard.with(node, common, handle);
        self.hand_over();
    }

    fn settle(&mut self, node: NodeIndex) {
        let (shard, common) = self.shard_mut(node);
        shard.settle(node, common);
        self.hand_over();
    }

    /// Posts what was sent between two runs.
    fn hand_over(&mut self) {
        let shards = self.shards.len();
        for source in 0..shards {
            let parcels = self.shards[source].post(&self.common, shards);
            for (shard, parcels) in self.shards.iter_mut().zip(parcels) {
                shard.book(parcels, &self.common);
            }
        }
    }

    /// Tells a node and its neighbours that their links came up, or its neighbours that they went down.
    fn announce(&mut self, node: NodeIndex, up: bool) {
        for peer in self.common.topology.neighbours(node).to_vec() {
            if self.common.reaches(node, peer) {
                self.with(peer, |process, context| process.on_link(node, up, context));
                if up {
                    self.with(node, |process, context| process.on_link(peer, up, context));
                }
            }
        }
    }

    fn regroup(&mut self, group_of: &[u32]) {
        let before: Vec<u32> = self.common.standings.iter().map(|standing| standing.group).collect();
        for (standing, group) in self.common.standings.iter_mut().zip(group_of) {
            standing.group = *group;
        }
        for node in self.nodes() {
            for peer in self.common.topology.neighbours(node).to_vec() {
                let (a, b) = (node as usize, peer as usize);
                let (was, is) = (before[a] == before[b], group_of[a] == group_of[b]);
                if was != is && self.common.standing(node).running && self.common.standing(peer).running {
                    self.with(node, |process, context| process.on_link(peer, is, context));
                }
            }
        }
    }

    fn shard(&self, node: NodeIndex) -> &Shard<P> {
        &self.shards[shard::of(node, self.common.standings.len(), self.shards.len())]
    }

    fn shard_mut(&mut self, node: NodeIndex) -> (&mut Shard<P>, &Common) {
        let place = shard::of(node, self.common.standings.len(), self.shards.len());
        (&mut self.shards[place], &self.common)
    }
}

impl<P: Process> Drop for World<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated world had seed {} and stood behind {} ms", self.common.seed, self.now_ms);
        }
    }
}

/// The seed to run with: `ANGEL_SEED` when it is set, to repeat a failure; otherwise the one given.
#[must_use]
pub fn seed_or(default: u64) -> u64 {
    std::env::var("ANGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default)
}

const fn shards_for(threads: usize) -> usize {
    if threads == 1 { 1 } else { threads * SHARDS_PER_THREAD }
}

fn true_time(now_ms: u64) -> Timestamp {
    EPOCH + Duration::from_millis(now_ms)
}

fn fold(trace: u64, value: u64) -> u64 {
    (trace ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
