//! `co.kendev.network.subscribeLedger`: decided heights, to everybody who follows. The ledger itself is the log: whoever
//! comes with a cursor reads it from there, so nobody is ever too slow.

use std::sync::Arc;

use angel_protocol::firehose::error_frame;
use angel_protocol::ledger::stream::height_frame;
use angel_storage::ledger::decided;
use angel_storage::reader::ReadError;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio_tungstenite::tungstenite::Message;

use super::error::XrpcError;
use super::ledger::LedgerRoutes;
use crate::blocking;
use crate::firehose::{
    Begin, Firehose, Format, Framed, Frames, Goodbye, News, Next, NoPlace, Numbered, Stream, Upgrade,
};
use crate::ledger::Ledger;
use crate::rate_limits::ClientAddress;
use crate::xrpc::params::Params;
use crate::xrpc::types::network::SubscribeLedgerParameters;

/// Heights read at a time for one follower, and about how many bytes of batches.
const PAGE_HEIGHTS: u64 = 64;
const PAGE_BYTES: usize = 2 << 20;

/// Longest message taken from a follower, in bytes; what it says means nothing.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Makes the connection a follower's. Followers of the ledger and of the event stream share their places.
pub(super) async fn subscribe(
    State(routes): State<Arc<LedgerRoutes>>,
    address: ClientAddress,
    Params(SubscribeLedgerParameters { cursor }): Params<SubscribeLedgerParameters>,
    upgrade: Upgrade,
) -> Result<Response, XrpcError> {
    let place = routes.firehose.place(address.ip()).map_err(|refused| {
        let (status, name) = match refused {
            NoPlace::Full => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            NoPlace::Address => (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded"),
        };
        XrpcError::new(status, name, refused.to_string())
    })?;
    let tip = routes.ledger.shared.tip().height;
    let begin = match cursor {
        None => Begin::At(tip),
        Some(cursor) if cursor > tip => Begin::Future,
        Some(cursor) => Begin::At(cursor),
    };
    let heights = Heights { ledger: routes.ledger.clone(), firehose: routes.firehose.clone() };
    Ok(upgrade.follow(heights, begin, HeightFrames, place, MESSAGE_BYTES_MAX))
}

/// The decided heights of this node.
#[derive(Clone)]
struct Heights {
    ledger: Ledger,
    firehose: Firehose,
}

/// The frame of a height.
struct Frame {
    height: u64,
    framed: Framed,
}

impl Numbered for Frame {
    fn sequence(&self) -> u64 {
        self.height
    }

    fn bytes(&self) -> usize {
        self.framed.payload().len()
    }
}

impl Heights {
    fn page(&self, position: u64) -> Result<Next<Frame>, ReadError> {
        let reader = &self.ledger.shared.reader;
        let last = self.ledger.shared.tip().height.min(position.saturating_add(PAGE_HEIGHTS));
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for height in position + 1..=last {
            let found = decided::decision(reader, height)?.zip(self.ledger.shared.batch(height)?);
            let Some((decision, batch)) = found else { break };
            let frame = height_frame(&decision.header, &decision.certificate, &decision.proposer, &batch);
            bytes += frame.len();
            frames.push(Arc::new(Frame { height, framed: Framed::binary(&frame) }));
            if bytes > PAGE_BYTES {
                break;
            }
        }
        let behind = position + frames.len() as u64;
        Ok(if frames.is_empty() { Next::Nothing } else { Next::Entries(frames, behind) })
    }
}

impl Stream for Heights {
    type Entry = Frame;

    async fn next(&self, position: u64, _current: bool) -> Result<Next<Frame>, ReadError> {
        let this = self.clone();
        blocking::run(move || this.page(position)).await
    }

    fn news(&self) -> News<Frame> {
        News::Head(self.ledger.shared.watch_height())
    }

    async fn closing(&self) -> Goodbye {
        self.firehose.closing().await
    }

    // The figures of the event stream are its own.

    fn count_sent(&self, _messages: u64) {}

    fn count_too_slow(&self) {}
}

/// Frames of DAG-CBOR.
#[derive(Clone, Copy)]
struct HeightFrames;

impl Format<Frame> for HeightFrames {
    fn frames(&self, entry: &Frame, out: &mut Frames) {
        out.push_back(entry.framed.wire());
    }

    fn error(&self, name: &str, message: &str) -> Option<Message> {
        Some(Message::Binary(error_frame(name, message).into()))
    }

    /// Heights are kept for good.
    fn outdated(&self) -> Option<Message> {
        None
    }
}
