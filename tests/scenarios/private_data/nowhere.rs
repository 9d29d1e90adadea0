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

use super::business::Business;
use super::exports::{OWN, everything_exported};
use super::*;
use crate::walk::{Known, Record, questions};

/// How long is written, unless `ANGEL_PRIVATE_SECONDS` says otherwise.
const WRITE_FOR: Duration = Duration::from_secs(10);

/// How far apart the rounds of the business are: a person writes thirty messages a minute into one space.
const ROUND: Duration = Duration::from_secs(3);

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
        let genesis = host.client.get(format!("{}/api/federation/ledger", host.url)).send().await?;
        let genesis: Value = genesis.json().await?;
        let genesis = genesis["genesis"].as_str().context("the ledger has a genesis")?;
        let genesis: [u8; 32] = hex(genesis).context("a digest")?;
        let topics = [
            Topic::Heartbeat.name(&network),
            Topic::Transactions.of_ledger(&network, &genesis),
            Topic::Consensus.of_ledger(&network, &genesis),
        ];
        let mut config = network::Config::new(network, rand::random::<[u8; 32]>().into());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        config.bootstrap = vec![facts["p2p"][0].as_str().context("it listens")?.parse()?];
        config.topics = topics.into_iter().map(|topic| network::Topic::new(topic, 1024 * 1024)).collect();
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

/// Everything that a host answers to whoever does not say who they are, by what was asked.
async fn everything_public(host: &Host, known: &Known) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for question in questions(known) {
        let answer = host.client.get(format!("{}{question}", host.url)).send().await?;
        found.push((format!("{}{question}", host.url), answer.bytes().await?.to_vec()));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_private_shows_nowhere() -> Result<()> {
    let seconds = std::env::var("ANGEL_PRIVATE_SECONDS").ok().and_then(|text| text.parse().ok());
    let write_for = seconds.map_or(WRITE_FOR, Duration::from_secs);
    let Hosts { hosts, _root: root } = Hosts::start()?;
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
    let members = [(second, &bob), (third, &carol)];
    let business = Business::open(first, &members).await?;

    // Messages, orders and leads, each marked in what it says and in its name; some with a picture.
    let collections = [MESSAGE, "com.example.shop.order", "com.example.shop.lead"];
    let mut blobs = Vec::new();
    let began = Instant::now();
    let mut n = 0_u32;
    let (mut rounds, mut kept) = (0_u32, vec![]);
    while began.elapsed() < write_for || n < 12 {
        if rounds < 2 || began.elapsed() >= ROUND * rounds {
            kept = business.write(first, &members, &format!("{mark}r{rounds}")).await?;
            rounds += 1;
        }
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
            host.answer(wrote).await?;
            n += 1;
        }
    }
    println!("{n} private records, {} blobs, {rounds} rounds of a business", blobs.len());
    let said = async || {
        let senders = business.senders(first).await?;
        let of = |who: &Account| senders.iter().filter(|sender| **sender == who.did.as_str()).count();
        Ok((of(&bob) == rounds as usize && of(&carol) == rounds as usize).then_some(()))
    };
    until("what members elsewhere said is shown where the space is", PATIENCE, said).await?;

    // The search can find: members read what was written, and a public record shows where it should.
    let carols = Reader::admitted(third, &carol, first, &space).await?;
    for (host, author) in homes {
        let records = carols.list(host, &author.did).await?;
        ensure!(records.iter().any(|record| record.to_string().contains(&mark)), "a member reads");
        let public = json!({ "repo": author.did, "collection": "com.example.public",
            "record": { "$type": "com.example.public", "text": format!("public-{}", author.did) } });
        let made = host.answer(host.post("com.atproto.repo.createRecord", &public).bearer_auth(&author.token)).await?;
        let rkey = made["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).context("a key")?.to_owned();
        let cid = made["cid"].as_str().context("a CID")?.to_owned();
        let (did, collection) = (author.did.to_string(), "com.example.public".to_owned());
        kept.push(Record { did, collection, rkey, cid: cid.clone() });
        let kinds = collections.iter().map(|kind| (*kind).to_owned());
        let more = kinds.map(|collection| Record {
            did: author.did.to_string(),
            collection,
            rkey: "self".to_owned(),
            cid: cid.clone(),
        });
        kept.extend(more);
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

    // And what is private shows nowhere. What everybody is asked with holds no mark, for answers repeat it.
    let workspace = format!("at://{}/space/co.kendev.tenants.workspace/self", business.tenant);
    let room = business.office.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room");
    let spaces = vec![business.office.clone(), business.direct.clone(), workspace, room];
    let known = Known { spaces, records: kept, word: "secretly".to_owned() };
    let (mut searched, mut asked, mut planted) = (0, 0, 0);
    for (host, author) in homes {
        let public = format!("public-{}", author.did);
        for (place, bytes) in everything_public(host, &known).await? {
            (searched, asked) = (searched + bytes.len(), asked + 1);
            planted += usize::from(find(&bytes, &public));
            ensure!(!find(&bytes, &mark), "{place} shows what is private");
        }
    }
    // The search bites: what is public was found where it shows.
    println!("{asked} questions asked; what is public was found in {planted} answers");
    ensure!(planted >= 9, "records, lists and files of three hosts hold what is public: {planted}");
    for host in &hosts {
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
    let mut owned = 0;
    for (place, bytes) in everything_exported(&hosts, &homes, &business, root.path()).await? {
        searched += bytes.len();
        match place.as_str() {
            OWN => owned += usize::from(find(&bytes, &mark)),
            _ => ensure!(!find(&bytes, &mark), "{place} shows what is private"),
        }
    }
    ensure!(owned == 1, "the search bites: what is private is in the owner's export");
    for collector in collectors.iter().chain([&gossip]) {
        searched += collector.bytes();
        ensure!(!collector.holds(&mark), "{} shows what is private", collector.place);
    }
    let facts = first.daemon.facts();
    let heard = facts["did"].as_str().context("a node has a DID")?;
    println!("{searched} public bytes searched; {} bytes of gossip, of {heard}", gossip.bytes());
    stop_gossip.cancel();
    Ok(())
}

/// The bytes of a digest.
fn hex(text: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}
