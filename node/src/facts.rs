//! What a running node is: the facts that its parts show, and the file by which its data directory says how to reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use angel_protocol::ids::{Did, NetworkId, NodeName};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::network::{Multiaddr, PeerId};

/// The version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a running node is, for whoever wants to know.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// The node's DID.
    pub did: Did,
    /// Its libp2p peer id, of the same key.
    #[serde(serialize_with = "as_text")]
    pub peer_id: PeerId,
    /// Its id on the network.
    pub node_id: NodeName,
    /// Its name for people.
    pub name: String,
    /// The network it belongs to.
    pub network: NetworkId,
    /// Where the world reaches its HTTP.
    pub public_url: Option<Url>,
    /// How to reach its operator.
    pub operator_contact: Option<String>,
    /// The address its HTTP listens on, with the real port.
    pub http_addr: SocketAddr,
    /// The multiaddresses it listens on, with the real ports.
    pub p2p: Vec<Multiaddr>,
    /// Where the admin password lies, unless the environment gave it.
    pub admin_password_file: Option<PathBuf>,
    /// The version of the software.
    pub version: &'static str,
}

/// `DATA_DIR/run/node.json`: how to reach the daemon that runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFile {
    /// The node's DID.
    pub did: String,
    /// Its libp2p peer id.
    pub peer_id: String,
    /// The process.
    pub pid: u32,
    /// Where its HTTP answers, from this machine.
    pub http_url: String,
    /// The multiaddresses it listens on.
    pub p2p: Vec<String>,
    /// Where the admin password lies; absent when the environment gave it.
    pub admin_password_file: Option<PathBuf>,
    /// The version of the software.
    pub version: String,
}

impl NodeFacts {
    /// The facts for `run/node.json`.
    #[must_use]
    pub fn run_file(&self) -> RunFile {
        RunFile {
            did: self.did.to_string(),
            peer_id: self.peer_id.to_string(),
            pid: std::process::id(),
            http_url: format!("http://{}", from_this_machine(self.http_addr)),
            p2p: self.p2p.iter().map(ToString::to_string).collect(),
            admin_password_file: self.admin_password_file.clone(),
            version: self.version.to_owned(),
        }
    }
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A listening address as one to connect to: "all addresses" is none.
fn from_this_machine(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}
