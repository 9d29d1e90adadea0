//! A host under load: its address, an HTTP client, and accounts with something in them.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Accounts that write at once.
pub(crate) const WRITERS: usize = 16;
/// Records of the account that is read from.
const READER_RECORDS: usize = 2_000;
const BATCH: usize = 200;
const PASSWORD: &str = "correct horse battery staple";
pub(crate) const COLLECTION: &str = "com.example.load.note";

/// Where a host is, and which process serves it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    #[serde(default = "unnamed")]
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pid: u32,
    pub(crate) admin_password: String,
    pub(crate) handle_domain: String,
    /// The text it was read from, for the scripts that take the same form.
    #[serde(skip)]
    pub(crate) text: String,
}

fn unnamed() -> String {
    "host".into()
}

impl Target {
    /// Reads JSON, or a file that holds it.
    pub(crate) fn read(argument: &str) -> Result<Self> {
        let text = if Path::new(argument).exists() { fs::read_to_string(argument)? } else { argument.into() };
        let target: Self = serde_json::from_str(&text).with_context(|| format!("not a target: {text}"))?;
        Ok(Self { url: target.url.trim_end_matches('/').into(), text, ..target })
    }
}

/// A signed-in account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) did: String,
    pub(crate) token: String,
}

/// A host with its accounts.
pub(crate) struct Host {
    pub(crate) target: Target,
    pub(crate) writers: Vec<Account>,
    pub(crate) reader: Account,
    pub(crate) reader_keys: Vec<String>,
    /// Where repositories to be imported lie.
    pub(crate) scratch: Arc<TempDir>,
    client: reqwest::Client,
    /// Makes every record, blob and handle its own.
    counter: AtomicU64,
}

impl Host {
    pub(crate) async fn prepare(target: Target, scratch: Arc<TempDir>) -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(64).build()?;
        let nobody = Account { did: String::new(), token: String::new() };
        let mut host = Self {
            target,
            writers: Vec::new(),
            reader: nobody,
            reader_keys: Vec::new(),
            scratch,
            client,
            counter: AtomicU64::new(0),
        };
        for _ in 0..WRITERS {
            let account = host.create_account().await?;
            host.writers.push(account);
        }
        host.reader = host.create_account().await?;
        for batch in 0..READER_RECORDS / BATCH {
            let keys: Vec<String> = (0..BATCH).map(|index| format!("r{:06}", batch * BATCH + index)).collect();
            host.fill(&keys).await?;
            host.reader_keys.extend(keys);
        }
        Ok(host)
    }

    async fn fill(&self, keys: &[String]) -> Result<()> {
        let writes: Vec<Value> = keys
            .iter()
            .map(|key| {
                json!({
                    "$type": "com.atproto.repo.applyWrites#create",
                    "collection": COLLECTION,
                    "rkey": key,
                    "value": self.record(),
                })
            })
            .collect();
        let body = json!({ "repo": self.reader.did, "writes": writes });
        self.send(self.post("com.atproto.repo.applyWrites", Some(&self.reader)).json(&body)).await?;
        Ok(())
    }

    /// A number that this host has not seen.
    pub(crate) fn fresh(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A record of about 300 bytes.
    pub(crate) fn record(&self) -> Value {
        let number = self.fresh();
        json!({
            "$type": COLLECTION,
            "text": format!("{number:>10} {}", "The quick brown fox jumps over the lazy dog. ".repeat(5)),
            "createdAt": "2026-01-01T00:00:00.000Z",
        })
    }

    /// Signs up; asks the administration for an invitation where the host wants one.
    pub(crate) async fn create_account(&self) -> Result<Account> {
        let name = format!("b{}x{}", std::process::id(), self.fresh());
        let mut body = json!({
            "handle": format!("{name}{}", self.target.handle_domain),
            "email": format!("{name}@example.com"),
            "password": PASSWORD,
        });
        let server: Value = self.get("com.atproto.server.describeServer", &[], None).await?;
        if server["inviteCodeRequired"] == true {
            let request = self
                .post("com.atproto.server.createInviteCode", None)
                .basic_auth("admin", Some(&self.target.admin_password))
                .json(&json!({ "useCount": 1 }));
            let answer: Value = serde_json::from_slice(&self.send(request).await?)?;
            body["inviteCode"] = answer["code"].clone();
        }
        self.sign_up(&body).await
    }

    /// Signs in with the password.
    pub(crate) async fn create_session(&self, account: &Account) -> Result<()> {
        let body = json!({ "identifier": account.did, "password": PASSWORD });
        self.send(self.post("com.atproto.server.createSession", None).json(&body)).await?;
        Ok(())
    }

    pub(crate) async fn sign_up(&self, body: &Value) -> Result<Account> {
        let answer = self.send(self.post("com.atproto.server.createAccount", None).json(body)).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let text = |field: &str| Some(answer[field].as_str()?.to_owned());
        let account = || Some(Account { did: text("did")?, token: text("accessJwt")? });
        account().context("createAccount answered without a session")
    }

    /// Writes one record; answers the revision of its commit.
    pub(crate) async fn create_record(&self, account: &Account) -> Result<String> {
        let body = json!({ "repo": account.did, "collection": COLLECTION, "record": self.record() });
        let answer = self.send(self.post("com.atproto.repo.createRecord", Some(account)).json(&body)).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        answer["commit"]["rev"].as_str().map(Into::into).context("createRecord answered without a revision")
    }

    pub(crate) fn post(&self, nsid: &str, account: Option<&Account>) -> RequestBuilder {
        self.request(Method::POST, nsid, account)
    }

    fn request(&self, method: Method, nsid: &str, account: Option<&Account>) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/xrpc/{nsid}", self.target.url));
        match account {
            Some(account) => request.bearer_auth(&account.token),
            None => request,
        }
    }

    /// A query whose answer is read to its end and thrown away; answers its length.
    pub(crate) async fn read(&self, nsid: &str, query: &[(&str, &str)], account: Option<&Account>) -> Result<usize> {
        Ok(self.send(self.request(Method::GET, nsid, account).query(query)).await?.len())
    }

    async fn get(&self, nsid: &str, query: &[(&str, &str)], account: Option<&Account>) -> Result<Value> {
        Ok(serde_json::from_slice(&self.send(self.request(Method::GET, nsid, account).query(query)).await?)?)
    }

    /// Sends, and refuses every answer but success.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>> {
        let response = request.send().await?;
        let (status, url) = (response.status(), response.url().path().to_owned());
        let body = response.bytes().await?;
        if status != StatusCode::OK {
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(body.get(..300).unwrap_or(&body)));
        }
        Ok(body.into())
    }
}
