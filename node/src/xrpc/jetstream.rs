//! `/subscribe`: the event stream as lines of JSON. No method of AT Protocol, but what many clients follow.

use std::sync::Arc;

use angel_protocol::time::Timestamp;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::com::atproto::sync::subscribe_repos::accept;
use super::host::Host;
use super::params::Params;
use crate::clock;
use crate::firehose::{Begin, Upgrade};
use crate::http::XrpcError;
use crate::jetstream::{Filter, Lines, MESSAGE_BYTES_MAX, REWIND, Wanted};
use crate::rate_limits::ClientAddress;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Parameters {
    wanted_collections: Vec<String>,
    wanted_dids: Vec<String>,
    max_message_size_bytes: i64,
    cursor: Option<i64>,
    compress: bool,
    require_hello: bool,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    headers: HeaderMap,
    Params(parameters): Params<Parameters>,
    upgrade: Upgrade,
) -> Result<Response, XrpcError> {
    let Parameters { wanted_collections, wanted_dids, max_message_size_bytes, cursor, compress, require_hello } =
        parameters;
    let by_header = headers.get("socket-encoding").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"zstd"));
    if compress || by_header {
        let text = "lines are not compressed here: leave out compress and Socket-Encoding";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "CompressionNotSupported", text));
    }
    let filter = Filter::new(Wanted { wanted_collections, wanted_dids, max_message_size_bytes });
    let filter = filter.map_err(|refused| XrpcError::invalid_request(refused.to_string()))?;
    let now = clock::now();
    // A cursor in the future means now, as Jetstream servers have it.
    let cursor = cursor.and_then(|cursor| u64::try_from(cursor).ok()).filter(|cursor| cursor / 1000 <= now.as_millis());
    let begin = match cursor {
        None => host.firehose.begin(None, now).await,
        Some(cursor) => {
            let since = Timestamp::from_millis(cursor / 1000) - REWIND;
            host.firehose.begin_at(since, now).await.map(Begin::At)
        }
    };
    let begin = begin.map_err(|error| XrpcError::unexpected(&error))?;
    let lines = Lines::new(filter, require_hello, host.firehose.reads_json());
    accept(&host, address, upgrade, begin, lines, MESSAGE_BYTES_MAX)
}
