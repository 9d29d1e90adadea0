//! `com.atproto.sync.subscribeRepos`: the event stream of this host.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::clock;
use crate::firehose::{Begin, Cbor, Entry, Format, NoPlace, Upgrade};
use crate::http::XrpcError;
use crate::rate_limits::ClientAddress;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Longest message taken from a follower of frames, in bytes; what it says means nothing.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    cursor: Option<i64>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Params(Parameters { cursor }): Params<Parameters>,
    upgrade: Upgrade,
) -> Result<Response, XrpcError> {
    let cursor = cursor.map(|cursor| u64::try_from(cursor).unwrap_or(0));
    let begin = host.firehose.begin(cursor, clock::now()).await;
    let begin = begin.map_err(|error| XrpcError::unexpected(&error))?;
    accept(&host, address, upgrade, begin, Cbor, MESSAGE_BYTES_MAX)
}

/// Makes the connection a follower's, if there is a place for one. No message longer than `message_max` bytes is taken from
/// it.
pub(crate) fn accept(
    host: &Host,
    address: ClientAddress,
    upgrade: Upgrade,
    begin: Begin,
    format: impl Format<Entry>,
    message_max: usize,
) -> Result<Response, XrpcError> {
    let firehose = host.firehose.clone();
    let place = firehose.place(address.ip()).map_err(|refused| {
        let (status, name) = match refused {
            NoPlace::Full => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            NoPlace::Address => (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded"),
        };
        XrpcError::new(status, name, refused.to_string())
    })?;
    Ok(upgrade.follow(firehose, begin, format, place, message_max))
}
