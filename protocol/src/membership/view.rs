//! What is shown of the registry: to people, to the HTTP API, to the parts that dial and place.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::admission::AdmittedBy;
use super::config::Config;
use super::declared::{DeclaredStatus, Profile, Resources};
use super::failure_detector::Status;
use super::registry::Entry;
use crate::ids::Did;
use crate::time::Timestamp;

/// One node as this observer sees it: what the node declares and what the observer measures, kept apart
/// (`network.md` 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// The node.
    pub did: Did,
    /// A name for people, from its verified record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The verdict of this observer.
    pub status: Status,
    /// When this observer first saw it.
    #[serde(serialize_with = "datetime")]
    pub created_at: Timestamp,
    /// Why it is a member.
    pub admitted_by: AdmittedBy,
    /// What the node says it is.
    pub declared: Profile,
    /// The status the node declares.
    pub declared_status: DeclaredStatus,
    /// What the node says it has.
    pub resources: Resources,
    /// What this observer measures.
    pub measured: Measured,
}

/// The figures of one observer; there is no global truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// When the node was last heard.
    #[serde(serialize_with = "datetime")]
    pub last_seen: Timestamp,
    /// Median of the last ten round trips, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// Time of the last health request over HTTP, in milliseconds.
    #[serde(rename = "responseTime", skip_serializing_if = "Option::is_none")]
    pub response_ms: Option<u32>,
    /// Share of expected heartbeats received in 30 days, in basis points.
    #[serde(rename = "uptime")]
    pub uptime_bp: u16,
    /// NET-06, 0 to 100, from what the node declares.
    pub load_score: u8,
    /// Whether this node is connected to it.
    pub connected: bool,
}

/// Where a node may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAddresses {
    /// Who.
    pub did: Did,
    /// Whether it was heard lately.
    pub status: Status,
    /// Multiaddresses as text, as the node declares them.
    pub addresses: Vec<Arc<str>>,
}

pub(super) fn node(entry: &Entry, now: Timestamp, config: &Config, connected: bool) -> NodeView {
    let body = entry.latest.body();
    NodeView {
        did: entry.did().clone(),
        name: entry.rest.record.as_ref().map(|held| held.record.name.clone()),
        status: entry.status(),
        created_at: entry.rest.created_at,
        admitted_by: entry.rest.admitted_by.clone(),
        declared: body.profile(),
        declared_status: body.status,
        resources: body.resources,
        measured: Measured {
            last_seen: entry.last_heard,
            latency_ms: entry.rest.latency.median(),
            response_ms: entry.rest.response_ms,
            uptime_bp: entry.uptime.basis_points(now, config.interval),
            load_score: body.resources.load_score(),
            connected,
        },
    }
}

/// A time as AT Protocol writes it.
pub(super) fn datetime<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
