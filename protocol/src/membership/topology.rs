//! The map of the network (NET-07): who is there, and which links are measured, from the neighbours that heartbeats
//! list. Made when somebody asks, never kept.

use std::collections::BTreeMap;

use serde::Serialize;

use super::declared::Region;
use super::failure_detector::Status;
use super::heartbeat::PeerReport;
use super::view::datetime;
use crate::ids::{Did, NodeName};
use crate::time::Timestamp;

/// The graph as one observer has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyView {
    /// Who made it.
    pub observer: Did,
    /// When.
    #[serde(serialize_with = "datetime")]
    pub at: Timestamp,
    /// The nodes heard within the window, by DID, the observer among them.
    pub nodes: Vec<TopologyNode>,
    /// The links between them, by the DIDs of their ends.
    pub links: Vec<LinkView>,
}

/// A node on the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyNode {
    /// Who.
    pub did: Did,
    /// Its name.
    pub node_id: NodeName,
    /// Where it stands.
    pub region: Region,
    /// The observer's verdict.
    pub status: Status,
}

/// A measured link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// One end, the lesser DID.
    pub a: Did,
    /// The other end.
    pub b: Did,
    /// Round trip in milliseconds: the mean of what the two ends report, or what one does.
    pub latency_ms: u32,
    /// Whether both ends report it.
    pub confirmed: bool,
}

/// Draws the map from what each node reports.
pub(super) fn draw<'a>(
    observer: Did,
    at: Timestamp,
    reports: impl Iterator<Item = (TopologyNode, &'a [PeerReport])>,
) -> TopologyView {
    let mut nodes = BTreeMap::new();
    let mut measured: Vec<(Did, &PeerReport)> = Vec::new();
    for (node, peers) in reports {
        measured.extend(peers.iter().map(|peer| (node.did.clone(), peer)));
        nodes.insert(node.did.clone(), node);
    }
    // Each end's figure, the lesser DID's first.
    let mut links: BTreeMap<(Did, Did), [Option<u32>; 2]> = BTreeMap::new();
    for (from, peer) in measured {
        let to = peer.node.clone();
        if from == to || !nodes.contains_key(&to) {
            continue;
        }
        let end = usize::from(from > to);
        let ends = if end == 0 { (from, to) } else { (to, from) };
        links.entry(ends).or_default()[end] = Some(peer.latency_ms);
    }
    let links = links.into_iter().map(|((a, b), reported)| {
        let latency_ms = match reported {
            [Some(one), Some(other)] => one.midpoint(other),
            [one, other] => one.or(other).unwrap_or_default(),
        };
        LinkView { a, b, latency_ms, confirmed: reported.iter().all(Option::is_some) }
    });
    TopologyView { observer, at, links: links.collect(), nodes: nodes.into_values().collect() }
}
