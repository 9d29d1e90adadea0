//! What a daemon says of its peers: asked by HTTP, or by `angel peers --json` where its HTTP is out of reach.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::binary::{Daemon, command, command_under};

/// Settings under which peers are watched in seconds instead of minutes.
pub const QUICK: [(&str, &str); 6] = [
    ("ANGEL_MEMBERSHIP_HEARTBEAT_INTERVAL", "1s"),
    ("ANGEL_MEMBERSHIP_HEARTBEAT_JITTER", "100ms"),
    ("ANGEL_MEMBERSHIP_HEARTBEAT_MIN_GAP", "200ms"),
    ("ANGEL_MEMBERSHIP_DEGRADED_AFTER", "3s"),
    ("ANGEL_MEMBERSHIP_OFFLINE_AFTER", "6s"),
    ("ANGEL_MEMBERSHIP_WINDOW", "10s"),
];

/// One node's view of the others.
#[derive(Clone, Debug)]
pub struct Sight(Value);

impl Sight {
    /// Asks a daemon over HTTP.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(client: &reqwest::Client, daemon: &Daemon) -> Result<Self> {
        let url = format!("{}/api/federation/nodes?limit=1000", daemon.fact("httpUrl"));
        Ok(Self(client.get(url).send().await?.error_for_status()?.json().await?))
    }

    /// Runs `angel peers --json` for the daemon in `data_dir`.
    ///
    /// # Errors
    /// With what it wrote, when it fails.
    pub fn by_command(data_dir: &Path) -> Result<Self> {
        Self::said_by(command(data_dir), data_dir)
    }

    /// The same under a command that runs its arguments, as inside a network namespace.
    ///
    /// # Errors
    /// With what it wrote, when it fails.
    pub fn by_command_under(wrapper: &[&str], data_dir: &Path) -> Result<Self> {
        Self::said_by(command_under(wrapper, data_dir), data_dir)
    }

    fn said_by(mut command: Command, data_dir: &Path) -> Result<Self> {
        let output = command.args(["peers", "--json", "--data-dir"]).arg(data_dir).output()?;
        ensure!(output.status.success(), "angel peers: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self(serde_json::from_slice(&output.stdout).context("angel peers --json answers in JSON")?))
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Value] {
        self.0["nodes"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Their DIDs, in the order of the answer.
    #[must_use]
    pub fn dids(&self) -> Vec<&str> {
        self.nodes().iter().filter_map(|node| node["did"].as_str()).collect()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, did: &str) -> Option<&Value> {
        self.nodes().iter().find(|node| node["did"] == did)
    }

    /// The status of one node.
    #[must_use]
    pub fn status(&self, did: &str) -> Option<&str> {
        self.node(did)?["status"].as_str()
    }

    /// How one node is connected: "direct" or "relayed".
    #[must_use]
    pub fn connection(&self, did: &str) -> Option<&str> {
        self.node(did)?["connection"].as_str()
    }

    /// Whether the observer thinks itself cut off.
    #[must_use]
    pub fn isolated(&self) -> bool {
        self.0["isolated"] == true
    }
}
