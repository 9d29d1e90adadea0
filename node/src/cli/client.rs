//! Talking to the daemon that runs in the data directory.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::Common;
use super::exit::{Code, Failure};
use crate::data_dir::Layout;
use crate::facts::RunFile;
use crate::secrets::AdminPassword;

/// How long an answer may take: a rotation writes and flushes files, nothing takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to move a whole tenant.
const TRANSFER_LIMIT: Duration = Duration::from_secs(600);

/// A running daemon.
pub(super) struct Daemon {
    run: RunFile,
    password: AdminPassword,
    client: reqwest::Client,
}

impl Daemon {
    /// Finds the daemon of the configured data directory.
    pub(super) fn find(common: &Common) -> Result<Self, Failure> {
        let loaded = common.load(vec![])?;
        let layout = Layout::new(loaded.config.data_dir());
        let Some(run) = running(&layout)? else {
            let dir = layout.root().display();
            return Err(Failure::new(Code::NotRunning, format!("no daemon runs in {dir}; start one with `angel run`")));
        };
        let from_environment = std::env::var("ANGEL_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty());
        if from_environment.is_none() && run.admin_password_file.is_none() {
            let words = "the daemon got its admin password from ANGEL_ADMIN_PASSWORD; set the same one here";
            return Err(Failure::new(Code::Daemon, words));
        }
        let password = AdminPassword::load(&layout, from_environment)?;
        let client = reqwest::Client::builder().timeout(ANSWER_LIMIT).no_proxy().build();
        let client = client.map_err(|error| Failure::unexpected(format!("cannot make requests: {error}")))?;
        Ok(Self { run, password, client })
    }

    /// The DID of the daemon's node.
    pub(super) fn did(&self) -> &str {
        &self.run.did
    }

    /// Where it answers.
    pub(super) fn url(&self) -> &str {
        &self.run.http_url
    }

    /// Asks for a path and returns the JSON it answers.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.request(Method::GET, path, None).await
    }

    /// Sends a command and returns the JSON it answers.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// Sends a command that is answered with nothing.
    pub(super) async fn post_for_nothing(&self, path: &str, body: &Value) -> Result<(), Failure> {
        self.request(Method::POST, path, Some(body)).await.map(drop)
    }

    /// Asks for a path and returns the bytes it answers, however long that takes within reason.
    pub(super) async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.exchange(Method::GET, path, |request| request.timeout(TRANSFER_LIMIT)).await
    }

    /// Sends what is no JSON, and returns the JSON that answers it.
    pub(super) async fn send(&self, path: &str, kind: &str, body: Vec<u8>) -> Result<Value, Failure> {
        let filled = |request: RequestBuilder| request.timeout(TRANSFER_LIMIT).header(CONTENT_TYPE, kind).body(body);
        Ok(serde_json::from_slice(&self.exchange(Method::POST, path, filled).await?).unwrap_or_default())
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let filled = |request: RequestBuilder| if let Some(body) = body { request.json(body) } else { request };
        Ok(serde_json::from_slice(&self.exchange(method, path, filled).await?).unwrap_or_default())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", self.run.http_url);
        let unreachable = |error: reqwest::Error| {
            let (pid, cause) = (self.run.pid, crate::tasks::chain(&error));
            Failure::new(Code::Daemon, format!("the daemon (process {pid}) does not answer at {url}: {cause}"))
        };
        let request = self.client.request(method, &url).basic_auth("admin", Some(self.password.reveal()));
        let response = fill(request).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body.into());
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = answer["message"].as_str().unwrap_or("it gave no reason");
        let advice = if status == StatusCode::UNAUTHORIZED { "; does ANGEL_ADMIN_PASSWORD fit?" } else { "" };
        Err(Failure::new(Code::Daemon, format!("the daemon refused ({status}): {message}{advice}")))
    }
}

/// The facts of the daemon that runs in the directory. A file left by one that was killed counts as none: its lock is
/// gone.
pub(super) fn running(layout: &Layout) -> Result<Option<RunFile>, Failure> {
    if layout.holder().is_none() {
        return Ok(None);
    }
    let path = layout.node_json();
    let unusable = |why: String| {
        let words = format!("a daemon is starting or stopping, or {} is unusable: {why}; try again", path.display());
        Failure::new(Code::Daemon, words)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|error| unusable(error.to_string()))
}
