//! Getting a connection to one particular peer, wherever it is by now: it is dialed where it was last known to be, and the
//! network is asked where it is.
//!
//! No I/O: the event loop says what happened and what time it is, and performs what it is told to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::time::Timestamp;
use libp2p::kad::QueryId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

/// How long a peer is sought for those who wait. A dial over QUIC that nobody answers fails after five seconds.
const LIMIT: Duration = Duration::from_secs(8);

/// Peers sought at once. A node serves few tenants' worth of hosts at a time; the others are sought when asked again.
const SEEKS_MAX: usize = 128;

/// Who may wait for one peer.
const WAITERS_MAX: usize = 64;

/// How long the dials have before the network is asked as well: long enough for a peer that is where it was.
const LOOK_AFTER: Duration = Duration::from_millis(300);

/// Questions to the network at once. Each asks a dozen nodes and may connect to them.
const LOOKUPS_MAX: usize = 4;

/// How often the network is asked for one peer that it does not know: a peer that is gone for good costs two questions
/// a minute.
const LOOKUPS: Policy =
    Policy { base: Duration::from_secs(1), ceiling: Duration::from_secs(30), reset_after: Duration::from_mins(1) };

/// Peers whose failures are remembered; another one takes the place of an arbitrary one.
const FAILED_MAX: usize = 1024;

/// Why nobody is sought for one more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy<W>(pub(super) Option<W>);

/// The peers sought, and who waits for each.
#[derive(Debug)]
pub(super) struct Seeks<W> {
    under_way: BTreeMap<PeerId, Seek<W>>,
    failed: HashMap<PeerId, (Backoff, Timestamp)>,
}

#[derive(Debug)]
struct Seek<W> {
    waiters: Vec<W>,
    until: Timestamp,
    dials: BTreeSet<ConnectionId>,
    tried: BTreeSet<Multiaddr>,
    lookup: Lookup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    Due(Timestamp),
    Running(QueryId),
    Over,
}

impl<W> Seeks<W> {
    pub(super) fn new() -> Self {
        Self { under_way: BTreeMap::new(), failed: HashMap::new() }
    }

    /// Seeks a peer for whoever waits, and says whether that is a new search: then the peer is to be dialed.
    ///
    /// # Errors
    /// [`Busy`] with the one that cannot wait.
    pub(super) fn begin(&mut self, peer: PeerId, waiter: Option<W>, now: Timestamp) -> Result<bool, Busy<W>> {
        if let Some(seek) = self.under_way.get_mut(&peer) {
            if seek.waiters.len() >= WAITERS_MAX {
                return Err(Busy(waiter));
            }
            seek.waiters.extend(waiter);
            return Ok(false);
        }
        if self.under_way.len() >= SEEKS_MAX {
            return Err(Busy(waiter));
        }
        let lookup = match self.failed.get(&peer) {
            Some((_, due)) if *due > now + LIMIT => Lookup::Over,
            Some((_, due)) => Lookup::Due((*due).max(now + LOOK_AFTER)),
            None => Lookup::Due(now + LOOK_AFTER),
        };
        let waiters = waiter.into_iter().collect();
        let seek = Seek { waiters, until: now + LIMIT, dials: BTreeSet::new(), tried: BTreeSet::new(), lookup };
        self.under_way.insert(peer, seek);
        Ok(true)
    }

    /// Whether a search that nobody waits for may begin.
    pub(super) fn may_begin(&self, peer: &PeerId, now: Timestamp) -> bool {
        !self.under_way.contains_key(peer) && self.failed.get(peer).is_none_or(|(_, due)| *due <= now)
    }

    /// How many wait.
    pub(super) fn waiters(&self) -> usize {
        self.under_way.values().map(|seek| seek.waiters.len()).sum()
    }

    /// Whether a peer is sought.
    pub(super) fn is_sought(&self, peer: &PeerId) -> bool {
        self.under_way.contains_key(peer)
    }

    /// Which of these addresses of a sought peer have not been dialed for it; from now on they have.
    pub(super) fn untried(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let Some(seek) = self.under_way.get_mut(peer) else { return Vec::new() };
        addresses.into_iter().filter(|address| seek.tried.insert(address.clone())).collect()
    }

    pub(super) fn dialing(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(seek) = self.under_way.get_mut(peer) {
            seek.dials.insert(connection);
        }
    }

    /// A dial failed. When it was the last one, the network is asked without further waiting.
    pub(super) fn dial_failed(&mut self, connection: ConnectionId, now: Timestamp) {
        for seek in self.under_way.values_mut() {
            if seek.dials.remove(&connection) {
                seek.hasten(now);
            }
        }
    }

    /// Whoever is sought has been dialed, if there was anywhere to dial it.
    pub(super) fn dialed(&mut self, peer: &PeerId, now: Timestamp) {
        if let Some(seek) = self.under_way.get_mut(peer) {
            seek.hasten(now);
        }
    }

    /// For whom the network is to be asked now.
    pub(super) fn lookups_due(&self, now: Timestamp) -> Vec<PeerId> {
        let due = self.under_way.iter().filter(|(_, seek)| matches!(seek.lookup, Lookup::Due(due) if due <= now));
        due.map(|(peer, _)| *peer).take(LOOKUPS_MAX.saturating_sub(self.lookups())).collect()
    }

    fn lookups(&self) -> usize {
        self.under_way.values().filter(|seek| matches!(seek.lookup, Lookup::Running(_))).count()
    }

    /// Whether the network is being asked.
    pub(super) fn is_looking(&self) -> bool {
        self.lookups() > 0
    }

    /// The network is asked.
    pub(super) fn looking(&mut self, peer: &PeerId, query: QueryId) {
        if let Some(seek) = self.under_way.get_mut(peer) {
            seek.lookup = Lookup::Running(query);
        }
    }

    /// The network has answered.
    pub(super) fn looked(&mut self, query: QueryId) {
        for seek in self.under_way.values_mut().filter(|seek| seek.lookup == Lookup::Running(query)) {
            seek.lookup = Lookup::Over;
        }
    }

    /// The peer is connected. Answers who waited.
    pub(super) fn connected(&mut self, peer: &PeerId) -> Vec<W> {
        self.failed.remove(peer);
        self.under_way.remove(peer).map(|seek| seek.waiters).unwrap_or_default()
    }

    /// The peer has told where it is: what failed before says nothing any more.
    pub(super) fn told(&mut self, peer: &PeerId) {
        self.failed.remove(peer);
    }

    /// The searches that have come to nothing, with those who waited.
    pub(super) fn given_up(&mut self, now: Timestamp, mut random: impl FnMut() -> u64) -> Vec<(PeerId, Vec<W>)> {
        let over = |seek: &Seek<W>| seek.until <= now || (seek.dials.is_empty() && seek.lookup == Lookup::Over);
        let peers: Vec<PeerId> = self.under_way.iter().filter(|(_, seek)| over(seek)).map(|(peer, _)| *peer).collect();
        let mut given_up = Vec::new();
        for peer in peers {
            let Some(seek) = self.under_way.remove(&peer) else { continue };
            if self.failed.len() >= FAILED_MAX
                && !self.failed.contains_key(&peer)
                && let Some(victim) = self.failed.keys().next().copied()
            {
                self.failed.remove(&victim);
            }
            let (backoff, due) = self.failed.entry(peer).or_insert((Backoff::new(LOOKUPS), now));
            if *due <= now {
                *due = now + backoff.failed(now, random());
            }
            given_up.push((peer, seek.waiters));
        }
        given_up
    }
}

impl<W> Seek<W> {
    /// Without a dial under way there is nothing to wait for before the network is asked.
    fn hasten(&mut self, now: Timestamp) {
        let began = self.until - LIMIT;
        if self.dials.is_empty() && self.lookup == Lookup::Due(began + LOOK_AFTER) {
            self.lookup = Lookup::Due(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(10_000);

    fn dial(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn one_search_serves_all_who_wait() {
        let (mut seeks, peer) = (Seeks::new(), PeerId::random());
        assert_eq!(seeks.begin(peer, Some(1), START), Ok(true));
        assert_eq!(seeks.begin(peer, Some(2), START), Ok(false));
        assert!(seeks.lookups_due(START).is_empty(), "it may be where it was");
        assert_eq!(seeks.lookups_due(START + LOOK_AFTER), [peer]);
        assert_eq!(seeks.connected(&peer), [1, 2]);
        assert!(seeks.lookups_due(START + LOOK_AFTER).is_empty());
    }

    #[test]
    fn a_dial_that_fails_at_once_lets_the_network_be_asked_at_once() {
        let (mut seeks, peer) = (Seeks::<()>::new(), PeerId::random());
        assert_eq!(seeks.begin(peer, None, START), Ok(true));
        seeks.dialing(&peer, dial(1));
        seeks.dialing(&peer, dial(2));
        seeks.dial_failed(dial(1), START);
        assert!(seeks.lookups_due(START).is_empty(), "one dial goes on");
        seeks.dial_failed(dial(2), START);
        assert_eq!(seeks.lookups_due(START), [peer]);
        assert!(seeks.given_up(START, || 0).is_empty(), "the network may know");
    }

    #[test]
    fn addresses_are_tried_once_per_search() {
        let (mut seeks, peer) = (Seeks::<()>::new(), PeerId::random());
        let at = |port: u16| format!("/ip4/198.51.100.7/tcp/{port}").parse::<Multiaddr>().expect("a multiaddress");
        assert!(seeks.untried(&peer, vec![at(1)]).is_empty(), "it is not sought");
        assert_eq!(seeks.begin(peer, None, START), Ok(true));
        assert_eq!(seeks.untried(&peer, vec![at(1)]), [at(1)]);
        assert_eq!(seeks.untried(&peer, vec![at(1), at(2)]), [at(2)]);
    }

    #[test]
    fn what_comes_to_nothing_ends_in_time_and_is_tried_again_later() {
        let (mut seeks, peer) = (Seeks::new(), PeerId::random());
        assert_eq!(seeks.begin(peer, Some("waits"), START), Ok(true));
        assert!(seeks.given_up(START, || u64::MAX).is_empty());
        let end = START + LIMIT;
        assert_eq!(seeks.given_up(end, || u64::MAX), [(peer, vec!["waits"])]);
        assert!(!seeks.may_begin(&peer, end), "nobody seeks of its own accord for a while");
        assert!(seeks.may_begin(&peer, end + LOOKUPS.base));
        // Whoever asks is served by a dial all the same, and the network is asked when its time has come.
        assert_eq!(seeks.begin(peer, Some("waits"), end), Ok(true));
        assert!(seeks.lookups_due(end + LOOK_AFTER).is_empty());
        assert_eq!(seeks.lookups_due(end + LOOKUPS.base), [peer]);
    }

    #[test]
    fn a_peer_that_has_told_where_it_is_is_sought_anew() {
        let (mut seeks, peer) = (Seeks::<()>::new(), PeerId::random());
        assert_eq!(seeks.begin(peer, None, START), Ok(true));
        seeks.given_up(START + LIMIT, || u64::MAX);
        seeks.told(&peer);
        assert!(seeks.may_begin(&peer, START + LIMIT));
    }

    #[test]
    fn searches_and_waiters_are_bounded() {
        let mut seeks = Seeks::new();
        let peer = PeerId::random();
        for n in 0..WAITERS_MAX {
            assert_eq!(seeks.begin(peer, Some(n), START), Ok(n == 0));
        }
        assert_eq!(seeks.begin(peer, Some(0), START), Err(Busy(Some(0))));
        assert_eq!(seeks.waiters(), WAITERS_MAX);
        for _ in 1..SEEKS_MAX {
            assert_eq!(seeks.begin(PeerId::random(), None, START), Ok(true));
        }
        assert_eq!(seeks.begin(PeerId::random(), Some(1), START), Err(Busy(Some(1))));
        assert_eq!(seeks.lookups_due(START + LOOK_AFTER).len(), LOOKUPS_MAX);
    }
}
