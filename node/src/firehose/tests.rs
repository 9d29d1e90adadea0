//! The stream as followers meet it: WebSockets over loopback, on a real store.

use std::net::SocketAddr;

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::data::{Block, Codec, cbor, record_from_json};
use angel_protocol::firehose::{Frame, HostingStatus, Message};
use angel_protocol::ids::{Did, TidClock};
use angel_protocol::repo::{MemoryBlocks, Repository, Write, verify_commit};
use angel_storage::cursors::{self, CursorRow};
use angel_storage::engine::EngineKind;
use angel_storage::{AccountId, Batch, Options, Store};
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::clock;
use crate::config::HttpConfig;
use crate::events::Events;
use crate::http;
use crate::jetstream::{Filter, Lines, REWIND, Wanted};
use crate::tasks::TaskResult;

const PATIENCE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_hours(1);
const ADA: AccountId = AccountId(1);

fn did() -> Did {
    "did:web:ada.example".parse().expect("valid")
}

/// A store, its stream, and a server that lets anybody follow.
struct Host {
    store: Store,
    firehose: Firehose,
    addr: SocketAddr,
    stop: CancellationToken,
    feeding: JoinHandle<TaskResult>,
}

#[derive(serde::Deserialize)]
struct Asked {
    cursor: Option<u64>,
    lines: Option<bool>,
    hello: Option<bool>,
}

impl Host {
    async fn start() -> Self {
        Self::on(Store::in_memory().expect("starts")).await
    }

    async fn on(store: Store) -> Self {
        let config = FirehoseConfig { backfill: WINDOW, ..FirehoseConfig::default() };
        let firehose = Firehose::open(store.reader().clone(), store.writer().clone(), &config).expect("opens");
        let stop = CancellationToken::new();
        let feeding = tokio::spawn(feed::run(firehose.clone(), stop.clone()));
        let frames = |State(firehose): State<Firehose>, Query(asked): Query<Asked>, upgrade: Upgrade| async move {
            let place = firehose.place([127, 0, 0, 1].into()).expect("room");
            if asked.lines == Some(true) {
                let begin = match asked.cursor {
                    Some(cursor) => {
                        let since = Timestamp::from_millis(cursor / 1000) - REWIND;
                        Begin::At(firehose.begin_at(since, clock::now()).await.expect("reads"))
                    }
                    None => firehose.begin(None, clock::now()).await.expect("reads"),
                };
                let hello = asked.hello == Some(true);
                let lines = Lines::new(Filter::default(), hello, firehose.reads_json());
                return upgrade.follow(firehose, begin, lines, place, 1 << 20);
            }
            let begin = firehose.begin(asked.cursor, clock::now()).await.expect("reads");
            upgrade.follow(firehose, begin, Cbor, place, 1 << 10)
        };
        let router = Router::new().route("/", get(frames)).with_state(firehose.clone());
        let http = HttpConfig { listen: ([127, 0, 0, 1], 0).into(), ..HttpConfig::default() };
        let bound = http::server::bind(&http).await.expect("a free port");
        let addr = bound.addr();
        let events = Events::new(&mut prometheus_client::registry::Registry::default());
        tokio::spawn(bound.serve(router, events, CancellationToken::new()));
        Self { store, firehose, addr, stop, feeding }
    }

    async fn follow(&self, query: &str) -> Follower {
        let (socket, _) = connect_async(format!("ws://{}/?{query}", self.addr)).await.expect("connects");
        Follower(socket)
    }

    /// Waits until so many follow, so that what happens next reaches them.
    async fn until_followers(&self, count: usize) {
        timeout(PATIENCE, async {
            while self.firehose.0.places.taken() != count {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("they come and go");
    }

    /// Something small happens to an account, `at` that time.
    fn happens(&self, at: Timestamp, count: usize) -> u64 {
        let mut last = 0;
        for _ in 0..count {
            let mut batch = Batch::new();
            let event = firehose::account(ADA, &did(), HostingStatus::Active, at).expect("small");
            batch.append_event(event).expect("fits");
            last = self.store.writer().commit(batch).expect("commits").last_sequence.expect("has an event");
        }
        last
    }
}

struct Follower(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Follower {
    async fn message(&mut self) -> Sent {
        timeout(PATIENCE, self.0.next()).await.expect("something comes").expect("open").expect("in order")
    }

    async fn frame(&mut self) -> Frame {
        loop {
            match self.message().await {
                Sent::Binary(bytes) => return Frame::decode(&bytes).expect("a frame"),
                Sent::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn sequences(&mut self, count: usize) -> Vec<u64> {
        let mut sequences = vec![];
        while sequences.len() < count {
            match self.frame().await {
                Frame::Message { sequence, .. } => sequences.push(sequence),
                other => panic!("{other:?}"),
            }
        }
        sequences
    }

    async fn line(&mut self) -> Value {
        match self.message().await {
            Sent::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> CloseFrame {
        match self.message().await {
            Sent::Close(frame) => frame.expect("a reason"),
            other => panic!("{other:?}"),
        }
    }
}

/// Commits of one account, written to the log as the write path does.
struct Author {
    key: SigningKey,
    clock: TidClock,
    blocks: MemoryBlocks,
    repository: Repository,
}

impl Author {
    fn new() -> Self {
        let key: SigningKey = Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into();
        let mut clock = TidClock::new(1);
        let first = Repository::create(did(), clock.next(clock::now()).expect("a TID"), &key);
        Self { key, clock, blocks: first.blocks().collect(), repository: first.repository }
    }

    fn write(&mut self, store: &Store, writes: Vec<Write>) {
        self.write_by(store.writer(), writes);
    }

    fn write_by(&mut self, writer: &Writer, writes: Vec<Write>) {
        let rev = self.clock.next(clock::now()).expect("a TID");
        let commit = self.repository.write(&self.blocks, writes, rev, &self.key).expect("commits");
        self.blocks.extend(commit.blocks());
        let mut batch = Batch::new();
        batch.append_event(firehose::commit(ADA, &commit, clock::now()).expect("fits")).expect("fits");
        writer.commit(batch).expect("commits");
        self.repository = commit.repository;
    }
}

fn record(text: &str) -> Block {
    let value = record_from_json(&json!({"$type": "com.example.note", "text": text})).expect("valid");
    Block::new(Codec::DagCbor, cbor::encode(&value))
}

fn create(path: &str, text: &str) -> Write {
    Write::Create { path: path.parse().expect("valid"), record: record(text) }
}

#[tokio::test]
async fn what_happens_reaches_everybody_in_order_and_verifies() {
    let host = Host::start().await;
    host.happens(clock::now(), 3);
    let (mut first, mut second) = (host.follow("").await, host.follow("").await);
    host.until_followers(2).await;
    let mut author = Author::new();
    for n in 0..20 {
        author.write(&host.store, vec![create(&format!("com.example.note/{n}"), "hello")]);
    }
    let mut before = None;
    for expected in 4..24 {
        let Frame::Message { sequence, message: Message::Commit(body), .. } = first.frame().await else {
            panic!("a commit was made")
        };
        assert_eq!(sequence, expected, "without a cursor it begins with what happens next");
        let verified = verify_commit(body.message(), author.key.public()).expect("verifies");
        assert!(before.is_none_or(|before| body.since == Some(before)));
        before = Some(verified.commit().rev());
    }
    assert_eq!(second.sequences(20).await, (4..24).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_resumes_right_behind_itself_without_gap_or_repetition() {
    let host = Host::start().await;
    let count = PAGE_EVENTS * 5;
    host.happens(clock::now(), count);
    // From the log, over the seam, into what happens now.
    let mut resumed = host.follow("cursor=10").await;
    host.until_followers(1).await;
    let last = host.happens(clock::now(), count);
    assert_eq!(resumed.sequences(usize::try_from(last).expect("small") - 10).await, (11..=last).collect::<Vec<_>>());
    let mut late = host.follow(&format!("cursor={last}")).await;
    host.until_followers(2).await;
    let next = host.happens(clock::now(), 1);
    assert_eq!(late.sequences(1).await, [next]);
}

#[tokio::test]
async fn cursors_ahead_and_outdated_ones_are_told() {
    let host = Host::start().await;
    let now = clock::now();
    host.happens(now - WINDOW * 2, 5);
    host.happens(now, 5);
    let mut future = host.follow("cursor=1000000").await;
    let Frame::Error { name, .. } = future.frame().await else { panic!("refused") };
    assert_eq!(name, "FutureCursor");
    future.closed().await;

    let mut outdated = host.follow("cursor=0").await;
    let Frame::Info { name, .. } = outdated.frame().await else { panic!("told first") };
    assert_eq!(name, "OutdatedCursor");
    assert_eq!(outdated.sequences(5).await, [6, 7, 8, 9, 10], "then what is kept");
}

#[tokio::test]
async fn old_events_go_unless_somebody_needs_them() {
    let host = Host::start().await;
    let now = clock::now();
    host.happens(now - WINDOW * 2, 450);
    host.happens(now, 5);
    let mut batch = Batch::new();
    cursors::set(&mut batch, "standby", "did:key:x", CursorRow { sequence: 120, at: now }).expect("fits");
    host.store.writer().commit(batch).expect("commits");
    let trim = || while host.firehose.trim(now).expect("trims") {};
    let oldest = || events::oldest(host.store.reader()).expect("reads");
    trim();
    assert_eq!(oldest(), Some(121));
    let mut batch = Batch::new();
    cursors::remove(&mut batch, "standby", "did:key:x").expect("fits");
    host.store.writer().commit(batch).expect("commits");
    trim();
    assert_eq!(oldest(), Some(451));
    assert_eq!(trim::trimmed(host.store.reader()).expect("reads"), 450);
    let mut outdated = host.follow("cursor=449").await;
    assert!(matches!(outdated.frame().await, Frame::Info { .. }), "it missed one");
    assert_eq!(outdated.sequences(5).await.first(), Some(&451));
    assert_eq!(host.follow("cursor=450").await.sequences(5).await.first(), Some(&451));
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_sent_away_and_holds_up_nobody() {
    let host = Host::start().await;
    let (mut stuck, mut quick) = (host.follow("").await, host.follow("").await);
    host.until_followers(2).await;
    let large = "x".repeat(900_000);
    let mut author = Author::new();
    let count = 60;
    for n in 0..count {
        author.write(&host.store, vec![create(&format!("com.example.note/{n}"), &large)]);
        quick.sequences(1).await;
    }
    // What was on its way still comes; then it hears why.
    let mut came = 0;
    let name = loop {
        match stuck.frame().await {
            Frame::Message { .. } => came += 1,
            Frame::Error { name, .. } => break name,
            Frame::Info { .. } => panic!("nothing to tell"),
        }
    };
    assert_eq!(name, "ConsumerTooSlow");
    assert!(came < count, "{came} of {count} came");
    stuck.closed().await;
    drop(stuck);
    host.until_followers(1).await;
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copies");
        }
    }
}

/// Behind an unclean stop the numbers go on far behind the last event: a follower that had that one has everything.
#[tokio::test]
async fn whoever_comes_back_behind_an_unclean_stop_is_up_to_date() {
    let (before, after) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
    let open = |dir: &std::path::Path| Store::open(dir, Options::new(EngineKind::Sled, "test")).expect("opens");
    let store = open(before.path());
    let mut batch = Batch::new();
    let event = firehose::account(ADA, &did(), HostingStatus::Active, clock::now()).expect("small");
    batch.append_event(event).expect("fits");
    let last = store.writer().commit(batch).expect("commits").last_sequence.expect("has an event");
    // What is durable, as a machine that stops here would have it.
    copy_tree(before.path(), after.path());
    let host = Host::on(open(after.path())).await;
    assert!(host.store.reader().durable_sequence() > last, "numbers were left unused");
    let mut follower = host.follow(&format!("cursor={last}")).await;
    follower.0.send(Sent::Ping("there?".into())).await.expect("sends");
    let answer = follower.message().await;
    assert!(matches!(answer, Sent::Pong(_)), "nothing has happened, and nothing is wrong: {answer:?}");
    let next = host.happens(clock::now(), 1);
    assert_eq!(follower.sequences(1).await, [next]);
}

/// Followers come at any time and cursor while much happens; some read at once, some only when all of it has happened, and
/// ask for signs of life meanwhile. Their sockets take a part of it, so they go out of the round and back in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_comes_whenever_and_reads_however_hears_everything_once_and_in_order() {
    const EVENTS: u64 = 160;
    let host = Host::start().await;
    let (mut quick, mut late) = (vec![], vec![]);
    for _ in 0..6 {
        quick.push((0, host.follow("").await));
        late.push((0, host.follow("").await));
    }
    host.until_followers(12).await;
    let writer = host.store.writer().clone();
    let (progress, mut written) = watch::channel(0);
    let writing = tokio::task::spawn_blocking(move || {
        let mut author = Author::new();
        for n in 1..=EVENTS {
            author.write_by(&writer, vec![create(&format!("com.example.note/{n}"), &"x".repeat(100_000))]);
            progress.send_replace(n);
        }
    });
    for n in 1..=20 {
        written.wait_for(|written| *written >= n * 7).await.expect("it goes on");
        let cursor = n * 5;
        let follower = host.follow(&format!("cursor={cursor}")).await;
        if n % 2 == 0 { &mut quick } else { &mut late }.push((cursor, follower));
    }
    let count = |cursor| usize::try_from(EVENTS - cursor).expect("small");
    let reading = quick.into_iter().map(|(cursor, mut follower)| {
        tokio::spawn(async move { (cursor, follower.sequences(count(cursor)).await, follower) })
    });
    let reading: Vec<_> = reading.collect();
    writing.await.expect("written");
    for (_, follower) in &mut late {
        follower.0.send(Sent::Ping(b"there?"[..].into())).await.expect("sent");
    }
    let mut all = vec![];
    for (cursor, mut follower) in late {
        all.push((cursor, follower.sequences(count(cursor)).await, follower));
    }
    for read in reading {
        all.push(read.await.expect("read"));
    }
    for (cursor, sequences, _) in &all {
        assert_eq!(*sequences, (cursor + 1..=EVENTS).collect::<Vec<_>>(), "behind {cursor}");
    }
    // Everybody is back in the round.
    let last = host.happens(clock::now(), 1);
    for (_, _, follower) in &mut all {
        assert_eq!(follower.sequences(1).await, [last]);
    }
}

#[tokio::test]
async fn when_the_node_stops_everybody_is_told() {
    let host = Host::start().await;
    let mut followers = vec![host.follow("").await, host.follow("cursor=0").await];
    host.until_followers(2).await;
    host.stop.cancel();
    for follower in &mut followers {
        assert_eq!(u16::from(follower.closed().await.code), 1001);
    }
    drop(followers);
    timeout(PATIENCE, host.feeding).await.expect("ends").expect("no panic").expect("in order");
    assert_eq!(host.firehose.0.places.taken(), 0);
}

#[tokio::test]
async fn lines_say_what_became_of_each_record() {
    let host = Host::start().await;
    let mut live = host.follow("lines=true").await;
    host.until_followers(1).await;
    let mut author = Author::new();
    author.write(&host.store, vec![create("com.example.note/a", "one"), create("org.example.other/b", "two")]);
    let path = "com.example.note/a".parse().expect("valid");
    author.write(&host.store, vec![Write::Update { path, record: record("three") }]);
    let path = "com.example.note/a".parse().expect("valid");
    author.write(&host.store, vec![Write::Delete { path }]);
    host.happens(clock::now(), 1);

    let mut lines = vec![];
    for _ in 0..5 {
        lines.push(live.line().await);
    }
    let told: Vec<_> = lines[..4]
        .iter()
        .map(|line| (line["commit"]["operation"].as_str(), line["commit"]["record"]["text"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("create"), Some("one")),
            (Some("create"), Some("two")),
            (Some("update"), Some("three")),
            (Some("delete"), None)
        ]
    );
    for line in &lines {
        assert_eq!(line["did"], "did:web:ada.example");
    }
    let created = &lines[0];
    assert_eq!(
        (&created["kind"], &created["commit"]["collection"], &created["commit"]["rkey"]),
        (&json!("commit"), &json!("com.example.note"), &json!("a"))
    );
    assert_eq!(created["commit"]["cid"], record("one").cid().to_string());
    assert!(lines[3]["commit"].get("cid").is_none() && lines[3]["commit"].get("record").is_none());
    assert_eq!(lines[4]["account"]["active"], true);
    assert_eq!(lines[4]["account"]["seq"], 4);
    let cursor = lines[1]["time_us"].as_u64().expect("a number");
    let mut again = host.follow(&format!("lines=true&cursor={cursor}")).await;
    let mut missed = lines[1..].iter();
    let mut next = missed.next();
    while let Some(expected) = next {
        if again.line().await == *expected {
            next = missed.next();
        }
    }
}

#[tokio::test]
async fn a_follower_of_lines_may_say_first_what_it_wants_and_change_its_mind() {
    let host = Host::start().await;
    let mut follower = host.follow("lines=true&hello=true").await;
    host.until_followers(1).await;
    let mut author = Author::new();
    let update = |collections: &[&str]| {
        let update = json!({"type": "options_update", "payload": {"wantedCollections": collections, "wantedDids": [], "maxMessageSizeBytes": 0}});
        Sent::Text(update.to_string().into())
    };
    author.write(&host.store, vec![create("com.example.note/a", "one"), create("org.example.other/b", "two")]);
    follower.0.send(update(&["org.example.*"])).await.expect("sent");
    assert_eq!(follower.line().await["commit"]["rkey"], "b", "what happened before the hello, filtered");
    follower.0.send(update(&["com.example.note"])).await.expect("sent");
    // The answer to a ping says that what was sent before it was heard.
    follower.0.send(Sent::Ping(b"heard"[..].into())).await.expect("sent");
    assert!(matches!(follower.message().await, Sent::Pong(_)));
    author.write(&host.store, vec![create("com.example.note/c", "three"), create("org.example.other/d", "four")]);
    assert_eq!(follower.line().await["commit"]["rkey"], "c");
    follower.0.send(update(&["no collection"])).await.expect("sent");
    assert_eq!(u16::from(follower.closed().await.code), 1008);
    assert!(Filter::new(Wanted::default()).is_ok());
}

#[tokio::test]
async fn of_an_account_that_was_deleted_only_that_is_told() {
    let host = Host::start().await;
    let mut author = Author::new();
    author.write(&host.store, vec![create("com.example.note/1", "what was said")]);
    let other =
        |status| firehose::account(AccountId(2), &"did:web:bea.example".parse().expect("valid"), status, clock::now());
    let mut batch = Batch::new();
    batch.append_event(other(HostingStatus::Active).expect("small")).expect("fits");
    batch
        .append_event(firehose::account(ADA, &did(), HostingStatus::Deleted, clock::now()).expect("small"))
        .expect("fits");
    firehose::note_deleted(&mut batch, ADA, clock::now()).expect("fits");
    batch.append_event(other(HostingStatus::Deactivated).expect("small")).expect("fits");
    let last = host.store.writer().commit(batch).expect("commits").last_sequence.expect("has events");

    let told = host.follow("cursor=0").await.sequences(3).await;
    assert_eq!(told, [last - 2, last - 1, last]);

    // The next start knows it from the store, until nothing from before the deletion is told to anybody.
    let reader = host.store.reader();
    let log = events::after(reader, 0, 10).expect("reads").events;
    assert_eq!(log.len(), 4);
    let sequences = |gone: &Gone| gone.entries(&log).iter().map(|entry| entry.sequence).collect::<Vec<_>>();
    let gone = Gone::open(reader).expect("reads");
    assert_eq!(sequences(&gone), told);
    assert!(gone.forget(clock::now() - WINDOW).expect("fits").is_none());
    let batch = gone.forget(clock::now() + WINDOW).expect("fits").expect("it is old then");
    host.store.writer().commit(batch).expect("commits");
    assert_eq!(sequences(&Gone::open(reader).expect("reads")).len(), 4);
}
