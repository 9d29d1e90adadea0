//! Other nodes over HTTP: heartbeats to those that the configuration names, for where peer-to-peer connections do not
//! get through, and the question how somebody is (NET-04). One round at a time, one node after the other.

use std::time::{Duration, Instant};

use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::membership::{OpenedHeartbeat, Status};
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::Config;
use crate::fetch::{FetchError, Fetcher};
use crate::membership::{Handle, KNOWN_NODES_MAX, Stopped};
use crate::network::{Multiaddr, Scope};
use crate::tasks::TaskResult;

/// Most bytes of an answer to a heartbeat.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Most bytes of an answer to how somebody is.
const HEALTH_BYTES_MAX: usize = 64 << 10;

/// Sends heartbeats and asks how nodes are.
pub(crate) struct Exchange {
    network: NetworkId,
    membership: Handle,
    endpoints: Vec<Url>,
    /// For the URLs of the configuration: the operator may mean any address.
    named: Fetcher,
    /// For the URLs that nodes declare.
    declared: Fetcher,
    heartbeat_interval: Duration,
    health_interval: Duration,
    /// The last node that was asked how it is.
    asked: Option<Did>,
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer is not that of a node: {0}")]
    Answer(#[from] serde_json::Error),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What is read of a [`crate::membership::HeartbeatAnswer`].
#[derive(Deserialize)]
struct Answer {
    heartbeat: Option<serde_json::Value>,
    #[serde(default)]
    nodes: Vec<AnswerNode>,
}

#[derive(Deserialize)]
struct AnswerNode {
    did: Did,
    #[serde(default)]
    addresses: Vec<String>,
}

impl Exchange {
    /// Nothing is sent before [`Self::run`].
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(config: &Config, scope: Scope, membership: Handle) -> Result<Self, FetchError> {
        Ok(Self {
            network: config.network.id.clone(),
            membership,
            endpoints: config.network.endpoints.clone(),
            named: Fetcher::new(Scope::Loopback)?,
            declared: Fetcher::new(scope)?,
            heartbeat_interval: config.membership.heartbeat_interval,
            health_interval: config.membership.health_interval,
            asked: None,
        })
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> TaskResult {
        let mut heartbeats = interval(self.heartbeat_interval);
        let mut health = interval(self.health_interval);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let round = async {
                tokio::select! {
                    _ = heartbeats.tick() => self.send_heartbeats().await,
                    _ = health.tick() => self.ask_next().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                outcome = round => outcome?,
            }
        }
    }

    async fn send_heartbeats(&self) -> Result<(), Stopped> {
        if self.endpoints.is_empty() {
            return Ok(());
        }
        let Some(heartbeat) = self.membership.own_heartbeat().await? else { return Ok(()) };
        for endpoint in &self.endpoints {
            match self.exchange(endpoint, &heartbeat).await {
                Ok(()) => {}
                Err(ExchangeError::Stopped(stopped)) => return Err(stopped),
                Err(error) => tracing::debug!(%endpoint, %error, "a heartbeat was not taken"),
            }
        }
        Ok(())
    }

    async fn exchange(&self, endpoint: &Url, heartbeat: &serde_json::Value) -> Result<(), ExchangeError> {
        let url = endpoint.join("/api/federation/heartbeat").map_err(|_| FetchError::Url)?;
        let bytes = self.named.post_json(&url, heartbeat, ANSWER_BYTES_MAX).await?;
        let answer: Answer = serde_json::from_slice(&bytes)?;
        if let Some(heartbeat) = answer.heartbeat {
            let opened = OpenedHeartbeat::from_json(heartbeat.to_string().as_bytes(), &self.network);
            if let Ok(opened) = opened
                && let Err(refusal) = self.membership.heartbeat(opened).await?
            {
                tracing::debug!(%endpoint, %refusal, "the heartbeat in the answer was refused");
            }
        }
        for node in answer.nodes.into_iter().take(KNOWN_NODES_MAX) {
            let addresses = node.addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
            self.membership.learned(node.did, addresses.collect()).await?;
        }
        Ok(())
    }

    /// Asks the next node that has an endpoint and is not offline.
    async fn ask_next(&mut self) -> Result<(), Stopped> {
        let nodes = self.membership.nodes().await?.nodes;
        let reachable = nodes.iter().filter(|node| node.view.status != Status::Offline);
        let candidates: Vec<_> = reachable.filter(|node| node.view.declared.endpoint.is_some()).collect();
        let after = |did: &Did| self.asked.as_ref().is_none_or(|asked| did > asked);
        let Some(node) = candidates.iter().find(|node| after(&node.view.did)).or(candidates.first()) else {
            return Ok(());
        };
        let did = node.view.did.clone();
        self.asked = Some(did.clone());
        let url = node.view.declared.endpoint.as_deref().and_then(|endpoint| endpoint.parse::<Url>().ok());
        let Some(url) = url.and_then(|url| url.join("/api/health").ok()) else { return Ok(()) };
        let started = Instant::now();
        match self.declared.get(&url, HEALTH_BYTES_MAX).await {
            Ok(_) => self.membership.health_measured(did, started.elapsed()).await,
            Err(error) => {
                tracing::debug!(peer = %did, %error, "did not say how it is");
                Ok(())
            }
        }
    }
}
