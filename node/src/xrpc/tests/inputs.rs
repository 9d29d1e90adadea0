//! What a document forbids is refused at the door of a running node, by the rule of the document and before the handler.

use std::collections::BTreeMap;

use angel_protocol::lexicon::ast::{Body, Params};
use angel_protocol::lexicon::{Catalog, Definition, Schemas};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::bad;
use crate::config::Config;
use crate::node::{Node, NodeHandle};

/// Read by a reader of its own, which is stricter than the document and has names of its own for what it refuses.
const APART: &str = "co.kendev.network.sendHeartbeat";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Nobody,
    Person,
    Operator,
    /// Another service, to the node or to an account here.
    Service,
}

/// How a request was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    error: String,
    message: String,
}

struct World {
    node: NodeHandle,
    client: Client,
    url: String,
    password: String,
    did: String,
    token: String,
    /// Tokens of the person for one method each.
    words: BTreeMap<String, Vec<String>>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::on_loopback(dir.path());
        config.http.rate_limits = false;
        config.accounts.invites_required = false;
        let node = Node::start(config).await.expect("starts");
        let run = node.facts().run_file();
        let password = std::fs::read_to_string(run.admin_password_file.expect("kept in a file")).expect("readable");
        let (client, url) = (Client::new(), run.http_url);
        let wish = json!({ "handle": "ada.test", "email": "ada@mail.test", "password": "open sesame" });
        let made = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&wish).send().await;
        let made: Value = made.expect("answered").json().await.expect("JSON");
        let text = |field: &str| made[field].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let (did, token) = (text("did"), text("accessJwt"));
        let password = password.trim().to_owned();
        Self { node, client, url, password, did, token, words: BTreeMap::new(), _dir: dir }
    }

    /// Tokens for one method, to this node and to the person's own account.
    async fn words(&mut self, method: &str) -> Vec<String> {
        if !self.words.contains_key(method) {
            let host = self.node.facts().http_addr;
            let mut words = Vec::new();
            for audience in [format!("did:web:localhost%3A{}", host.port()), self.did.clone()] {
                let query = Serializer::new(String::new())
                    .append_pair("aud", &audience)
                    .append_pair("lxm", method)
                    .append_pair("exp", &(crate::clock::now().as_millis() / 1000 + 1_800).to_string())
                    .finish();
                let url = format!("{}/xrpc/com.atproto.server.getServiceAuth?{query}", self.url);
                let answer = self.client.get(url).bearer_auth(&self.token).send().await.expect("answered");
                let answer: Value = answer.json().await.expect("JSON");
                words.push(answer["token"].as_str().unwrap_or_else(|| panic!("{method}: {answer}")).to_owned());
            }
            self.words.insert(method.to_owned(), words);
        }
        self.words.get(method).cloned().unwrap_or_default()
    }

    /// The answer to `request`, asked by `who`. A service asks with each of its tokens until one is believed.
    async fn ask(&mut self, who: Who, method: &str, request: &RequestBuilder) -> Answer {
        let request = || request.try_clone().expect("no stream");
        let asked = match who {
            Who::Nobody => vec![request()],
            Who::Person => vec![request().bearer_auth(&self.token)],
            Who::Operator => vec![request().basic_auth("admin", Some(&self.password))],
            Who::Service => self.words(method).await.iter().map(|word| request().bearer_auth(word)).collect(),
        };
        let mut last = None;
        for asked in asked {
            let response = asked.send().await.expect("answered");
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap_or_default();
            let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            let answer = Answer { status, error: text("error"), message: text("message") };
            if answer.error == "InvalidRequest" {
                return answer;
            }
            last = Some(answer);
        }
        last.expect("asked once at least")
    }

    /// Sends what is forbidden, and sees it refused with exactly these words; to somebody who may ask at all.
    async fn refused(
        &mut self,
        known: &mut Option<Who>,
        method: &str,
        request: RequestBuilder,
        words: &str,
        tried: &str,
    ) {
        let whoever =
            known.map_or_else(|| vec![Who::Nobody, Who::Person, Who::Operator, Who::Service], |who| vec![who]);
        let mut answers = Vec::new();
        for who in whoever {
            let answer = self.ask(who, method, &request).await;
            if answer.status == 400 && answer.error == "InvalidRequest" && answer.message == words {
                *known = Some(who);
                return;
            }
            // Who may not ask is told so, and nothing of what was sent.
            let is_about_who = matches!(answer.status, 401 | 403) || answer.error == "InvalidToken";
            assert!(is_about_who, "{method} {tried}: {who:?} is told {answer:?}, not {words}");
            answers.push((who, answer));
        }
        panic!("{method} {tried}: nobody is told {words}: {answers:?}");
    }
}

#[derive(Default)]
struct Tried {
    methods: usize,
    requests: usize,
}

/// Every method that has a document, by its name: the parameters, the body if it is JSON, and whether it is posted.
fn methods() -> Vec<(&'static str, Option<&'static Params>, Option<&'static Body>, bool)> {
    let of = |document: &'static angel_protocol::lexicon::Document| {
        let id = &*document.id;
        match document.main()? {
            Definition::Query(method) => Some((id, method.parameters.as_ref(), None, false)),
            Definition::Procedure(method) => {
                let body = method.input.as_ref().filter(|body| body.encoding == "application/json");
                Some((id, method.parameters.as_ref(), body, true))
            }
            Definition::Subscription(stream) => Some((id, stream.parameters.as_ref(), None, false)),
            _ => None,
        }
    };
    Catalog::builtin().iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_document_forbids_is_refused_at_the_door() {
    let mut world = World::new().await;
    let mut tried = Tried::default();
    for (nsid, params, body, posted) in methods().into_iter().filter(|(nsid, ..)| *nsid != APART) {
        let url = format!("{}/xrpc/{nsid}", world.url);
        let mut known = None;
        let before = tried.requests;
        for (name, pairs) in params.map(bad::queries).unwrap_or_default() {
            let given = || pairs.iter().map(|(name, value)| (&**name, &**value));
            let schemas = Schemas::builtin();
            let checked = match (schemas.method(nsid), schemas.subscription(nsid)) {
                (Some(method), _) => method.parameters(given()),
                (None, stream) => stream.expect("one or the other").parameters(given()),
            };
            let violation = checked.expect_err(&format!("{nsid} allows {pairs:?}"));
            let path = violation.path.to_string();
            assert!(
                path == format!("/{name}") || path.starts_with(&format!("/{name}/")),
                "{nsid} {pairs:?}: {violation}"
            );
            let query = Serializer::new(String::new()).extend_pairs(given()).finish();
            let request = format!("{url}?{query}");
            let request = if posted { world.client.post(request) } else { world.client.get(request) };
            let words = format!("parameters: {violation}");
            world.refused(&mut known, nsid, request, &words, &format!("{pairs:?}")).await;
            tried.requests += 1;
        }
        for value in body.and_then(|body| body.schema.as_ref()).map(bad::bodies).unwrap_or_default() {
            let checked = Schemas::builtin().method(nsid).expect("a method").validate_input(&value);
            let violation = checked.expect_err(&format!("{nsid} allows {value}"));
            let words = format!("the body: {violation}");
            let request = world.client.post(&url).json(&value);
            world
                .refused(&mut known, nsid, request, &words, &value.to_string().chars().take(300).collect::<String>())
                .await;
            tried.requests += 1;
        }
        tried.methods += usize::from(tried.requests > before);
        // Nobody acts without a name, and so is told what is wrong with the name, not with what they sent.
        let takes_names = ["co.kendev.business.", "co.kendev.people.", "co.kendev.spaces.", "co.kendev.tenants."];
        if posted && takes_names.iter().any(|group| nsid.starts_with(group)) {
            assert_ne!(known, Some(Who::Nobody), "{nsid} reads what a stranger sends");
        }
    }
    assert!(tried.methods > 90 && tried.requests > 1_000, "{} methods, {} requests", tried.methods, tried.requests);
    println!("{} methods, {} requests", tried.methods, tried.requests);
    world.node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_is_read_by_its_own_reader() {
    let mut world = World::new().await;
    let request = world.client.post(format!("{}/xrpc/{APART}", world.url)).json(&json!({ "heartbeat": 7 }));
    let answer = world.ask(Who::Nobody, APART, &request).await;
    assert_eq!((answer.status, &*answer.error), (400, "InvalidHeartbeat"), "{answer:?}");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_paths_of_a_method_have_its_document() {
    let mut world = World::new().await;
    for (path, words) in [
        ("/api/federation/nodes?limit=0", "parameters: /limit: must be at least 1"),
        ("/api/spaces/events?space=nothing", "parameters: /space: must be"),
        ("/api/federation/token-exchange/rate", "parameters: /source: is required"),
    ] {
        let request = world.client.get(format!("{}{path}", world.url));
        let answer = world.ask(Who::Nobody, path, &request).await;
        assert_eq!((answer.status, &*answer.error), (400, "InvalidRequest"), "{path}: {answer:?}");
        assert!(answer.message.starts_with(words), "{path}: {answer:?}");
    }
    let request = world.client.post(format!("{}/api/federation/token-exchange", world.url)).json(&json!({}));
    let answer = world.ask(Who::Nobody, "", &request).await;
    assert_eq!(answer.message, "the body: /transaction: is required");
    world.node.shutdown().await.expect("stops");
}
