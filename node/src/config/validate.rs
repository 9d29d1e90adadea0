//! What no single value can tell: settings that contradict each other, and bounds.

use std::time::Duration;

use angel_protocol::membership::{NodeType, OVERLAP_MAX};

use super::{Config, ConfigError, NamesAdapter};

/// A heartbeat faster than this would be a flood even on a test bench.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Room for one request of each kind; below it the daemon could not even be asked how it is.
const HTTP_CONNECTIONS_MIN: u32 = 8;

/// Longest free text of the node record, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// An archive reads everything that a tenant has: no more often than this, and than another is of use.
const ARCHIVE_EVERY_MIN: Duration = Duration::from_secs(1);
const VAULT_CHECK_MIN: Duration = Duration::from_millis(100);
const VAULT_INTERVAL_MAX: Duration = Duration::from_hours(90 * 24);

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] naming the key to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_node()?;
        self.validate_http()?;
        self.validate_network()?;
        self.validate_consensus()?;
        self.validate_membership()?;
        self.validate_names()?;
        self.validate_replicas()?;
        let overlap = self.identity.rotation_overlap;
        require("identity.rotation_overlap", overlap <= OVERLAP_MAX, || {
            format!("peers accept a replaced key for {} days at most", OVERLAP_MAX.as_secs() / 86_400)
        })?;
        let filter = &self.log.filter;
        require("log.filter", filter.parse::<tracing_subscriber::EnvFilter>().is_ok(), || {
            format!("\"{filter}\" is no filter; write a level such as \"info\", or \"info,angel_node::http=debug\"")
        })
    }

    fn validate_names(&self) -> Result<(), ConfigError> {
        let names = &self.names;
        let (is_zone, is_command) = (names.adapter == NamesAdapter::Zone, names.adapter == NamesAdapter::Command);
        require("names.zone", !is_zone || (names.zone.is_some() && names.server.is_some()), || {
            "the adapter \"zone\" needs names.zone and names.server".to_owned()
        })?;
        require("names.key_name", names.key_name.is_some() == names.key_file.is_some(), || {
            "names.key_name and names.key_file belong together".to_owned()
        })?;
        require("names.command", !is_command || !names.command.is_empty(), || {
            "the adapter \"command\" needs a command".to_owned()
        })
    }

    fn validate_replicas(&self) -> Result<(), ConfigError> {
        let replicas = &self.replicas;
        let fits = |value: Duration, least: Duration| (least..=VAULT_INTERVAL_MAX).contains(&value);
        require("replicas.archive_every", fits(replicas.archive_every, ARCHIVE_EVERY_MIN), || {
            "1s to 90d are allowed".to_owned()
        })?;
        require("replicas.vault_check", fits(replicas.vault_check, VAULT_CHECK_MIN), || {
            "100ms to 90d are allowed".to_owned()
        })
    }

    fn validate_node(&self) -> Result<(), ConfigError> {
        let node = &self.node;
        let fits = |text: &Option<String>| text.as_ref().is_none_or(|t| !t.is_empty() && t.len() <= TEXT_BYTES_MAX);
        let length = || format!("1 to {TEXT_BYTES_MAX} bytes are allowed");
        require("node.name", fits(&node.name), length)?;
        require("node.operator_contact", fits(&node.operator_contact), length)?;
        if let Some(url) = &node.public_url {
            require("node.public_url", matches!(url.scheme(), "https" | "http") && url.has_host(), || {
                format!("{url} is no http or https URL with a host")
            })?;
            require("node.public_url", url.path() == "/" && url.query().is_none() && url.fragment().is_none(), || {
                format!("{url} has a path; AT Protocol services live at the root of their host")
            })?;
            require("node.public_url", url.username().is_empty() && url.password().is_none(), || {
                "the URL is shown to everybody and must hold no password".to_owned()
            })?;
        }
        let development = node.node_type == NodeType::Development;
        require("network.id", !development || self.network.id.is_development(), || {
            format!("a development node joins only networks whose id ends in \"-dev\", not \"{}\"", self.network.id)
        })
    }

    fn validate_http(&self) -> Result<(), ConfigError> {
        let http = &self.http;
        require("http.connections_max", http.connections_max >= HTTP_CONNECTIONS_MIN, || {
            format!("at least {HTTP_CONNECTIONS_MIN} are needed")
        })?;
        let timeouts = [
            ("http.header_timeout", http.header_timeout),
            ("http.request_timeout", http.request_timeout),
            ("http.write_stall_timeout", http.write_stall_timeout),
            ("http.transfer_timeout", http.transfer_timeout),
        ];
        for (key, timeout) in timeouts {
            require(key, timeout >= Duration::from_millis(100), || "at least 100ms are needed".to_owned())?;
        }
        require("http.body_max", http.body_max.bytes() >= 64 << 10, || {
            "at least 64KiB are needed for a heartbeat".to_owned()
        })
    }

    fn validate_network(&self) -> Result<(), ConfigError> {
        let network = &self.network;
        require("network.listen", !network.listen.is_empty(), || {
            "name at least one multiaddress such as \"/ip4/0.0.0.0/udp/2584/quic-v1\"".to_owned()
        })?;
        require("network.connections_max", network.connections_max > 0, || "at least 1 is needed".to_owned())?;
        require("network.connections_per_peer_max", network.connections_per_peer_max > 0, || {
            "at least 1 is needed".to_owned()
        })?;
        require("network.messages_per_second_max", network.messages_per_second_max > 0, || {
            "at least 1 is needed".to_owned()
        })?;
        let both = network.allow.iter().find(|did| network.block.contains(did));
        require("network.block", both.is_none(), || {
            format!("{} is in allow as well; keep it in one of the two", both.map_or("", |did| did.as_str()))
        })
    }

    fn validate_consensus(&self) -> Result<(), ConfigError> {
        let consensus = &self.consensus;
        let waits = [
            ("consensus.propose_timeout", consensus.propose_timeout),
            ("consensus.propose_timeout_absent", consensus.propose_timeout_absent),
            ("consensus.vote_timeout", consensus.vote_timeout),
        ];
        for (key, wait) in waits {
            let fits = wait >= Duration::from_millis(10) && wait <= Duration::from_secs(20);
            require(key, fits, || "from 10ms to 20s make sense".to_owned())?;
        }
        Ok(())
    }

    fn validate_membership(&self) -> Result<(), ConfigError> {
        let membership = &self.membership;
        require("membership.heartbeat_interval", membership.heartbeat_interval >= HEARTBEAT_INTERVAL_MIN, || {
            "at least 10ms are needed".to_owned()
        })?;
        require("membership.heartbeat_jitter", membership.heartbeat_jitter < membership.heartbeat_interval, || {
            "must be shorter than heartbeat_interval".to_owned()
        })?;
        require("membership.degraded_after", membership.degraded_after > membership.heartbeat_interval, || {
            "must be longer than heartbeat_interval, or every peer is degraded between two heartbeats".to_owned()
        })?;
        require("membership.offline_after", membership.offline_after > membership.degraded_after, || {
            "must be longer than degraded_after".to_owned()
        })?;
        require("membership.heartbeat_min_gap", membership.heartbeat_min_gap < membership.heartbeat_interval, || {
            "must be shorter than heartbeat_interval, or regular heartbeats are dropped".to_owned()
        })?;
        require("membership.online_after_heartbeats", membership.online_after_heartbeats > 0, || {
            "at least 1 is needed".to_owned()
        })
    }
}

fn require(key: &'static str, holds: bool, why: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Contradiction { key, origin: None, why: why() }) }
}
