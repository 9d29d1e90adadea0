//! How gossip spreads: every node passes a message on once, over each of its links, with loss and delay on each.
//! What comes out is when each node first has it: a shortest-path search over random delays.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::topology::Topology;
use super::{HELD_UP_MS, Links, NodeIndex};

/// No path over a handful of links takes longer, not even when held up twice.
const HORIZON_MS: usize = 8_192;

const NEVER: u32 = u32::MAX;

pub(super) struct Flood {
    /// When each node first has the message.
    first: Vec<u32>,
    /// Nodes by the time they may have it.
    buckets: Vec<Vec<NodeIndex>>,
    origin: NodeIndex,
}

impl Flood {
    pub(super) fn new(nodes: usize) -> Self {
        let buckets = if nodes == 0 { 0 } else { HORIZON_MS };
        Self { first: vec![NEVER; nodes], buckets: vec![Vec::new(); buckets], origin: 0 }
    }

    pub(super) fn run(
        &mut self,
        origin: NodeIndex,
        topology: &Topology,
        links: &Links,
        rng: &mut ChaCha8Rng,
        reached: impl Fn(NodeIndex) -> bool,
    ) {
        self.origin = origin;
        self.first.fill(NEVER);
        self.first[origin as usize] = 0;
        self.buckets[0].push(origin);
        let (mut waiting, mut at) = (1_usize, 0_usize);
        while waiting > 0 {
            let mut nodes = std::mem::take(&mut self.buckets[at]);
            waiting -= nodes.len();
            for node in nodes.drain(..) {
                if self.first[node as usize] as usize != at {
                    continue;
                }
                for (peer, latency_ms) in topology.links(node) {
                    let soonest = at + latency_ms as usize;
                    if self.first[peer as usize] as usize <= soonest || !reached(peer) {
                        continue;
                    }
                    let Some(delay_ms) = delay(links, rng) else { continue };
                    let arrival = (soonest + delay_ms as usize).max(at + 1);
                    if arrival < HORIZON_MS && arrival < self.first[peer as usize] as usize {
                        self.first[peer as usize] = u32::try_from(arrival).expect("within the horizon");
                        self.buckets[arrival].push(peer);
                        waiting += 1;
                    }
                }
            }
            self.buckets[at] = nodes;
            at += 1;
        }
    }

    /// Every node reached but the origin, and after how many milliseconds.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = (NodeIndex, u32)> {
        let arrivals = (0..).zip(self.first.iter().copied());
        arrivals.filter(|(node, first)| *first != NEVER && *node != self.origin)
    }
}

/// What a link adds to its latency; nothing when it loses the message.
fn delay(links: &Links, rng: &mut ChaCha8Rng) -> Option<u32> {
    let (low, high) = (rng.next_u32(), rng.next_u32());
    let ppm = low % 1_000_000;
    if ppm < links.loss_ppm {
        return None;
    }
    let held_up = ppm - links.loss_ppm < links.reorder_ppm;
    let extra = if held_up { high % HELD_UP_MS } else { 0 };
    Some(high % (links.jitter_ms + 1) + extra)
}
