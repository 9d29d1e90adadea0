//! Spaces under load: one real node in this process, its clients over HTTP and WebSockets on loopback.
//!
//! * from the answer to `sendMessage` until a follower has it, with many followers (`--followers`, 1,000 unless told);
//! * so many messages a second into one space (`--rate`, 1,000), each follower hearing each once and in order;
//! * `listMessages` of 50 and `searchMessages` in a space of many messages (`--messages`, 1,000,000), filled straight
//!   into the store.
//!
//! Beside each figure stands what the process, which is node and clients in one, used of the processor: on a machine that
//! others use too it is the figure that lasts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use angel_harness::processor;
use angel_node::config::Config;
use angel_node::node::{Node, NodeHandle};
use angel_protocol::data::{Cid, Codec, cbor, record_from_json};
use angel_protocol::spaces::text_of;
use angel_storage::codec::{Cbor, Present};
use angel_storage::spaces::{BY_CHANNEL, MessageRow, Overlay, Place, RECORDS, SPACES, SpaceId, index_words};
use angel_storage::{Batch, Options, Store};
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The seed of everything random.
const SEED: u64 = 7;

/// Words that messages are made of; the first are common, the last are rare.
const VOCABULARY: u32 = 20_000;

struct Wishes {
    followers: usize,
    rate: u64,
    seconds: u64,
    messages: u64,
}

fn main() -> Result<()> {
    let mut wishes = Wishes { followers: 1000, rate: 1000, seconds: 10, messages: 1_000_000 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).context("a number is missing");
        match name.as_str() {
            "--followers" => wishes.followers = usize::try_from(number()?)?,
            "--rate" => wishes.rate = number()?,
            "--seconds" => wishes.seconds = number()?,
            "--messages" => wishes.messages = number()?,
            _ => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let dir = tempfile::tempdir()?;
        let (node, space, people) = begin(dir.path(), 40).await?;
        delivery(&node, &space, &people, &wishes).await?;
        throughput(&node, &space, &people, &wishes).await?;
        node.shutdown().await?;
        fill(dir.path(), &space, wishes.messages)?;
        let node = start(dir.path()).await?;
        reading(&node, &space, wishes.messages).await?;
        node.shutdown().await?;
        Ok(())
    })
}

/// Somebody who writes.
struct Person {
    token: String,
}

async fn start(dir: &Path) -> Result<NodeHandle> {
    let mut config = Config::on_loopback(dir);
    config.http.rate_limits = false;
    config.accounts.invites_required = false;
    config.firehose.subscribers_max = 4096;
    Ok(Node::start(config).await?)
}

fn url(node: &NodeHandle) -> String {
    node.facts().run_file().http_url
}

async fn post(client: &Client, node: &NodeHandle, token: Option<&str>, method: &str, body: &Value) -> Result<Value> {
    let mut request = client.post(format!("{}/xrpc/{method}", url(node))).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    ensure!(status.is_success(), "{method}: {answer}");
    Ok(answer)
}

/// A node with a space and people in it.
async fn begin(dir: &Path, people: usize) -> Result<(NodeHandle, String, Vec<Person>)> {
    let node = start(dir).await?;
    let client = Client::new();
    let mut all = vec![];
    for number in 0..people {
        let wish = json!({
            "handle": format!("person{number}.test"), "email": format!("person{number}@mail.test"), "password": "open sesame",
        });
        let made = post(&client, &node, None, "com.atproto.server.createAccount", &wish).await?;
        all.push(Person { token: made["accessJwt"].as_str().context("a token")?.to_owned() });
    }
    let record = json!({
        "name": "Load", "slug": "load", "visibility": "public", "memberApproval": "automatic",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let create = "co.kendev.spaces.createSpace";
    let made = post(&client, &node, Some(&all[0].token), create, &json!({ "record": record })).await?;
    let space = made["uri"].as_str().context("a URI")?.to_owned();
    for person in &all[1..] {
        post(&client, &node, Some(&person.token), "co.kendev.spaces.joinSpace", &json!({ "space": space })).await?;
    }
    Ok((node, space, all))
}

/// Starts followers; each tells when it heard a message that bears a number.
async fn follow(
    node: &NodeHandle,
    space: &str,
    count: usize,
) -> Result<mpsc::UnboundedReceiver<(usize, u64, Instant)>> {
    let (told, heard) = mpsc::unbounded_channel();
    let encoded = space.replace(':', "%3A").replace('/', "%2F");
    let at = format!("{}/xrpc/co.kendev.spaces.subscribeSpace?space={encoded}&format=json", url(node));
    let at = at.replace("http", "ws");
    for follower in 0..count {
        let (mut socket, _) = connect_async(&at).await?;
        let told = told.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { continue };
                let now = Instant::now();
                let Some(number) = text.split("\"load ").nth(1).and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                let Ok(number) = number.parse() else { continue };
                if told.send((follower, number, now)).is_err() {
                    return;
                }
            }
        });
    }
    Ok(heard)
}

async fn say(client: &Client, node: &NodeHandle, space: &str, person: &Person, number: u64) -> Result<Instant> {
    let body = json!({ "space": space, "content": { "type": "text", "text": format!("load {number}") } });
    post(client, node, Some(&person.token), "co.kendev.spaces.sendMessage", &body).await?;
    Ok(Instant::now())
}

async fn delivery(node: &NodeHandle, space: &str, people: &[Person], wishes: &Wishes) -> Result<()> {
    let client = Client::new();
    const SAID: u32 = 100;
    let mut heard = follow(node, space, wishes.followers).await?;
    let mut took = vec![];
    let used = processor::time();
    for number in 0..u64::from(SAID) {
        let answered = say(&client, node, space, &people[usize::try_from(number)? % people.len()], number).await?;
        for _ in 0..wishes.followers {
            let (_, found, at) = heard.recv().await.context("a follower went")?;
            ensure!(found == number, "out of order");
            took.push(at.saturating_duration_since(answered));
        }
    }
    let used = (processor::time() - used) / SAID;
    println!(
        "from answer to delivery, {} followers: {}; {used:.1?} of processor each",
        wishes.followers,
        quantiles(took)
    );
    Ok(())
}

async fn throughput(node: &NodeHandle, space: &str, people: &[Person], wishes: &Wishes) -> Result<()> {
    const FOLLOWERS: usize = 20;
    let mut heard = follow(node, space, FOLLOWERS).await?;
    let total = wishes.rate * wishes.seconds;
    let next = Arc::new(AtomicU64::new(0));
    let (began, used) = (Instant::now(), processor::time());
    let rate = wishes.rate;
    let writing = people.iter().map(|person| {
        let (client, next) = (Client::new(), Arc::clone(&next));
        async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return Ok::<_, anyhow::Error>(());
                }
                let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                say(&client, node, space, person, number).await?;
            }
        }
    });
    futures::future::try_join_all(writing).await?;
    let written = began.elapsed();
    let mut counts = vec![vec![0_u8; usize::try_from(total)?]; FOLLOWERS];
    for _ in 0..total * FOLLOWERS as u64 {
        let heard =
            tokio::time::timeout(Duration::from_secs(60), heard.recv()).await.context("messages are missing")?;
        let (follower, number, _) = heard.context("a follower went")?;
        counts[follower][usize::try_from(number)?] += 1;
    }
    ensure!(counts.iter().flatten().all(|count| *count == 1), "a message was heard twice or not at all");
    println!(
        "{total} messages from {} writers in {:.1} s ({:.0}/s), each heard once by each of {FOLLOWERS}, the last {:.0} ms \
         after its answer; {:.0} µs of processor each",
        people.len(),
        written.as_secs_f64(),
        total as f64 / written.as_secs_f64(),
        (began.elapsed() - written).as_secs_f64() * 1000.0,
        (processor::time() - used).as_secs_f64() * 1e6 / total as f64,
    );
    Ok(())
}

/// Fills the space as the index would.
fn fill(dir: &Path, space: &str, messages: u64) -> Result<()> {
    let began = Instant::now();
    let config = Config::on_loopback(dir);
    let store = Store::open(&dir.join("storage"), Options::new(config.storage.engine, "a benchmark"))?;
    let rows = store.reader().scan(&SPACES).page(1)?.rows;
    let (id, mut row): (SpaceId, _) = rows.into_iter().next().context("the space is there")?;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let author = "did:web:load.example".parse()?;
    let text = |record: &[u8]| cbor::decode(record).map(|record| text_of(&record)).unwrap_or_default();
    let mut made = 0;
    while made < messages {
        let mut overlay = Overlay::new(store.reader());
        let count = 1024.min(messages - made);
        let positions: Vec<u64> = (0..count).map(|_| row.next(0)).collect();
        for position in &positions {
            let said: Vec<String> = (0..12).map(|_| format!("w{}", common(&mut random))).collect();
            let record = json!({
                "$type": "co.kendev.spaces.message", "space": space, "messageType": "user",
                "content": { "type": "text", "text": said.join(" ") }, "createdAt": "2026-11-21T09:00:00.000Z",
            });
            let bytes = cbor::encode(&record_from_json(&record)?);
            let message = MessageRow {
                author: std::clone::Clone::clone(&author),
                rkey: format!("m{position}"),
                cid: Cid::of(Codec::DagCbor, &bytes),
                channel: 0,
                kind: "user".to_owned(),
                priority: None,
                department: None,
                workflow: None,
                journey: None,
                root: None,
                indexed_at: row.indexed_at,
                edited_at: None,
                version: 0,
                hidden: None,
                record: vec![],
            };
            let path = format!("co.kendev.spaces.message/{}", message.rkey);
            overlay.put_message(id, *position, &message, &bytes)?;
            overlay.put(&RECORDS, &(message.author, path), &Cbor(Place::Message(id, *position)))?;
            overlay.put(&BY_CHANNEL, &(id, 0, *position), &Present)?;
        }
        index_words(&mut overlay, id, &mut row, &positions, &text)?;
        row.messages += count;
        overlay.put(&SPACES, &id, &row)?;
        let mut batch = Batch::new();
        overlay.stage(&mut batch)?;
        store.writer().commit(batch)?;
        made += count;
    }
    store.close()?;
    println!("{messages} messages filled in within {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// A word's number: half of all words are among the first hundred or so.
fn common(random: &mut impl rand::Rng) -> u32 {
    let bits = random.random_range(0..15);
    random.random_range(0..VOCABULARY.min(2 << bits))
}

async fn reading(node: &NodeHandle, space: &str, messages: u64) -> Result<()> {
    let client = Client::new();
    let encoded = space.replace(':', "%3A").replace('/', "%2F");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let mut times = |name: &'static str, mut query: Box<dyn FnMut(&mut rand_chacha::ChaCha8Rng) -> String>| {
        let queries: Vec<String> = (0..300).map(|_| query(&mut random)).collect();
        let (client, url, encoded) = (client.clone(), url(node), encoded.clone());
        async move {
            let (mut took, mut found, used) = (vec![], 0, processor::time());
            for query in queries {
                let began = Instant::now();
                let at = format!("{url}/xrpc/co.kendev.spaces.{name}?space={encoded}&{query}");
                let answer: Value = client.get(at).send().await?.error_for_status()?.json().await?;
                took.push(began.elapsed());
                found += answer["messages"].as_array().map_or(0, Vec::len);
            }
            let used = (processor::time() - used).as_secs_f64() * 1000.0 / 300.0;
            let figures = quantiles(took);
            println!("{name} in a space of {messages}: {figures}; {used:.2} ms of processor, {} found", found / 300);
            Ok::<_, anyhow::Error>(())
        }
    };
    let anywhere =
        move |random: &mut rand_chacha::ChaCha8Rng| format!("limit=50&cursor={}", random.random_range(60..messages));
    times("listMessages", Box::new(anywhere)).await?;
    let words = |random: &mut rand_chacha::ChaCha8Rng| {
        let all: Vec<String> = (0..random.random_range(1..4)).map(|_| format!("w{}", common(random))).collect();
        format!("q={}", all.join("+"))
    };
    times("searchMessages", Box::new(words)).await
}

fn quantiles(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(500), at(990), at(1000))
}
