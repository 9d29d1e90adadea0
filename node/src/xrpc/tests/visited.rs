//! A whole node and the people who ask it over HTTP, as tests of methods need them.

use std::time::Duration;

use angel_storage::{Options, Store};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::Config;
use crate::data_dir::DataDir;
use crate::node::{Node, NodeHandle};

/// How long something may take to be told.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node.
pub(in crate::xrpc) struct Visited {
    pub(in crate::xrpc) dir: TempDir,
    pub(in crate::xrpc) node: NodeHandle,
    pub(in crate::xrpc) client: Client,
    pub(in crate::xrpc) url: String,
}

/// Somebody with an account.
#[derive(Clone)]
pub(in crate::xrpc) struct Person {
    pub(in crate::xrpc) did: String,
    pub(in crate::xrpc) token: String,
}

impl Visited {
    pub(in crate::xrpc) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(in crate::xrpc) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Self::config(&dir);
        change(&mut config);
        Self::serve(dir, config).await
    }

    /// The same node anew, where it was, with what happened to its store meanwhile.
    pub(in crate::xrpc) async fn restarted(
        self,
        change: impl FnOnce(&mut Config),
        between: impl FnOnce(&Store),
    ) -> Self {
        let Self { dir, node, .. } = self;
        let listen = node.facts().http_addr;
        node.shutdown().await.expect("stops");
        let mut config = Self::config(&dir);
        // Tokens are for this host by its address.
        config.http.listen = listen;
        change(&mut config);
        {
            let data = DataDir::open(dir.path()).expect("opens");
            let options = Options::new(config.storage.engine, "a test");
            let store = Store::open(&data.layout().storage(), options).expect("opens");
            between(&store);
            store.close().expect("closes");
        }
        Self::serve(dir, config).await
    }

    pub(in crate::xrpc) async fn stop(self) {
        self.node.shutdown().await.expect("stops");
    }

    /// How a node is set up here.
    pub(in crate::xrpc) fn config(dir: &TempDir) -> Config {
        let mut config = Config::on_loopback(dir.path());
        config.http.rate_limits = false;
        config.accounts.invites_required = false;
        config
    }

    /// Starts a node on a directory.
    pub(in crate::xrpc) async fn serve(dir: TempDir, config: Config) -> Self {
        let node = Node::start(config).await.expect("starts");
        let url = node.facts().run_file().http_url;
        Self { dir, node, client: Client::new(), url }
    }

    pub(in crate::xrpc) async fn sign_up(&self, name: &str) -> Person {
        let wish = json!({
            "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "password": "open sesame",
        });
        let (status, answer) = self.send(None, "com.atproto.server.createAccount", Some(&wish)).await;
        assert_eq!(status, 200, "{answer}");
        let text = |field: &str| answer[field].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Person { did: text("did"), token: text("accessJwt") }
    }

    /// Asks a method: with a body it is a procedure.
    pub(in crate::xrpc) async fn send(&self, who: Option<&Person>, method: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}/xrpc/{method}", self.url);
        let mut request = match body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.get(url),
        };
        if let Some(person) = who {
            request = request.bearer_auth(&person.token);
        }
        let response = request.send().await.expect("answered");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    /// The names of the events that a business was told, as `who` reads them, when `wanted` are among them.
    pub(in crate::xrpc) async fn told(&self, who: &Person, tenant: &str, wanted: &[&str]) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let events = self.events(who, tenant).await;
            if wanted.iter().all(|wanted| events.iter().any(|event| event == wanted)) {
                return events;
            }
            assert!(tokio::time::Instant::now() < deadline, "of {wanted:?} only these were told: {events:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn events(&self, who: &Person, tenant: &str) -> Vec<String> {
        let spaces = format!("co.kendev.spaces.listSpaces?tenant={}", tenant.replace(':', "%3A"));
        let (_, spaces) = self.send(Some(who), &spaces, None).await;
        let listed = spaces["spaces"].as_array().unwrap_or_else(|| panic!("{spaces}")).clone();
        let Some(system) = listed.iter().find(|space| space["value"]["slug"] == "system") else { return vec![] };
        let uri = system["uri"].as_str().expect("a URI").replace(':', "%3A").replace('/', "%2F");
        let query = format!("co.kendev.spaces.listMessages?space={uri}&limit=100");
        let (_, said) = self.send(Some(who), &query, None).await;
        let messages = said["messages"].as_array().unwrap_or_else(|| panic!("{said}")).clone();
        let event = |message: &Value| message["value"]["content"]["systemData"]["event"].as_str().map(str::to_owned);
        messages.iter().filter_map(event).collect()
    }

    /// A token by which somebody who lives here speaks to another node, for one method.
    pub(in crate::xrpc) async fn speaks_to(&self, who: &Person, other: &Self, method: &str) -> Person {
        let (_, described) = other.send(None, "com.atproto.server.describeServer", None).await;
        let audience = described["did"].as_str().expect("a DID").replace('%', "%25").replace(':', "%3A");
        let query = format!("com.atproto.server.getServiceAuth?aud={audience}&lxm={method}");
        let (status, answer) = self.send(Some(who), &query, None).await;
        assert_eq!(status, 200, "{answer}");
        Person { did: who.did.clone(), token: answer["token"].as_str().expect("a token").to_owned() }
    }

    /// Posts to a path as the operator does.
    pub(in crate::xrpc) async fn operator(&self, path: &str, body: &Value) -> Value {
        let file = self.node.facts().run_file().admin_password_file.expect("kept in a file");
        let password = std::fs::read_to_string(file).expect("readable");
        let asked = self.client.post(format!("{}/{path}", self.url)).json(body);
        let answer = asked.basic_auth("admin", Some(password.trim())).send().await.expect("answered");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.json().await.expect("JSON")
    }
}
