//! `com.atproto.sync.subscribeRepos`: the event stream of this host.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::clock;
use crate::firehose::{Begin, Entry, Format, Frames, NoPlace, follow};
use crate::http::XrpcError;
use crate::rate_limits::ClientAddress;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Bytes that are read ahead of a follower, who has next to nothing to say.
const READ_BYTES: usize = 4 * 1024;

/// Bytes that are gathered for a follower before they are written.
const WRITE_BYTES: usize = 32 * 1024;

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
    upgrade: WebSocketUpgrade,
) -> Result<Response, XrpcError> {
    let cursor = cursor.map(|cursor| u64::try_from(cursor).unwrap_or(0));
    let begin = host.firehose.begin(cursor, clock::now()).await;
    let begin = begin.map_err(|error| XrpcError::unexpected(&error))?;
    accept(&host, address, upgrade.max_message_size(MESSAGE_BYTES_MAX), begin, Frames)
}

/// Makes the connection a follower's, if there is a place for one.
pub(crate) fn accept(
    host: &Host,
    address: ClientAddress,
    upgrade: WebSocketUpgrade,
    begin: Begin,
    format: impl Format<Entry>,
) -> Result<Response, XrpcError> {
    let firehose = host.firehose.clone();
    let place = firehose.place(address.ip()).map_err(|refused| {
        let (status, name) = match refused {
            NoPlace::Full => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            NoPlace::Address => (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded"),
        };
        XrpcError::new(status, name, refused.to_string())
    })?;
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| follow(socket, firehose, begin, format, place)))
}
