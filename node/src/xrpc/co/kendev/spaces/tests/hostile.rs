//! A host that answers for a repository with what is none, or not its author's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use angel_protocol::data::{Block, Codec, Value as Data, cbor};
use angel_protocol::ids::Tid;
use angel_protocol::permissioned::SetHash;
use angel_protocol::permissioned::wire::car;
use angel_storage::Batch;
use angel_storage::permissioned::{self as rows, RepoKey};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::elsewhere::{path_of, private_space_of_a_node_and};
use super::*;

/// Makes of a repository what it is not.
type Wrong = fn(&mut Vec<u8>);

/// Ways to be wrong, each of which has to be found out.
const WRONGS: [(&str, Wrong); 8] = [
    ("nothing", Vec::clear),
    ("no CAR file", |file| *file = b"there is no such repository".to_vec()),
    ("cut within the index", |file| file.truncate(file.len() / 3)),
    ("cut within a record", |file| file.truncate(file.len() - 7)),
    ("cut between two records", |file| {
        let last = record_at_the_end(file);
        file.truncate(last);
    }),
    ("a record altered", |file| *file.last_mut().expect("not empty") ^= 1),
    ("an index altered", |file| {
        let path = file.windows(24).position(|part| part == b"co.kendev.spaces.message").expect("a path");
        file[path + 30] ^= 1;
    }),
    ("a record of somebody else", |file| {
        let foreign = Block::new(Codec::DagCbor, cbor::encode(&Data::String("foreign".to_owned())));
        let last = record_at_the_end(file);
        file.truncate(last);
        car::write_record(file, foreign.cid(), foreign.bytes());
    }),
];

/// Where the last record begins, which all have the same length here.
fn record_at_the_end(file: &[u8]) -> usize {
    // Length, then CID, then bytes: the length in two bytes, for records of this test have some hundred.
    let is_start = |at: &usize| {
        let length = usize::from(file[*at] & 0x7f) | usize::from(file[*at + 1]) << 7;
        file[*at] >= 0x80 && at + 2 + length == file.len() && file[at + 2..].starts_with(&[1, 0x71, 0x12, 0x20])
    };
    (0..file.len() - 40).rev().find(is_start).expect("a record")
}

/// In front of a node: passes on everything, but for the repositories that it makes wrong.
struct Front {
    /// The node behind it, once it runs.
    node: OnceLock<String>,
    client: Client,
    wrongs: Mutex<VecDeque<(&'static str, Wrong)>>,
    /// Whether it passes on repositories when there is no wrong left.
    is_honest: watch::Sender<bool>,
    /// How many repositories it has made wrong.
    given: watch::Sender<usize>,
}

async fn pass_on(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("small");
    let node = front.node.get().expect("it runs");
    let path = parts.uri.path_and_query().expect("a path").as_str();
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("accept-encoding");
    let sent = front.client.request(parts.method, format!("{node}{path}")).headers(headers).body(body).send();
    let answer = sent.await.expect("the node answers");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut bytes = answer.bytes().await.expect("whole").to_vec();
    if path.starts_with("/xrpc/com.atproto.space.getRepo?") {
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&bytes));
        let wrong = front.wrongs.lock().expect("no panic").pop_front();
        if let Some((_, wrong)) = wrong {
            wrong(&mut bytes);
            front.given.send_modify(|given| *given += 1);
        } else if !*front.is_honest.borrow() {
            return Response::builder().status(503).body(Body::empty()).expect("an answer");
        }
    }
    let mut response = Response::builder().status(status);
    if let Some(kind) = headers.get("content-type") {
        response = response.header("content-type", kind);
    }
    response.body(Body::from(Bytes::from(bytes))).expect("an answer")
}

#[tokio::test]
async fn a_repository_that_is_not_its_authors_leaves_no_trace() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let public = format!("http://{}", listener.local_addr().expect("an address"));
    let front = Arc::new(Front {
        node: OnceLock::new(),
        client: Client::new(),
        wrongs: Mutex::new(WRONGS.into()),
        is_honest: watch::Sender::new(false),
        given: watch::Sender::new(0),
    });
    let serving = tokio::spawn(
        axum::serve(listener, axum::Router::new().fallback(pass_on).with_state(Arc::clone(&front))).into_future(),
    );
    let by_front = public.parse().expect("a URL");
    // The node is asked for before it can be told of, by nobody but its own members.
    let (home, abroad, ada, bob, space) = private_space_of_a_node_and(|config| {
        let listen = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        config.http.listen = listen.expect("a free port");
        config.node.public_url = Some(by_front);
        config.identity.handle_domains = vec![".test".parse().expect("a domain")];
        front.node.set(format!("http://{}", config.http.listen)).expect("once");
    })
    .await;

    let list = format!("listMessages?space={}", enc(&space));
    let (mut paths, mut texts) = (vec![], vec![]);
    for text in ["the first", "the other", "the third"] {
        paths.push(path_of(&abroad.say(&bob, &space, text).await.expect("a member")));
        texts.push(text.to_owned());
    }
    home.said(Some(&ada), &list, 3).await;

    // Where the copy stands is not where the author was: the operations since lead nowhere, and all of it is asked for.
    let room = space.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room").parse().expect("a room");
    let key = RepoKey::of_copy(&room, &bob.did.parse().expect("a DID"));
    let lost = paths[1].clone();
    let home = home
        .restarted(
            |_| (),
            |store| {
                let mut repo = rows::repo(store.reader(), key).expect("reads").expect("it was copied");
                repo.head.hash = SetHash::default();
                let held = rows::record(store.reader(), key, &lost).expect("reads").expect("there");
                let mut batch = Batch::new();
                rows::put_repo(&mut batch, key, &repo).expect("fits");
                rows::delete_record(&mut batch, key, &lost, held.bytes.len()).expect("fits");
                store.writer().commit(batch).expect("commits");
            },
        )
        .await;
    let mut given = front.given.subscribe();
    for n in 1..=WRONGS.len() {
        let text = format!("no news {n}");
        paths.push(path_of(&abroad.say(&bob, &space, &text).await.expect("a member")));
        texts.push(text);
        timeout(Duration::from_secs(120), given.wait_for(|given| *given >= n))
            .await
            .expect("asked again")
            .expect("there");
    }

    // Nothing came of them: the copy stands where it stood, and has nothing that the author does not have.
    let home = home
        .restarted(
            |_| (),
            |store| {
                let repo = rows::repo(store.reader(), key).expect("reads").expect("it was copied");
                assert_eq!(repo.head.hash, SetHash::default(), "an answer was believed");
                assert!(repo.head.records == 3 && repo.head.rev > Tid::MIN);
                for path in copied(store, key) {
                    assert!(paths.contains(&path), "{path} is nothing that the author wrote");
                }
            },
        )
        .await;

    front.is_honest.send_replace(true);
    paths.push(path_of(&abroad.say(&bob, &space, "the truth").await.expect("a member")));
    texts.push("the truth".to_owned());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    let mut said = home.said(Some(&ada), &list, texts.len()).await;
    while said.len() < texts.len() && tokio::time::Instant::now() < deadline {
        said = home.said(Some(&ada), &list, texts.len()).await;
    }
    said.sort();
    texts.sort();
    assert_eq!(said, texts);
    let home = home
        .restarted(
            |_| (),
            |store| {
                paths.sort();
                assert_eq!(copied(store, key), paths);
                let repo = rows::repo(store.reader(), key).expect("reads").expect("it was copied");
                assert_eq!(repo.head.records, paths.len() as u64);
            },
        )
        .await;
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
    serving.abort();
}

/// The paths of a copy, in order.
pub(super) fn copied(store: &Store, key: RepoKey) -> Vec<String> {
    let mut scan = rows::records(store.reader(), key, "", None, rows::Order::Ascending);
    std::iter::from_fn(|| scan.next(100).expect("reads")).map(|(path, _)| path).collect()
}
