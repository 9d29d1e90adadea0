//! Blobs, lists and the event stream of a whole node, over HTTP and WebSockets.

use std::time::Duration;

use angel_protocol::data::{Cid, Codec};
use angel_protocol::firehose::{Frame, HostingStatus, Message};
use angel_protocol::repo::verify_commit;
use angel_storage::{Options, Store, firehose};
use futures::StreamExt;
use reqwest::{Client, RequestBuilder, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as Sent;

use crate::accounts::tests::new_account;
use crate::accounts::{AccountError, Accounts, NewAccount};
use crate::clock;
use crate::config::{ByteSize, Config};
use crate::data_dir::DataDir;
use crate::identities::load_rotation_key;
use crate::keys::Identity;
use crate::node::{Node, NodeHandle};
use crate::passwords::Passwords;
use crate::repos::Repos;

const PATIENCE: Duration = Duration::from_secs(20);
const DID: &str = "did:plc:ada";
const PASSWORD: &str = "open sesame";

/// A node with an account that has an empty repository.
struct World {
    _dir: TempDir,
    node: NodeHandle,
    client: Client,
    url: String,
    token: String,
    key: angel_protocol::crypto::VerifyingKey,
}

/// Makes the account before the node starts: on disk, as signing up does.
async fn prepare(config: &Config, dir: &TempDir) -> angel_protocol::crypto::VerifyingKey {
    let hashed = Passwords::new().expect("starts").hash(PASSWORD).await.expect("hashes");
    let data = DataDir::open(dir.path()).expect("made");
    // A node that has a store and accounts has its keys.
    Identity::load_or_create(data.layout(), clock::now()).expect("made");
    load_rotation_key(data.layout(), None, true).expect("made");
    let options = Options::new(config.storage.engine, "a test");
    let store = Store::open(&data.layout().storage(), options).expect("made");
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    let accounts = Accounts::open(reader.clone(), writer.clone(), data.layout()).expect("opens");
    let repos = Repos::new(reader, writer, 1, data.layout().imports());
    let mut new: NewAccount = new_account(DID, "ada.test", None);
    new.row.password = Some(hashed);
    let key = new.signing_key.public();
    accounts
        .create_blocking(new, |id, key, batch| {
            let did = DID.parse().expect("valid");
            let commit = repos.stage_new(batch, id, &did, key).expect("fits");
            let active = firehose::account(id, &did, HostingStatus::Active, clock::now()).expect("small");
            batch.append_event(active).expect("fits");
            batch.append_event(firehose::commit(id, &commit, clock::now()).expect("small")).expect("fits");
            Ok::<_, AccountError>(())
        })
        .expect("made");
    drop((accounts, repos));
    store.close().expect("closes");
    key
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::on_loopback(dir.path());
        config.blobs.size_max = ByteSize::from_mib(2);
        let key = prepare(&config, &dir).await;
        let node = Node::start(config).await.expect("starts");
        let (client, url) = (Client::new(), node.facts().run_file().http_url);
        let login = json!({ "identifier": DID, "password": PASSWORD });
        let request = client.post(format!("{url}/xrpc/com.atproto.server.createSession")).json(&login);
        let answer: Value = request.send().await.expect("answered").json().await.expect("JSON");
        let token = answer["accessJwt"].as_str().expect("logged in").to_owned();
        Self { _dir: dir, node, client, url, token, key }
    }

    fn get(&self, method: &str) -> RequestBuilder {
        self.client.get(format!("{}/xrpc/{method}", self.url))
    }

    async fn post(&self, method: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}/xrpc/{method}", self.url)).bearer_auth(&self.token).json(body);
        let (status, answer) = answer(request).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn upload(&self, media_type: &str, bytes: Vec<u8>) -> (u16, Value) {
        let request = self.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", self.url));
        answer(request.bearer_auth(&self.token).header(header::CONTENT_TYPE, media_type).body(bytes)).await
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("answered");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_blob_is_served_while_a_record_names_it() {
    let world = World::new().await;
    let bytes = b"\x89PNG\r\n\x1a\n a picture".repeat(40_000);
    let cid = Cid::of(Codec::Raw, &bytes).to_string();
    let (status, uploaded) = world.upload("*/*", bytes.clone()).await;
    assert_eq!(status, 200, "{uploaded}");
    let blob = &uploaded["blob"];
    assert_eq!((&blob["ref"]["$link"], &blob["mimeType"]), (&json!(cid), &json!("image/png")));
    assert_eq!(blob["size"], bytes.len());

    let get_blob = || world.get(&format!("com.atproto.sync.getBlob?did={DID}&cid={cid}"));
    let (status, refused) = answer(get_blob()).await;
    assert_eq!((status, &refused["error"]), (400, &json!("BlobNotFound")), "no record names it yet");
    let record = json!({ "repo": DID, "collection": "com.example.note", "rkey": "a", "record": {
        "$type": "com.example.note", "picture": blob,
    }});
    world.post("com.atproto.repo.createRecord", &record).await;
    let served = get_blob().send().await.expect("answered");
    assert_eq!(served.status(), 200);
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", &bytes.len().to_string()),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("content-disposition", &format!("attachment; filename=\"{cid}\"")),
    ] {
        assert_eq!(served.headers()[name], value, "{name}");
    }
    assert_eq!(served.headers()["accept-ranges"], "bytes");
    let tag = served.headers()["etag"].clone();
    assert_eq!(served.bytes().await.expect("whole"), bytes);
    // Ranges of a blob that is read piece by piece.
    let last = bytes.len() - 1;
    for (range, first, end) in [
        ("bytes=0-9".to_owned(), 0, 10),
        (format!("bytes=300000-{}", last + 5), 300_000, last + 1),
        ("bytes=5-600000".to_owned(), 5, 600_001),
        ("bytes=-7".to_owned(), last - 6, last + 1),
    ] {
        let part = &bytes[first..end];
        let served =
            get_blob().header(header::RANGE, &range).header(header::IF_RANGE, &tag).send().await.expect("sent");
        assert_eq!((served.status().as_u16(), served.content_length()), (206, Some(part.len() as u64)), "{range}");
        let told = format!("bytes {first}-{}/{}", first + part.len() - 1, bytes.len());
        assert_eq!(served.headers()["content-range"], told.as_str());
        assert_eq!(served.headers()["content-security-policy"], "default-src 'none'; sandbox");
        assert_eq!(served.bytes().await.expect("whole"), part, "{range}");
    }
    let beyond = get_blob().header(header::RANGE, format!("bytes={}-", bytes.len())).send().await.expect("sent");
    assert_eq!(beyond.status().as_u16(), 416);
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", bytes.len()).as_str());
    let known = get_blob().header(header::IF_NONE_MATCH, &tag).send().await.expect("sent");
    assert_eq!((known.status().as_u16(), &known.headers()["etag"]), (304, &tag));
    assert!(known.bytes().await.expect("an end").is_empty());
    let other = get_blob().header(header::RANGE, "bytes=0-9").header(header::IF_RANGE, "\"other\"").send().await;
    assert_eq!(other.expect("sent").status().as_u16(), 200, "of another version the whole is sent");
    let listed = async || answer(world.get(&format!("com.atproto.sync.listBlobs?did={DID}"))).await.1;
    assert_eq!(listed().await["cids"], json!([cid]));

    let gone = json!({ "repo": DID, "collection": "com.example.note", "rkey": "a" });
    world.post("com.atproto.repo.deleteRecord", &gone).await;
    assert_eq!(listed().await["cids"], json!([]));
    assert_eq!(answer(get_blob()).await.0, 400);

    let (status, refused) = world.upload("a/b", vec![0; (2 << 20) + 1]).await;
    assert_eq!((status, &refused["error"]), (413, &json!("PayloadTooLarge")));
    let (status, refused) = world.upload("nonsense", vec![0]).await;
    assert_eq!((status, &refused["error"]), (400, &json!("InvalidRequest")));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn whoever_moves_an_account_learns_what_is_here_of_it() {
    let world = World::new().await;
    let status = async || {
        let (status, answer) =
            answer(world.get("com.atproto.server.checkAccountStatus").bearer_auth(&world.token)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    assert_eq!(status().await["privateStateValues"], 0);
    let preferences = json!([
        { "$type": "app.bsky.actor.defs#adultContentPref", "enabled": false },
        { "$type": "app.bsky.actor.defs#threadViewPref", "sort": "oldest" },
    ]);
    let put = world.client.post(format!("{}/xrpc/app.bsky.actor.putPreferences", world.url)).bearer_auth(&world.token);
    let put = put.json(&json!({ "preferences": preferences })).send().await.expect("answered");
    assert_eq!(put.status().as_u16(), 200);
    let record = json!({ "repo": DID, "collection": "com.example.note", "record": { "$type": "com.example.note" } });
    let made = world.post("com.atproto.repo.createRecord", &record).await;
    let known = status().await;
    assert_eq!((&known["privateStateValues"], &known["indexedRecords"]), (&json!(2), &json!(1)));
    assert_eq!((&known["repoCommit"], &known["repoRev"]), (&made["commit"]["cid"], &made["commit"]["rev"]));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn repositories_are_listed_with_their_heads() {
    let world = World::new().await;
    let record = json!({ "repo": DID, "collection": "com.example.note", "record": { "$type": "com.example.note" } });
    let made = world.post("com.atproto.repo.createRecord", &record).await;
    let (head, rev) = (&made["commit"]["cid"], &made["commit"]["rev"]);
    let (_, listed) = answer(world.get("com.atproto.sync.listRepos?limit=10")).await;
    assert_eq!(listed, json!({ "repos": [{ "did": DID, "head": head, "rev": rev, "active": true }] }));
    let (_, paged) = answer(world.get("com.atproto.sync.listRepos?limit=1")).await;
    let cursor = paged["cursor"].as_str().expect("the page is full");
    let (_, rest) = answer(world.get(&format!("com.atproto.sync.listRepos?limit=1&cursor={cursor}"))).await;
    assert_eq!(rest, json!({ "repos": [] }));
    let by_collection =
        |collection: &str| world.get(&format!("com.atproto.sync.listReposByCollection?collection={collection}"));
    assert_eq!(answer(by_collection("com.example.note")).await.1, json!({ "repos": [{ "did": DID }] }));
    assert_eq!(answer(by_collection("com.example.other")).await.1, json!({ "repos": [] }));
    let status = |did: &str| world.get(&format!("com.atproto.sync.getRepoStatus?did={did}"));
    assert_eq!(answer(status(DID)).await.1, json!({ "did": DID, "active": true, "rev": rev }));
    let (code, refused) = answer(status("did:plc:nobody")).await;
    assert_eq!((code, &refused["error"]), (400, &json!("RepoNotFound")));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_write_is_in_the_stream_when_it_is_answered_and_a_stop_ends_the_stream() {
    let world = World::new().await;
    let stream = format!("{}/xrpc/com.atproto.sync.subscribeRepos", world.url.replacen("http", "ws", 1));
    let lines = format!("{}/subscribe?wantedCollections=com.example.*", world.url.replacen("http", "ws", 1));
    let refused = connect_async(format!("{stream}?cursor=yesterday")).await.expect_err("no number");
    assert!(refused.to_string().contains("400"), "{refused}");
    let refused = connect_async(format!("{lines}&compress=true")).await.expect_err("no compression");
    assert!(refused.to_string().contains("400"), "{refused}");

    let (mut frames, _) = connect_async(format!("{stream}?cursor=0")).await.expect("connects");
    let (mut lines, _) = connect_async(format!("{lines}&cursor=1")).await.expect("connects");
    let record = json!({ "repo": DID, "collection": "com.example.note", "rkey": "a", "record": {
        "$type": "com.example.note", "text": "hello",
    }});
    let made = world.post("com.atproto.repo.createRecord", &record).await;
    let mut commits = vec![];
    while commits.len() < 2 {
        let Sent::Binary(frame) = timeout(PATIENCE, frames.next()).await.expect("comes").expect("open").expect("frame")
        else {
            continue;
        };
        match Frame::decode(&frame).expect("a frame") {
            Frame::Message { message: Message::Commit(body), .. } => {
                commits.push(verify_commit(body.message(), world.key).expect("verifies").commit().clone());
            }
            Frame::Message { .. } => assert!(commits.is_empty(), "the account comes before its first commit"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made["commit"]["cid"], commits[1].cid().to_string());
    let mut told = vec![];
    while told.len() < 2 {
        let line = timeout(PATIENCE, lines.next()).await.expect("comes").expect("open").expect("a line");
        if let Sent::Text(text) = line {
            told.push(serde_json::from_str::<Value>(&text).expect("JSON"));
        }
    }
    assert_eq!((&told[0]["kind"], &told[1]["commit"]["record"]["text"]), (&json!("account"), &json!("hello")));

    let metrics = world.client.get(format!("{}/metrics", world.url)).send().await.expect("answered");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.lines().any(|line| line == "angel_firehose_followers 2"), "{metrics}");
    world.node.shutdown().await.expect("stops");
    let last = timeout(PATIENCE, frames.next()).await.expect("told").expect("open").expect("in order");
    assert!(matches!(last, Sent::Close(Some(close)) if u16::from(close.code) == 1001));
}
