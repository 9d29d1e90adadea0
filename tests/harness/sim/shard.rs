//! Nodes that live on one thread at a time, what they receive, and what they send.
//!
//! Nodes of one shard do not hear each other at once either: everything sent leaves by [`Shard::post`] and comes in by
//! [`Shard::book`], so that it makes no difference where the borders between shards lie.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::flood::Flood;
use super::queue::Queue;
use super::{Common, Context, EPOCH, HELD_UP_MS, NodeIndex, Observed, Process, RETRANSMIT_MS, SPINS_MAX, fold};
use angel_protocol::time::Timestamp;

/// Something sent: by whom, when, and as the how many-th thing the sender did with chance.
pub(super) struct Sent<M> {
    pub(super) at: u64,
    pub(super) from: NodeIndex,
    pub(super) number: u64,
    pub(super) out: Out<M>,
}

pub(super) enum Out<M> {
    Gossip(M),
    Datagram(NodeIndex, M),
    Reliable(NodeIndex, M),
    /// Back to the sender of what could not be delivered.
    Returned(NodeIndex, M),
}

/// A message on its way to the nodes of one shard.
pub(super) struct Parcel<M> {
    /// When it was sent, by whom, and as the how many-th: what arrives in one millisecond is handed over so.
    order: (u64, NodeIndex, u64),
    /// Who it is from in the eyes of the receiver.
    from: NodeIndex,
    kind: Kind,
    message: M,
    arrivals: Vec<Arrival>,
}

#[derive(Clone, Copy)]
struct Arrival {
    to: NodeIndex,
    after_ms: u32,
}

impl<M> Parcel<M> {
    /// When the first copy arrives.
    pub(super) fn first(&self) -> u64 {
        self.arrivals.iter().map(|arrival| self.order.0 + u64::from(arrival.after_ms)).min().unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody is told when it does not arrive.
    Unreliable,
    Reliable,
    Returned,
}

#[derive(Clone, Copy)]
enum Event {
    Deliver(Delivery),
    Deadline { node: NodeIndex },
}

#[derive(Clone, Copy)]
struct Delivery {
    to: NodeIndex,
    from: NodeIndex,
    message: u32,
    life: u32,
    kind: Kind,
}

/// A node: its machine, and what is around it.
pub(super) struct Slot<P: Process> {
    pub(super) setup: P::Setup,
    pub(super) disk: P::Disk,
    pub(super) process: Option<P>,
    pub(super) paused: bool,
    /// This clock minus the true one, in milliseconds.
    pub(super) skew_ms: i64,
    waiting: Vec<Delivery>,
    deadline: u64,
    /// How often this node did something with chance.
    drawn: u64,
    trace: u64,
}

impl<P: Process> Slot<P> {
    pub(super) fn new(setup: P::Setup) -> Self {
        Self {
            setup,
            disk: P::Disk::default(),
            process: None,
            paused: false,
            skew_ms: 0,
            waiting: Vec::new(),
            deadline: u64::MAX,
            drawn: 0,
            trace: 0,
        }
    }

    fn note(&mut self, now_ms: u64, kind: u64, whom: u64, what: u64) {
        self.trace = [now_ms << 2 | kind, whom, what].into_iter().fold(self.trace, fold);
    }
}

struct Stored<M> {
    message: M,
    digest: u64,
    deliveries: u32,
}

pub(super) struct Shard<P: Process> {
    first: NodeIndex,
    slots: Vec<Slot<P>>,
    now_ms: u64,
    queue: Queue<Event>,
    messages: Vec<Option<Stored<P::Message>>>,
    free: Vec<u32>,
    outbox: Vec<Sent<P::Message>>,
    flood: Flood,
    observed: Vec<Observed<P::Observation>>,
    foreseen: Vec<(NodeIndex, u32)>,
    delivered: u64,
}

/// Which of `shards` a node of a world of `nodes` is in.
pub(super) fn of(node: NodeIndex, nodes: usize, shards: usize) -> usize {
    node as usize / size(nodes, shards)
}

/// How many nodes each of `shards` has, the last perhaps fewer.
fn size(nodes: usize, shards: usize) -> usize {
    nodes.div_ceil(shards).max(1)
}

impl<P: Process> Shard<P> {
    pub(super) fn split(slots: Vec<Slot<P>>, shards: usize) -> Vec<Self> {
        let nodes = slots.len();
        let mut slots = slots.into_iter();
        let size = size(nodes, shards);
        let shard = |place: usize| Self {
            first: NodeIndex::try_from(place * size).expect("worlds are small"),
            slots: slots.by_ref().take(size).collect(),
            now_ms: 0,
            queue: Queue::new(),
            messages: Vec::new(),
            free: Vec::new(),
            outbox: Vec::new(),
            flood: Flood::new(nodes),
            observed: Vec::new(),
            foreseen: Vec::new(),
            delivered: 0,
        };
        (0..shards).map(shard).collect()
    }

    pub(super) fn into_slots(self) -> Vec<Slot<P>> {
        self.slots
    }

    pub(super) fn slot(&self, node: NodeIndex) -> &Slot<P> {
        &self.slots[(node - self.first) as usize]
    }

    pub(super) fn slot_mut(&mut self, node: NodeIndex) -> &mut Slot<P> {
        &mut self.slots[(node - self.first) as usize]
    }

    pub(super) const fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn traces(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().map(|slot| slot.trace)
    }

    pub(super) fn take_observations(&mut self) -> Vec<Observed<P::Observation>> {
        std::mem::take(&mut self.observed)
    }

    /// When the next event is, at most `limit`.
    pub(super) fn next(&self, limit: u64) -> Option<u64> {
        self.queue.next(limit)
    }

    /// Lets the nodes live from `start` up to and including `end`.
    pub(super) fn run(&mut self, start: u64, end: u64, common: &Common) {
        self.queue.advance(start);
        self.foresee(start, end);
        while let Some((at, events)) = self.queue.pop(end) {
            self.now_ms = at;
            // A machine that slept has to find out by itself, before it is told anything.
            for event in &events {
                if let Event::Deadline { node } = event {
                    self.deadline(*node, common);
                }
            }
            for event in &events {
                if let Event::Deliver(delivery) = event {
                    self.deliver(*delivery, common);
                }
            }
            self.queue.recycle(events);
        }
        self.now_ms = end;
    }

    /// First finds all places, then looks at all of them: what lies between two looks is so little that the processor has
    /// many under way at once.
    fn foresee(&mut self, start: u64, end: u64) {
        let mut foreseen = std::mem::take(&mut self.foreseen);
        for event in (start..=end).flat_map(|at| self.queue.at(at)) {
            if let Event::Deliver(Delivery { to, message, .. }) = event
                && let Some(process) = &self.slot(*to).process
                && let Some(stored) = &self.messages[*message as usize]
                && let Some(place) = process.foresee(&stored.message)
            {
                foreseen.push((*to, place));
            }
        }
        let mut seen = 0_u64;
        for (node, place) in foreseen.drain(..) {
            seen = seen.wrapping_add(self.slot(node).process.as_ref().map_or(0, |process| process.glance(place)));
        }
        std::hint::black_box(seen);
        self.foreseen = foreseen;
    }

    pub(super) fn boot(&mut self, node: NodeIndex, common: &Common) {
        let now_ms = self.now_ms;
        let slot = self.slot_mut(node);
        slot.note(now_ms, 1, u64::from(node), 0);
        slot.deadline = u64::MAX;
        let process = self.inside(node, common, |setup, _, context| P::boot(setup, context));
        self.slot_mut(node).process = Some(process);
    }

    pub(super) fn halt(&mut self, node: NodeIndex) {
        let slot = self.slot_mut(node);
        slot.process = None;
        slot.paused = false;
        for delivery in std::mem::take(&mut slot.waiting) {
            self.draw(delivery.message, |_, _| ());
        }
    }

    pub(super) fn resume(&mut self, node: NodeIndex) {
        let next = self.now_ms + 1;
        let slot = self.slot_mut(node);
        slot.paused = false;
        slot.deadline = next;
        let waiting = std::mem::take(&mut slot.waiting);
        self.queue.push(next, Event::Deadline { node });
        for delivery in waiting {
            self.queue.push(next, Event::Deliver(delivery));
        }
    }

    fn deliver(&mut self, delivery: Delivery, common: &Common) {
        let Delivery { to, from, message, life, kind } = delivery;
        let slot = self.slot_mut(to);
        if slot.paused {
            slot.waiting.push(delivery);
            return;
        }
        let reached = slot.process.is_some() && common.standing(to).life == life;
        self.draw(message, |shard, stored| {
            if !reached {
                if kind == Kind::Reliable {
                    shard.send_back(to, from, stored.message.clone());
                }
                return;
            }
            if kind == Kind::Returned {
                return shard.with(to, common, |process, context| {
                    process.on_undelivered(from, &stored.message, context);
                });
            }
            shard.delivered += 1;
            let now_ms = shard.now_ms;
            shard.slot_mut(to).note(now_ms, 2, u64::from(to) << 32 | u64::from(from), stored.digest);
            shard.with(to, common, |process, context| process.on_message(from, &stored.message, context));
        });
    }

    /// Hands out a stored message for one of its deliveries, and forgets it after the last.
    fn draw(&mut self, id: u32, hand_out: impl FnOnce(&mut Self, &Stored<P::Message>)) {
        let mut stored = self.messages[id as usize].take().expect("a message stays until it is delivered");
        hand_out(self, &stored);
        stored.deliveries -= 1;
        if stored.deliveries == 0 {
            self.free.push(id);
        } else {
            self.messages[id as usize] = Some(stored);
        }
    }

    fn send_back(&mut self, node: NodeIndex, sender: NodeIndex, message: P::Message) {
        let at = self.now_ms;
        let slot = self.slot_mut(node);
        slot.drawn += 1;
        let number = slot.drawn;
        self.outbox.push(Sent { at, from: node, number, out: Out::Returned(sender, message) });
    }

    fn deadline(&mut self, node: NodeIndex, common: &Common) {
        let now_ms = self.now_ms;
        let slot = self.slot_mut(node);
        // An earlier booking may have replaced this one.
        if slot.deadline == now_ms {
            slot.deadline = u64::MAX;
            self.settle(node, common);
        }
    }

    /// Serves the deadline if it has passed, and books the next.
    pub(super) fn settle(&mut self, node: NodeIndex, common: &Common) {
        let now_ms = self.now_ms;
        for _ in 0..SPINS_MAX {
            let slot = self.slot_mut(node);
            if slot.paused {
                return;
            }
            let Some(deadline) = slot.process.as_ref().and_then(Process::next_deadline) else { return };
            // When the node's clock shows the deadline, by the true one.
            let at = deadline.as_millis().saturating_add_signed(-slot.skew_ms).saturating_sub(EPOCH.as_millis());
            if at > now_ms {
                if at < slot.deadline {
                    slot.deadline = at;
                    self.queue.push(at, Event::Deadline { node });
                }
                return;
            }
            slot.note(now_ms, 3, u64::from(node), 0);
            self.call(node, common, |process, context| process.on_deadline(context));
        }
        panic!("node {node} names a deadline that is never served");
    }

    pub(super) fn with(&mut self, node: NodeIndex, common: &Common, handle: impl FnOnce(&mut P, &mut Context<'_, P>)) {
        self.call(node, common, handle);
        self.settle(node, common);
    }

    fn call(&mut self, node: NodeIndex, common: &Common, handle: impl FnOnce(&mut P, &mut Context<'_, P>)) {
        self.inside(node, common, |_, process, context| {
            handle(process.as_mut().expect("only running nodes are called"), context);
        });
    }

    fn inside<T>(
        &mut self,
        node: NodeIndex,
        common: &Common,
        act: impl FnOnce(&P::Setup, &mut Option<P>, &mut Context<'_, P>) -> T,
    ) -> T {
        let slot = &mut self.slots[(node - self.first) as usize];
        let local = (EPOCH.as_millis() + self.now_ms).saturating_add_signed(slot.skew_ms);
        let mut context = Context {
            node,
            now: Timestamp::from_millis(local),
            disk: &mut slot.disk,
            drawn: &mut slot.drawn,
            out: &mut self.outbox,
            common,
            observed: &mut self.observed,
            now_ms: self.now_ms,
        };
        act(&slot.setup, &mut slot.process, &mut context)
    }

    /// Decides where and when what was sent arrives: parcels for each of `shards`.
    pub(super) fn post(&mut self, common: &Common, shards: usize) -> Vec<Vec<Parcel<P::Message>>> {
        let mut parcels: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(shards).collect();
        let mut outbox = std::mem::take(&mut self.outbox);
        for sent in outbox.drain(..) {
            self.post_one(sent, common, &mut parcels);
        }
        self.outbox = outbox;
        parcels
    }

    fn post_one(&mut self, sent: Sent<P::Message>, common: &Common, parcels: &mut [Vec<Parcel<P::Message>>]) {
        let Sent { at, from, number, out } = sent;
        let mut rng = common.rng(from, number);
        let mut arrivals = Vec::new();
        let (message, kind, seen_from) = match out {
            Out::Gossip(message) => {
                self.gossip(from, common, &mut rng, &mut arrivals);
                (message, Kind::Unreliable, from)
            }
            Out::Datagram(to, message) => {
                datagram(from, to, common, &mut rng, &mut arrivals);
                (message, Kind::Unreliable, from)
            }
            Out::Reliable(to, message) if common.reaches(from, to) => {
                arrivals.push(reliable(from, to, common, &mut rng));
                (message, Kind::Reliable, from)
            }
            Out::Reliable(to, message) => {
                arrivals.push(Arrival { to: from, after_ms: common.topology.latency_ms(from, to) });
                (message, Kind::Returned, to)
            }
            Out::Returned(to, message) => {
                arrivals.push(Arrival { to, after_ms: common.topology.latency_ms(from, to) });
                (message, Kind::Returned, from)
            }
        };
        let size = size(common.standings.len(), parcels.len());
        let order = (at, from, number);
        let (mut rest, mut message) = (arrivals.as_slice(), Some(message));
        // Those of one shard lie together, since gossip arrives by node and anything else at one node.
        while let Some(Arrival { to, .. }) = rest.first() {
            let place = *to as usize / size;
            let nodes = place * size..(place + 1) * size;
            let here = rest.iter().take_while(|arrival| nodes.contains(&(arrival.to as usize))).count();
            let (arrivals, others) = rest.split_at(here);
            rest = others;
            // The last may keep the original.
            let message = if rest.is_empty() { message.take() } else { message.as_ref().map(P::apart) };
            let message = message.expect("taken with the last arrivals only");
            parcels[place].push(Parcel { order, from: seen_from, kind, message, arrivals: arrivals.to_vec() });
        }
    }

    fn gossip(&mut self, from: NodeIndex, common: &Common, rng: &mut ChaCha8Rng, arrivals: &mut Vec<Arrival>) {
        let group = common.standing(from).group;
        let reached = |node: NodeIndex| common.standing(node).running && common.standing(node).group == group;
        self.flood.run(from, &common.topology, &common.links, rng, reached);
        for (to, after_ms) in self.flood.arrivals() {
            arrivals.push(Arrival { to, after_ms });
            if chance(rng, common.links.duplicate_ppm) {
                arrivals.push(Arrival { to, after_ms: after_ms + 1 + draw_ms(rng, HELD_UP_MS) });
            }
        }
    }

    /// Takes in what was posted to the nodes of this shard.
    pub(super) fn book(&mut self, mut parcels: Vec<Parcel<P::Message>>, common: &Common) {
        parcels.sort_unstable_by_key(|parcel| parcel.order);
        for Parcel { order: (at, ..), from, kind, message, arrivals } in parcels {
            let deliveries = u32::try_from(arrivals.len()).expect("a few for each node");
            let message = self.store(Stored { digest: P::digest(&message), message, deliveries });
            for Arrival { to, after_ms } in arrivals {
                let life = common.standing(to).life;
                let delivery = Delivery { to, from, message, life, kind };
                self.queue.push(at + u64::from(after_ms), Event::Deliver(delivery));
            }
        }
    }

    fn store(&mut self, stored: Stored<P::Message>) -> u32 {
        if let Some(id) = self.free.pop() {
            self.messages[id as usize] = Some(stored);
            return id;
        }
        self.messages.push(Some(stored));
        u32::try_from(self.messages.len() - 1).expect("far fewer messages are on their way")
    }

    /// Nothing happens until `end`.
    pub(super) fn rest(&mut self, end: u64) {
        self.queue.advance(end);
        self.now_ms = end;
    }
}

fn datagram(from: NodeIndex, to: NodeIndex, common: &Common, rng: &mut ChaCha8Rng, arrivals: &mut Vec<Arrival>) {
    let links = &common.links;
    if !common.reaches(from, to) || chance(rng, links.loss_ppm) {
        return;
    }
    for _ in 0..1 + u32::from(chance(rng, links.duplicate_ppm)) {
        let mut after_ms = delay_ms(from, to, common, rng);
        if chance(rng, links.reorder_ppm) {
            after_ms += draw_ms(rng, HELD_UP_MS);
        }
        arrivals.push(Arrival { to, after_ms });
    }
}

fn reliable(from: NodeIndex, to: NodeIndex, common: &Common, rng: &mut ChaCha8Rng) -> Arrival {
    let mut after_ms = delay_ms(from, to, common, rng);
    while chance(rng, common.links.loss_ppm) {
        after_ms += RETRANSMIT_MS;
    }
    Arrival { to, after_ms }
}

fn delay_ms(from: NodeIndex, to: NodeIndex, common: &Common, rng: &mut ChaCha8Rng) -> u32 {
    common.topology.latency_ms(from, to) + draw_ms(rng, common.links.jitter_ms)
}

fn draw_ms(rng: &mut ChaCha8Rng, limit: u32) -> u32 {
    rng.next_u32() % (limit + 1)
}

fn chance(rng: &mut ChaCha8Rng, ppm: u32) -> bool {
    ppm > 0 && rng.next_u32() % 1_000_000 < ppm
}
