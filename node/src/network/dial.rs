//! Whom to dial, and when: bootstrap nodes, persistent peers, and peers found on the way.
//!
//! No I/O: the event loop says what happened and what time it is, and dials what it is told to.

use std::collections::{BTreeMap, HashMap};

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::time::Timestamp;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId};

use super::address;

/// Peers told by others whose addresses are kept; a further one takes the place of an arbitrary one.
const KNOWN_MAX: usize = 1024;

/// Addresses kept per peer that it told itself.
pub(super) const ADDRESSES_PER_PEER_MAX: usize = 8;

/// Addresses kept per peer that only others told. They never take the place of its own word.
const HEARSAY_PER_PEER_MAX: usize = 4;

/// A place the operator named.
#[derive(Debug)]
struct Target {
    /// Learned at the first connection when the address does not say.
    peer: Option<PeerId>,
    addresses: Vec<Multiaddr>,
    /// Persistent peers are always wanted, bootstrap nodes while there are few peers.
    persistent: bool,
    backoff: Backoff,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle { due: Timestamp },
    Dialing,
    Connected,
}

/// The places the operator named.
#[derive(Debug)]
pub(super) struct Targets {
    targets: Vec<Target>,
    dialing: HashMap<ConnectionId, usize>,
}

impl Targets {
    /// Addresses of one peer are tried together. Our own are left out: one list may serve all nodes.
    pub(super) fn new(
        local: PeerId,
        persistent: &[(PeerId, Multiaddr)],
        bootstrap: &[Multiaddr],
        policy: Policy,
    ) -> Self {
        let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for (peer, address) in persistent {
            peers.entry(*peer).or_default().push(address.clone());
        }
        let new = |peer, addresses, persistent| Target {
            peer,
            addresses,
            persistent,
            backoff: Backoff::new(policy),
            state: State::Idle { due: Timestamp::EPOCH },
        };
        let mut targets: Vec<Target> =
            peers.into_iter().map(|(peer, addresses)| new(Some(peer), addresses, true)).collect();
        let mut named: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for bootstrap in bootstrap {
            match address::split_peer(bootstrap) {
                (address, Some(peer)) => named.entry(peer).or_default().push(address),
                (address, None) => targets.push(new(None, vec![address], false)),
            }
        }
        targets.extend(named.into_iter().map(|(peer, addresses)| new(Some(peer), addresses, false)));
        targets.retain(|target| target.peer != Some(local));
        Self { targets, dialing: HashMap::new() }
    }

    pub(super) fn is_persistent(&self, peer: &PeerId) -> bool {
        self.targets.iter().any(|target| target.persistent && target.peer.as_ref() == Some(peer))
    }

    /// What to dial now. Each answer counts as being dialed until [`Self::connected`] or [`Self::failed`].
    pub(super) fn due(&mut self, now: Timestamp, few_peers: bool) -> Vec<DialOpts> {
        let mut dials = Vec::new();
        for (index, target) in self.targets.iter_mut().enumerate() {
            let is_due = matches!(target.state, State::Idle { due } if due <= now);
            if !is_due || !(target.persistent || few_peers) {
                continue;
            }
            let dial = match target.peer {
                Some(peer) => DialOpts::peer_id(peer).addresses(target.addresses.clone()).build(),
                None => DialOpts::unknown_peer_id().address(target.addresses[0].clone()).build(),
            };
            target.state = State::Dialing;
            self.dialing.insert(dial.connection_id(), index);
            dials.push(dial);
        }
        dials
    }

    /// A connection of ours is open.
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(index) = self.dialing.remove(&connection)
            && self.targets[index].peer.is_none()
        {
            self.targets[index].peer = Some(peer);
        }
    }

    /// A peer proved to be one of this network.
    pub(super) fn identified(&mut self, peer: PeerId, now: Timestamp) {
        for target in self.targets.iter_mut().filter(|target| target.peer == Some(peer)) {
            target.state = State::Connected;
            target.backoff.succeeded(now);
        }
    }

    /// A dial failed. Answers how often in a row, when it was one of these.
    pub(super) fn failed(&mut self, connection: ConnectionId, now: Timestamp, random: u64) -> Option<u32> {
        let index = self.dialing.remove(&connection)?;
        let target = &mut self.targets[index];
        if target.state == State::Dialing {
            target.state = State::Idle { due: now + target.backoff.failed(now, random) };
        }
        Some(target.backoff.failures())
    }

    /// The last connection to a peer is gone.
    pub(super) fn disconnected(&mut self, peer: PeerId, now: Timestamp, mut random: impl FnMut() -> u64) {
        for (index, target) in self.targets.iter_mut().enumerate() {
            // A dial that is under way will say itself how it ended.
            let under_way = self.dialing.values().any(|other| *other == index);
            if target.peer == Some(peer) && !under_way {
                target.state = State::Idle { due: now + target.backoff.failed(now, random()) };
            }
        }
    }
}

/// Peers that others told us of, and how dialing whom we found went.
#[derive(Debug)]
pub(super) struct Found {
    policy: Policy,
    known: HashMap<PeerId, Vec<Multiaddr>>,
    hearsay: HashMap<PeerId, Vec<Multiaddr>>,
    tried: HashMap<PeerId, (Backoff, Timestamp)>,
    dialing: HashMap<ConnectionId, PeerId>,
}

impl Found {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, known: HashMap::new(), hearsay: HashMap::new(), tried: HashMap::new(), dialing: HashMap::new() }
    }

    /// Remembers addresses that a peer told of itself, the newest first. New ones are a reason to dial it soon.
    pub(super) fn add(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        if remember(&mut self.known, peer, addresses, ADDRESSES_PER_PEER_MAX) {
            self.tried.remove(&peer);
        }
    }

    /// Remembers where others say that a peer is.
    pub(super) fn hear(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        remember(&mut self.hearsay, peer, addresses, HEARSAY_PER_PEER_MAX);
    }

    /// Where a peer may be, what it told itself first.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut addresses = self.known.get(peer).cloned().unwrap_or_default();
        let hearsay = self.hearsay.get(peer).into_iter().flatten();
        let more: Vec<_> = hearsay.filter(|address| !addresses.contains(address)).cloned().collect();
        addresses.extend(more);
        addresses
    }

    pub(super) fn known(&self) -> impl Iterator<Item = PeerId> + '_ {
        let heard = self.hearsay.keys().filter(|peer| !self.known.contains_key(peer));
        self.known.keys().chain(heard).copied()
    }

    pub(super) fn dials_under_way(&self) -> usize {
        self.dialing.len()
    }

    /// Whether a peer may be dialed now, as far as earlier failures are concerned.
    pub(super) fn may_dial(&self, peer: &PeerId, now: Timestamp) -> bool {
        self.tried.get(peer).is_none_or(|(_, due)| *due <= now) && !self.dialing.values().any(|other| other == peer)
    }

    /// Whether dialing a peer came to nothing since it was last connected or told a new address.
    pub(super) fn has_failed(&self, peer: &PeerId) -> bool {
        self.tried.contains_key(peer)
    }

    pub(super) fn dialing(&mut self, connection: ConnectionId, peer: PeerId) {
        self.dialing.insert(connection, peer);
    }

    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        self.dialing.remove(&connection);
        self.tried.remove(&peer);
    }

    pub(super) fn failed(&mut self, connection: ConnectionId, now: Timestamp, random: u64) {
        let Some(peer) = self.dialing.remove(&connection) else { return };
        make_room(&mut self.tried, &peer);
        let (backoff, due) = self.tried.entry(peer).or_insert((Backoff::new(self.policy), now));
        *due = now + backoff.failed(now, random);
    }
}

/// Puts addresses first, and says whether any was new.
fn remember(
    map: &mut HashMap<PeerId, Vec<Multiaddr>>,
    peer: PeerId,
    addresses: impl IntoIterator<Item = Multiaddr>,
    max: usize,
) -> bool {
    let mut addresses = addresses.into_iter().peekable();
    if addresses.peek().is_none() {
        return false;
    }
    make_room(map, &peer);
    let known = map.entry(peer).or_default();
    let mut news = false;
    for address in addresses {
        news |= !known.contains(&address);
        known.retain(|old| *old != address);
        known.insert(0, address);
    }
    known.truncate(max);
    news
}

/// Lets an arbitrary entry go when a new one would exceed [`KNOWN_MAX`]: hash order is random per process, so nobody can
/// aim at an entry.
fn make_room<V>(map: &mut HashMap<PeerId, V>, newcomer: &PeerId) {
    if map.len() >= KNOWN_MAX
        && !map.contains_key(newcomer)
        && let Some(victim) = map.keys().next().copied()
    {
        map.remove(&victim);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000);

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/198.51.100.7/tcp/{port}").parse().expect("a multiaddress")
    }

    #[test]
    fn a_persistent_peer_is_tried_at_growing_distances_until_it_answers() {
        let local = PeerId::random();
        let peer = PeerId::random();
        let mut targets = Targets::new(local, &[(peer, address(1)), (peer, address(2))], &[], Policy::default());
        let mut now = START;
        for step in [1, 2, 4, 8] {
            let dials = targets.due(now, false);
            assert_eq!(dials.len(), 1, "two addresses, one dial");
            assert!(targets.due(now, false).is_empty(), "it is being dialed");
            targets.failed(dials[0].connection_id(), now, u64::MAX);
            assert!(targets.due(now + Duration::from_millis(step * 1000 - 1), false).is_empty());
            now = now + Duration::from_secs(step);
        }
        let dials = targets.due(now, false);
        targets.connected(dials[0].connection_id(), peer);
        targets.identified(peer, now);
        assert!(targets.due(now + Duration::from_secs(1000), false).is_empty(), "it is connected");
        let lost = now + Duration::from_secs(61);
        targets.disconnected(peer, lost, || u64::MAX);
        assert!(targets.due(lost, false).is_empty());
        assert_eq!(targets.due(lost + Duration::from_secs(1), false).len(), 1, "a minute of success counts as new");
    }

    #[test]
    fn bootstrap_nodes_are_dialed_while_peers_are_few() {
        let local = PeerId::random();
        let mut targets = Targets::new(local, &[], &[address(1)], Policy::default());
        assert!(targets.due(START, false).is_empty());
        let dials = targets.due(START, true);
        let peer = PeerId::random();
        targets.connected(dials[0].connection_id(), peer);
        targets.identified(peer, START);
        assert!(targets.due(at(500), true).is_empty(), "the peer behind the address is known now");
        targets.disconnected(peer, at(500), || 0);
        assert_eq!(targets.due(at(500), true).len(), 1);
    }

    #[test]
    fn a_peer_that_leaves_before_it_identified_itself_is_tried_again_later() {
        let local = PeerId::random();
        let peer = PeerId::random();
        let mut targets = Targets::new(local, &[(peer, address(1))], &[], Policy::default());
        let dials = targets.due(START, false);
        targets.connected(dials[0].connection_id(), peer);
        targets.disconnected(peer, START, || u64::MAX);
        assert!(targets.due(START, false).is_empty());
        assert_eq!(targets.due(at(1), false).len(), 1);
    }

    #[test]
    fn a_node_does_not_dial_itself() {
        let local = PeerId::random();
        let itself = address(1).with_p2p(local).expect("no other peer in it");
        let mut targets = Targets::new(local, &[(local, address(1))], &[itself, address(2)], Policy::default());
        assert_eq!(targets.due(START, true).len(), 1);
        let twice = [1, 2].map(|port| address(port).with_p2p(PeerId::random()).expect("no other peer in it"));
        assert_eq!(Targets::new(local, &[], &twice, Policy::default()).due(START, true).len(), 2);
        let other = PeerId::random();
        let once = [1, 2].map(|port| address(port).with_p2p(other).expect("no other peer in it"));
        assert_eq!(Targets::new(local, &[], &once, Policy::default()).due(START, true).len(), 1, "one dial");
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut found = Found::new(Policy::default());
        for _ in 0..2 * KNOWN_MAX {
            found.add(PeerId::random(), (1..20).map(address));
        }
        found.add(PeerId::random(), []);
        assert_eq!(found.known().count(), KNOWN_MAX);
        let peer = found.known().next().expect("some");
        assert_eq!(found.addresses(&peer).len(), ADDRESSES_PER_PEER_MAX);
        assert_eq!(found.addresses(&peer)[0], address(19), "the newest first");
    }

    #[test]
    fn hearsay_never_takes_the_place_of_a_peers_own_word() {
        let mut found = Found::new(Policy::default());
        let peer = PeerId::random();
        found.add(peer, [address(1)]);
        found.hear(peer, (1..100).map(address));
        let addresses = found.addresses(&peer);
        assert_eq!(addresses[0], address(1));
        assert_eq!(addresses.len(), 1 + HEARSAY_PER_PEER_MAX);
        assert_eq!(found.known().count(), 1);
        found.hear(PeerId::random(), [address(1)]);
        assert_eq!(found.known().count(), 2);
        assert!(addresses.contains(&address(99)), "the newest");
    }

    #[test]
    fn a_peer_that_tells_a_new_address_is_dialed_whatever_failed_before() {
        let mut found = Found::new(Policy::default());
        let (peer, dial) = (PeerId::random(), ConnectionId::new_unchecked(1));
        found.add(peer, [address(1)]);
        found.dialing(dial, peer);
        found.failed(dial, START, u64::MAX);
        found.add(peer, [address(1)]);
        found.hear(peer, [address(2)]);
        assert!(!found.may_dial(&peer, START) && found.has_failed(&peer));
        found.add(peer, [address(3)]);
        assert!(found.may_dial(&peer, START) && !found.has_failed(&peer));
    }
}
