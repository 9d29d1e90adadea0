//! The server as clients meet it: over sockets, well-behaved and otherwise.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use prometheus_client::registry::Registry;
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::observe::Observer;
use super::{router, server};
use crate::config::{ByteSize, Config, HttpConfig, MetricsAccess};
use crate::events::{self, Events};
use crate::node::{Node, NodeHandle};
use crate::tasks::TaskResult;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server with routes of the test's own.
struct Bench {
    addr: SocketAddr,
    registry: Registry,
    stop: CancellationToken,
    serving: JoinHandle<TaskResult>,
}

impl Bench {
    async fn serve(routes: Router, change: impl FnOnce(&mut HttpConfig)) -> Self {
        let mut config = HttpConfig::default();
        config.listen.set_port(0);
        change(&mut config);
        let mut registry = Registry::default();
        let events = Events::new(&mut registry);
        let bound = server::bind(&config).await.expect("a free port");
        let addr = bound.addr();
        let observer = Observer::new(events.clone(), &config);
        let routes = router::around(routes, &config, observer);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(bound.serve(routes, events, stop.clone()));
        Self { addr, registry, stop, serving }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.expect("the server listens")
    }
}

async fn error_of(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    let request_id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    let body: Value = response.json().await.expect("errors are JSON");
    // Clients know this one answer by all of it.
    if body["error"] != "PayloadTooLargeError" {
        assert_eq!(body["requestId"], request_id.as_str());
    }
    assert!(body["message"].is_string());
    (status, body["error"].as_str().expect("a name").to_owned(), body)
}

/// What the server says until it closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut said = vec![];
    // A reset is as good an end as any.
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the server closes the connection").ok();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_slow_header_ends_the_connection() {
    let bench = Bench::serve(Router::new(), |config| config.header_timeout = Duration::from_millis(100)).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow").await.expect("sent");
    rest(stream).await;
    rest(bench.connect().await).await;
}

#[tokio::test]
async fn a_slow_body_and_a_slow_handler_end_in_request_timeout() {
    let routes = Router::new()
        .route("/body", post(|body: Bytes| async move { body }))
        .route("/handler", get(std::future::pending::<&'static str>));
    let bench = Bench::serve(routes, |config| config.request_timeout = Duration::from_millis(100)).await;
    let response = Client::new().get(bench.url("/handler")).send().await.expect("answered");
    assert_eq!(error_of(response).await.1, "RequestTimeout");

    let mut stream = bench.connect().await;
    stream.write_all(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123").await.expect("sent");
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"RequestTimeout\""), "{answer}");
}

#[tokio::test]
async fn a_reader_that_stalls_is_dropped() {
    struct OnDrop(Arc<Notify>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let dropped = Arc::new(Notify::new());
    let notify = Arc::clone(&dropped);
    let endless = move || async move {
        let guard = OnDrop(notify);
        let chunk = Bytes::from_static(&[0; 65536]);
        Body::from_stream(stream::repeat(chunk).map(move |chunk| {
            let _held = &guard;
            Ok::<_, Infallible>(chunk)
        }))
    };
    let routes = Router::new().route("/endless", get(endless));
    let bench = Bench::serve(routes, |config| config.write_stall_timeout = Duration::from_millis(100)).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    timeout(PATIENCE, dropped.notified()).await.expect("the answer is given up");
    drop(stream);
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_one_waits() {
    let routes = Router::new().route("/", get(|| async { "here" }));
    let bench = Bench::serve(routes, |config| config.connections_max = 8).await;
    let mut held = vec![];
    for _ in 0..8 {
        let mut stream = bench.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.expect("answered");
        held.push(stream);
    }
    let mut ninth = bench.connect().await;
    ninth.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut start = [0; 15];
    let early = timeout(Duration::from_millis(200), ninth.read_exact(&mut start)).await;
    assert!(early.is_err(), "eight are held, the ninth waits");
    held.pop();
    timeout(PATIENCE, ninth.read_exact(&mut start)).await.expect("its turn has come").expect("answered");
    assert_eq!(&start, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, go) = (Arc::clone(&begun), Arc::clone(&go_on));
    let work = move || async move {
        begin.notify_one();
        go.notified().await;
        "done"
    };
    let bench = Bench::serve(Router::new().route("/work", get(work)), |_| {}).await;
    let request = tokio::spawn(Client::new().get(bench.url("/work")).send());
    begun.notified().await;
    let idle = bench.connect().await;
    bench.stop.cancel();
    rest(idle).await;
    go_on.notify_one();
    let answer = request.await.expect("no panic").expect("answered").text().await.expect("read");
    assert_eq!(answer, "done");
    timeout(PATIENCE, bench.serving).await.expect("ended").expect("no panic").expect("no error");
    TcpStream::connect(bench.addr).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn what_went_wrong_here_is_answered_blandly() {
    async fn panics() -> &'static str {
        panic!("the secret ingredient")
    }
    async fn fails() -> super::XrpcError {
        super::XrpcError::unexpected(&std::io::Error::other("the secret path"))
    }
    async fn library() -> (StatusCode, &'static str) {
        (StatusCode::INTERNAL_SERVER_ERROR, "the secret table")
    }
    let routes = Router::new().route("/panic", get(panics)).route("/fail", get(fails)).route("/library", get(library));
    let bench = Bench::serve(routes, |_| {}).await;
    for path in ["/panic", "/fail", "/library"] {
        let response = Client::new().get(bench.url(path)).send().await.expect("answered");
        let (status, name, body) = error_of(response).await;
        assert_eq!((status, name.as_str()), (500, "InternalServerError"), "{path}");
        assert!(!body.to_string().contains("secret"), "{path}: {body}");
    }
}

#[tokio::test]
async fn errors_of_libraries_take_our_form() {
    let routes = Router::new().route("/echo", post(|Json(value): Json<Value>| async { Json(value) }));
    let bench = Bench::serve(routes, |config| config.body_max = ByteSize::from_kib(64)).await;
    let post = || Client::new().post(bench.url("/echo")).header(header::CONTENT_TYPE, "application/json");
    let large = vec![b' '; (64 << 10) + 1];
    let chunked = reqwest::Body::wrap_stream(stream::iter([Ok::<_, Infallible>(large.clone())]));
    let cases = [
        (post().body(large), 413, "PayloadTooLargeError"),
        (post().body(chunked), 413, "PayloadTooLargeError"),
        (post().body("{"), 400, "InvalidRequest"),
        (Client::new().post(bench.url("/echo")).body("{}"), 415, "InvalidRequest"),
        (Client::new().get(bench.url("/echo")), 405, "MethodNotAllowed"),
        (Client::new().get(bench.url("/nowhere")), 404, "NotFound"),
        (Client::new().get(bench.url("/xrpc/com.example.unknown")), 501, "MethodNotImplemented"),
        (Client::new().get(bench.url("/xrpc/unknown")), 400, "InvalidRequest"),
    ];
    for (request, status, name) in cases {
        let response = request.send().await.expect("answered");
        assert_eq!(response.headers().contains_key(header::ALLOW), status == 405);
        let (got_status, got_name, body) = error_of(response).await;
        assert_eq!((got_status, got_name.as_str()), (status, name), "{body}");
    }
}

#[tokio::test]
async fn strangers_do_not_name_metrics() {
    let routes = Router::new().route("/xrpc/com.example.thing", get(|| async { "here" }));
    let bench = Bench::serve(routes, |_| {}).await;
    for path in ["/xrpc/com.example.thing", "/xrpc/com.example.unknown", "/wp-login.php"] {
        Client::new().get(bench.url(path)).send().await.expect("answered");
    }
    let text = events::render(&bench.registry);
    assert!(text.contains("angel_http_requests_total{method=\"com.example.thing\",status=\"200\"} 1"), "{text}");
    assert!(!text.contains("unknown") && !text.contains("wp-login"), "{text}");
}

/// A whole node.
async fn node(change: impl FnOnce(&mut Config)) -> (TempDir, NodeHandle, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut config = Config::on_loopback(dir.path());
    change(&mut config);
    let node = Node::new(config).with_admin_password(Some("secret".to_owned())).run().await.expect("it starts");
    let url = node.facts().run_file().http_url;
    (dir, node, url)
}

#[tokio::test]
async fn browsers_may_read_what_is_public_and_nothing_else() {
    let (_dir, node, url) = node(|_| {}).await;
    let preflight = async |path: &str| {
        let request = Client::new().request(Method::OPTIONS, format!("{url}{path}"));
        let request =
            request.header(header::ORIGIN, "https://app.example").header("access-control-request-method", "GET");
        request.header("access-control-request-headers", "authorization,atproto-accept-labelers").send().await
    };
    let public = preflight("/xrpc/_health").await.expect("answered");
    assert_eq!(public.headers()["access-control-allow-origin"], "*");
    let allowed = public.headers()["access-control-allow-headers"].to_str().expect("text");
    assert!(allowed.contains("authorization") && allowed.contains("atproto-accept-labelers"), "{allowed}");
    for private in ["/admin/status", "/metrics"] {
        let answer = preflight(private).await.expect("answered");
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{private}");
    }
    node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn the_admin_api_opens_to_the_password_alone() {
    let (_dir, node, url) = node(|config| config.http.metrics = MetricsAccess::Admin).await;
    for path in ["/admin/status", "/admin/config", "/metrics"] {
        let get = || Client::new().get(format!("{url}{path}"));
        for request in [
            get(),
            get().basic_auth("admin", Some("Secret")),
            get().basic_auth("admin", Some("secret ")),
            get().basic_auth("root", Some("secret")),
            get().bearer_auth("secret"),
            get().header(header::AUTHORIZATION, "Basic"),
            get().header(header::AUTHORIZATION, "Basic !!!"),
            get().header(header::AUTHORIZATION, &b"Basic \xff"[..]),
        ] {
            let response = request.send().await.expect("answered");
            assert!(response.headers()["www-authenticate"].to_str().expect("text").starts_with("Basic "));
            assert_eq!(error_of(response).await.0, 401, "{path}");
        }
        let response = get().basic_auth("admin", Some("secret")).send().await.expect("answered");
        assert_eq!(response.status(), 200, "{path}");
    }
    let log = Client::new().post(format!("{url}/admin/log")).body("no JSON").send().await.expect("answered");
    assert_eq!(error_of(log).await.0, 401, "who you are comes before what you want");
    node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn the_public_pages_say_what_the_node_is() {
    let (_dir, node, url) = node(|config| {
        config.node.public_url = Some("https://angel.example.org".parse().expect("a URL"));
        config.node.name = Some("Ada's node".to_owned());
        config.http.metrics = MetricsAccess::Off;
    })
    .await;
    let get = async |path: &str| Client::new().get(format!("{url}{path}")).send().await.expect("answered");
    let home = get("/").await.text().await.expect("text");
    assert!(home.contains("Ada's node") && home.contains(node.facts().did.as_str()), "{home}");
    assert!(home.contains("\n  https://angel.example.org\n"), "{home}");
    assert!(home.contains("Handles here end in .angel.example.org."), "{home}");
    assert_eq!(get("/robots.txt").await.text().await.expect("text"), "User-agent: *\nAllow: /\n");
    let document: Value = get("/.well-known/did.json").await.json().await.expect("JSON");
    assert_eq!(document["id"], "did:web:angel.example.org");
    assert_eq!(document["alsoKnownAs"][0], node.facts().did.as_str());
    let health: Value = get("/api/health").await.json().await.expect("JSON");
    assert_eq!(health["services"]["storage"], "ok");
    let version: Value = get("/xrpc/_health").await.json().await.expect("JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(error_of(get("/metrics").await).await.0, 404);
    let head = Client::new().head(format!("{url}/nowhere")).send().await.expect("answered");
    assert_eq!(head.status(), 404);
    node.shutdown().await.expect("it stops");
}

#[tokio::test]
async fn nodes_in_one_process_keep_apart() {
    let (first_dir, first, first_url) = node(|_| {}).await;
    let (_second_dir, second, second_url) = node(|_| {}).await;
    assert_ne!(first.facts().did, second.facts().did);
    Client::new().get(format!("{first_url}/nowhere")).send().await.expect("answered");
    let metrics = async |url: &str| {
        Client::new().get(format!("{url}/metrics")).send().await.expect("answered").text().await.expect("text")
    };
    let refused = "angel_http_requests_total{method=\"unmatched\",status=\"404\"} 1";
    assert!(metrics(&first_url).await.contains(refused) && !metrics(&second_url).await.contains(refused));

    let error = Node::start(Config::on_loopback(first_dir.path())).await.expect_err("the directory is in use");
    assert!(error.to_string().contains("in use"), "{error}");
    let did = first.facts().did.clone();
    first.shutdown().await.expect("it stops");
    let again = Node::start(Config::on_loopback(first_dir.path())).await.expect("the directory is free again");
    assert_eq!(again.facts().did, did);
    Client::new().get(format!("{second_url}/")).send().await.expect("the other one goes on");
    again.shutdown().await.expect("it stops");
    second.shutdown().await.expect("it stops");
}
