//! What is private shows nowhere (promise P5): members write marked records, and then everything that is public is
//! searched for the marks: repositories and their files, both event streams, blobs, figures, errors, logs, and the gossip
//! as a peer hears it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use angel_node::network::{self, Acceptance, Event};
use angel_protocol::wire::gossip::Topic;
use futures::StreamExt as _;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_util::sync::CancellationToken;

use super::*;

/// How long is written, unless `ANGEL_PRIVATE_SECONDS` says otherwise.
const WRITE_FOR: Duration = Duration::from_secs(10);

/// Bytes that were seen somewhere public.
type Seen = Arc<Mutex<Vec<u8>>>;

/// Something that goes on collecting.
struct Collector {
    place: String,
    seen: Seen,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Everything that a stream of events says from now on.
    async fn stream(place: String, url: String) -> Result<Self> {
        let (mut socket, _) = connect_async(&url).await.with_context(|| place.clone())?;
        let seen = Seen::default();
        let collected = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                add(&collected, &message.into_data());
            }
        });
        Ok(Self { place, seen, task })
    }

    /// Everything that is gossiped in the network, as a peer hears it.
    async fn gossip(host: &Host) -> Result<(Self, CancellationToken)> {
        let facts = host.daemon.facts();
        let network = NETWORK.parse()?;
        let heartbeat = Topic::Heartbeat.name(&network);
        let mut config = network::Config::new(network, rand::random::<[u8; 32]>().into());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        config.bootstrap = vec![facts["p2p"][0].as_str().context("it listens")?.parse()?];
        config.topics = vec![network::Topic::new(heartbeat, 64 * 1024)];
        config.scope = network::Scope::Loopback;
        let (handle, mut events, task) = network::start(config)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let seen = Seen::default();
        let collected = Arc::clone(&seen);
        let running = tokio::spawn(async move {
            let running = tokio::spawn(task.run(stopped));
            while let Some(event) = events.recv().await {
                if let Event::Gossip(gossip) = event {
                    add(&collected, &gossip.bytes);
                    let _ = handle.report(gossip.message_id, gossip.propagation_source, Acceptance::Accept).await;
                }
            }
            drop(running.await);
        });
        Ok((Self { place: "gossip".to_owned(), seen, task: running }, stop))
    }

    fn holds(&self, text: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        find(&seen, text)
    }

    fn bytes(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn add(seen: &Seen, bytes: &[u8]) {
    seen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
}

fn find(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Everything public that a host answers, by where it was asked.
async fn everything_public(
    host: &Host,
    accounts: &[&Account],
    collections: &[&str],
    keys: &[(Did, String, String)],
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths = vec![
        "/metrics".to_owned(),
        "/".to_owned(),
        "/api/health".to_owned(),
        "/.well-known/did.json".to_owned(),
        "/export".to_owned(),
        "/xrpc/_health".to_owned(),
        "/xrpc/com.atproto.server.describeServer".to_owned(),
        "/xrpc/com.atproto.sync.listRepos".to_owned(),
        "/xrpc/co.kendev.network.listNodes".to_owned(),
        "/xrpc/co.kendev.network.getTopology".to_owned(),
    ];
    for collection in collections {
        paths.push(format!("/xrpc/com.atproto.sync.listReposByCollection?collection={collection}"));
    }
    for Account { did, .. } in accounts {
        paths.push(format!("/{did}"));
        paths.push(format!("/{did}/log/audit"));
        paths.push(format!("/xrpc/com.atproto.repo.describeRepo?repo={did}"));
        for method in ["getRepo", "listBlobs", "getLatestCommit", "getRepoStatus"] {
            paths.push(format!("/xrpc/com.atproto.sync.{method}?did={did}"));
        }
        for collection in collections {
            paths.push(format!("/xrpc/com.atproto.repo.listRecords?repo={did}&collection={collection}"));
        }
    }
    for (did, collection, rkey) in keys {
        paths.push(format!("/xrpc/com.atproto.repo.getRecord?repo={did}&collection={collection}&rkey={rkey}"));
        paths.push(format!("/xrpc/com.atproto.sync.getRecord?did={did}&collection={collection}&rkey={rkey}"));
    }
    let mut found = Vec::new();
    for path in paths {
        let answer = host.client.get(format!("{}{path}", host.url)).send().await?;
        // What the asker said is in an error again; it tells nobody anything.
        let bytes = answer.bytes().await?.to_vec();
        found.push((format!("{}{path}", host.url), bytes));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_private_shows_nowhere() -> Result<()> {
    let seconds = std::env::var("ANGEL_PRIVATE_SECONDS").ok().and_then(|text| text.parse().ok());
    let write_for = seconds.map_or(WRITE_FOR, Duration::from_secs);
    let Hosts { hosts, _root } = Hosts::start()?;
    let [first, second, third] = &hosts;
    let (shop, bob, carol) =
        (first.sign_up("shop").await?, second.sign_up("bob").await?, third.sign_up("carol").await?);
    let homes = [(first, &shop), (second, &bob), (third, &carol)];
    let mark = format!("mark{:016x}", rand::random::<u64>());
    let space = first.space(&shop, &format!("{mark}-space"), &[&bob, &carol]).await?;

    let mut collectors = Vec::new();
    for host in &hosts {
        let socket = host.url.replacen("http", "ws", 1);
        let place = |name: &str| format!("{name} of {}", host.url);
        let firehose = format!("{socket}/xrpc/com.atproto.sync.subscribeRepos?cursor=0");
        collectors.push(Collector::stream(place("the event stream"), firehose).await?);
        collectors.push(Collector::stream(place("the lines of JSON"), format!("{socket}/subscribe")).await?);
    }
    let (gossip, stop_gossip) = Collector::gossip(first).await?;

    // Messages, orders and leads, each marked in what it says and in its name; some with a picture.
    let collections = [MESSAGE, "com.example.shop.order", "com.example.shop.lead"];
    let mut keys: Vec<(Did, String, String)> = Vec::new();
    let mut blobs = Vec::new();
    let began = Instant::now();
    let mut n = 0_u32;
    while began.elapsed() < write_for || n < 12 {
        for (host, author) in homes {
            let word = format!("{mark}x{n}");
            let kind = collections[n as usize % collections.len()];
            let mut record = match n % 3 {
                0 => message(&space, &word),
                1 => json!({ "$type": kind, "customer": format!("Mrs {word}"), "total": 1250 }),
                _ => json!({ "$type": kind, "email": format!("{word}@mail.test"), "notes": [word] }),
            };
            if n.is_multiple_of(7) && !n.is_multiple_of(3) {
                let upload = host.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", host.url));
                let upload = upload.bearer_auth(&author.token).header("Content-Type", "text/plain");
                let blob = host.answer(upload.body(format!("a picture of {word}"))).await?["blob"].clone();
                blobs.push((host, author, blob["ref"]["$link"].as_str().context("a CID")?.to_owned(), word.clone()));
                record["picture"] = blob;
            }
            let body = if n.is_multiple_of(3) {
                json!({ "space": space, "repo": author.did, "collection": kind, "record": record })
            } else {
                json!({ "space": space, "repo": author.did, "collection": kind, "record": record,
                    "rkey": format!("{mark}-{n}") })
            };
            let wrote = host.post("com.atproto.space.createRecord", &body).bearer_auth(&author.token);
            let wrote = host.answer(wrote).await?;
            let uri = wrote["uri"].as_str().context("a record")?.to_owned();
            let rkey = uri.rsplit('/').next().context("a key")?.to_owned();
            keys.push((author.did.clone(), kind.to_owned(), rkey));
            n += 1;
        }
    }
    println!("{n} private records, {} blobs", blobs.len());

    // The search can find: members read what was written, and a public record shows where it should.
    let carols = Reader::admitted(third, &carol, first, &space).await?;
    for (host, author) in homes {
        let records = carols.list(host, &author.did).await?;
        ensure!(records.iter().any(|record| record.to_string().contains(&mark)), "a member reads");
        let public = json!({ "repo": author.did, "collection": "com.example.public",
            "record": { "$type": "com.example.public", "text": format!("public-{}", author.did) } });
        host.answer(host.post("com.atproto.repo.createRecord", &public).bearer_auth(&author.token)).await?;
    }
    for (host, author) in homes {
        for collector in collectors.iter().filter(|one| one.place.ends_with(&host.url)) {
            let text = format!("public-{}", author.did);
            let place = &collector.place;
            let come = async || Ok(collector.holds(&text).then_some(()));
            until(&format!("{place} has what is public, and so all before it"), PATIENCE, come).await?;
        }
    }
    for (host, author, cid, word) in &blobs {
        let bytes = carols.blob(host, &author.did, cid).await?;
        ensure!(find(&bytes, word), "a member sees the picture");
    }
    let heard = async || Ok((gossip.bytes() > 2000).then_some(()));
    until("gossip is heard", PATIENCE, heard).await?;

    // And what is private shows nowhere.
    let accounts: Vec<_> = homes.iter().map(|(_, account)| *account).collect();
    let some_keys: Vec<_> = keys.iter().rev().take(30).cloned().collect();
    let mut searched = 0;
    for host in &hosts {
        for (place, bytes) in everything_public(host, &accounts, &collections, &some_keys).await? {
            searched += bytes.len();
            let is_echo = place.contains(&mark);
            ensure!(is_echo || !find(&bytes, &mark), "{place} shows what is private");
            ensure!(!is_echo || !find(&bytes, "\"value\""), "{place} shows what is private");
        }
        for (_, author, cid, _) in &blobs {
            let query = [("did", author.did.as_str()), ("cid", cid.as_str())];
            let (status, body) = answer(host.get("com.atproto.sync.getBlob", &query)).await?;
            ensure!(status != 200 && !body.to_string().contains(&mark), "{status}: {body}");
            let text = space.to_string();
            let query = [("space", text.as_str()), ("repo", author.did.as_str()), ("cid", cid.as_str())];
            let (status, _) = answer(host.get("com.atproto.space.getBlob", &query)).await?;
            ensure!(status == 401, "a private blob without a credential: {status}");
        }
        for line in host.daemon.log() {
            ensure!(!line.contains(&mark), "the log of {} shows what is private: {line}", host.url);
        }
    }
    for collector in collectors.iter().chain([&gossip]) {
        searched += collector.bytes();
        ensure!(!collector.holds(&mark), "{} shows what is private", collector.place);
    }
    println!("{searched} public bytes searched");
    stop_gossip.cancel();
    Ok(())
}
