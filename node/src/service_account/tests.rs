//! What the node publishes, and that it does so by itself, once.

use std::time::Duration;

use angel_protocol::lexicon::Schemas;
use reqwest::Client;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::publishing::Publishing;
use super::*;
use crate::config::Config;
use crate::node::{Node, NodeHandle};

const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(100);

/// A node under a name, or without one.
struct World {
    node: NodeHandle,
    client: Client,
    url: String,
}

impl World {
    async fn start(dir: &TempDir, name: Option<&str>) -> Self {
        let mut config = Config::on_loopback(dir.path());
        config.http.rate_limits = false;
        config.node.public_url = name.map(|name| name.parse().expect("a URL"));
        let node = Node::start(config).await.expect("starts");
        let url = node.facts().run_file().http_url;
        Self { node, client: Client::new(), url }
    }

    async fn get(&self, path: &str) -> Json {
        let answer = self.client.get(format!("{}/xrpc/{path}", self.url)).send().await.expect("answered");
        answer.json().await.expect("JSON")
    }

    /// How many accounts there are.
    async fn accounts(&self) -> usize {
        self.get("com.atproto.sync.listRepos").await["repos"].as_array().map_or(0, Vec::len)
    }

    /// The names of the schemas that are published, when there are as many as documents.
    async fn published(&self) -> Vec<String> {
        let all = schema_records().len();
        let listing = async {
            loop {
                let (mut names, mut after) = (Vec::new(), String::new());
                loop {
                    let list = format!("repo=node.angel.example.org&collection={SCHEMA}&limit=100{after}");
                    let page = self.get(&format!("com.atproto.repo.listRecords?{list}")).await;
                    let records = page["records"].as_array().cloned().unwrap_or_default();
                    names.extend(records.iter().filter_map(|it| it["value"]["id"].as_str().map(ToOwned::to_owned)));
                    match page["cursor"].as_str() {
                        Some(next) if !records.is_empty() => after = format!("&cursor={next}"),
                        _ => break,
                    }
                }
                if names.len() == all {
                    return names;
                }
                tokio::time::sleep(BETWEEN).await;
            }
        };
        timeout(PATIENCE, listing).await.expect("the lexicons are published")
    }

    /// The newest commit of the account.
    async fn head(&self) -> Json {
        let who = self.get("com.atproto.identity.resolveHandle?handle=node.angel.example.org").await;
        let did = who["did"].as_str().unwrap_or_else(|| panic!("{who}"));
        self.get(&format!("com.atproto.sync.getLatestCommit?did={did}")).await
    }

    /// What the operator's command says of the same work: how many documents differ from what is there.
    async fn differing(&self) -> Json {
        let file = self.node.facts().run_file().admin_password_file.expect("kept in a file");
        let password = std::fs::read_to_string(file).expect("readable");
        let asked = self.client.post(format!("{}/admin/lexicons/publish", self.url)).json(&serde_json::json!({}));
        let answer = asked.basic_auth("admin", Some(password.trim())).send().await.expect("answered");
        answer.json::<Json>().await.expect("JSON")["changed"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_name_publishes_its_lexicons_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let name = Some("https://angel.example.org");
    let world = World::start(&dir, name).await;
    let names = world.published().await;
    assert!(names.iter().any(|name| name == "co.kendev.spaces.message"), "{names:?}");
    assert!(names.iter().any(|name| name == "co.kendev.spaces.room"), "kinds of space, too: {names:?}");
    assert_eq!(world.accounts().await, 1);
    let before = world.head().await;
    world.node.shutdown().await.expect("stops");

    let world = World::start(&dir, name).await;
    // The same work, asked for aloud: had the start found anything to write, this would, or the head would be another.
    assert_eq!(world.differing().await, 0);
    assert_eq!(world.head().await, before, "a restart writes nothing");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_name_of_its_own_makes_no_account() {
    for name in [None, Some("http://127.0.0.1:2583"), Some("http://localhost")] {
        let named = Publishing::is_public(name.map(|name| name.parse().expect("a URL")).as_ref());
        assert!(!named, "{name:?}");
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let world = World::start(&dir, None).await;
    assert_eq!(world.accounts().await, 0);
    world.node.shutdown().await.expect("stops");
}

#[test]
fn every_document_of_ours_is_a_record_of_schemas() {
    let records = schema_records();
    assert!(records.len() > 80, "{}", records.len());
    let schema = Schemas::builtin().record(SCHEMA).expect("shipped");
    for (path, record) in records {
        schema.validate(&record).unwrap_or_else(|error| panic!("{path}: {error}"));
        schema.validate_key(path.rkey.as_str()).expect("an NSID");
        assert_eq!(record.get("id").and_then(Value::as_str), Some(path.rkey.as_str()));
    }
}
