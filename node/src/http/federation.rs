//! The federation API (`network.md` 6): heartbeats in, the registry and the map of the network out. Each is served
//! under `/api/federation` and as an XRPC method with the same body.

use angel_protocol::data;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::membership::{OpenedHeartbeat, Refusal};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::error::XrpcError;
use crate::events::{Events, HeartbeatWay};
use crate::membership::{Handle, HeartbeatAnswer, ListedNode, Stopped};
use crate::xrpc::params::Params;
use crate::xrpc::types::network::ListNodesParameters;

/// Largest body of a heartbeat: its 64 KiB of CBOR, written as JSON.
pub(super) const HEARTBEAT_BYTES_MAX: usize = 256 * 1024;

/// What the federation routes need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Federation {
    pub(crate) network: NetworkId,
    pub(crate) membership: Handle,
    pub(crate) events: Events,
}

/// Takes a heartbeat, as DAG-CBOR or as AT Protocol JSON. Its own signature says whose it is, and its sequence number
/// that it is new: no other authentication adds to that. Its own reader is stricter than the document, and what it
/// refuses has names of its own (`network.md` 6.1), so it does not come by way of [`crate::xrpc::input::Input`] and has no
/// type written from its document: the same bytes come as DAG-CBOR, here and by gossip, and `OpenedHeartbeat` reads both.
pub(super) async fn heartbeat(
    State(federation): State<Federation>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<HeartbeatAnswer>, Response> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let opened = match media_type.as_str() {
        "application/json" => OpenedHeartbeat::from_json(&body, &federation.network),
        "application/cbor" | "application/vnd.ipld.dag-cbor" => OpenedHeartbeat::from_cbor(&body, &federation.network),
        _ => {
            let text = "a heartbeat is sent as application/json or application/vnd.ipld.dag-cbor";
            return Err(XrpcError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "InvalidHeartbeat", text).into_response());
        }
    };
    let opened = opened.map_err(|error| {
        federation.events.heartbeat_refused(HeartbeatWay::Http, error.label());
        refused(&error.into())
    })?;
    match federation.membership.heartbeat(opened).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(refusal)) => Err(refused(&refusal)),
        Err(stopped) => Err(XrpcError::from(stopped).into_response()),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let (status, name) = refusal.xrpc();
    let status = StatusCode::from_u16(status).expect("refusals have valid statuses");
    let mut response = XrpcError::new(status, name, refusal.to_string()).into_response();
    if let Refusal::RateLimited(limit) = refusal {
        response.headers_mut().insert(header::RETRY_AFTER, limit.as_secs().max(1).into());
    }
    response
}

/// A page of the nodes.
#[derive(Serialize)]
pub(super) struct NodesPage {
    /// Whose view this is.
    observer: Did,
    /// Whether the observer must assume that it is itself cut off.
    isolated: bool,
    /// The nodes, by DID.
    nodes: Vec<ListedNode>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// All nodes this one knows, page by page.
pub(super) async fn nodes(
    State(federation): State<Federation>,
    Params(page): Params<ListNodesParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (limit, after) = (usize::from(page.limit), page.cursor);
    let mut list = federation.membership.nodes().await?;
    list.nodes.retain(|node| after.as_ref().is_none_or(|after| node.view.did > *after));
    let more = list.nodes.len() > limit;
    list.nodes.truncate(limit);
    let cursor = list.nodes.last().filter(|_| more).map(|node| node.view.did.to_string());
    let page = NodesPage { observer: list.observer, isolated: list.isolated, nodes: list.nodes, cursor };
    Ok(Json(data::json_of(&page)))
}

/// The map of the network.
pub(super) async fn topology(State(federation): State<Federation>) -> Result<Json<Value>, XrpcError> {
    Ok(Json(data::json_of(&federation.membership.topology().await?)))
}

impl From<Stopped> for XrpcError {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(stopped.to_string())
    }
}
