//! A tenant on three of four nodes that decide one ledger, each node a process, on loopback or on a host of its own: asked,
//! written to, killed, paused and cut off.

mod caller;

use std::collections::BTreeSet;
use std::time::Duration;

use angel_protocol::ids::Did;
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

pub use self::caller::{Answer, COLLECTION, Caller, Session};
use self::caller::{Door, PASSWORD, Who, session};
use crate::binary::verb;
use crate::disks::Disk;
use crate::hosts::{Host, Lab};
use crate::validators::Validators;
use crate::wait::until;

/// After so long a primary counts as gone: shorter than usual.
pub const SILENCE: Duration = Duration::from_secs(4);

/// Everything that takes the network a decision, a copy or a failover may take so long on a busy machine.
pub const LONG: Duration = Duration::from_secs(120);

/// How many nodes there are. Node 0 is the first primary, 1 and 2 its standbys; 3 only decides, so that the ledger goes
/// on without any one of the others.
pub const NODES: usize = 4;

/// The nodes that may host the tenant.
pub const HOSTS: [usize; 3] = [0, 1, 2];

/// Megabytes of a node's disk where each has one of its own.
const DISK: u32 = 1024;

/// The nodes and their tenant.
pub struct Tenancy {
    disks: Vec<Disk>,
    /// The processes. They end before the hosts they run on.
    pub validators: Validators,
    did: String,
    doors: Vec<Door>,
    hosts: Vec<Host>,
    patience: Duration,
    _lab: Option<Lab>,
}

/// What nodes stand on.
struct Ground {
    doors: Vec<Door>,
    hosts: Vec<Host>,
    lab: Option<Lab>,
    silence: Option<Duration>,
    disks: bool,
    /// What else the nodes are told.
    settings: Vec<(String, String)>,
}

impl Tenancy {
    /// On loopback. The tenant lives on node 0 and has no copies yet.
    ///
    /// # Errors
    /// A node does not start, or the account is not made.
    pub async fn on_loopback() -> Result<Self> {
        Self::begin(Ground::loopback(Some(SILENCE))).await
    }

    /// On loopback, every node with these settings besides.
    ///
    /// # Errors
    /// As [`Self::on_loopback`].
    pub async fn on_loopback_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::on_loopback_silent(SILENCE, settings).await
    }

    /// The same with primaries that may be silent for so long: one that is started anew on a busy machine stays primary.
    ///
    /// # Errors
    /// As [`Self::on_loopback`].
    pub async fn on_loopback_silent(silence: Duration, settings: &[(&str, &str)]) -> Result<Self> {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::begin(Ground { settings, ..Ground::loopback(Some(silence)) }).await
    }

    /// On loopback, with primaries that may be silent for as long as anywhere else: for measurements, under which a machine
    /// may be too busy to be heard. Copying is as fast as it can be.
    ///
    /// # Errors
    /// As [`Self::on_loopback`].
    pub async fn under_load() -> Result<Self> {
        Self::begin(Ground::loopback(None).under_load()).await
    }

    /// The same on hosts whose lines carry so many megabits a second in either direction. Nothing, and a word why, where
    /// there can be none.
    ///
    /// # Errors
    /// As [`Self::on_loopback`].
    pub async fn on_lines(megabits: u64) -> Result<Option<Self>> {
        let Some(ground) = Ground::hosts()? else { return Ok(None) };
        ground.hosts.iter().try_for_each(|host| host.throttle(megabits))?;
        Ok(Some(Self::begin(ground.under_load()).await?))
    }

    /// Each node on a host of its own, so that it can be cut off. Nothing, and a word why, where there can be none.
    ///
    /// # Errors
    /// As [`Self::on_loopback`].
    pub async fn on_hosts() -> Result<Option<Self>> {
        let ground = Ground::hosts()?;
        Ok(match ground {
            Some(ground) => Some(Self::begin(ground).await?),
            None => None,
        })
    }

    /// Whatever there can be: hosts that are cut off, and disks that are filled, where this machine allows it.
    ///
    /// # Errors
    /// As [`Self::on_loopback`].
    pub async fn for_anything() -> Result<Self> {
        let ground = Ground::hosts()?.unwrap_or_else(|| Ground::loopback(Some(SILENCE)));
        Self::begin(Ground { disks: true, ..ground }).await
    }

    async fn begin(ground: Ground) -> Result<Self> {
        let Ground { doors, hosts, lab, silence, disks, settings } = ground;
        let mut validators = Validators::found(NODES, 2)?;
        if let Some(silence) = silence {
            let genesis = validators.dir(0).parent().context("a directory of all")?.join("genesis.json");
            let mut content: Value = serde_json::from_slice(&std::fs::read(&genesis)?)?;
            content["parameters"]["silence"] = json!(silence.as_millis() as u64);
            std::fs::write(&genesis, serde_json::to_vec(&content)?)?;
        }
        for (name, value) in [
            ("ANGEL_REPLICAS_ACCEPT_TENANTS", "network"),
            ("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test"),
            ("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false"),
            ("ANGEL_HTTP_RATE_LIMITS", "false"),
        ] {
            validators.set(name, value);
        }
        for (name, value) in &settings {
            validators.set(name, value);
        }
        for (index, host) in hosts.iter().enumerate() {
            let listen = format!("/ip4/{0}/tcp/2584,/ip4/{0}/udp/2584/quic-v1", host.address());
            validators.set_for(index, "ANGEL_NETWORK_LISTEN", &listen);
            validators.set_for(index, "ANGEL_NETWORK_SCOPE", "public");
            validators.set_wrapper(index, &host.wrapper());
        }
        let mut mounted = Vec::new();
        for index in (0..NODES).filter(|_| disks) {
            mounted.extend(Disk::under(&validators.dir(index), DISK)?);
        }
        for index in 0..NODES {
            validators.start(index)?;
            // It has the same address when it starts again: that is where the identity leads once it takes over.
            let listen = validators.daemon(index).fact("httpUrl").trim_start_matches("http://").to_owned();
            validators.set_for(index, "ANGEL_HTTP_LISTEN", &listen);
        }
        let disks = if mounted.len() == NODES { mounted } else { Vec::new() };
        // A first copy of much takes its time.
        let patience = if silence.is_some() { LONG } else { LONG * 5 };
        let mut this = Self { disks, validators, did: String::new(), doors, hosts, patience, _lab: lab };
        this.did = this.sign_up("shop").await?.did;
        Ok(this)
    }

    /// Makes one more account on node 0.
    ///
    /// # Errors
    /// The node makes none.
    pub async fn sign_up(&self, name: &str) -> Result<Session> {
        self.sign_up_with(name, None).await
    }

    /// The same with the public half of a recovery key that its owner has.
    ///
    /// # Errors
    /// As [`Self::sign_up`].
    pub async fn sign_up_with(&self, name: &str, recovery_key: Option<&Did>) -> Result<Session> {
        self.sign_up_at(0, name, recovery_key).await
    }

    /// The same on any node.
    ///
    /// # Errors
    /// As [`Self::sign_up`].
    pub async fn sign_up_at(&self, index: usize, name: &str, recovery_key: Option<&Did>) -> Result<Session> {
        let body = json!({
            "handle": format!("{name}.angel.test"), "email": format!("{name}@example.com"), "password": PASSWORD,
            "recoveryKey": recovery_key,
        });
        // The identity goes through the ledger, which may only just be deciding its first heights.
        let (made, _) = until("the account is made", LONG, async || {
            let (status, made) = self.caller(index).call("com.atproto.server.createAccount", None, &body).await?;
            if made["error"] == "HandleNotAvailable" {
                // It was made after all, when nobody waited for the answer any more; or the name is nobody's to have.
                let who = json!({ "identifier": body["handle"], "password": PASSWORD });
                let held = self.caller(index).call("com.atproto.server.createSession", None, &who).await?.1;
                ensure!(held["did"].is_string(), "{status} {made}");
                return Ok(Some(held));
            }
            ensure!(status == 200, "{status} {made}");
            Ok(Some(made))
        })
        .await?;
        session(&made)
    }

    /// The tenant.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }

    /// Whether each node has a host of its own.
    #[must_use]
    pub fn can_be_cut(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether each node has a disk of its own.
    #[must_use]
    pub fn can_be_filled(&self) -> bool {
        !self.disks.is_empty()
    }

    /// Talks to a running node.
    #[must_use]
    pub fn caller(&self, index: usize) -> Caller {
        Caller::new(&self.did, self.doors[index].clone(), self.validators.daemon(index).fact("httpUrl"))
    }

    /// The DID of a running node.
    #[must_use]
    pub fn node(&self, index: usize) -> String {
        self.validators.daemon(index).fact("did").to_owned()
    }

    /// Runs a verb of a node's own command line. Answers what it says in JSON.
    ///
    /// # Errors
    /// The verb refuses; the error holds what it told.
    pub fn angel(&self, index: usize, words: &[&str]) -> Result<Value> {
        let output = verb(&self.validators.dir(index), &[words, &["--json"]].concat())?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Puts copies on nodes 1 and 2, and waits until they are whole and the primary may write.
    ///
    /// # Errors
    /// It does not come so far.
    pub async fn place(&self, waits_for_standby: bool) -> Result<()> {
        let (one, two) = (self.node(1), self.node(2));
        let body = json!({
            "account": self.did, "wish": { "nodes": [one, two], "waitsForStandby": waits_for_standby },
        });
        let (status, body) = self.operate(0, Method::POST, "/admin/replicas/place", Some(&body)).await?;
        ensure!(status == 200, "the placement: {status} {body}");
        self.until_copied(&self.did).await
    }

    /// Asks a node as its operator.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn operate(&self, index: usize, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let password = std::fs::read_to_string(self.validators.daemon(index).fact("adminPasswordFile"))?;
        self.caller(index).request(method, path, &Who::Operator(password.trim()), body).await
    }

    /// How a node reports the tenant; nothing while it does not know of it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn report(&self, index: usize) -> Result<Option<Value>> {
        self.report_of(index, &self.did).await
    }

    /// How a node reports an account; nothing while it does not know of it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn report_of(&self, index: usize, did: &str) -> Result<Option<Value>> {
        let (status, answer) = self.operate(index, Method::GET, "/admin/replicas", None).await?;
        ensure!(status == 200, "{status} {answer}");
        let tenants = answer["tenants"].as_array().cloned().unwrap_or_default();
        Ok(tenants.into_iter().find(|tenant| tenant["did"] == did))
    }

    /// Waits until a node reports the tenant as `fits` wants it.
    ///
    /// # Errors
    /// It does not; with what it reported last, and its log.
    pub async fn until_reported(&self, what: &str, index: usize, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.until_reported_of(&self.did, what, index, fits).await
    }

    /// The same of any account.
    ///
    /// # Errors
    /// As [`Self::until_reported`].
    pub async fn until_reported_of(
        &self,
        did: &str,
        what: &str,
        index: usize,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let waited = until(what, self.patience, async || {
            let report = self.report_of(index, did).await?.unwrap_or_default();
            ensure!(fits(&report), "node {index} reports {report}");
            Ok(Some(report))
        });
        let waited = waited.await.with_context(|| self.validators.daemon(index).log().join("\n"));
        Ok(waited?.0)
    }

    /// Waits until nodes 1 and 2 hold whole copies of an account, the primary may write, and either could follow it.
    ///
    /// # Errors
    /// It does not come so far.
    pub async fn until_copied(&self, did: &str) -> Result<()> {
        for index in [1, 2] {
            let whole = |report: &Value| report["complete"].is_u64() && report["copying"].is_null();
            self.until_reported_of(did, "the copy is whole", index, whole).await?;
        }
        let both = |report: &Value| report["heirs"].as_array().is_some_and(|heirs| heirs.len() == 2);
        self.until_reported_of(did, "the primary is confirmed, and either could follow it", 0, |report| {
            report["writable"] == true && both(report)
        })
        .await?;
        Ok(())
    }

    /// Waits until all of `nodes` have the same revision and root, and nothing is on its way. Answers the root.
    ///
    /// # Errors
    /// They stay apart.
    pub async fn until_equal(&self, nodes: &[usize]) -> Result<String> {
        self.until_equal_of(&self.did, nodes).await
    }

    /// The same of any account.
    ///
    /// # Errors
    /// As [`Self::until_equal`].
    pub async fn until_equal_of(&self, did: &str, nodes: &[usize]) -> Result<String> {
        let (root, _) = until("all copies are equal", LONG, async || {
            let (mut found, mut reports) = (BTreeSet::new(), Vec::new());
            for index in nodes {
                let report = self.report_of(*index, did).await?.unwrap_or_default();
                found.insert((report["rev"].to_string(), report["root"].to_string(), report["stopped"].to_string()));
                reports.push(format!("node {index} reports {report}"));
            }
            let first = found.first().cloned().unwrap_or_default();
            ensure!(found.len() == 1 && first.1 != "null" && first.2 == "null", "{reports:?}");
            Ok(Some(first.1))
        })
        .await?;
        Ok(root)
    }

    /// Waits until one of `nodes` is primary and takes writes.
    ///
    /// # Errors
    /// None does; with their logs.
    pub async fn until_primary(&self, nodes: &[usize]) -> Result<usize> {
        self.until_primary_of(&self.did, nodes).await
    }

    /// The same of any account.
    ///
    /// # Errors
    /// As [`Self::until_primary`].
    pub async fn until_primary_of(&self, did: &str, nodes: &[usize]) -> Result<usize> {
        let waited = until("one of the nodes is primary", LONG, async || {
            let mut reports = Vec::new();
            for index in nodes {
                let report = self.report_of(*index, did).await?.unwrap_or_default();
                if report["role"] == "primary" && report["writable"] == true {
                    return Ok(Some(*index));
                }
                reports.push(report.to_string());
            }
            anyhow::bail!("{reports:?}")
        });
        let logs = || {
            let logs = nodes.iter().map(|index| self.validators.daemon(*index).log().join("\n"));
            logs.collect::<Vec<_>>().join("\n\n")
        };
        Ok(waited.await.with_context(logs)?.0)
    }

    /// Waits until a business is told of an event as `fits` wants it, in its system space on a node; answers what is said of
    /// it. So often at most it may be told.
    ///
    /// # Errors
    /// It is not told, or too often; with the log of the node.
    pub async fn until_told(
        &self,
        index: usize,
        owner: &Session,
        tenant: &str,
        event: &str,
        most: usize,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let caller = self.caller(index);
        let what = format!("{event} is told");
        let waited = until(&what, LONG, async || {
            let of_tenant = format!("co.kendev.spaces.listSpaces?tenant={tenant}");
            let (status, spaces) = caller.query(&of_tenant, &owner.token).await?;
            ensure!(status == 200, "{status} {spaces}");
            let spaces = spaces["spaces"].as_array().context("spaces")?;
            let Some(system) = spaces.iter().find(|space| space["value"]["slug"] == "system") else { return Ok(None) };
            let uri = system["uri"].as_str().context("a URI")?;
            let in_it = format!("co.kendev.spaces.listMessages?space={uri}&limit=100");
            let (status, said) = caller.query(&in_it, &owner.token).await?;
            ensure!(status == 200, "{status} {said}");
            let said = said["messages"].as_array().context("messages")?;
            let told = said.iter().map(|message| &message["value"]["content"]["systemData"]);
            let told = told.filter(|told| told["event"] == event).map(|told| {
                let data: Value = serde_json::from_str(told["data"].as_str().context("data")?)?;
                Ok(data)
            });
            let mut told = told.collect::<Result<Vec<_>>>()?;
            told.retain(&fits);
            ensure!(told.len() <= most, "told more than {most} times: {told:?}");
            Ok(told.pop())
        });
        let logs = || {
            let log = |index: usize| format!("node {index}:\n{}", self.validators.daemon(index).log().join("\n"));
            self.validators.running().map(log).collect::<Vec<_>>().join("\n\n")
        };
        Ok(waited.await.with_context(logs)?.0)
    }

    /// Where the identity leads, as a node tells.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn endpoint(&self, index: usize) -> Result<Option<String>> {
        self.endpoint_of(index, &self.did).await
    }

    /// The same of any account.
    ///
    /// # Errors
    /// As [`Self::endpoint`].
    pub async fn endpoint_of(&self, index: usize, did: &str) -> Result<Option<String>> {
        let (_, document) = self.caller(index).get(&format!("/plc/{did}")).await?;
        Ok(document.pointer("/service/0/serviceEndpoint").and_then(Value::as_str).map(ToOwned::to_owned))
    }

    /// Stops the process of a node in its tracks, or lets it go on.
    ///
    /// # Errors
    /// The process is gone.
    pub fn pause(&self, index: usize, pause: bool) -> Result<()> {
        self.validators.daemon(index).signal(if pause { Signal::STOP } else { Signal::CONT })
    }

    /// Before what command words one runs on the host of a node; none where it is this machine.
    #[must_use]
    pub fn wrapper(&self, index: usize) -> Vec<String> {
        let words = self.hosts.get(index).map(|host| host.wrapper().map(ToOwned::to_owned));
        words.map(Vec::from).unwrap_or_default()
    }

    /// The host of a node, where it has one of its own.
    #[must_use]
    pub fn host(&self, index: usize) -> Option<&Host> {
        self.hosts.get(index)
    }

    /// Pulls the cable of a node's host, or plugs it in again.
    ///
    /// # Errors
    /// There are no hosts, or `ip` fails.
    pub fn cut(&self, index: usize, cut: bool) -> Result<()> {
        let host = self.hosts.get(index).context("nodes on loopback cannot be cut off")?;
        if cut { host.cut() } else { host.mend() }
    }

    /// Fills the disk of a node, or gives the room back.
    ///
    /// # Errors
    /// Nodes have no disks of their own.
    pub fn fill(&self, index: usize, fill: bool) -> Result<()> {
        let disk = self.disks.get(index).context("nodes share a disk that is not theirs to fill")?;
        if fill { disk.fill() } else { disk.free() }
    }
}

impl Ground {
    /// For measurements: patience as anywhere else, and copying as fast as it can be.
    fn under_load(mut self) -> Self {
        self.settings.push(("ANGEL_REPLICAS_COPY_RATE".to_owned(), "10GiB".to_owned()));
        Self { silence: None, ..self }
    }

    fn loopback(silence: Option<Duration>) -> Self {
        let doors = vec![Door::here(); NODES];
        Self { doors, hosts: Vec::new(), lab: None, silence, disks: false, settings: Vec::new() }
    }

    fn hosts() -> Result<Option<Self>> {
        let mut lab = match Lab::new() {
            Ok(lab) => lab,
            Err(unavailable) => {
                println!("skipped: {unavailable}");
                return Ok(None);
            }
        };
        let hosts: Vec<Host> = (0..NODES).map(|index| lab.host(&format!("place-{index}"))).collect::<Result<_>>()?;
        let doors = hosts.iter().map(Door::inside).collect::<Result<_>>()?;
        let settings = Vec::new();
        Ok(Some(Self { doors, hosts, lab: Some(lab), silence: Some(SILENCE), disks: false, settings }))
    }
}
