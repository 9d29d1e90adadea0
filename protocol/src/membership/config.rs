//! The numbers of membership. The defaults are those of the network specification; tests shorten them.

use std::time::Duration;

use super::admission::Admission;
use crate::limits::MEMBERS_MAX;

/// How this node takes part. All nodes of a network should agree on the times; nothing breaks when they do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who may join (`network.md` 2.4).
    pub admission: Admission,
    /// Nodes the registry holds; at most [`MEMBERS_MAX`].
    pub members_max: usize,
    /// Mean time between two heartbeats (NET-01).
    pub interval: Duration,
    /// Largest shift of a heartbeat, either way (NET-01).
    pub jitter: Duration,
    /// Silence after which a node counts as degraded: three missed heartbeats (NET-03).
    pub degraded_after: Duration,
    /// Silence after which a node counts as offline: ten missed heartbeats (NET-03).
    pub offline_after: Duration,
    /// Heartbeats in a row that bring a node back online (NET-03).
    pub online_after: u8,
    /// Least time between two heartbeats of one node, by its own clock (NET-09).
    pub rate_limit: Duration,
    /// Least time this node leaves between two of its own: the rate limit and some room.
    pub spacing: Duration,
    /// Silence after which an entry is dropped and its `nodeId` is free again (`network.md` 2.3).
    pub forget_after: Duration,
    /// Age up to which heartbeats make up the topology (NET-07).
    pub topology_window: Duration,
    /// How far back the rule of isolation compares (NET-08).
    pub isolation_window: Duration,
    /// Grain of the failure detector: a verdict may come this much late, and a node wakes this rarely.
    pub grain: Duration,
    /// How late this machine may be called before it takes the silence for its own.
    pub stall_after: Duration,
    /// How often an entry that only grew older is persisted.
    pub persist_every: Duration,
    /// Sequence numbers reserved at a time.
    pub sequence_block: u64,
    /// Time between two registry exchanges with a random peer.
    pub exchange_every: Duration,
    /// The same during the first half minute, while the network is being discovered.
    pub exchange_every_at_start: Duration,
    /// How long the start lasts in this sense.
    pub start_lasts: Duration,
    /// How long after a first connection a heartbeat is published again: the mesh needs a moment to form.
    pub settle: Duration,
    /// First wait before a record is asked for again; doubled each time.
    pub fetch_retry: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            admission: Admission::Invite { founders: std::collections::BTreeSet::new() },
            members_max: MEMBERS_MAX,
            interval: Duration::from_secs(30),
            jitter: Duration::from_secs(5),
            degraded_after: Duration::from_secs(90),
            offline_after: Duration::from_secs(300),
            online_after: 2,
            rate_limit: Duration::from_secs(5),
            spacing: Duration::from_secs(6),
            forget_after: Duration::from_secs(90 * 24 * 3600),
            topology_window: Duration::from_secs(600),
            isolation_window: Duration::from_secs(600),
            grain: Duration::from_secs(1),
            stall_after: Duration::from_secs(10),
            persist_every: Duration::from_secs(900),
            sequence_block: 1024,
            exchange_every: Duration::from_secs(60),
            exchange_every_at_start: Duration::from_secs(2),
            start_lasts: Duration::from_secs(30),
            settle: Duration::from_millis(1_200),
            fetch_retry: Duration::from_secs(60),
        }
    }
}
