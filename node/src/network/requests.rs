//! Questions and answers between two peers: a few fixed protocols, each with its bounds.
//!
//! On the wire a question is its bytes up to the end of the stream. An answer is one byte of status and, when that says
//! success, the bytes up to the end of the stream.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use angel_protocol::ids::NetworkId;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::request_response::{self, OutboundFailure, OutboundRequestId, ProtocolSupport};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::oneshot;

/// The questions that peers ask each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Who is on this network: the nodes the other one knows.
    Registry,
    /// One record of the other node.
    Record,
}

/// Why a peer did not answer a question that reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many questions, of this peer or in all; ask again later.
    #[error("the peer is busy")]
    Busy,
    /// The question makes no sense.
    #[error("the peer does not understand the question")]
    Malformed,
    /// There is no such thing.
    #[error("the peer does not have it")]
    NotFound,
    /// This peer may not ask that.
    #[error("the peer does not answer this to us")]
    Forbidden,
    /// The peer cannot answer at the moment.
    #[error("the peer cannot answer now")]
    Unavailable,
}

/// Why a question brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// This node is stopping.
    #[error("the network of this node has stopped")]
    Stopped,
    /// Too many questions of ours wait for an answer.
    #[error("{max} requests are waiting for an answer already")]
    Busy {
        /// The bound.
        max: usize,
    },
    /// The question exceeds its protocol's bound.
    #[error("a request of {protocol:?} has at most {max} bytes")]
    TooLarge {
        /// The protocol.
        protocol: Protocol,
        /// Its bound, in bytes.
        max: usize,
    },
    /// There is no connection to the peer, and none could be made.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// No answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The peer does not speak this protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The connection broke, or the answer was beyond its bound or malformed.
    #[error("the connection failed before the answer was complete: {0}")]
    Broken(String),
    /// The peer refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Registry, Self::Record];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self, network: &NetworkId) -> String {
        let name = match self {
            Self::Registry => "registry",
            Self::Record => "record",
        };
        format!("/angel/{network}/{name}/1")
    }

    /// Largest question, in bytes.
    #[must_use]
    pub const fn request_bytes_max(self) -> usize {
        match self {
            Self::Registry => 64 << 10,
            Self::Record => 4 << 10,
        }
    }

    /// Largest answer, in bytes.
    #[must_use]
    pub const fn response_bytes_max(self) -> usize {
        match self {
            Self::Registry => 512 << 10,
            Self::Record => 64 << 10,
        }
    }

    /// How long question and answer may take together.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        Duration::from_secs(10)
    }

    /// How long a node may think about its answer: short enough for its refusal to arrive in time.
    #[must_use]
    pub const fn answer_timeout(self) -> Duration {
        Duration::from_secs(8)
    }
}

pub(super) type Behaviour = request_response::Behaviour<Codec>;
pub(super) type Message = request_response::Event<Vec<u8>, Result<Vec<u8>, Refusal>>;

/// Streams of one protocol on one connection at a time.
const STREAMS_MAX: usize = 32;

pub(super) fn build(protocol: Protocol, network: &NetworkId) -> Behaviour {
    let name = StreamProtocol::try_from_owned(protocol.name(network)).expect("the name starts with a slash");
    let config = request_response::Config::default()
        .with_request_timeout(protocol.timeout())
        .with_max_concurrent_streams(STREAMS_MAX);
    request_response::Behaviour::with_codec(Codec(protocol), [(name, ProtocolSupport::Full)], config)
}

/// Reads no more than the bounds allow, whatever the peer sends.
#[derive(Debug, Clone)]
pub(super) struct Codec(Protocol);

impl Refusal {
    const fn status(self) -> u8 {
        match self {
            Self::Busy => 1,
            Self::Malformed => 2,
            Self::NotFound => 3,
            Self::Forbidden => 4,
            Self::Unavailable => 5,
        }
    }

    fn from_status(status: u8) -> Self {
        // A status of a later version is a refusal all the same.
        [Self::Busy, Self::Malformed, Self::NotFound, Self::Forbidden]
            .into_iter()
            .find(|refusal| refusal.status() == status)
            .unwrap_or(Self::Unavailable)
    }
}

async fn read_bounded<T: AsyncRead + Unpin + Send>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(max as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {max} bytes")));
    }
    Ok(bytes)
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Result<Vec<u8>, Refusal>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_bounded(io, self.0.request_bytes_max()).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0];
        io.read_exact(&mut status).await?;
        match status {
            [0] => Ok(Ok(read_bounded(io, self.0.response_bytes_max()).await?)),
            [status] => Ok(Err(Refusal::from_status(status))),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Self::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Self::Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match response {
            Ok(bytes) => {
                io.write_all(&[0]).await?;
                io.write_all(&bytes).await
            }
            Err(refusal) => io.write_all(&[refusal.status()]).await,
        }
    }
}

impl From<OutboundFailure> for RequestError {
    fn from(failure: OutboundFailure) -> Self {
        match failure {
            OutboundFailure::DialFailure => Self::Unreachable,
            OutboundFailure::Timeout => Self::Timeout,
            OutboundFailure::UnsupportedProtocols => Self::Unsupported,
            OutboundFailure::ConnectionClosed => Self::Broken("closed".to_owned()),
            OutboundFailure::Io(error) => Self::Broken(error.to_string()),
        }
    }
}

/// Where the answer to a question of ours goes.
pub(super) type Asker = oneshot::Sender<Result<Vec<u8>, RequestError>>;

/// Our questions that wait for an answer, and how many answers of ours each peer waits for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    outbound: HashMap<(Protocol, OutboundRequestId), Asker>,
    inbound: HashMap<PeerId, usize>,
    inbound_all: usize,
}

impl Waiting {
    pub(super) fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    pub(super) fn asked(&mut self, protocol: Protocol, id: OutboundRequestId, answer: Asker) {
        self.outbound.insert((protocol, id), answer);
    }

    pub(super) fn answered(
        &mut self,
        protocol: Protocol,
        id: OutboundRequestId,
        answer: Result<Vec<u8>, RequestError>,
    ) {
        if let Some(waiting) = self.outbound.remove(&(protocol, id)) {
            // Who asked may have given up.
            let _ = waiting.send(answer);
        }
    }

    /// Takes a place for an answer of ours, if there is one.
    pub(super) fn admit(&mut self, peer: PeerId, all_max: usize, per_peer_max: usize) -> bool {
        let of_peer = self.inbound.entry(peer).or_default();
        if self.inbound_all >= all_max || *of_peer >= per_peer_max {
            if *of_peer == 0 {
                self.inbound.remove(&peer);
            }
            return false;
        }
        *of_peer += 1;
        self.inbound_all += 1;
        true
    }

    pub(super) fn release(&mut self, peer: PeerId) {
        if let Some(of_peer) = self.inbound.get_mut(&peer) {
            *of_peer -= 1;
            self.inbound_all -= 1;
            if *of_peer == 0 {
                self.inbound.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;

    fn wire() -> StreamProtocol {
        StreamProtocol::new("/test")
    }

    async fn round_trip(answer: Result<Vec<u8>, Refusal>) -> io::Result<Result<Vec<u8>, Refusal>> {
        let mut codec = Codec(Protocol::Record);
        let mut bytes = Cursor::new(Vec::new());
        codec.write_response(&wire(), &mut bytes, answer).await.expect("memory");
        codec.read_response(&wire(), &mut Cursor::new(bytes.into_inner())).await
    }

    #[tokio::test]
    async fn answers_and_refusals_survive_the_wire() {
        assert_eq!(round_trip(Ok(b"yes".to_vec())).await.expect("whole"), Ok(b"yes".to_vec()));
        for refusal in [Refusal::Busy, Refusal::Malformed, Refusal::NotFound, Refusal::Forbidden, Refusal::Unavailable]
        {
            assert_eq!(round_trip(Err(refusal)).await.expect("whole"), Err(refusal));
        }
        let later = Codec(Protocol::Record).read_response(&wire(), &mut Cursor::new([99])).await.expect("whole");
        assert_eq!(later, Err(Refusal::Unavailable));
    }

    #[tokio::test]
    async fn reads_stop_at_the_bound() {
        let max = Protocol::Record.request_bytes_max();
        let mut codec = Codec(Protocol::Record);
        let read = codec.read_request(&wire(), &mut Cursor::new(vec![7; max])).await;
        assert_eq!(read.expect("at the bound").len(), max);
        let mut endless = futures::io::repeat(7);
        let error = codec.read_request(&wire(), &mut endless).await.expect_err("beyond the bound");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let empty = codec.read_response(&wire(), &mut Cursor::new([])).await.expect_err("no status");
        assert_eq!(empty.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn places_for_answers_are_bounded_per_peer_and_in_all() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut waiting = Waiting::default();
        assert!(waiting.admit(a, 3, 2) && waiting.admit(a, 3, 2));
        assert!(!waiting.admit(a, 3, 2), "two per peer");
        assert!(waiting.admit(b, 3, 2));
        assert!(!waiting.admit(b, 3, 2), "three in all");
        waiting.release(a);
        assert!(waiting.admit(b, 3, 2));
    }
}
