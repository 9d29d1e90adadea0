//! What a node says about itself, in the words of its public record (`records.md` 6.1).
//!
//! Nothing here is believed for a decision about safety: load and place are claims (`network.md` 9, "Defence").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::Cid;
use crate::ids::NodeName;
use crate::limits::{
    CAPABILITIES_MAX, ENDPOINT_BYTES_MAX, KNOWN_VALUE_BYTES_MAX, LISTEN_ADDRESS_BYTES_MAX, LISTEN_ADDRESSES_MAX,
    SEQUENCE_MAX, SOFTWARE_VERSION_BYTES_MAX,
};

/// A value outside an open list is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a known value has 1 to {KNOWN_VALUE_BYTES_MAX} bytes")]
pub struct InvalidKnownValue;

/// An open list of known values, as AT Protocol's `knownValues`: a word this version does not know is kept as it is.
macro_rules! known {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $type {
            $($(#[$doc])* $variant,)+
            /// A word of a later version.
            Other(Arc<str>),
        }

        impl $type {
            /// The words this version knows.
            pub const KNOWN: &[&str] = &[$($text),+];

            /// The word in records and messages.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl FromStr for $type {
            type Err = InvalidKnownValue;

            fn from_str(text: &str) -> Result<Self, InvalidKnownValue> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ if text.is_empty() || text.len() > KNOWN_VALUE_BYTES_MAX => Err(InvalidKnownValue),
                    _ => Ok(Self::Other(text.into())),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidKnownValue;

            fn try_from(text: String) -> Result<Self, InvalidKnownValue> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.as_str().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

known! {
    /// Where a node stands.
    Region {
        /// Eastern North America.
        UsEast = "us-east",
        /// Western North America.
        UsWest = "us-west",
        /// Europe.
        Europe = "europe",
        /// Asia.
        Asia = "asia",
        /// Australia.
        Australia = "australia",
    }
}

known! {
    /// What kind of node it is.
    NodeType {
        /// One of a network's first nodes.
        Genesis = "genesis",
        /// A cluster that serves in production.
        ProductionCluster = "production_cluster",
        /// One machine.
        SingleInstance = "single_instance",
        /// A cluster at the edge.
        EdgeCluster = "edge_cluster",
        /// A node for trying things out; joins only networks whose id ends in `-dev`.
        Development = "development",
        /// A node for AI workloads.
        AiSpecialized = "ai_specialized",
    }
}

known! {
    /// How a node grows.
    ScalingModel {
        /// Serverless functions.
        VercelServerless = "vercel_serverless",
        /// Behind a load balancer.
        CloudflareLb = "cloudflare_lb",
        /// A Kubernetes cluster.
        K8sCluster = "k8s_cluster",
        /// One server: what this daemon is.
        SingleServer = "single_server",
    }
}

known! {
    /// What a node offers.
    Capability {
        /// Hosts tenants.
        TenantHosting = "tenant_hosting",
        /// Runs AI workloads.
        AiProcessing = "ai_processing",
        /// Stores media.
        MediaStorage = "media_storage",
        /// Serves live connections.
        RealtimeComm = "realtime_comm",
        /// May be asked to validate the ledger.
        BlockchainServices = "blockchain_services",
    }
}

/// The status a node may declare for itself. `offline` cannot be declared: a node that can say so is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredStatus {
    /// Serving.
    #[default]
    Online,
    /// Serving with something broken.
    Degraded,
    /// Being worked on.
    Maintenance,
}

/// What a node is, by its own account: the part of its record that heartbeats repeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The node's name, unique on its network.
    pub node_id: NodeName,
    /// Its public URL; absent for a node that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
    /// Its federation API; absent for a node that cannot be reached over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<Arc<str>>,
    /// Where it stands.
    pub region: Region,
    /// What kind of node it is.
    pub node_type: NodeType,
    /// How it grows.
    pub scaling_model: ScalingModel,
    /// What it offers, at most [`CAPABILITIES_MAX`].
    pub capabilities: Vec<Capability>,
    /// CID of the node record these values come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_cid: Option<Cid>,
    /// Version of the software.
    pub software_version: Arc<str>,
    /// Public multiaddresses as text, at most [`LISTEN_ADDRESSES_MAX`].
    #[serde(default)]
    pub listen_addresses: Vec<Arc<str>>,
}

/// What a node has and how much of it is in use. Percentages are whole, storage is in GB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Tenants it will host.
    pub max_tenants: u64,
    /// Tenants it hosts.
    pub current_tenants: u64,
    /// Users it will host.
    pub max_users: u64,
    /// Storage it has, in GB.
    pub storage_capacity: u64,
    /// Storage in use, in GB.
    pub storage_used: u64,
    /// CPU load, 0 to 100.
    pub cpu_load: u8,
    /// Memory in use, 0 to 100.
    pub memory_usage: u8,
}

/// Above this load score a node counts as full for placement (NET-06).
pub const LOAD_SCORE_FULL: u8 = 85;

impl Profile {
    /// Bounds of everything a node may say about itself.
    ///
    /// # Errors
    /// What is out of bounds.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.capabilities.len() > CAPABILITIES_MAX {
            return Err("more capabilities than a node declares");
        }
        let endpoints = [&self.endpoint, &self.api_endpoint];
        if endpoints.into_iter().flatten().any(|url| !is_http_url(url)) {
            return Err("an endpoint is an http or https URL of at most 2048 bytes");
        }
        if self.software_version.len() > SOFTWARE_VERSION_BYTES_MAX {
            return Err("the software version is too long");
        }
        if self.listen_addresses.len() > LISTEN_ADDRESSES_MAX {
            return Err("more listen addresses than a node declares");
        }
        if self.listen_addresses.iter().any(|address| !is_multiaddress(address)) {
            return Err("a listen address is a multiaddress of at most 512 bytes");
        }
        Ok(())
    }
}

impl Resources {
    /// Bounds: percentages up to 100, counts within 53 bits.
    ///
    /// # Errors
    /// What is out of bounds.
    pub fn check(&self) -> Result<(), &'static str> {
        let counts = [self.max_tenants, self.current_tenants, self.max_users, self.storage_capacity, self.storage_used];
        if self.cpu_load > 100 || self.memory_usage > 100 {
            return Err("a percentage is above 100");
        }
        if counts.into_iter().any(|count| count > SEQUENCE_MAX) {
            return Err("a count is beyond 53 bits");
        }
        Ok(())
    }

    /// NET-06: the largest of CPU, memory, tenants and storage, in whole per cent up to 100. A node without room for
    /// tenants or without storage counts as full.
    #[must_use]
    pub fn load_score(&self) -> u8 {
        self.work_score().max(self.space_score())
    }

    /// The part of the load that follows what is asked of the node: CPU and memory.
    #[must_use]
    pub fn work_score(&self) -> u8 {
        self.cpu_load.max(self.memory_usage)
    }

    /// The part of the load that follows what the node holds, whether anybody asks for it or not: tenants and storage.
    #[must_use]
    pub fn space_score(&self) -> u8 {
        let share = |used: u64, capacity: u64| {
            let percent = used.min(capacity).saturating_mul(100).checked_div(capacity).unwrap_or(100);
            u8::try_from(percent).unwrap_or(100)
        };
        share(self.current_tenants, self.max_tenants).max(share(self.storage_used, self.storage_capacity))
    }

    /// What the operator sets, apart from what is measured: a change of it is worth an event.
    #[must_use]
    pub const fn limits(&self) -> [u64; 3] {
        [self.max_tenants, self.max_users, self.storage_capacity]
    }
}

/// Enough to keep control characters and other schemes out of logs and consoles; whoever connects parses it in full.
fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text.len() <= ENDPOINT_BYTES_MAX && rest.is_some_and(|rest| !rest.is_empty()) && is_plain(text)
}

fn is_multiaddress(text: &str) -> bool {
    text.len() <= LISTEN_ADDRESS_BYTES_MAX && text.len() > 1 && text.starts_with('/') && is_plain(text)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_later_version_are_kept() {
        assert_eq!("europe".parse(), Ok(Region::Europe));
        let later: Region = "antarctica".parse().expect("within bounds");
        assert_eq!(later.as_str(), "antarctica");
        assert!("".parse::<Region>().is_err());
        assert!("x".repeat(65).parse::<Region>().is_err());
    }

    #[test]
    fn the_load_score_is_the_worst_of_four() {
        let idle = Resources { max_tenants: 10, storage_capacity: 100, ..Resources::default() };
        assert_eq!(idle.load_score(), 0);
        assert_eq!(Resources { cpu_load: 40, memory_usage: 70, ..idle }.load_score(), 70);
        assert_eq!(Resources { current_tenants: 9, ..idle }.load_score(), 90);
        assert_eq!(Resources { storage_used: 86, cpu_load: 3, ..idle }.load_score(), 86);
        assert_eq!(Resources { current_tenants: u64::MAX, ..idle }.load_score(), 100);
        assert_eq!(Resources { max_tenants: 0, ..idle }.load_score(), 100);
    }

    #[test]
    fn endpoints_and_addresses_are_plain() {
        assert!(is_http_url("https://angel.example/x?y=1"));
        for text in ["https://", "ftp://a.example", "javascript:alert(1)", "https://a.example/\n"] {
            assert!(!is_http_url(text), "{text}");
        }
        assert!(is_multiaddress("/ip4/192.0.2.1/tcp/2584"));
        assert!(!is_multiaddress("ip4/192.0.2.1"));
    }
}
