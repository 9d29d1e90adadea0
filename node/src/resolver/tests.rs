//! Resolving against real servers on loopback: a name server over UDP, a web server with TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use angel_protocol::crypto::{P256Key, Secp256k1Key, SigningKey};
use angel_protocol::plc::{PlcData, PlcStatement};
use angel_protocol::service_auth::Claims;
use angel_storage::Store;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, TXT};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::clock;
use crate::data_dir::DataDir;
use crate::ledger::alone::Alone;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the world says; a test may change it at any time.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Texts by name.
    texts: BTreeMap<String, Vec<String>>,
    /// What lies at a URL, without its scheme: status and body, or where it redirects to.
    pages: BTreeMap<String, (u16, String)>,
    /// Whether nobody answers.
    silent: bool,
}

impl World {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn text(&self, handle: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.change(|state| drop(state.texts.insert(format!("_atproto.{handle}."), texts)));
    }

    /// Puts a page at a URL, which is without its scheme.
    pub(crate) fn page(&self, url: &str, status: u16, body: &str) {
        self.change(|state| drop(state.pages.insert(url.to_owned(), (status, body.to_owned()))));
    }

    fn document(&self, host: &str, key: &SigningKey, handle: &str) -> Did {
        let did: Did = format!("did:web:{host}").parse().expect("a DID");
        let handle = handle.parse().expect("a handle");
        let data = PlcData::account(vec![], key.did(), &handle, "https://pds.example".to_owned());
        let json = data.document(did.clone()).to_json();
        self.page(&format!("{host}/.well-known/did.json"), 200, &json.to_string());
        did
    }

    /// The answer of the name server. Every name has this machine's address, as the web server has.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        if self.look(|state| state.silent) {
            return None;
        }
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_query(query.clone());
        let name = query.name().to_ascii().to_ascii_lowercase();
        let record = |data: RData| Record::from_rdata(query.name().clone(), 60, data);
        match query.query_type() {
            RecordType::TXT => match self.look(|state| state.texts.get(&name).cloned()) {
                Some(texts) => {
                    // Long texts come in parts of up to 255 bytes; here, of 20.
                    let parts = |text: String| {
                        text.as_bytes().chunks(20).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
                    };
                    answer.add_answers(texts.into_iter().map(|text| record(RData::TXT(TXT::new(parts(text))))));
                }
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            },
            RecordType::A => drop(answer.add_answer(record(RData::A(A::new(127, 0, 0, 1))))),
            _ => {}
        }
        answer.to_vec().ok()
    }

    fn page_at(&self, headers: &HeaderMap, path: &str) -> Response {
        let host = headers[header::HOST].to_str().expect("a host");
        let host = host.split(':').next().expect("a part");
        match self.look(|state| state.pages.get(&format!("{host}{path}")).cloned()) {
            Some((status @ 300..400, to)) => {
                (StatusCode::from_u16(status).expect("a status"), [(header::LOCATION, to)]).into_response()
            }
            Some((status, body)) => (StatusCode::from_u16(status).expect("a status"), body).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

/// A listener that speaks TLS.
struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    accepted: Arc<AtomicUsize>,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((tcp, address)) = self.tcp.accept().await else { continue };
            self.accepted.fetch_add(1, Ordering::Relaxed);
            if let Ok(stream) = self.acceptor.accept(tcp).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Servers of a test, and a resolver that knows no others.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) resolver: Resolver,
    /// The way to the web server.
    pub(crate) fetcher: Fetcher,
    directory: Directory,
    /// Connections that the web server took.
    connections: Arc<AtomicUsize>,
    stop: CancellationToken,
    _alone: Alone,
    _store: Store,
    _dir: TempDir,
}

pub(crate) const CALM: Times = Times {
    new: Duration::from_secs(3600),
    old: Duration::from_secs(7200),
    no: Duration::from_secs(3600),
    silence: Duration::from_secs(3600),
};

pub(crate) async fn bench(times: Times) -> Bench {
    let world = World::default();
    let names = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let name_server = names.local_addr().expect("bound");
    let telling = world.clone();
    tokio::spawn(async move {
        let mut question = [0; 4096];
        while let Ok((bytes, from)) = names.recv_from(&mut question).await {
            if let Some(answer) = telling.answer(&question[..bytes]) {
                drop(names.send_to(&answer, from).await);
            }
        }
    });

    let hosts = ["alice.test", "bob.test", "web.test", "other.test", "labeler.test", "app.test"].map(str::to_owned);
    let certified = rcgen::generate_simple_self_signed(hosts).expect("a certificate");
    let key = PrivateKeyDer::try_from(certified.key_pair.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a pair");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = tcp.local_addr().expect("bound").port();
    let connections = Arc::new(AtomicUsize::new(0));
    let listener = Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(config)), accepted: Arc::clone(&connections) };
    let telling = world.clone();
    let routes = Router::new()
        .fallback(move |uri: axum::http::Uri, headers: HeaderMap| async move { telling.page_at(&headers, uri.path()) });
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = DataDir::open(dir.path()).expect("made");
    let store = Store::in_memory().expect("starts");
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    let alone = Alone::start(&store, data.layout()).await;
    let directory = Directory::of_ledger(alone.ledger.clone()).expect("opened");
    let dns = Dns::new(Some(name_server)).expect("starts");
    let root = reqwest::Certificate::from_der(certified.cert.der()).expect("a certificate");
    let fetcher = Fetcher::for_test(Scope::Loopback, dns.clone(), port, root);
    let (resolver, renewer) = Resolver::new(Parts {
        directory: directory.clone(),
        accounts: Accounts::open(reader, writer, data.layout()).expect("opened"),
        handle_domains: vec![".here.test".to_owned()],
        fetcher: fetcher.clone(),
        dns,
        scope: Scope::Loopback,
        times,
    });
    let stop = CancellationToken::new();
    tokio::spawn(renewer.run(stop.clone()));
    Bench { world, resolver, fetcher, directory, connections, stop, _alone: alone, _store: store, _dir: dir }
}

fn key(n: u8) -> SigningKey {
    Secp256k1Key::from_bytes(&[n; 32]).expect("a scalar").into()
}

fn handle(text: &str) -> Handle {
    text.parse().expect("a handle")
}

fn did(text: &str) -> Did {
    text.parse().expect("a DID")
}

async fn register(directory: &Directory, signing: &SigningKey, name: &str) -> Did {
    let data = PlcData::account(vec![key(1).did()], signing.did(), &handle(name), "https://pds.example".to_owned());
    let genesis = PlcStatement::State { data, prev: None }.sign(&key(1));
    let did = genesis.creates().expect("a first operation");
    directory.submit(&did, genesis).await.expect("taken");
    did
}

#[tokio::test]
async fn a_handle_is_found_by_text_first_and_by_web_otherwise() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, .. } = &bench;
    let (one, two) = ("did:plc:yk4dd2qkboz2yv6tpubpc6co", "did:web:alice.test");
    world.text("alice.test", &["v=spf1 -all", &format!("did={one}")]);
    world.page("alice.test/.well-known/atproto-did", 200, two);
    assert_eq!(resolver.handle(&handle("alice.test")).await, Ok(did(one)));
    world.page("bob.test/.well-known/atproto-did", 200, &format!(" {two}\r\nmore"));
    assert_eq!(resolver.handle(&handle("bob.test")).await, Ok(did(two)));
    // Two texts name nobody, and the web is asked.
    world.text("other.test", &[&format!("did={one}"), &format!("did={two}")]);
    let other = handle("other.test");
    assert_eq!(resolver.handle(&other).await, Err(ResolveError::HandleNotFound(other.clone())));
    for (status, body) in [(200, "<html>no"), (200, "alice.test"), (500, one), (200, &*"x".repeat(5000))] {
        world.page("other.test/.well-known/atproto-did", status, body);
        assert_eq!(resolver.fresh_handle(&other).await, Err(ResolveError::HandleNotFound(other.clone())), "{body}");
    }
    assert_eq!(
        resolver.handle(&handle("a.example")).await,
        Err(ResolveError::HandleNotFound(handle("a.example"))),
        "a reserved name is not looked up"
    );
}

#[tokio::test]
async fn a_handle_may_redirect_over_https_and_a_did_may_not() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, .. } = &bench;
    let one = "did:plc:yk4dd2qkboz2yv6tpubpc6co";
    world.page("alice.test/.well-known/atproto-did", 302, "https://bob.test/alice");
    world.page("bob.test/alice", 200, one);
    assert_eq!(resolver.handle(&handle("alice.test")).await, Ok(did(one)));
    world.page("other.test/.well-known/atproto-did", 302, "http://bob.test/alice");
    assert!(resolver.handle(&handle("other.test")).await.is_err(), "never without TLS");
    world.document("web.test", &key(9), "alice.test");
    let document = world.look(|state| state.pages["web.test/.well-known/did.json"].1.clone());
    world.page("bob.test/document", 200, &document);
    world.page("web.test/.well-known/did.json", 302, "https://bob.test/document");
    assert!(matches!(resolver.did(&did("did:web:web.test")).await, Err(ResolveError::Unreachable { .. })));
}

#[tokio::test]
async fn handles_of_this_host_are_not_looked_up() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, connections, .. } = &bench;
    world.text("nobody.here.test", &["did=did:plc:yk4dd2qkboz2yv6tpubpc6co"]);
    let nobody = handle("nobody.here.test");
    assert_eq!(resolver.handle(&nobody).await, Err(ResolveError::HandleNotFound(nobody.clone())));
    assert_eq!(resolver.fresh_handle(&nobody).await, Err(ResolveError::HandleNotFound(nobody)));
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn documents_are_those_of_their_did() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, directory, .. } = &bench;
    let web = world.document("web.test", &key(9), "alice.test");
    let resolved = resolver.did(&web).await.expect("found");
    assert_eq!(resolved.document.signing_key(), Some(key(9).public()));
    assert_eq!(resolved.json["id"], web.as_str());
    // Another one's document, no document, no JSON.
    for (body, status) in [(resolved.json.to_string(), 200), ("{}".to_owned(), 200), ("x".to_owned(), 200)] {
        world.page("other.test/.well-known/did.json", status, &body);
        let other = resolver.fresh_did(&did("did:web:other.test")).await;
        assert!(matches!(other, Err(ResolveError::Document { .. })), "{other:?}");
    }
    assert!(matches!(resolver.did(&did("did:web:bob.test")).await, Err(ResolveError::DidNotFound(_))));
    for odd in ["did:web:a.test:path", "did:web:a.test%3A8080", "did:web:127.0.0.1", "did:key:z6Mk", "did:web:a%2Eb"] {
        assert!(matches!(resolver.did(&did(odd)).await, Err(ResolveError::Unsupported(_))), "{odd}");
    }
    let plc = register(directory, &key(9), "alice.test").await;
    assert_eq!(resolver.did(&plc).await.expect("found").document.signing_key(), Some(key(9).public()));
    let unknown = did("did:plc:yk4dd2qkboz2yv6tpubpc6co");
    assert_eq!(resolver.did(&unknown).await, Err(ResolveError::DidNotFound(unknown)));
}

#[tokio::test]
async fn a_handle_counts_only_when_both_sides_say_so() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, directory, .. } = &bench;
    let alice = register(directory, &key(9), "alice.test").await;
    let liar = register(directory, &key(8), "alice.test").await;
    world.text("alice.test", &[&format!("did={alice}")]);
    world.text("bob.test", &[&format!("did={alice}")]);
    let ask = async |who: &str| {
        let somebody = resolver.somebody(&who.parse().expect("an identifier"), false).await.expect("found");
        (somebody.did, somebody.handle.to_string())
    };
    assert_eq!(ask("alice.test").await, (alice.clone(), "alice.test".to_owned()));
    assert_eq!(ask(alice.as_str()).await, (alice.clone(), "alice.test".to_owned()));
    assert_eq!(ask(liar.as_str()).await, (liar, "handle.invalid".to_owned()));
    assert_eq!(ask("bob.test").await, (alice, "alice.test".to_owned()), "the name that holds, not the one asked for");
}

#[tokio::test]
async fn answers_are_remembered_until_asked_for_afresh() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, connections, .. } = &bench;
    let web = world.document("web.test", &key(9), "alice.test");
    let many = futures::future::join_all((0..50).map(|_| resolver.did(&web))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one looks for all");
    world.document("web.test", &key(8), "alice.test");
    let key_of = |found: Result<Arc<Resolved>, ResolveError>| found.expect("found").document.signing_key();
    assert_eq!(key_of(resolver.did(&web).await), Some(key(9).public()));
    assert_eq!(key_of(resolver.fresh_did(&web).await), Some(key(8).public()));
    assert_eq!(key_of(resolver.did(&web).await), Some(key(8).public()));
    // A "no" is remembered as well, and a page that breaks leaves what was known.
    let bob = did("did:web:bob.test");
    assert!(matches!(resolver.did(&bob).await, Err(ResolveError::DidNotFound(_))));
    world.document("bob.test", &key(7), "bob.test");
    assert!(matches!(resolver.did(&bob).await, Err(ResolveError::DidNotFound(_))));
    assert!(resolver.fresh_did(&bob).await.is_ok());
    world.page("bob.test/.well-known/did.json", 503, "");
    assert_eq!(key_of(resolver.fresh_did(&bob).await), Some(key(7).public()), "silence takes nothing away");
    world.page("bob.test/.well-known/did.json", 404, "");
    assert!(resolver.fresh_did(&bob).await.is_err(), "but a no does");
}

#[tokio::test]
async fn an_old_answer_is_given_at_once_and_renewed_behind() {
    let bench = bench(Times { new: Duration::ZERO, ..CALM }).await;
    let Bench { world, resolver, stop, .. } = &bench;
    let one = "did:plc:yk4dd2qkboz2yv6tpubpc6co";
    world.text("alice.test", &[&format!("did={one}")]);
    let alice = handle("alice.test");
    assert_eq!(resolver.handle(&alice).await, Ok(did(one)));
    world.text("alice.test", &["did=did:web:alice.test"]);
    let renewed = async {
        while resolver.handle(&alice).await != Ok(did("did:web:alice.test")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("renewed");
    stop.cancel();
}

#[tokio::test]
async fn a_service_token_counts_by_the_newest_key_of_its_issuer() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, directory, .. } = &bench;
    let host = did("did:web:here.test");
    let method: Nsid = "com.atproto.server.createAccount".parse().expect("an NSID");
    let now = clock::now();
    let token = |issuer: &str, signing: &SigningKey| {
        let claims = Claims {
            issuer: issuer.parse().expect("a service"),
            audience: host.clone().into(),
            expires_at: now.as_millis() / 1000 + 60,
            issued_at: None,
            method: Some(method.clone()),
            nonce: None,
        };
        claims.sign(signing)
    };
    let judge = async |text: &str| resolver.service_token(text, &host, &method, now).await;
    let p256: SigningKey = P256Key::from_bytes(&[5; 32]).expect("a scalar").into();
    let plc = register(directory, &p256, "alice.test").await;
    assert_eq!(judge(&token(plc.as_str(), &p256)).await, Ok(plc.clone().into()));
    assert_eq!(judge(&token(plc.as_str(), &key(1))).await, Err(TokenError::Refused(Refusal::Signature)));

    let web = world.document("web.test", &key(9), "alice.test");
    assert!(judge(&token(web.as_str(), &key(9))).await.is_ok());
    world.document("web.test", &key(8), "alice.test");
    assert!(judge(&token(web.as_str(), &key(8))).await.is_ok(), "the key was changed a moment ago");
    assert_eq!(judge(&token(web.as_str(), &key(9))).await, Err(TokenError::Refused(Refusal::Signature)));
    let labeler = format!("{web}#atproto_labeler");
    assert!(matches!(judge(&token(&labeler, &key(8))).await, Err(TokenError::NoKey(_))));
    let nobody = judge(&token("did:web:other.test", &key(8))).await;
    assert!(matches!(nobody, Err(TokenError::Issuer(ResolveError::DidNotFound(_)))));
}

#[tokio::test]
async fn silence_is_no_answer() {
    let bench = bench(CALM).await;
    let Bench { world, resolver, .. } = &bench;
    world.change(|state| state.silent = true);
    let alice = handle("alice.test");
    assert!(matches!(resolver.handle(&alice).await, Err(ResolveError::Unreachable { .. })));
}
