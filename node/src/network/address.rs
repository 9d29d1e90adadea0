//! Which addresses are worth dialing, believing and telling.
//!
//! A node behind a home router has addresses that mean something else at its neighbours. On a public network such
//! addresses are neither told to others nor dialed because somebody else said so: a peer that could make us dial
//! `192.168.1.1` would be inside the house.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Which addresses the nodes of a network can reach each other at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Globally routed addresses only: the internet.
    Public,
    /// Private, link-local and shared ranges too: a network that lives inside a VPN or a LAN.
    Private,
    /// Loopback too: several nodes on one machine. For development and tests.
    Loopback,
}

/// Addresses of multicast neighbours kept as trusted; the oldest gives way.
const NEIGHBOURS_MAX: usize = 256;

impl Scope {
    /// Whether an address may be dialed, believed and told on such a network. Names are looked up first and judged by
    /// what they resolve to; a relayed address is judged by its relay.
    #[must_use]
    pub fn admits(self, address: &Multiaddr) -> bool {
        match ip(address) {
            Some(ip) => Self::of(ip) <= self,
            None => matches!(
                address.iter().next(),
                Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
            ),
        }
    }

    /// The narrowest scope for a node that listens on these addresses: one that listens on nothing but loopback or
    /// private addresses is meant for such a network. All addresses, or a name, mean the internet.
    #[must_use]
    pub fn of_listeners(addresses: &[Multiaddr]) -> Self {
        let of = |address: &Multiaddr| match ip(address) {
            Some(ip) if !ip.is_unspecified() => Self::of(ip),
            _ => Self::Public,
        };
        addresses.iter().map(of).min().unwrap_or(Self::Public)
    }

    /// The smallest scope in which `ip` is reachable.
    ///
    /// The documentation ranges (RFC 5737, RFC 3849) count as public: nobody routes them, and closed test networks can
    /// play internet with them.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => Self::of_v4(ip),
                None => Self::of_v6(ip),
            },
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [a, b, c, _] = ip.octets();
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
            return Self::Loopback;
        }
        let carrier_grade = a == 100 && (64..128).contains(&b);
        let benchmark = a == 198 && (b == 18 || b == 19);
        let protocol_assignments = (a, b, c) == (192, 0, 0);
        let reserved = a == 0 || a >= 240;
        if ip.is_private() || ip.is_link_local() || carrier_grade || benchmark || protocol_assignments || reserved {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
            Self::Loopback
        } else if ip.is_unique_local() || ip.is_unicast_link_local() || ip.segments()[0] == 0x64 {
            // 64:ff9b::/96 and 64:ff9b:1::/48 translate to IPv4 addresses of any kind.
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The IP address that a connection to `address` goes to, if it is written in it.
#[must_use]
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// The peer that an address ends in.
#[must_use]
pub fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    split_peer(address).1
}

/// `wanted` with the port that was found where it says 0: that of the first address in `bound` of the same transport.
#[must_use]
pub fn with_real_port(wanted: &Multiaddr, bound: &[Multiaddr]) -> Multiaddr {
    let tcp = || bound.iter().flatten().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let udp = || bound.iter().flatten().find_map(|part| if let Protocol::Udp(port) = part { Some(port) } else { None });
    let real = wanted.iter().map(|part| match part {
        Protocol::Tcp(0) => Protocol::Tcp(tcp().unwrap_or_default()),
        Protocol::Udp(0) => Protocol::Udp(udp().unwrap_or_default()),
        part => part,
    });
    real.collect()
}

/// Whether the address is one of QUIC.
#[must_use]
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::QuicV1)
}

/// Whether the address leads through a relay.
#[must_use]
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The peer that an address ends in, and the address without it.
#[must_use]
pub(super) fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(peer)) => (rest, Some(peer)),
        _ => (address.clone(), None),
    }
}

/// Hosts that may be dialed although the scope does not admit them, because the operator named them or because they
/// answered on the local network.
#[derive(Default, Debug)]
pub(super) struct TrustedHosts {
    hosts: Mutex<Hosts>,
}

#[derive(Default, Debug)]
struct Hosts {
    /// Named by the operator: the configuration bounds them.
    named: BTreeSet<IpAddr>,
    neighbours: VecDeque<IpAddr>,
}

impl TrustedHosts {
    pub(super) fn add_named(&self, address: &Multiaddr) {
        if let Some(ip) = ip(address) {
            self.lock().named.insert(ip);
        }
    }

    pub(super) fn add_neighbour(&self, address: &Multiaddr) {
        let Some(ip) = ip(address) else { return };
        let mut hosts = self.lock();
        if !hosts.neighbours.contains(&ip) {
            if hosts.neighbours.len() == NEIGHBOURS_MAX {
                hosts.neighbours.pop_front();
            }
            hosts.neighbours.push_back(ip);
        }
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let hosts = self.lock();
        hosts.named.contains(&ip) || hosts.neighbours.contains(&ip)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Hosts> {
        self.hosts.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddress")
    }

    #[test]
    fn private_addresses_stay_off_a_public_network() {
        for text in [
            "/ip4/10.1.2.3/tcp/1",
            "/ip4/172.16.0.1/udp/1/quic-v1",
            "/ip4/192.168.1.1/tcp/80",
            "/ip4/169.254.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/0.1.2.3/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/ip6/64:ff9b::a00:1/tcp/1",
        ] {
            assert!(!Scope::Public.admits(&address(text)), "{text}");
            assert!(Scope::Private.admits(&address(text)), "{text}");
        }
        for text in ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1"] {
            assert!(!Scope::Private.admits(&address(text)), "{text}");
            assert!(Scope::Loopback.admits(&address(text)), "{text}");
        }
        for text in
            ["/ip4/1.1.1.1/tcp/1", "/ip4/198.51.100.7/tcp/1", "/ip6/2001:db8::1/tcp/1", "/dns4/example.com/tcp/1"]
        {
            assert!(Scope::Public.admits(&address(text)), "{text}");
        }
        assert!(!Scope::Loopback.admits(&address("/memory/7")));
    }

    #[test]
    fn the_host_that_is_judged_is_the_one_that_is_dialed() {
        let relayed = address("/ip4/192.168.1.1/tcp/1/p2p-circuit/ip4/1.1.1.1");
        assert!(!Scope::Public.admits(&relayed));
    }

    #[test]
    fn neighbours_are_bounded_and_named_hosts_stay() {
        let trusted = TrustedHosts::default();
        trusted.add_named(&address("/ip4/10.0.0.1/tcp/1"));
        for n in 0..=u16::try_from(NEIGHBOURS_MAX).expect("small") {
            let [high, low] = n.to_be_bytes();
            trusted.add_neighbour(&address(&format!("/ip4/10.1.{high}.{low}/tcp/1")));
        }
        assert!(trusted.contains("10.0.0.1".parse().expect("an address")));
        assert!(!trusted.contains("10.1.0.0".parse().expect("an address")));
        assert!(trusted.contains("10.1.1.0".parse().expect("an address")));
    }

    #[test]
    fn a_port_once_chosen_is_kept() {
        let parse = |text: &str| text.parse::<Multiaddr>().expect("valid");
        let bound = ["/ip4/127.0.0.1/udp/4001/quic-v1", "/ip4/127.0.0.1/tcp/4002"].map(parse);
        let kept = |wanted: &str| with_real_port(&parse(wanted), &bound).to_string();
        assert_eq!(kept("/ip4/0.0.0.0/tcp/0"), "/ip4/0.0.0.0/tcp/4002");
        assert_eq!(kept("/ip4/127.0.0.1/udp/0/quic-v1"), "/ip4/127.0.0.1/udp/4001/quic-v1");
        assert_eq!(kept("/ip4/127.0.0.1/tcp/2584"), "/ip4/127.0.0.1/tcp/2584");
    }
}
