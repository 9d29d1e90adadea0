//! How bytes travel: QUIC first, TCP with Noise and Yamux second, both under name lookup, and circuits through relays.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, dns, noise, quic, relay, tcp, yamux};

use super::address::{self, Scope, TrustedHosts};
use super::config::Limits;

/// A handshake that is not finished by then never will be.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The transport of a node.
pub(super) fn build(
    keys: &Keypair,
    limits: &Limits,
    scope: Scope,
    trusted: Arc<TrustedHosts>,
    circuits: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let noise = noise::Config::new(keys)?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(limits.streams_max);
    let mut quic = quic::Config::new(keys);
    quic.max_concurrent_stream_limit = u32::try_from(limits.streams_max).unwrap_or(u32::MAX);
    quic.handshake_timeout = HANDSHAKE_TIMEOUT;

    let quic =
        quic::tokio::Transport::new(quic).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).map_err(|error| {
            match error {
                quic::Error::Io(error) => error,
                error => io::Error::other(error),
            }
        });
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .map_err(TcpError)
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux.clone())
        .timeout(HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .map_err(io::Error::other);
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let direct = quic.or_transport(tcp).map(|either, _| either.into_inner()).map_err(|either| either.into_inner());
    let (resolver, options) = resolver();
    let named = dns::tokio::Transport::custom(Guard { inner: direct, scope, trusted }, resolver, options);
    Ok(circuits.or_transport(named).map(|either, _| either.into_inner()).boxed())
}

/// The machine's resolver. A machine without one still has peers with plain addresses.
fn resolver() -> (dns::ResolverConfig, dns::ResolverOpts) {
    hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "this machine has no usable name server: only peers with plain IP addresses are found");
        (dns::ResolverConfig::default(), dns::ResolverOpts::default())
    })
}

/// Refuses to dial what the scope does not admit. It sits below name lookup, so a name that leads into the house is
/// refused as well, and it covers every part of the swarm that dials addresses learned from others.
struct Guard<T> {
    inner: T,
    scope: Scope,
    trusted: Arc<TrustedHosts>,
}

impl<T: Transport + Unpin> Transport for Guard<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        let admitted = self.scope.admits(&address) || address::ip(&address).is_some_and(|ip| self.trusted.contains(ip));
        if admitted { self.inner.dial(address, options) } else { Err(TransportError::MultiaddrNotSupported(address)) }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}

/// What TCP says, as the cause of what the layers above make of it: they name the cause of what they wrap.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TcpError(#[source] io::Error);

/// Whether another socket listens at this TCP address. The TCP transport shares ports (it dials from the port it listens
/// on, for hole punching), so two nodes could listen on one port unnoticed, each getting half of the connections.
pub(super) fn is_tcp_port_taken(address: &Multiaddr) -> bool {
    let mut parts = address.iter().skip(1);
    match (address::ip(address), parts.next(), parts.next()) {
        (Some(ip), Some(Protocol::Tcp(port)), None) if port != 0 => {
            std::net::TcpListener::bind((ip, port)).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
        }
        _ => false,
    }
}

/// Whether listening failed because somebody else holds the port.
pub(super) fn is_address_in_use(error: &TransportError<io::Error>) -> bool {
    let TransportError::Other(error) = error else { return false };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        cause = match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::AddrInUse => return true,
            // An I/O error that wraps another names the cause of that one as its own.
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    false
}
