//! Daemons that know each other: who is seen, who is missed, who is let in.

mod hostile;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use angel_harness::binary::{Daemon, Launch, PATIENCE, verb};
use angel_harness::peers::{QUICK, Sight};
use angel_harness::wait::until;
use angel_node::clock;
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::NetworkId;
use angel_protocol::membership::{Capability, Heartbeat, Invite, NodeType, Profile, Region, ScalingModel};
use angel_protocol::wire::envelope::{Verified, seal};
use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Response};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon and its data.
struct Node {
    daemon: Daemon,
    dir: PathBuf,
}

/// Daemons on loopback that ask the first one for the others.
struct Network {
    root: TempDir,
    client: Client,
    bootstrap: Option<String>,
    settings: Vec<(&'static str, String)>,
}

impl Network {
    fn new(settings: &[(&'static str, &str)]) -> Result<Self> {
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Ok(Self { root: tempfile::tempdir()?, client: Client::new(), bootstrap: None, settings })
    }

    /// Starts the daemon of this name, on its old data when it had any.
    fn start(&mut self, name: &str, settings: &[(&str, &str)]) -> Result<Node> {
        let dir = self.root.path().join(name);
        let mut launch = Launch::in_dir(&dir).envs(QUICK).env("ANGEL_NODE_NODE_ID", name);
        launch = launch.envs(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        if let Some(bootstrap) = &self.bootstrap {
            launch = launch.env("ANGEL_NETWORK_BOOTSTRAP", bootstrap);
        }
        let daemon = launch.envs(settings.iter().copied()).start()?;
        if self.bootstrap.is_none() {
            self.bootstrap = Some(daemon.facts()["p2p"][0].as_str().context("it listens")?.to_owned());
        }
        Ok(Node { daemon, dir })
    }

    async fn sight(&self, node: &Node) -> Result<Sight> {
        Sight::of(&self.client, &node.daemon).await
    }

    /// Waits until `observer` shows `did` with this status, and says how long that took.
    async fn until_status(&self, observer: &Node, did: &str, status: &str) -> Result<Duration> {
        let seen = async || {
            let sight = self.sight(observer).await?;
            if sight.status(did) == Some(status) {
                return Ok(Some(()));
            }
            bail!("it shows {:?}", sight.status(did));
        };
        Ok(until(&format!("{did} is {status}"), PATIENCE, seen).await?.1)
    }

    async fn until_all_see_all(&self, nodes: &[&Node]) -> Result<()> {
        for observer in nodes {
            for other in nodes.iter().filter(|other| other.dir != observer.dir) {
                self.until_status(observer, other.daemon.fact("did"), "online").await?;
            }
        }
        Ok(())
    }

    /// Sends a heartbeat.
    async fn post(&self, node: &Node, media_type: &str, body: impl Into<reqwest::Body>) -> Result<Response> {
        let url = format!("{}/api/federation/heartbeat", node.daemon.fact("httpUrl"));
        Ok(self.client.post(url).header("Content-Type", media_type).body(body).send().await?)
    }

    /// Sends a heartbeat that is refused, and says how.
    async fn refused(&self, node: &Node, media_type: &str, body: impl Into<reqwest::Body>) -> Result<(u16, String)> {
        refusal(self.post(node, media_type, body).await?).await
    }

    /// The sum of the samples of a metric whose labels include these words.
    async fn count(&self, node: &Node, metric: &str, words: &[&str]) -> Result<u64> {
        let page = self.client.get(format!("{}/metrics", node.daemon.fact("httpUrl"))).send().await?.text().await?;
        let fits = |line: &&str| line.starts_with(metric) && words.iter().all(|word| line.contains(word));
        page.lines().filter(fits).map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<u64>()?)).sum()
    }

    /// How many heartbeats over HTTP were refused for this reason.
    async fn refusals(&self, node: &Node, reason: &str) -> Result<u64> {
        let reason = format!("reason=\"{reason}\"");
        self.count(node, "angel_heartbeats_refused_total", &["way=\"Http\"", &reason]).await
    }
}

/// The status and the name of an error.
async fn refusal(response: Response) -> Result<(u16, String)> {
    let status = response.status().as_u16();
    let has_id = response.headers().contains_key("x-request-id");
    let body: Value = response.json().await.context("errors are JSON")?;
    ensure!(body["message"].is_string() && has_id, "an error with words and an id: {body}");
    Ok((status, body["error"].as_str().with_context(|| format!("a name in {body}"))?.to_owned()))
}

/// A node that exists only as a key, and speaks HTTP.
struct Stranger {
    key: NodeKey,
    name: String,
    invite: Option<Invite>,
}

impl Stranger {
    fn new(name: &str) -> Self {
        Self { key: NodeKey::from_seed(&rand::random()), name: name.to_owned(), invite: None }
    }

    fn body(&self) -> Result<Heartbeat> {
        let heartbeat = Heartbeat::of(Profile {
            node_id: self.name.parse()?,
            endpoint: None,
            api_endpoint: None,
            region: Region::Asia,
            node_type: NodeType::SingleInstance,
            scaling_model: ScalingModel::SingleServer,
            capabilities: vec![Capability::TenantHosting],
            record_cid: None,
            software_version: "0.0.1".into(),
            listen_addresses: vec![],
        });
        Ok(Heartbeat { invite: self.invite.clone(), ..heartbeat })
    }

    /// A heartbeat of now.
    fn heartbeat(&self, sequence: u64) -> Result<Verified<Heartbeat>> {
        Ok(seal(&self.key, &network(), sequence, clock::now(), self.body()?)?)
    }

    fn did(&self) -> String {
        self.key.did().to_string()
    }
}

/// The network that daemons belong to when nobody says otherwise.
fn network() -> NetworkId {
    "angel".parse().expect("the id of a network")
}

/// What a verb answers in JSON.
fn answer(dir: &Path, words: &[&str]) -> Result<Value> {
    let output = verb(dir, &[words, &["--json"]].concat())?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn a_killed_node_is_missed_and_welcomed_back() -> Result<()> {
    let mut network = Network::new(&[])?;
    let (a, b) = (network.start("a", &[])?, network.start("b", &[])?);
    let c = network.start("c", &[])?;
    network.until_all_see_all(&[&a, &b, &c]).await?;
    let did = c.daemon.fact("did").to_owned();
    let created = network.sight(&a).await?.node(&did).context("listed")?["createdAt"].clone();

    c.daemon.signal(Signal::KILL)?;
    let killed = Instant::now();
    c.daemon.wait()?;
    for (status, silence_s) in [("degraded", 3), ("offline", 6)] {
        for observer in [&a, &b] {
            network.until_status(observer, &did, status).await?;
            let after = killed.elapsed();
            // Silence counts from the last heartbeat, which was up to an interval and its jitter before the kill.
            let earliest = Duration::from_secs(silence_s) - Duration::from_millis(1_300);
            let latest = Duration::from_secs(silence_s + 3);
            assert!((earliest..latest).contains(&after), "{status} {after:?} after the kill");
            assert_eq!(Sight::by_command(&observer.dir)?.status(&did), Some(status), "angel peers says the same");
            println!("{status} at {} {after:?} after the kill", observer.daemon.fact("httpUrl"));
        }
    }
    for observer in [&a, &b] {
        assert!(!network.sight(observer).await?.isolated(), "one of two others is enough to go on");
    }

    let c = network.start("c", &[])?;
    assert_eq!(c.daemon.fact("did"), did);
    network.until_all_see_all(&[&a, &b, &c]).await?;
    for observer in [&a, &b] {
        let sight = Sight::by_command(&observer.dir)?;
        assert_eq!(sight.nodes().len(), 2, "nobody is listed twice: {:?}", sight.dids());
    }
    assert_eq!(network.sight(&a).await?.node(&did).context("listed")?["createdAt"], created);
    Ok(())
}

#[tokio::test]
async fn an_invitation_opens_a_closed_network() -> Result<()> {
    let mut network = Network::new(&[("ANGEL_NETWORK_ADMISSION", "invite")])?;
    let a = network.start("a", &[])?;
    let mut stranger = Stranger::new("stranger");
    let refused = network.refused(&a, "application/json", stranger.heartbeat(1)?.to_json().to_string()).await?;
    assert_eq!(refused, (403, "NotAdmitted".to_owned()));
    assert_eq!(network.refusals(&a, "not_admitted").await?, 1);
    assert!(network.sight(&a).await?.nodes().is_empty(), "who is refused leaves nothing behind");

    let invited = answer(&a.dir, &["peer", "invite"])?;
    let word = invited["invitation"].as_str().context("a word")?;
    stranger.invite = Some(word.parse()?);
    let admitted = network.post(&a, "application/json", stranger.heartbeat(2)?.to_json().to_string()).await?;
    assert_eq!(admitted.status(), 200, "{}", admitted.text().await?);
    assert_eq!(network.sight(&a).await?.dids(), [stranger.did()]);

    let second = Stranger { invite: stranger.invite.clone(), ..Stranger::new("second") };
    let refused = network.refused(&a, "application/json", second.heartbeat(1)?.to_json().to_string()).await?;
    assert_eq!(refused, (403, "NotAdmitted".to_owned()), "an invitation for one lets in one");

    // The same between daemons: one brings a word, the other none.
    let invited = answer(&a.dir, &["peer", "invite"])?;
    let b = network.start("b", &[("ANGEL_NETWORK_INVITATION", invited["invitation"].as_str().context("a word")?)])?;
    let c = network.start("c", &[])?;
    network.until_all_see_all(&[&a, &b]).await?;
    let turned_away = async || {
        let count = network.count(&a, "angel_heartbeats_refused_total", &["reason=\"not_admitted\""]).await?;
        Ok((count > 3).then_some(()))
    };
    until("the one without a word is turned away", PATIENCE, turned_away).await?;
    for observer in [&a, &b] {
        assert_eq!(network.sight(observer).await?.status(c.daemon.fact("did")), None);
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_removes_and_declares() -> Result<()> {
    let mut network = Network::new(&[])?;
    let (a, b) = (network.start("a", &[])?, network.start("b", &[])?);
    network.until_all_see_all(&[&a, &b]).await?;

    let stranger = Stranger::new("stranger");
    let taken = network.post(&a, "application/json", stranger.heartbeat(1)?.to_json().to_string()).await?;
    assert_eq!(taken.status(), 200);
    let did = stranger.did();
    assert_eq!(network.sight(&a).await?.nodes().len(), 2);
    answer(&a.dir, &["peer", "remove", &did])?;
    assert_eq!(network.sight(&a).await?.status(&did), None);
    let again = verb(&a.dir, &["peer", "remove", &did])?;
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("does not know"), "{again:?}");

    answer(&b.dir, &["declare", "maintenance"])?;
    network.until_status(&a, b.daemon.fact("did"), "maintenance").await?;
    answer(&b.dir, &["declare", "online"])?;
    network.until_status(&a, b.daemon.fact("did"), "online").await?;
    Ok(())
}

#[tokio::test]
async fn a_rotated_key_is_the_same_node() -> Result<()> {
    let mut network = Network::new(&[])?;
    let (a, mut b, c) = (network.start("a", &[])?, network.start("b", &[])?, network.start("c", &[])?);
    network.until_all_see_all(&[&a, &b, &c]).await?;
    let old = b.daemon.fact("did").to_owned();
    let mut created = vec![];
    for observer in [&a, &c] {
        created.push(network.sight(observer).await?.node(&old).context("listed")?["createdAt"].clone());
    }

    answer(&b.dir, &["identity", "rotate"])?;
    b.daemon.next_announcement()?;
    let new = b.daemon.fact("did").to_owned();
    assert_ne!(new, old);
    for (observer, created) in [&a, &c].into_iter().zip(created) {
        network.until_status(observer, &new, "online").await?;
        let sight = network.sight(observer).await?;
        assert_eq!(sight.node(&new).context("listed")?["createdAt"], created, "it is the node of before");
        assert_eq!(sight.status(&old), None, "under its new key alone");
        assert_eq!(sight.nodes().len(), 2, "{:?}", sight.dids());
    }
    network.until_all_see_all(&[&a, &b, &c]).await
}
