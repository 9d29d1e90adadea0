//! Networks of validators: a genesis, daemons that decide, wallets that pay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::ledger::action::{Exchange, Holder, Region};
use angel_protocol::ledger::genesis::{GenesisNode, GenesisWallet};
use angel_protocol::ledger::parameters::{Admission, Currency};
use angel_protocol::ledger::{Action, Amount, Genesis, Parameters, Signed, Transaction};
use angel_protocol::time::Timestamp;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Daemon, Launch, PATIENCE, verb};
use crate::wait::until;

/// What each wallet starts with, in micro-tokens.
pub const GRANT: u64 = 1_000_000_000_000;

const NETWORK: &str = "ledger-dev";

/// Daemons on loopback that decide one ledger.
pub struct Validators {
    root: TempDir,
    genesis: [u8; 32],
    wrapper: Vec<Vec<String>>,
    client: Client,
    daemons: BTreeMap<usize, Daemon>,
    wallets: Vec<Arc<NodeKey>>,
    settings: Vec<(String, String)>,
    own_settings: BTreeMap<usize, Vec<(String, String)>>,
}

/// A payment on its way.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The signed transaction.
    pub signed: Signed,
    /// The body that hands it in.
    pub body: Value,
}

impl Validators {
    /// `deciding` validators with `wallets` rich wallets, none of them started.
    ///
    /// # Errors
    /// A key or the genesis cannot be made.
    pub fn found(deciding: usize, wallets: usize) -> Result<Self> {
        Self::found_with(deciding, wallets, |_| {})
    }

    /// The same on a network where a node may become a validator at once.
    ///
    /// # Errors
    /// A key or the genesis cannot be made.
    pub fn found_young(deciding: usize, wallets: usize) -> Result<Self> {
        Self::found_with(deciding, wallets, |parameters| parameters.candidate_age = 0)
    }

    /// The same with more validators, which are not started here: whoever has their keys may do with them as he likes.
    ///
    /// # Errors
    /// A key or the genesis cannot be made.
    pub fn found_beside(deciding: usize, wallets: usize, others: &[Did]) -> Result<Self> {
        Self::found_among(deciding, wallets, others, |_| {})
    }

    fn found_with(deciding: usize, wallets: usize, change: impl FnOnce(&mut Parameters)) -> Result<Self> {
        Self::found_among(deciding, wallets, &[], change)
    }

    fn found_among(
        deciding: usize,
        wallets: usize,
        others: &[Did],
        change: impl FnOnce(&mut Parameters),
    ) -> Result<Self> {
        let root = tempfile::tempdir()?;
        let mut nodes = Vec::new();
        for index in 0..deciding {
            let dir = root.path().join(format!("node-{index}"));
            let said = verb(&dir, &["network", "did"])?;
            ensure!(said.status.success(), "angel network did: {}", String::from_utf8_lossy(&said.stderr));
            let did: Did = String::from_utf8(said.stdout)?.trim().parse().context("a DID")?;
            nodes.push(GenesisNode {
                operator: did.clone(),
                did,
                name: format!("validator-{index}").parse().context("a name")?,
                region: Region::Europe,
                hosts: true,
                validator: true,
            });
        }
        for (index, did) in others.iter().enumerate() {
            nodes.push(GenesisNode {
                operator: did.clone(),
                did: did.clone(),
                name: format!("other-{index}").parse().context("a name")?,
                region: Region::Europe,
                hosts: false,
                validator: true,
            });
        }
        let seed = |index: usize| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
            seed
        };
        let keys: Vec<_> = (0..wallets).map(|index| Arc::new(NodeKey::from_seed(&seed(index)))).collect();
        let home = nodes[0].did.clone();
        let wallet = |key: &Arc<NodeKey>| GenesisWallet {
            account: key.did(),
            key: key.public().to_bytes(),
            holder: Holder::Person,
            home: home.clone(),
            grant: Amount::new(GRANT).expect("within the supply"),
            human: true,
        };
        let mut parameters = Parameters::new(home.clone());
        parameters.admission = Admission::Open;
        parameters.transactions_per_hour = 1_000_000;
        change(&mut parameters);
        let genesis = Genesis {
            network: network(),
            time: Timestamp::from_millis(1_000_000),
            parameters,
            wallets: keys.iter().map(wallet).collect(),
            nodes,
        };
        std::fs::write(root.path().join("genesis.json"), serde_json::to_vec(&genesis)?)?;
        let hash = genesis.hash();
        Ok(Self {
            root,
            genesis: hash,
            wrapper: Vec::new(),
            client: Client::new(),
            daemons: BTreeMap::new(),
            wallets: keys,
            settings: Vec::new(),
            own_settings: BTreeMap::new(),
        })
    }

    /// The same, and all of them started.
    ///
    /// # Errors
    /// A daemon does not start.
    pub fn start_all(deciding: usize, wallets: usize) -> Result<Self> {
        let mut validators = Self::found(deciding, wallets)?;
        for index in 0..deciding {
            validators.start(index)?;
        }
        Ok(validators)
    }

    /// Sets a variable for every daemon started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Sets a variable for daemon `index`, from its next start on.
    pub fn set_for(&mut self, index: usize, name: &str, value: &str) {
        self.own_settings.entry(index).or_default().push((name.to_owned(), value.to_owned()));
    }

    /// Runs daemon `index` under another command from now on, for example inside a network namespace.
    pub fn set_wrapper(&mut self, index: usize, wrapper: &[&str]) {
        if self.wrapper.len() <= index {
            self.wrapper.resize(index + 1, Vec::new());
        }
        self.wrapper[index] = wrapper.iter().map(|word| (*word).to_owned()).collect();
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        network()
    }

    /// The hash of the genesis.
    #[must_use]
    pub fn genesis(&self) -> &[u8; 32] {
        &self.genesis
    }

    /// Where the data of a daemon lies.
    #[must_use]
    pub fn dir(&self, index: usize) -> PathBuf {
        self.root.path().join(format!("node-{index}"))
    }

    /// Starts a daemon, on its old data when it had any. One beyond those of the genesis follows.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let dir = self.dir(index);
        let genesis = self.root.path().join("genesis.json");
        let launch = match self.wrapper.get(index).filter(|words| !words.is_empty()) {
            Some(words) => Launch::under(&words.iter().map(String::as_str).collect::<Vec<_>>(), &dir),
            None => Launch::in_dir(&dir),
        };
        let mut launch = launch.args([Path::new("--genesis"), &genesis]);
        launch = launch.env("ANGEL_NETWORK_ID", NETWORK).env("ANGEL_NODE_NODE_ID", format!("validator-{index}"));
        let own = self.own_settings.get(&index).into_iter().flatten();
        launch = launch.envs(self.settings.iter().chain(own).map(|(name, value)| (name.as_str(), value.as_str())));
        let others: Vec<_> = self.daemons.values().filter_map(|it| it.facts()["p2p"][0].as_str()).collect();
        if !others.is_empty() {
            launch = launch.env("ANGEL_NETWORK_BOOTSTRAP", others.join(","));
        }
        let daemon = launch.start()?;
        self.daemons.insert(index, daemon);
        Ok(())
    }

    /// Kills a daemon as a power cut would.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let daemon = self.daemons.remove(&index).context("it runs")?;
        daemon.signal(Signal::KILL)?;
        daemon.wait()?;
        Ok(())
    }

    /// Lets go of a daemon that has ended of its own accord; answers whether it had.
    pub fn bury(&mut self, index: usize) -> bool {
        let has_ended = self.daemons.get(&index).is_some_and(Daemon::has_ended);
        if has_ended {
            self.daemons.remove(&index);
        }
        has_ended
    }

    /// Stops a daemon in good order.
    ///
    /// # Errors
    /// It does not end well.
    pub fn stop(&mut self, index: usize) -> Result<()> {
        let daemon = self.daemons.remove(&index).context("it runs")?;
        let status = daemon.stop()?;
        ensure!(status.success(), "{status}: {}", daemon.log().join("\n"));
        Ok(())
    }

    /// A running daemon.
    #[must_use]
    pub fn daemon(&self, index: usize) -> &Daemon {
        &self.daemons[&index]
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + use<> {
        self.daemons.keys().copied().collect::<Vec<_>>().into_iter()
    }

    /// The DID of a wallet.
    #[must_use]
    pub fn wallet(&self, index: usize) -> Did {
        self.wallets[index].did()
    }

    /// Signs payment number `sequence` of wallet `from` to wallet `to`.
    #[must_use]
    pub fn payment(&self, from: usize, to: usize, sequence: u64, micro: u64) -> Payment {
        self.sign(from, &self.draft(from, sequence, self.exchange(to, micro)))
    }

    /// What a payment asks for.
    #[must_use]
    pub fn exchange(&self, to: usize, micro: u64) -> Exchange {
        Exchange {
            to: self.wallet(to),
            from_tenant: None,
            to_tenant: None,
            amount: Amount::new(micro).expect("within the supply"),
            currency: Currency::AngelTokens,
            quote: None,
            reason: String::new(),
        }
    }

    /// Transaction number `sequence` of wallet `from`, whose nonce is its number.
    #[must_use]
    pub fn draft(&self, from: usize, sequence: u64, exchange: Exchange) -> Transaction {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&sequence.to_be_bytes());
        Transaction {
            network: network(),
            wallet: self.wallet(from),
            sequence,
            nonce,
            expires: angel_node::clock::now() + Duration::from_hours(20),
            action: Action::CrossTenantExchange(exchange),
        }
    }

    /// Signs a transaction with the key of wallet `by`.
    #[must_use]
    pub fn sign(&self, by: usize, transaction: &Transaction) -> Payment {
        let signed = Signed::sign(transaction, &self.wallets[by]).expect("within bounds");
        let body = json!({ "transaction": { "$bytes": STANDARD_NO_PAD.encode(signed.bytes()) } });
        Payment { signed, body }
    }

    /// Hands in a payment and answers status and body.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub async fn hand_in(&self, index: usize, payment: &Payment) -> Result<(u16, Value)> {
        let url = format!("{}/api/federation/token-exchange", self.daemon(index).fact("httpUrl"));
        let response = self.client.post(url).json(&payment.body).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// Asks a daemon.
    ///
    /// # Errors
    /// It does not answer, or not with success.
    pub async fn get(&self, index: usize, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.daemon(index).fact("httpUrl"));
        Ok(self.client.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// Calls a daemon's procedure and answers status and body.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn call(&self, index: usize, method: &str, token: Option<&str>, body: &Value) -> Result<(u16, Value)> {
        let url = format!("{}/xrpc/{method}", self.daemon(index).fact("httpUrl"));
        let request = self.client.post(url).json(body);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await.unwrap_or_default()))
    }

    /// The body that a daemon answers, as text, whatever it is.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn text(&self, index: usize, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.daemon(index).fact("httpUrl"));
        Ok(self.client.get(url).send().await?.text().await?)
    }

    /// How far the ledger of a daemon has got.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn height(&self, index: usize) -> Result<u64> {
        self.get(index, "/api/federation/ledger").await?["height"].as_u64().context("a height")
    }

    /// What one daemon knows of a payment.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status_of(&self, index: usize, payment: &Payment) -> Result<Value> {
        let url =
            format!("{}/api/federation/token-exchange/{}", self.daemon(index).fact("httpUrl"), payment.signed.id());
        Ok(self.client.get(url).send().await?.json().await?)
    }

    /// Waits until a daemon has decided a payment, and answers what became of it.
    ///
    /// # Errors
    /// It has not within the patience of tests.
    pub async fn decided(&self, index: usize, payment: &Payment) -> Result<Value> {
        let (view, _) = until("the payment is decided", PATIENCE, async || {
            let view = self.status_of(index, payment).await?;
            let decided = view["status"].as_str().is_some_and(|status| status != "pending");
            Ok(decided.then_some(view))
        })
        .await?;
        Ok(view)
    }

    /// A wallet's balance at a daemon, in micro-tokens.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn balance(&self, index: usize, wallet: usize) -> Result<u64> {
        let path = format!("/xrpc/co.kendev.network.getBalance?account={}", self.wallet(wallet));
        self.get(index, &path).await?["total"].as_u64().context("a balance")
    }

    /// Waits until all that run are equally far, then compares every height: value and root.
    ///
    /// # Errors
    /// They differ, or do not get there.
    pub async fn agree(&self) -> Result<u64> {
        let running: Vec<_> = self.running().collect();
        let (height, _) = until("all are equally far", PATIENCE, async || {
            let mut heights = Vec::new();
            for index in &running {
                heights.push(self.height(*index).await?);
            }
            Ok(heights.iter().all(|height| *height == heights[0]).then_some(heights[0]))
        })
        .await?;
        for at in 1..=height {
            let path = format!("/api/federation/ledger/{at}");
            let first = self.get(running[0], &path).await?;
            for index in &running[1..] {
                let other = self.get(*index, &path).await?;
                for name in ["root", "batch", "previous"] {
                    ensure!(first[name] == other[name], "height {at}, {name}: {first:#} and {other:#}");
                }
            }
        }
        Ok(height)
    }
}

fn network() -> NetworkId {
    NETWORK.parse().expect("a network id")
}
