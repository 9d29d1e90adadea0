//! Who may open a connection to us: bounds per IP address, before any handshake is paid for.
//!
//! The bounds in all, per peer and by memory are libp2p's own behaviours; this one adds what they lack.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::task::{Context, Poll};

use governor::clock::MonotonicClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address::{self, Scope};
use super::config::Limits;

/// A rate limit per key that lives in bounded memory.
pub(super) struct Rate<K: std::hash::Hash + Eq + Clone> {
    limiter: RateLimiter<K, HashMapStateStore<K>, MonotonicClock>,
}

/// Keys that a rate limit remembers. When there are more with something to remember, new ones are refused.
const RATE_KEYS_MAX: usize = 4096;

impl<K: std::hash::Hash + Eq + Clone> Rate<K> {
    /// So many per second, and twice as many at once after a pause.
    pub(super) fn per_second(n: u32) -> Self {
        let burst = NonZeroU32::new(n.saturating_mul(2)).unwrap_or(NonZeroU32::MIN);
        Self::new(Quota::per_second(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)).allow_burst(burst))
    }

    pub(super) fn per_minute(n: u32) -> Self {
        Self::new(Quota::per_minute(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)))
    }

    fn new(quota: Quota) -> Self {
        Self { limiter: RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock) }
    }

    /// Whether one more is within the rate.
    pub(super) fn admit(&self, key: &K) -> bool {
        if self.limiter.len() >= RATE_KEYS_MAX {
            // Whoever has been quiet long enough to have the full quota again is forgotten.
            self.limiter.retain_recent();
            if self.limiter.len() >= RATE_KEYS_MAX {
                return false;
            }
        }
        self.limiter.check_key(key).is_ok()
    }
}

/// Why a connection was refused at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("too many connections from this address")]
    PerIp,
    #[error("too many new connections per minute from this address")]
    Rate,
}

/// Counts inbound connections by the address they come from.
pub(super) struct Behaviour {
    per_ip_max: usize,
    rate: Rate<IpAddr>,
    loopback_free: bool,
    /// Pending and established ones.
    connections: HashMap<ConnectionId, IpAddr>,
    per_ip: HashMap<IpAddr, usize>,
}

impl Behaviour {
    pub(super) fn new(limits: &Limits, scope: Scope) -> Self {
        Self {
            per_ip_max: limits.per_ip_max,
            rate: Rate::per_minute(limits.per_ip_minute_max),
            loopback_free: scope == Scope::Loopback,
            connections: HashMap::new(),
            per_ip: HashMap::new(),
        }
    }

    fn admit(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        // Through a relay we see the relay's address; the relay bounds its clients, and the bound in all covers ours.
        let Some(ip) = address::ip(remote).filter(|_| !address::is_relayed(remote)).map(block_of) else {
            return Ok(());
        };
        if self.loopback_free && ip.is_loopback() {
            return Ok(());
        }
        if self.per_ip.get(&ip).is_some_and(|count| *count >= self.per_ip_max) {
            return Err(Refused::PerIp);
        }
        if !self.rate.admit(&ip) {
            return Err(Refused::Rate);
        }
        self.connections.insert(connection, ip);
        *self.per_ip.entry(ip).or_default() += 1;
        Ok(())
    }

    fn release(&mut self, connection: ConnectionId) {
        if let Some(ip) = self.connections.remove(&connection)
            && let Some(count) = self.per_ip.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
        }
    }
}

/// One household: the address itself, or the /64 that an IPv6 host can move in freely.
fn block_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => IpAddr::V4(ip),
            None if ip.is_loopback() => IpAddr::V6(ip),
            None => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.release(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { per_ip_max: 2, per_ip_minute_max: 5, ..Limits::default() }
    }

    fn from(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddress")
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn one_address_has_a_bounded_number_of_connections() {
        let mut door = Behaviour::new(&limits(), Scope::Public);
        let home = from("/ip4/198.51.100.7/tcp/1");
        assert_eq!(door.admit(id(1), &home), Ok(()));
        assert_eq!(door.admit(id(2), &home), Ok(()));
        assert_eq!(door.admit(id(3), &home), Err(Refused::PerIp));
        assert_eq!(door.admit(id(4), &from("/ip4/198.51.100.8/tcp/1")), Ok(()));
        door.release(id(1));
        assert_eq!(door.admit(id(5), &home), Ok(()));
    }

    #[test]
    fn coming_and_going_is_bounded_too() {
        let mut door = Behaviour::new(&limits(), Scope::Public);
        let home = from("/ip4/198.51.100.7/udp/1/quic-v1");
        for n in 0..5 {
            assert_eq!(door.admit(id(n), &home), Ok(()));
            door.release(id(n));
        }
        assert_eq!(door.admit(id(9), &home), Err(Refused::Rate));
        assert!(door.per_ip.is_empty() && door.connections.is_empty());
    }

    #[test]
    fn an_ipv6_household_is_one_address() {
        let mut door = Behaviour::new(&limits(), Scope::Public);
        assert_eq!(door.admit(id(1), &from("/ip6/2001:db8::1/tcp/1")), Ok(()));
        assert_eq!(door.admit(id(2), &from("/ip6/2001:db8::2/tcp/1")), Ok(()));
        assert_eq!(door.admit(id(3), &from("/ip6/2001:db8::ffff:3/tcp/1")), Err(Refused::PerIp));
        assert_eq!(door.admit(id(4), &from("/ip6/2001:db8:0:1::3/tcp/1")), Ok(()));
    }

    #[test]
    fn loopback_is_free_in_development_only() {
        let local = from("/ip4/127.0.0.1/tcp/1");
        let mut development = Behaviour::new(&limits(), Scope::Loopback);
        let mut public = Behaviour::new(&limits(), Scope::Public);
        for n in 0..10 {
            assert_eq!(development.admit(id(n), &local), Ok(()));
            assert_eq!(public.admit(id(n), &local).is_ok(), n < 2);
        }
    }

    #[test]
    fn a_rate_remembers_a_bounded_number_of_keys() {
        let rate = Rate::per_minute(1);
        let admitted = (0..10_000u32).filter(|key| rate.admit(key)).count();
        assert_eq!(admitted, RATE_KEYS_MAX);
    }
}
