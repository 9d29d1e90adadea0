//! Asking one node, from the host it runs on: as anybody, as its operator, or as somebody who is logged in.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::hosts::Host;

/// What the tenant's records are.
pub const COLLECTION: &str = "com.example.note";

/// The password of every account.
pub(super) const PASSWORD: &str = "correct horse battery staple";

/// How long one request may take. Longer than a write waits for a standby.
const REQUEST: Duration = Duration::from_secs(20);

/// Where requests to one node are made from: its own host.
#[derive(Clone)]
pub(super) struct Door {
    client: Client,
    runtime: tokio::runtime::Handle,
}

/// Somebody who is logged in at a node.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub did: String,
    /// What their requests bear.
    pub token: String,
}

/// Talks to the nodes, also while they are being killed.
#[derive(Clone)]
pub struct Caller {
    did: String,
    door: Door,
    url: String,
}

/// What a node answers: the status of HTTP, and the body where it is JSON.
pub type Answer = (u16, Value);

/// Who asks.
pub(super) enum Who<'a> {
    Anybody,
    Operator(&'a str),
    Holder(&'a str),
}

impl Door {
    /// Out of this process as it is.
    pub(super) fn here() -> Self {
        Self { client: Client::new(), runtime: tokio::runtime::Handle::current() }
    }

    /// A thread that lives on the host and makes the requests.
    pub(super) fn inside(host: &Host) -> Result<Self> {
        let (tell, told) = std::sync::mpsc::channel();
        let name = std::path::Path::new("/run/netns").join(host.wrapper()[3]);
        let space = std::fs::File::open(name)?;
        std::thread::Builder::new().name("door".to_owned()).spawn(move || {
            let entered = rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&space),
                Some(rustix::thread::LinkNameSpaceType::Network),
            );
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match (entered, runtime) {
                (Ok(()), Ok(runtime)) => {
                    // The test may have ended.
                    let _gone = tell.send(Ok(runtime.handle().clone()));
                    // Lives as long as the process of the test: one thread per host.
                    runtime.block_on(std::future::pending::<()>());
                }
                (entered, runtime) => {
                    let why = anyhow::anyhow!("no door: {entered:?} {:?}", runtime.err());
                    let _gone = tell.send(Err(why));
                }
            }
        })?;
        Ok(Self { client: Client::new(), runtime: told.recv().context("the door opens")?? })
    }
}

impl Caller {
    pub(super) fn new(did: &str, door: Door, url: &str) -> Self {
        Self { did: did.to_owned(), door, url: url.to_owned() }
    }

    /// The tenant.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }

    /// Asks anything that is for everybody.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.request(Method::GET, path, &Who::Anybody, None).await
    }

    /// Tells anything that everybody may tell.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.request(Method::POST, path, &Who::Anybody, Some(body)).await
    }

    /// Calls a procedure, with the token of a session where there is one.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn call(&self, method: &str, token: Option<&str>, body: &Value) -> Result<Answer> {
        let who = token.map_or(Who::Anybody, Who::Holder);
        self.request(Method::POST, &format!("/xrpc/{method}"), &who, Some(body)).await
    }

    /// Calls a query, with the token of a session.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn query(&self, method: &str, token: &str) -> Result<Answer> {
        self.request(Method::GET, &format!("/xrpc/{method}"), &Who::Holder(token), None).await
    }

    /// Uploads a file. Answers how records name it.
    ///
    /// # Errors
    /// The node does not take it.
    pub async fn upload(&self, token: &str, bytes: Vec<u8>) -> Result<Value> {
        let request = self.to(Method::POST, "/xrpc/com.atproto.repo.uploadBlob", &Who::Holder(token));
        let request = request.header("content-type", "application/octet-stream").body(bytes);
        let (status, answer) = self.send(request).await?;
        let mut answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        ensure!(status == 200, "{status} {answer}");
        Ok(answer["blob"].take())
    }

    /// Fetches a file, with the token of a session where there is one.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn file(&self, method: &str, token: Option<&str>) -> Result<(u16, Vec<u8>)> {
        let who = token.map_or(Who::Anybody, Who::Holder);
        self.send(self.to(Method::GET, &format!("/xrpc/{method}"), &who)).await
    }

    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        who: &Who<'_>,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut request = self.to(method, path, who);
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, bytes) = self.send(request).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    fn to(&self, method: Method, path: &str, who: &Who<'_>) -> RequestBuilder {
        let request = self.door.client.request(method, format!("{}{path}", self.url)).timeout(REQUEST);
        match who {
            Who::Anybody => request,
            Who::Operator(password) => request.basic_auth("admin", Some(*password)),
            Who::Holder(token) => request.bearer_auth(token),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<(u16, Vec<u8>)> {
        let asking = async move {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.bytes().await?.into()))
        };
        Ok(self.door.runtime.spawn(asking).await.context("the door is open")??)
    }

    /// Begins a session of the tenant. Answers its token.
    ///
    /// # Errors
    /// The node gives none.
    pub async fn log_in(&self) -> Result<String> {
        Ok(self.log_in_as(&self.did, PASSWORD).await?.token)
    }

    /// Another tenant, asked at the same place.
    #[must_use]
    pub fn of(&self, did: &str) -> Self {
        Self { did: did.to_owned(), ..self.clone() }
    }

    /// The same tenant, asked at another place: a node that is none of these.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// Begins a session of anybody.
    ///
    /// # Errors
    /// The node gives none.
    pub async fn log_in_as(&self, identifier: &str, password: &str) -> Result<Session> {
        let body = json!({ "identifier": identifier, "password": password });
        let (status, made) = self.call("com.atproto.server.createSession", None, &body).await?;
        ensure!(status == 200, "no session for {identifier}: {status} {made}");
        session(&made)
    }

    /// Makes a record of the tenant under a name.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn write(&self, token: &str, rkey: &str, text: &str) -> Result<Answer> {
        let body = json!({
            "repo": self.did, "collection": COLLECTION, "rkey": rkey,
            "record": { "$type": COLLECTION, "text": text },
        });
        self.call("com.atproto.repo.createRecord", Some(token), &body).await
    }

    /// Whether the node shows a record of that name.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn has(&self, rkey: &str) -> Result<bool> {
        let path = format!("/xrpc/com.atproto.repo.getRecord?repo={}&collection={COLLECTION}&rkey={rkey}", self.did);
        Ok(self.get(&path).await?.0 == 200)
    }

    /// All records of the tenant that the node shows: name and text.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn records(&self) -> Result<Vec<(String, String)>> {
        let mut records = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!(
                "/xrpc/com.atproto.repo.listRecords?repo={}&collection={COLLECTION}&limit=100{cursor}",
                self.did
            );
            let (status, page) = self.get(&path).await?;
            ensure!(status == 200, "{status} {page}");
            for record in page["records"].as_array().into_iter().flatten() {
                let name = record["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).context("a name")?;
                records.push((name.to_owned(), record["value"]["text"].as_str().context("a text")?.to_owned()));
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(records),
            }
        }
    }
}

pub(super) fn session(made: &Value) -> Result<Session> {
    let text = |name: &str| made[name].as_str().map(ToOwned::to_owned).context("a session");
    Ok(Session { did: text("did")?, token: text("accessJwt")? })
}
