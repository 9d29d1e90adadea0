//! Whole nodes in this process: real sockets on loopback, real files, no process of their own.

use std::collections::BTreeSet;
use std::time::Duration;

use angel_node::config::{ByteSize, Config};
use angel_node::node::{Node, NodeHandle};
use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::wait::until;

/// Nodes that know nobody but the first of them when they start.
pub struct Village {
    root: TempDir,
    client: Client,
    nodes: Vec<NodeHandle>,
}

impl Village {
    /// Nobody yet.
    ///
    /// # Errors
    /// When there is no place for files.
    pub fn new() -> Result<Self> {
        Ok(Self { root: tempfile::tempdir()?, client: Client::new(), nodes: vec![] })
    }

    /// Starts one more node.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn settle(&mut self) -> Result<()> {
        let mut config = Config::on_loopback(&self.root.path().join(self.nodes.len().to_string()));
        // The bound is on the process, which here is everybody's: one node's bound would turn the later ones away.
        config.network.memory_max = ByteSize::from_mib(8 << 10);
        if let Some(first) = self.nodes.first() {
            config.network.bootstrap = first.facts().p2p.clone();
        }
        self.nodes.push(Node::start(config).await?);
        Ok(())
    }

    /// Where a node's HTTP is, by the order of their start.
    #[must_use]
    pub fn http_url(&self, place: usize) -> Option<String> {
        self.nodes.get(place).map(|node| format!("http://{}", node.facts().http_addr))
    }

    /// Where the first node listens.
    #[must_use]
    pub fn bootstrap(&self) -> Option<String> {
        self.nodes.first()?.facts().p2p.first().map(ToString::to_string)
    }

    /// Waits until every node lists every other online, and says how long that took.
    ///
    /// # Errors
    /// When `patience` ends first: with how many others the last of them saw.
    pub async fn until_all_see_all(&self, patience: Duration) -> Result<Duration> {
        let everybody: BTreeSet<String> = self.nodes.iter().map(|node| node.facts().did.to_string()).collect();
        // Nodes do not go offline here, so one that has seen everybody is not asked again.
        let mut satisfied = 0;
        let all = async || {
            while let Some(node) = self.nodes.get(satisfied) {
                let own = node.facts().did.to_string();
                let url = format!("http://{}/xrpc/co.kendev.network.listNodes?limit=1000", node.facts().http_addr);
                let page: Value = self.client.get(url).send().await?.error_for_status()?.json().await?;
                let nodes = page["nodes"].as_array().context("a list of nodes")?;
                let online =
                    nodes.iter().filter(|node| node["status"] == "online").filter_map(|node| node["did"].as_str());
                let seen = online.filter(|did| *did != own && everybody.contains(*did)).count();
                ensure!(seen + 1 >= everybody.len(), "node {satisfied} sees {seen} others online");
                satisfied += 1;
            }
            Ok(Some(()))
        };
        Ok(until("all see all", patience, all).await?.1)
    }

    /// Stops all nodes.
    ///
    /// # Errors
    /// When one does not stop cleanly.
    pub async fn stop(self) -> Result<()> {
        self.nodes.iter().for_each(NodeHandle::stop);
        for node in self.nodes {
            node.shutdown().await?;
        }
        Ok(())
    }
}
