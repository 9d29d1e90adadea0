//! Who is linked to whom, and how far away they are.

use std::collections::BTreeSet;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::NodeIndex;

pub(super) struct Topology {
    /// The neighbours of all nodes, one after another; `starts` says where each node's begin.
    neighbours: Vec<NodeIndex>,
    latencies: Vec<u32>,
    starts: Vec<usize>,
    range: Range<u32>,
    salt: u64,
}

impl Topology {
    /// A connected random graph: a ring, and chords until every node has `degree` neighbours, or nearly.
    pub(super) fn random(nodes: usize, degree: usize, range: Range<u32>, rng: &mut ChaCha8Rng) -> Self {
        let mut linked: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); nodes];
        let link = |linked: &mut Vec<BTreeSet<usize>>, a: usize, b: usize| {
            if a != b {
                linked[a].insert(b);
                linked[b].insert(a);
            }
        };
        let mut order: Vec<usize> = (0..nodes).collect();
        shuffle(&mut order, rng);
        for place in 0..nodes {
            link(&mut linked, order[place], order[(place + 1) % nodes]);
        }
        for a in 0..nodes {
            // Bounded: in a small world there may be nobody left to link to.
            for _ in 0..4 * degree {
                let b = below(rng, nodes);
                if linked[a].len() >= degree {
                    break;
                }
                if linked[b].len() < degree {
                    link(&mut linked, a, b);
                }
            }
        }
        let mut topology =
            Self { neighbours: Vec::new(), latencies: Vec::new(), starts: vec![0], range, salt: rng.next_u64() };
        for (node, neighbours) in linked.iter().enumerate() {
            for peer in neighbours {
                let (node, peer) = (index(node), index(*peer));
                topology.neighbours.push(peer);
                topology.latencies.push(topology.latency_ms(node, peer));
            }
            topology.starts.push(topology.neighbours.len());
        }
        topology
    }

    pub(super) fn neighbours(&self, node: NodeIndex) -> &[NodeIndex] {
        &self.neighbours[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    /// Neighbours with their one-way latency.
    pub(super) fn links(&self, node: NodeIndex) -> impl Iterator<Item = (NodeIndex, u32)> {
        let range = self.starts[node as usize]..self.starts[node as usize + 1];
        self.neighbours[range.clone()].iter().copied().zip(self.latencies[range].iter().copied())
    }

    /// One-way latency between two nodes, linked or not; the same both ways.
    pub(super) fn latency_ms(&self, a: NodeIndex, b: NodeIndex) -> u32 {
        let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
        let mixed = (pair ^ self.salt).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33;
        let width = u64::from(self.range.end.saturating_sub(self.range.start).max(1));
        self.range.start + u32::try_from(mixed % width).expect("less than a 32-bit width")
    }
}

fn index(node: usize) -> NodeIndex {
    NodeIndex::try_from(node).expect("worlds are small")
}

fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    usize::try_from(rng.next_u64() % limit as u64).expect("below a usize")
}

fn shuffle(items: &mut [usize], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last + 1));
    }
}
