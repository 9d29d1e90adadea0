//! Requests passed on to a real service on loopback, whose DID is in a directory of the test's own.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use angel_protocol::crypto::Secp256k1Key;
use angel_protocol::plc::{PlcData, PlcService, PlcStatement};
use angel_protocol::service_auth::ServiceToken;
use angel_storage::Store;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Redirect;
use axum::routing::{any, get};
use futures::stream;
use tempfile::TempDir;

use super::*;
use crate::accounts::Accounts;
use crate::data_dir::DataDir;
use crate::directory::Directory;
use crate::dns::Dns;
use crate::ledger::alone::Alone;
use crate::resolver::{Parts, Times};

const BODY_MAX: u64 = 100_000;

fn key(n: u8) -> SigningKey {
    Secp256k1Key::from_bytes(&[n; 32]).expect("a scalar").into()
}

fn nsid(text: &str) -> Nsid {
    text.parse().expect("an NSID")
}

struct Bench {
    url: Url,
    called: Arc<AtomicUsize>,
    directory: Directory,
    resolver: Resolver,
    _alone: Alone,
    _store: Store,
    _dir: TempDir,
}

/// What a service saw of a request, told in its answer.
async fn echo(request: Request) -> impl IntoResponse {
    let names = |headers: &HeaderMap| headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map(|body| body.len()).ok();
    let told = json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "headers": names(&parts.headers),
        "authorization": parts.headers[header::AUTHORIZATION].to_str().expect("text"),
        "body": body,
    });
    ([("atproto-repo-rev", "rev"), ("set-cookie", "a=b"), ("access-control-allow-origin", "x")], axum::Json(told))
}

async fn bench() -> Bench {
    let called = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&called);
    let endless =
        || async { Body::from_stream(stream::repeat_with(|| Ok::<_, axum::Error>(Bytes::from(vec![0; 65536])))) };
    let refused = || async { (StatusCode::BAD_REQUEST, axum::Json(json!({"error": "NotYours", "message": "no\n!"}))) };
    let routes = Router::new()
        .route("/xrpc/app.bsky.test.refuse", get(refused))
        .route("/xrpc/app.bsky.test.break", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "a stack trace") }))
        .route("/xrpc/app.bsky.test.redirect", get(|| async { Redirect::temporary("/xrpc/app.bsky.test.echo") }))
        .route("/xrpc/app.bsky.test.endless", get(endless))
        .route("/xrpc/{method}", any(echo))
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::map_request(move |request: Request| {
            counting.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = DataDir::open(dir.path()).expect("made");
    let store = Store::in_memory().expect("starts");
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    let alone = Alone::start(&store, data.layout()).await;
    let directory = Directory::of_ledger(alone.ledger.clone()).expect("opened");
    let (resolver, _) = Resolver::new(Parts {
        directory: directory.clone(),
        accounts: Accounts::open(reader, writer, data.layout()).expect("opened"),
        handle_domains: vec![],
        dns: Dns::nowhere(),
        fetcher: Fetcher::new(Scope::Loopback).expect("starts"),
        scope: Scope::Loopback,
        times: Times::default(),
    });
    Bench { url, called, directory, resolver, _alone: alone, _store: store, _dir: dir }
}

impl Bench {
    fn proxy(&self, services: &ServicesConfig, scope: Scope) -> Proxy {
        Proxy::new(self.resolver.clone(), services, scope, BODY_MAX).expect("starts")
    }

    /// The DID of a service at `endpoint`.
    async fn service(&self, endpoint: &str) -> Did {
        let service = PlcService { kind: "BskyAppView".to_owned(), endpoint: endpoint.to_owned() };
        let data = PlcData {
            rotation_keys: vec![key(1).did()],
            verification_methods: BTreeMap::new(),
            also_known_as: vec![],
            services: BTreeMap::from([("bsky_appview".to_owned(), service)]),
        };
        let genesis = PlcStatement::State { data, prev: None }.sign(&key(1));
        let did = genesis.creates().expect("a first operation");
        self.directory.submit(&did, genesis).await.expect("taken");
        did
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
}

async fn call(
    proxy: &Proxy,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, XrpcError> {
    let uri: Uri = path.parse().expect("a path");
    let lxm = nsid(uri.path().strip_prefix("/xrpc/").expect("a method"));
    let target = proxy.target(&lxm, headers).await?.expect("a service");
    let did = Did::from_str("did:plc:yk4dd2qkboz2yv6tpubpc6co").expect("a DID");
    let key = key(9);
    let sender = Sender { did: &did, key: &key, method: &lxm };
    proxy.pass_on(&target, Some(sender), (method, &uri, headers), body).await
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.expect("a body")).expect("JSON")
}

#[tokio::test]
async fn a_request_arrives_with_a_token_for_its_method_and_nothing_private() {
    let bench = bench().await;
    let proxy = bench.proxy(&ServicesConfig::default(), Scope::Loopback);
    let did = bench.service(bench.url.as_str()).await;
    let sent = headers(&[
        ("atproto-proxy", &format!("{did}#bsky_appview")),
        ("authorization", "Bearer of this host"),
        ("cookie", "a=b"),
        ("dpop", "proof"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-atproto-thing", "1"),
        ("accept-language", "de"),
        ("content-type", "application/octet-stream"),
    ]);
    let chunks = stream::iter((0..9).map(|_| Ok::<_, axum::Error>(Bytes::from(vec![7; 10_000]))));
    let answer = call(&proxy, Method::POST, "/xrpc/com.example.do?x=%20&y=1", &sent, Body::from_stream(chunks)).await;
    let answer = answer.expect("answered");
    let told: Vec<_> = answer.headers().keys().map(ToString::to_string).collect();
    assert!(told.contains(&"atproto-repo-rev".to_owned()) && told.contains(&"content-type".to_owned()), "{told:?}");
    assert!(!told.iter().any(|name| name == "set-cookie" || name.starts_with("access-control")), "{told:?}");
    let seen = json_of(answer).await;
    assert_eq!((&seen["method"], &seen["uri"]), (&json!("POST"), &json!("/xrpc/com.example.do?x=%20&y=1")));
    assert_eq!(seen["body"], 90_000);
    for (name, passed) in [
        ("x-atproto-thing", true),
        ("accept-language", true),
        ("content-type", true),
        ("cookie", false),
        ("dpop", false),
        ("x-forwarded-for", false),
        ("atproto-proxy", false),
    ] {
        assert_eq!(seen["headers"].as_array().expect("names").contains(&json!(name)), passed, "{name}");
    }
    let token = seen["authorization"].as_str().and_then(|text| text.strip_prefix("Bearer ")).expect("a token");
    let token: ServiceToken = token.parse().expect("a service token");
    assert_eq!(token.check(&did, &nsid("com.example.do"), clock::now()), Ok(()));
    assert_eq!(token.verify(key(9).public()), Ok(()));
    assert_eq!(token.claims().issuer.to_string(), "did:plc:yk4dd2qkboz2yv6tpubpc6co");
}

#[tokio::test]
async fn what_a_service_refuses_is_told_and_what_breaks_there_is_its_fault() {
    let bench = bench().await;
    let services = ServicesConfig {
        app_view_did: Some("did:web:view.example".parse().expect("a DID")),
        app_view_url: Some(bench.url.clone()),
        ..ServicesConfig::default()
    };
    let proxy = bench.proxy(&services, Scope::Public);
    let get = async |path: &str| call(&proxy, Method::GET, path, &HeaderMap::new(), Body::empty()).await;
    let refused = get("/xrpc/app.bsky.test.refuse").await.expect("an answer");
    assert_eq!(refused.status(), 400);
    assert_eq!(json_of(refused).await, json!({"error": "NotYours", "message": "no!"}));
    let broken = get("/xrpc/app.bsky.test.break").await.expect("an answer");
    assert_eq!(broken.status(), 502);
    let told = json_of(broken).await;
    assert_eq!(told["error"], "UpstreamFailure");
    assert!(!told.to_string().contains("trace"), "{told}");
    assert!(get("/xrpc/app.bsky.test.redirect").await.is_err(), "redirects lead nowhere");
    let endless = get("/xrpc/app.bsky.test.endless").await.expect("it begins");
    assert!(to_bytes(endless.into_body(), usize::MAX).await.is_err(), "and breaks off");
    let large = Body::from(vec![0; usize::try_from(BODY_MAX).expect("small") + 1]);
    let sent = call(&proxy, Method::POST, "/xrpc/app.bsky.test.echo", &HeaderMap::new(), large).await;
    assert!(sent.is_err(), "a body has a bound");
    let gone = ServicesConfig { app_view_url: Some("http://127.0.0.1:1".parse().expect("a URL")), ..services };
    let proxy = bench.proxy(&gone, Scope::Public);
    let answer = call(&proxy, Method::GET, "/xrpc/app.bsky.test.echo", &HeaderMap::new(), Body::empty()).await;
    let expected = XrpcError::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", "Upstream service unreachable");
    assert_eq!(answer.expect_err("nobody there"), expected);
}

#[tokio::test]
async fn clients_lead_this_host_to_no_inner_address() {
    let bench = bench().await;
    let proxy = bench.proxy(&ServicesConfig::default(), Scope::Public);
    let port = bench.url.port().expect("a port");
    for endpoint in [
        bench.url.to_string(),
        format!("https://127.0.0.1:{port}"),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        format!("https://localhost:{port}"),
        "https://169.254.169.254".to_owned(),
        format!("https://user:word@127.0.0.1:{port}"),
        "file:///etc/passwd".to_owned(),
    ] {
        let did = bench.service(&endpoint).await;
        let sent = headers(&[("atproto-proxy", &format!("{did}#bsky_appview"))]);
        let answer = call(&proxy, Method::GET, "/xrpc/com.example.get", &sent, Body::empty()).await;
        assert!(answer.is_err(), "{endpoint}");
    }
    assert_eq!(bench.called.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_service_is_named_or_chosen() {
    let bench = bench().await;
    let view: Did = "did:web:view.example".parse().expect("a DID");
    let services = ServicesConfig {
        app_view_did: Some(view.clone()),
        app_view_url: Some(bench.url.clone()),
        ..ServicesConfig::default()
    };
    let (with, without) =
        (bench.proxy(&services, Scope::Public), bench.proxy(&ServicesConfig::default(), Scope::Public));
    let nobody = HeaderMap::new();
    let feed = nsid("app.bsky.feed.getTimeline");
    assert_eq!(with.target(&feed, &nobody).await.expect("fine").map(|target| target.did), Some(view.clone()));
    assert!(without.target(&feed, &nobody).await.expect("fine").is_none());
    for other in ["chat.bsky.convo.listConvos", "com.example.get", "tools.ozone.team.listMembers"] {
        assert!(with.target(&nsid(other), &nobody).await.expect("fine").is_none(), "{other}");
    }
    let named = headers(&[("atproto-proxy", &format!("{view}#bsky_appview"))]);
    assert!(with.target(&nsid("com.example.get"), &named).await.expect("fine").is_some_and(|target| target.chosen));
    let known = bench.service("https://view.example").await;
    for broken in [
        "did:web:a.example".to_owned(),
        "#bsky_appview".to_owned(),
        format!("{known}#"),
        format!("{known}#other"),
        format!("{known}#a#b"),
        format!("{known} #bsky_appview"),
        "did:plc:yk4dd2qkboz2yv6tpubpc6co#bsky_appview".to_owned(),
        "alice.example#bsky_appview".to_owned(),
    ] {
        let error = with.target(&feed, &headers(&[("atproto-proxy", &broken)])).await.map(drop);
        assert!(error.is_err(), "{broken}");
    }
}

#[test]
fn methods_about_the_account_stay_here() {
    assert!(PROTECTED.is_sorted());
    assert!(
        is_protected(&nsid("com.atproto.server.getSession")) && is_protected(&nsid("com.atproto.SERVER.GETSESSION"))
    );
    assert!(!is_protected(&nsid("com.atproto.repo.getRecord")));
    assert!(is_privileged(&nsid("chat.bsky.convo.sendMessage")) && !is_privileged(&nsid("app.bsky.feed.getTimeline")));
}
