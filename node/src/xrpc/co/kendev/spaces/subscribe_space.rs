//! `co.kendev.spaces.subscribeSpace`: what happens in a space, live. Frames as AT Protocol's event streams have them, or
//! JSON objects.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Shared;
use crate::blocking;
use crate::firehose::{NoPlace, Place, Upgrade};
use crate::http::XrpcError;
use crate::rate_limits::ClientAddress;
use crate::spaces::Asker;
use crate::spaces::live::{Form, SpaceFormat};
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::SubscribeSpaceParameters;

/// Longest message taken from a follower, in bytes: that they are writing.
const MESSAGE_BYTES_MAX: usize = 2 * 1024;

pub(crate) async fn handler(
    State(host): State<Shared>,
    address: ClientAddress,
    asker: Asker,
    Params(query): Params<SubscribeSpaceParameters>,
    upgrade: Upgrade,
) -> Result<Response, XrpcError> {
    let form = match query.format.as_deref() {
        None | Some("frames") => Form::Frames,
        Some("json") => Form::Json,
        Some(_) => return Err(XrpcError::invalid_request("format is frames or json")),
    };
    let place = place(&host, address)?;
    let (spaces, uri, did) = (host.spaces.clone(), query.space, asker.did.clone());
    let found = blocking::run(move || spaces.find_live(&uri, did.as_ref())).await?;
    let (stream, begin) = host.spaces.follow(found.id, asker.did, query.cursor).await?;
    let format = SpaceFormat::new(stream.clone(), form);
    Ok(upgrade.follow(stream, begin, format, place, MESSAGE_BYTES_MAX))
}

/// A place for a follower.
pub(crate) fn place(host: &Host, address: ClientAddress) -> Result<Place, XrpcError> {
    host.spaces.live().place(address.ip()).map_err(|refused| {
        let (status, name) = match refused {
            NoPlace::Full => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            NoPlace::Address => (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded"),
        };
        XrpcError::new(status, name, refused.to_string())
    })
}
