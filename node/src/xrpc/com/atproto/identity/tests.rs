//! Identities of accounts as clients meet them: a whole node over HTTP.

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::plc::{PlcOperation, PlcStatement};
use reqwest::header::HOST;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::Config;
use crate::node::{Node, NodeHandle};

struct Bench {
    client: Client,
    url: String,
    node: NodeHandle,
    _dir: TempDir,
}

struct Owner {
    did: String,
    token: String,
}

async fn bench() -> Bench {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut config = Config::on_loopback(dir.path());
    // The machine's own name server is none of this test's business: nobody answers here.
    config.identity.dns_server = Some("127.0.0.1:9".parse().expect("an address"));
    let node = Node::new(config).with_admin_password(Some("secret".to_owned())).run().await.expect("it starts");
    let url = node.facts().run_file().http_url;
    Bench { client: Client::new(), url, node, _dir: dir }
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

impl Bench {
    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    fn post(&self, method: &str, owner: Option<&Owner>) -> RequestBuilder {
        let request = self.client.post(format!("{}/xrpc/{method}", self.url));
        match owner {
            Some(owner) => request.bearer_auth(&owner.token),
            None => request,
        }
    }

    async fn call(&self, request: RequestBuilder) -> (u16, Value) {
        answer(request.send().await.expect("answered")).await
    }

    async fn sign_up(&self, handle: &str, more: Value) -> Owner {
        let mut wish = json!({"handle": handle, "email": format!("{handle}@mail.test"), "password": "correct horse"});
        wish.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let (status, made) = self.call(self.post("com.atproto.server.createAccount", None).json(&wish)).await;
        assert_eq!(status, 200, "{made}");
        let text = |field: &str| made[field].as_str().expect("text").to_owned();
        Owner { did: text("did"), token: text("accessJwt") }
    }

    async fn error(&self, request: RequestBuilder) -> (u16, String) {
        let (status, body) = self.call(request).await;
        (status, body["error"].as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn an_account_is_found_by_every_way_there_is() {
    let bench = bench().await;
    let alice = bench.sign_up("alice.test", json!({})).await;
    let (_, found) = bench.call(bench.get("/xrpc/com.atproto.identity.resolveHandle?handle=ALICE.test")).await;
    assert_eq!(found["did"], alice.did.as_str());
    let (_, document) = bench.call(bench.get(&format!("/{}", alice.did))).await;
    assert_eq!(document["alsoKnownAs"], json!(["at://alice.test"]));
    let (_, resolved) =
        bench.call(bench.get(&format!("/xrpc/com.atproto.identity.resolveDid?did={}", alice.did))).await;
    assert_eq!(resolved["didDoc"], document);
    for who in [&alice.did, "alice.test"] {
        let path = format!("/xrpc/com.atproto.identity.resolveIdentity?identifier={who}");
        let (_, somebody) = bench.call(bench.get(&path)).await;
        assert_eq!(somebody, json!({"did": alice.did, "handle": "alice.test", "didDoc": document}));
    }
    let refresh = |owner| bench.post("com.atproto.identity.refreshIdentity", owner);
    let body = json!({"identifier": "alice.test"});
    assert_eq!(bench.call(refresh(Some(&alice)).json(&body)).await.1["handle"], "alice.test");
    assert_eq!(bench.error(refresh(None).json(&body)).await, (401, "AuthMissing".to_owned()));

    let well_known = async |host: &str| {
        let request = bench.get("/.well-known/atproto-did").header(HOST, host);
        let response = request.send().await.expect("answered");
        (response.status().as_u16(), response.headers()["content-type"].clone(), response.text().await.expect("text"))
    };
    let (status, media_type, text) = well_known("alice.test:443").await;
    assert_eq!((status, media_type.to_str().expect("text")), (200, "text/plain; charset=utf-8"));
    assert_eq!(text, alice.did);
    assert_eq!(well_known("nobody.test").await.0, 404);
    let get = |path: &str| bench.get(&format!("/xrpc/com.atproto.identity.{path}"));
    for (path, status, name) in [
        ("resolveHandle?handle=nobody.test", 400, "HandleNotFound"),
        ("resolveHandle?handle=not_a_handle", 400, "InvalidRequest"),
        ("resolveHandle", 400, "InvalidRequest"),
        ("resolveDid?did=did:plc:yk4dd2qkboz2yv6tpubpc6co", 400, "DidNotFound"),
        ("resolveDid?did=x", 400, "InvalidRequest"),
        ("resolveIdentity?identifier=nobody.test", 400, "HandleNotFound"),
        ("resolveIdentity?identifier=x", 400, "InvalidRequest"),
    ] {
        assert_eq!(bench.error(get(path)).await, (status, name.to_owned()), "{path}");
    }
    bench.node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn a_handle_changes_everywhere_or_nowhere() {
    let bench = bench().await;
    let alice = bench.sign_up("alice.test", json!({})).await;
    bench.sign_up("bob.test", json!({})).await;
    let update =
        |handle: &str| bench.post("com.atproto.identity.updateHandle", Some(&alice)).json(&json!({ "handle": handle }));
    for (handle, name) in [
        ("bob.test", "HandleNotAvailable"),
        ("admin.test", "HandleNotAvailable"),
        ("al.test", "InvalidHandle"),
        ("a.b.test", "InvalidHandle"),
        ("alice.local", "InvalidHandle"),
        ("x", "InvalidRequest"),
        ("alice.invalid", "InvalidHandle"),
    ] {
        assert_eq!(bench.error(update(handle)).await, (400, name.to_owned()), "{handle}");
    }
    let (status, body) = bench.call(update("alicia.test")).await;
    assert_eq!(status, 200, "{body}");
    let (_, data) = bench.call(bench.get(&format!("/plc/{}/data", alice.did))).await;
    assert_eq!(data["alsoKnownAs"], json!(["at://alicia.test"]));
    let find = async |handle: &str| {
        bench.call(bench.get(&format!("/xrpc/com.atproto.identity.resolveHandle?handle={handle}"))).await
    };
    assert_eq!(find("alicia.test").await.1["did"], alice.did.as_str());
    assert_eq!(find("alice.test").await.0, 400);
    assert_eq!(bench.call(update("alicia.test")).await.0, 200, "again, and nothing happens");
    let (_, log) = bench.call(bench.get(&format!("/{}/log", alice.did))).await;
    assert_eq!(log.as_array().map(Vec::len), Some(2));
    bench.node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn the_owner_may_move_the_identity_and_this_host_submits_only_what_it_can_serve() {
    let bench = bench().await;
    let recovery: SigningKey = Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into();
    let alice = bench.sign_up("alice.test", json!({"recoveryKey": recovery.did()})).await;
    let path = "/xrpc/com.atproto.identity.getRecommendedDidCredentials";
    let (_, credentials) = bench.call(bench.get(path).bearer_auth(&alice.token)).await;
    let (_, mut data) = bench.call(bench.get(&format!("/{}/data", alice.did))).await;
    data.as_object_mut().expect("an object").remove("did");
    assert_eq!(credentials, data, "a new account is as recommended");
    assert_eq!(credentials["rotationKeys"][0], recovery.did().as_str(), "the owner's key comes first");

    let sign = async |wish: Value| {
        bench.call(bench.post("com.atproto.identity.signPlcOperation", Some(&alice)).json(&wish)).await
    };
    assert_eq!(sign(json!({})).await.0, 400);
    let (status, body) = sign(json!({"token": "AAAAA-BBBBB"})).await;
    assert_eq!((status, &body["error"]), (400, &json!("InvalidToken")));
    let asked = bench.call(bench.post("com.atproto.identity.requestPlcOperationSignature", Some(&alice))).await;
    assert_eq!(asked.0, 200, "{}", asked.1);
    assert_eq!(sign(json!({"token": "AAAAA-BBBBB"})).await.0, 400, "a guess is no code");

    // The owner signs with the recovery key, as anywhere.
    let (_, last) = bench.call(bench.get(&format!("/{}/log/last", alice.did))).await;
    let last = PlcOperation::from_json(&last).expect("an operation");
    let names = ["at://alice.test".to_owned(), "https://alice.example".to_owned()];
    let mut state = last.statement().data().expect("alive");
    state.also_known_as = names.to_vec();
    let signed = PlcStatement::State { data: state, prev: Some(last.cid()) }.sign(&recovery);
    let signed = json!({"operation": signed.to_json()});

    let submit = |operation: &Value| {
        bench.post("com.atproto.identity.submitPlcOperation", Some(&alice)).json(&json!({"operation": operation}))
    };
    for field in ["rotationKeys", "services", "verificationMethods", "alsoKnownAs"] {
        let mut broken = signed["operation"].clone();
        broken[field] = if broken[field].is_array() { json!([]) } else { json!({}) };
        assert_eq!(bench.error(submit(&broken)).await, (400, "InvalidRequest".to_owned()), "{field}");
    }
    let mut forged = signed["operation"].clone();
    forged["alsoKnownAs"] = json!(["at://alice.test", "https://thief.example"]);
    assert_eq!(bench.error(submit(&forged)).await, (400, "InvalidRequest".to_owned()));
    let (status, body) = bench.call(submit(&signed["operation"])).await;
    assert_eq!(status, 200, "{body}");
    let (_, told) = bench.call(bench.get(&format!("/{}/data", alice.did))).await;
    assert_eq!(told["alsoKnownAs"], json!(names));
    bench.node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn methods_that_nobody_serves_are_not_implemented() {
    let bench = bench().await;
    let alice = bench.sign_up("alice.test", json!({})).await;
    let get = |path: &str| bench.get(&format!("/xrpc/{path}")).bearer_auth(&alice.token);
    let (status, body) = bench.call(get("com.example.nothing")).await;
    assert_eq!((status, &body["error"]), (400, &json!("InvalidRequest")));
    assert_eq!(body["message"], "No service configured for com.example.nothing");
    let not_implemented = (501, "MethodNotImplemented".to_owned());
    assert_eq!(bench.error(get("co.kendev.spaces.nothing")).await, not_implemented);
    assert_eq!(bench.error(bench.get("/xrpc/com.example.nothing")).await, not_implemented);
    let wrong = bench.call(bench.post("com.atproto.server.describeServer", None)).await;
    assert_eq!((wrong.0, &wrong.1["message"]), (400, &json!("Incorrect HTTP method (POST) expected GET")));
    assert_eq!(bench.error(get("nothing")).await, (400, "InvalidRequest".to_owned()));
    let proxied = |path: &str, to: &str| get(path).header("atproto-proxy", to);
    for (header, told) in [
        ("#bsky_appview", "no did specified in proxy header"),
        ("did:web:view.example", "no service id specified in proxy header"),
        ("did:web:view.example#", "no service id specified in proxy header"),
        ("did:web:view.example#a#b", "invalid proxy header format"),
        ("did:web:view.example #a", "proxy header cannot contain spaces"),
    ] {
        let (status, body) = bench.call(proxied("app.bsky.feed.getTimeline", header)).await;
        assert_eq!((status, &body["message"]), (400, &json!(told)), "{header}");
    }
    let nowhere = format!("{}#bsky_appview", alice.did);
    // What is kept here is told unless a client means somebody else.
    let (status, kept) = bench.call(get("app.bsky.actor.getPreferences")).await;
    assert_eq!((status, kept), (200, json!({ "preferences": [] })));
    let elsewhere = bench.error(proxied("app.bsky.actor.getPreferences", &nowhere)).await;
    assert_eq!(elsewhere, (400, "InvalidRequest".to_owned()));
    assert_eq!(bench.error(proxied("app.bsky.feed.getTimeline", &nowhere)).await, (400, "InvalidRequest".to_owned()));
    let own = format!("{}#atproto_pds", alice.did);
    let protected = bench.error(proxied("com.atproto.SERVER.getsession", &own)).await;
    assert_eq!(protected, (400, "InvalidToken".to_owned()), "whatever the case of its letters");
    let stranger = bench.get("/xrpc/com.example.get").header("atproto-proxy", &own);
    assert_eq!(bench.error(stranger).await, (401, "AuthMissing".to_owned()), "nobody is passed on unknown");
    bench.node.shutdown().await.expect("it stops");
}
