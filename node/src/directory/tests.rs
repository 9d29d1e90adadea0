//! Both directories as callers meet them, the outside one being another node's own, over HTTP.

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::ids::Handle;
use angel_protocol::plc::{PlcData, PlcStatement};
use angel_storage::Store;
use serde_json::Value;

use super::*;
use crate::http::plc_routes;
use crate::identities::Identities;

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
    store: Store,
    own: Directory,
    url: Url,
}

/// A store with its directory, served as nodes serve it.
async fn bench() -> Bench {
    let store = Store::in_memory().expect("starts");
    let own = Directory::embedded(store.reader().clone(), store.writer().clone()).expect("opened");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/plc", listener.local_addr().expect("bound")).parse().expect("a URL");
    let routes = plc_routes(own.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Bench { store, own, url }
}

#[tokio::test]
async fn an_identity_lives_its_life_here_and_elsewhere() {
    let Bench { store, own, url } = bench().await;
    for directory in [own.clone(), Directory::outside(url).expect("starts")] {
        let identities = identities(directory.clone());
        let name = if directory.is_embedded() { "here.example" } else { "there.example" };
        let genesis = identities.genesis(key(9).did(), &handle(name), Some(key(1).did()));
        let did = genesis.creates().expect("a first operation");
        let stranger = directory.document(&did).await;
        assert!(matches!(stranger, Err(DirectoryError::NotRegistered(_))), "{stranger:?}");
        let mut batch = Batch::new();
        let moment = directory.stage_genesis(&mut batch, &genesis).expect("valid");
        assert_eq!(moment.is_some(), directory.is_embedded());
        match moment {
            Some(_moment) => drop(store.writer().commit(batch).expect("written")),
            None => directory.submit(&did, genesis.clone()).await.expect("taken"),
        }
        let told = directory.document(&did).await.expect("registered");
        assert_eq!(told.document.claimed_handle(), Some(handle(name)));
        assert_eq!(told.json["id"], did.as_str());

        identities.change_handle(&did, &handle("new.example")).await.expect("the node's key may");
        let log = directory.log(&did).await.expect("registered");
        assert_eq!(log.entries().len(), 2);
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
        assert!(matches!(
            identities.change_handle(&did, &handle("back.example")).await,
            Err(DirectoryError::Tombstoned(_))
        ));
    }
    let exported = own.export(Timestamp::EPOCH, 10).await.expect("kept here");
    assert_eq!(exported.len(), 6);
}

#[tokio::test]
async fn two_changes_at_once_follow_one_another_or_are_refused() {
    let Bench { own, store: _store, .. } = bench().await;
    let identities = identities(own.clone());
    let genesis = identities.genesis(key(9).did(), &handle("a.example"), None);
    let did = genesis.creates().expect("a first operation");
    own.submit(&did, genesis).await.expect("taken");
    let names: Vec<_> = (0..8).map(|n| handle(&format!("n{n}.example"))).collect();
    let outcomes = futures::future::join_all(names.iter().map(|name| identities.change_handle(&did, name))).await;
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(DirectoryError::is_refusal)));
    let log = own.log(&did).await.expect("registered");
    assert_eq!(log.canonical().count(), 1 + taken, "what was answered with success stands");
    assert!(taken >= 1);
}

#[tokio::test]
async fn answers_over_http_are_those_of_the_public_directory() {
    let Bench { own, url, store: _store } = bench().await;
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
