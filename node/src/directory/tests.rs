//! Both directories as callers meet them, the outside one being another node's own, over HTTP.

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::ids::Handle;
use angel_protocol::plc::{PlcData, PlcStatement};
use angel_storage::Store;
use angel_storage::plc as rows;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock;
use crate::data_dir::DataDir;
use crate::http::plc_routes;
use crate::identities::Identities;
use crate::ledger::alone::Alone;

fn key(n: u8) -> SigningKey {
    Secp256k1Key::from_bytes(&[n; 32]).expect("a scalar").into()
}

fn handle(text: &str) -> Handle {
    text.parse().expect("a handle")
}

fn identities(directory: Directory) -> Identities {
    Identities::new(directory, key(2), None, "https://pds.example".to_owned())
}

struct Bench {
    own: Directory,
    url: Url,
    store: Store,
    alone: Alone,
    _dir: TempDir,
}

/// A ledger with its directory, served as nodes serve it.
async fn bench() -> Bench {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = DataDir::open(dir.path()).expect("made");
    let store = Store::in_memory().expect("starts");
    let alone = Alone::start(&store, data.layout()).await;
    let own = Directory::of_ledger(alone.ledger.clone()).expect("opened");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/plc", listener.local_addr().expect("bound")).parse().expect("a URL");
    let routes = plc_routes(own.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Bench { own, url, store, alone, _dir: dir }
}

/// Gives an identity another handle.
async fn rename(identities: &Identities, did: &Did, name: &str) -> Result<(), DirectoryError> {
    match identities.handle_change(did, &handle(name)).await? {
        Some(operation) => identities.directory().submit(did, operation).await,
        None => Ok(()),
    }
}

#[tokio::test]
async fn an_identity_lives_its_life_here_and_elsewhere() {
    let Bench { own, url, alone: _alone, store: _store, _dir } = bench().await;
    for directory in [own.clone(), Directory::outside(url).expect("starts")] {
        let identities = identities(directory.clone());
        let name = if directory.is_own() { "here.example" } else { "there.example" };
        let genesis = identities.genesis(key(9).did(), &handle(name), Some(key(1).did()));
        let did = genesis.creates().expect("a first operation");
        let stranger = directory.document(&did).await;
        assert!(matches!(stranger, Err(DirectoryError::NotRegistered(_))), "{stranger:?}");
        directory.would_take(&did, &genesis).await.expect("nothing speaks against it");
        directory.submit(&did, genesis.clone()).await.expect("taken");
        let told = directory.document(&did).await.expect("registered");
        assert_eq!(told.document.claimed_handle(), Some(handle(name)));
        assert_eq!(told.json["id"], did.as_str());

        rename(&identities, &did, "new.example").await.expect("the node's key may");
        let log = directory.log(&did).await.expect("registered");
        assert_eq!(log.entries().len(), 2);
        let known = directory.known_head_blocking(&did).expect("registered");
        assert_eq!(known, directory.is_own().then_some(log.head().cid), "nobody else is asked for it");
        let data = log.data().expect("alive");
        assert_eq!(data.also_known_as, ["at://new.example"]);
        assert_eq!(data.rotation_keys, [key(1).did(), key(2).did()]);

        let again = directory.submit(&did, genesis.clone()).await.expect_err("only once");
        assert!(again.is_refusal(), "{again:?}");
        let stolen = PlcStatement::State { data: data.clone(), prev: Some(log.head().cid) }.sign(&key(7));
        assert!(directory.submit(&did, stolen).await.expect_err("not their key").is_refusal());
        let end = PlcStatement::Tombstone { prev: log.head().cid }.sign(&key(1));
        directory.submit(&did, end).await.expect("the owner may end it");
        assert!(matches!(directory.document(&did).await, Err(DirectoryError::Tombstoned(_))));
        assert!(matches!(rename(&identities, &did, "back.example").await, Err(DirectoryError::Tombstoned(_))));
    }
    let exported = own.export(After::Time(Timestamp::EPOCH), 10).await.expect("kept here");
    assert_eq!(exported.len(), 6);
}

#[tokio::test]
async fn two_changes_at_once_follow_one_another_or_are_refused() {
    let Bench { own, alone: _alone, store: _store, _dir, .. } = bench().await;
    let identities = identities(own.clone());
    let genesis = identities.genesis(key(9).did(), &handle("a.example"), None);
    let did = genesis.creates().expect("a first operation");
    own.submit(&did, genesis).await.expect("taken");
    let names: Vec<_> = (0..8).map(|n| format!("n{n}.example")).collect();
    let outcomes = futures::future::join_all(names.iter().map(|name| rename(&identities, &did, name))).await;
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(DirectoryError::is_refusal)));
    let log = own.log(&did).await.expect("registered");
    assert_eq!(log.canonical().count(), 1 + taken, "what was answered with success stands");
    assert!(taken >= 1);
}

#[tokio::test]
async fn answers_over_http_are_those_of_the_public_directory() {
    let Bench { own, url, alone: _alone, store: _store, _dir } = bench().await;
    let identities = identities(own.clone());
    let genesis = identities.genesis(key(9).did(), &handle("a.example"), None);
    let did = genesis.creates().expect("a first operation");
    let client = reqwest::Client::new();
    let origin = url.origin().ascii_serialization();
    let get = async |path: &str| {
        let response = client.get(format!("{origin}{path}")).send().await.expect("answered");
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    assert_eq!(get(&format!("/{did}")).await.0, 404);
    let other = identities.genesis(key(8).did(), &handle("b.example"), None);
    for (body, status) in [
        (serde_json::json!({"type": "plc_operation"}), 400),
        (other.to_json(), 400),
        (genesis.to_json(), 200),
        (genesis.to_json(), 400),
    ] {
        let response = client.post(format!("{origin}/{did}")).json(&body).send().await.expect("answered");
        assert_eq!(response.status(), status, "{body}");
    }
    let encoded = did.as_str().replace(':', "%3A");
    for path in [format!("/{did}"), format!("/{encoded}"), format!("/plc/{did}"), format!("/plc/{encoded}")] {
        let (status, document) = get(&path).await;
        assert_eq!((status, &document["id"]), (200, &Value::from(did.as_str())), "{path}");
        assert_eq!(get(&format!("{path}/data")).await.1["did"], did.as_str());
        assert_eq!(get(&format!("{path}/log")).await.1, serde_json::json!([genesis.to_json()]));
        assert_eq!(get(&format!("{path}/log/last")).await.1, genesis.to_json());
        assert_eq!(get(&format!("{path}/log/audit")).await.1[0]["cid"], genesis.cid().to_string());
    }
    assert_eq!(get("/plc/did:web:a.example").await.0, 404);
    let lines = async |query: &str| {
        let response = client.get(format!("{origin}/export{query}")).send().await.expect("answered");
        assert_eq!(response.headers()["content-type"], "application/jsonlines");
        let text = response.text().await.expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    own.submit(&other.creates().expect("a first operation"), other).await.expect("taken");
    let all = lines("?count=1000").await;
    assert_eq!(all.iter().map(|line| &line["did"]).filter(|first| **first == did.as_str()).count(), 1);
    assert_eq!(all.len(), 2);
    let created = all[0]["createdAt"].as_str().expect("a time");
    assert_eq!(lines(&format!("?after={created}")).await, all[1..]);
    let numbered = lines("?after=0&count=1").await;
    let number = numbered[0]["seq"].as_u64().expect("a number");
    assert_eq!(lines(&format!("?after={number}")).await[0]["did"], all[1]["did"]);
    for broken in ["?count=0", "?count=1001", "?count=x", "?after=yesterday"] {
        assert_eq!(get(&format!("/export{broken}")).await.0, 400, "{broken}");
    }
}

/// Waits until a log is told from the ledger.
async fn carried(own: &Directory, log: &PlcLog) {
    let carried = async {
        loop {
            let told = own.log(log.did()).await.expect("told all the time");
            assert_eq!(told.head().cid, log.head().cid, "never less than was known");
            if told.head().created_at != log.head().created_at {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), carried).await.expect("carried over");
    let entries = |log: &PlcLog| log.entries().iter().map(|it| (it.cid, it.nullified)).collect::<Vec<_>>();
    assert_eq!(entries(&told), entries(log));
}

#[tokio::test]
async fn identities_from_before_the_ledger_are_carried_over_with_what_was_taken_back() {
    let Bench { own: _own, url: _url, store, alone, _dir } = bench().await;
    let state = |name: &str, prev: Option<&PlcOperation>, signer: u8| {
        let rotation = vec![key(1).did(), key(2).did()];
        let data = PlcData::account(rotation, key(9).did(), &handle(name), "https://pds.example".to_owned());
        PlcStatement::State { data, prev: prev.map(PlcOperation::cid) }.sign(&key(signer))
    };
    let now = clock::now();
    let first = state("a.example", None, 2);
    let mut log = PlcLog::create(first.clone(), now - Duration::from_secs(100)).expect("valid");
    log.append(state("thief.example", Some(&first), 2), now - Duration::from_secs(90)).expect("the host may");
    log.append(state("mine.example", Some(&first), 1), now - Duration::from_secs(80)).expect("the owner may");
    let other = PlcLog::create(state("b.example", None, 2), now - Duration::from_secs(70)).expect("valid");
    for log in [&log, &other] {
        let mut batch = Batch::new();
        rows::stage_log(&mut batch, log).expect("room");
        store.writer().commit(batch).expect("written");
    }
    // As a node that starts with them.
    let own = Directory::of_ledger(alone.ledger.clone()).expect("opened");
    assert_eq!(own.log(log.did()).await.expect("told"), log);
    assert_eq!(own.document(other.did()).await.expect("told").document.id, *other.did());
    let next = state("next.example", Some(&log.head().operation), 1);
    assert!(matches!(own.submit(log.did(), next.clone()).await, Err(DirectoryError::Busy)), "not before it is carried");
    let stop = CancellationToken::new();
    let carrying = tokio::spawn(own.clone().run(stop.clone()));
    carried(&own, &log).await;
    carried(&own, &other).await;
    assert_eq!(own.export(After::Number(0), 10).await.expect("kept here").len(), 4);
    stop.cancel();
    carrying.await.expect("no panic").expect("stopped well");
    own.submit(log.did(), next).await.expect("the owner goes on");
    assert_eq!(rows::first(store.reader(), None).expect("read"), None, "nothing is left of them");
}

#[tokio::test]
async fn an_outside_directory_that_lies_is_not_believed() {
    let owner =
        PlcData::account(vec![key(1).did()], key(9).did(), &handle("a.example"), "https://a.example".to_owned());
    let genesis = PlcStatement::State { data: owner, prev: None }.sign(&key(1));
    let did = genesis.creates().expect("a first operation");
    let log = PlcLog::create(genesis.clone(), Timestamp::EPOCH).expect("valid");
    let mut told = log.to_audit_json();
    told[0]["operation"]["alsoKnownAs"][0] = "at://thief.example".into();
    let document = log.data().expect("alive").document("did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid"));
    let routes = axum::Router::new()
        .route("/{did}/log/audit", axum::routing::get(|| async { axum::Json(told) }))
        .route("/{did}", axum::routing::get(|| async move { axum::Json(document.to_json()) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url: Url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let directory = Directory::outside(url).expect("starts");
    assert!(matches!(directory.log(&did).await, Err(DirectoryError::Outside { .. })));
    assert!(matches!(directory.document(&did).await, Err(DirectoryError::Outside { .. })));
}
