//! Spaces under load: the daemon as a process, its clients over HTTP and WebSockets on loopback.
//!
//! * from the answer to `sendMessage` until a follower has it, with many followers (`--followers`, 1,000 unless told);
//! * so many messages a second into one space (`--rate`, 1,000) for so long (`--seconds`, 10), each follower hearing each
//!   once and in order, with 20 followers and with many;
//! * the same from a member on another node, and how fast their private history (`--history`, 100,000 records) is fetched
//!   when they join;
//! * `listMessages` of 50 and `searchMessages` in a space of many messages (`--messages`, 1,000,000), filled straight
//!   into the store.
//!
//! Beside each figure stands what the node used of the processor (for the last one, where node and client are one
//! process, what both used): on a machine that others use too it is the figure that lasts.

mod elsewhere;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use angel_harness::binary::{Daemon, Launch};
use angel_harness::crowd::{Crowd, Tally};
use angel_harness::processor;
use angel_node::config::Config;
use angel_node::node::{Node, NodeHandle};
use angel_protocol::data::{Cid, Codec, cbor, record_from_json};
use angel_protocol::spaces::text_of;
use angel_storage::codec::{Cbor, Present};
use angel_storage::spaces::{BY_CHANNEL, MessageRow, Overlay, Place, RECORDS, SPACES, SpaceId, index_words};
use angel_storage::{Batch, Options, Store};
use anyhow::{Context, Result, ensure};
use memchr::memmem::Finder;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The seed of everything random.
const SEED: u64 = 7;

/// Words that messages are made of; the first are common, the last are rare.
const VOCABULARY: u32 = 20_000;

/// How long a message may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(20);

struct Wishes {
    followers: usize,
    said: u64,
    rate: u64,
    seconds: u64,
    messages: u64,
    history: u64,
}

fn main() -> Result<()> {
    let mut wishes =
        Wishes { followers: 1000, said: 100, rate: 1000, seconds: 10, messages: 1_000_000, history: 100_000 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).context("a number is missing");
        match name.as_str() {
            "--followers" => wishes.followers = usize::try_from(number()?)?,
            "--said" => wishes.said = number()?,
            "--rate" => wishes.rate = number()?,
            "--seconds" => wishes.seconds = number()?,
            "--history" => wishes.history = number()?,
            "--messages" => wishes.messages = number()?,
            _ => {}
        }
    }
    let dir = tempfile::tempdir()?;
    // One thread for those who write; those who follow have another of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let space = runtime.block_on(async {
        let daemon = launch(dir.path())?;
        let (space, people) = begin(&daemon, 40).await?;
        delivery(&daemon, &space, &people, &wishes).await?;
        throughput(&daemon, &space, &people, &wishes, 20).await?;
        throughput(&daemon, &space, &people, &wishes, wishes.followers).await?;
        daemon.stop()?;
        let nodes = tempfile::tempdir()?;
        elsewhere::elsewhere(nodes.path(), &wishes).await?;
        Ok::<_, anyhow::Error>(space)
    })?;
    if wishes.messages == 0 {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
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

/// The daemon as it comes, but for what would stand in the way of a load from one address.
fn launch(dir: &Path) -> Result<Daemon> {
    Launch::in_dir(dir)
        .env("ANGEL_HTTP_RATE_LIMITS", "false")
        .env("ANGEL_HTTP_CONNECTIONS_MAX", "8192")
        .env("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false")
        .env("ANGEL_FIREHOSE_SUBSCRIBERS_MAX", "4096")
        .start()
}

async fn start(dir: &Path) -> Result<NodeHandle> {
    let mut config = Config::on_loopback(dir);
    config.http.rate_limits = false;
    Ok(Node::start(config).await?)
}

fn url(node: &NodeHandle) -> String {
    node.facts().run_file().http_url
}

async fn post(client: &Client, daemon: &Daemon, token: Option<&str>, method: &str, body: &Value) -> Result<Value> {
    let mut request = client.post(format!("{}/xrpc/{method}", daemon.fact("httpUrl"))).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    ensure!(status.is_success(), "{method}: {answer}");
    Ok(answer)
}

/// A space, and people in it.
async fn begin(daemon: &Daemon, people: usize) -> Result<(String, Vec<Person>)> {
    let client = Client::new();
    let mut all = vec![];
    for number in 0..people {
        let wish = json!({
            "handle": format!("person{number}.test"), "email": format!("person{number}@mail.test"), "password": "open sesame",
        });
        let made = post(&client, daemon, None, "com.atproto.server.createAccount", &wish).await?;
        all.push(Person { token: made["accessJwt"].as_str().context("a token")?.to_owned() });
    }
    let record = json!({
        "name": "Load", "slug": "load", "visibility": "public", "memberApproval": "automatic",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let create = "co.kendev.spaces.createSpace";
    let made = post(&client, daemon, Some(&all[0].token), create, &json!({ "record": record })).await?;
    let space = made["uri"].as_str().context("a URI")?.to_owned();
    for person in &all[1..] {
        post(&client, daemon, Some(&person.token), "co.kendev.spaces.joinSpace", &json!({ "space": space })).await?;
    }
    Ok((space, all))
}

/// What a follower heard: which message, and when.
type Heard = (u64, Instant);

/// Connects followers. Each must hear what happens in the order of its numbers; `heard` gets every message of this load, with
/// the follower's number.
fn follow(
    daemon: &Daemon,
    space: &str,
    count: usize,
    mut heard: impl FnMut(usize, Heard) -> Result<()> + Send + 'static,
) -> Result<Crowd> {
    let encoded = space.replace(':', "%3A").replace('/', "%2F");
    let at = format!("{}/xrpc/co.kendev.spaces.subscribeSpace?space={encoded}&format=json", daemon.fact("httpUrl"));
    let mut last = vec![0; count];
    let (text, sequence) = (Finder::new("\"load "), Finder::new("\"seq\":"));
    Crowd::connect(&at.replacen("http", "ws", 1), count, move |follower, message, at| {
        let number = |finder: &Finder<'_>| Some(digits(&message[finder.find(message)? + finder.needle().len()..]));
        let sequence = number(&sequence).context("an entry without a number")?;
        ensure!(sequence > last[follower], "number {sequence} came after number {}", last[follower]);
        last[follower] = sequence;
        number(&text).map_or(Ok(()), |number| heard(follower, (number, at)))
    })
}

/// The number at the beginning of a text.
fn digits(text: &[u8]) -> u64 {
    text.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |number, byte| number * 10 + u64::from(byte - b'0'))
}

async fn say(client: &Client, daemon: &Daemon, space: &str, person: &Person, number: u64) -> Result<Instant> {
    let body = json!({ "space": space, "content": { "type": "text", "text": format!("load {number}") } });
    post(client, daemon, Some(&person.token), "co.kendev.spaces.sendMessage", &body).await?;
    Ok(Instant::now())
}

/// One message after another, each when everybody has the one before.
async fn delivery(daemon: &Daemon, space: &str, people: &[Person], wishes: &Wishes) -> Result<()> {
    let client = Client::new();
    let tally = Tally::default();
    let crowd = follow(daemon, space, wishes.followers, {
        let tally = tally.clone();
        move |_, heard| {
            tally.note(heard);
            Ok(())
        }
    })?;
    let mut took = vec![];
    let used = processor::of(daemon.pid())?;
    for number in 0..wishes.said {
        let person = &people[usize::try_from(number)? % people.len()];
        let answered = say(&client, daemon, space, person, number).await?;
        let wanted = took.len() + wishes.followers;
        tally.until(wanted, PATIENCE).await;
        if !crowd.is_there() {
            return crowd.leave();
        }
        tally.look(|all| {
            let new = all.get(took.len()..).unwrap_or_default();
            ensure!(new.len() == wishes.followers, "message {number} did not reach everybody once");
            ensure!(new.iter().all(|(found, _)| *found == number), "another message than number {number}");
            took.extend(new.iter().map(|(_, at)| at.saturating_duration_since(answered)));
            Ok(())
        })?;
    }
    let used = processor::of(daemon.pid())? - used;
    println!(
        "from answer to delivery, {} followers: {}; the node used {:.2} ms of processor for each message, {:.1} µs for \
         each delivery",
        wishes.followers,
        quantiles(&mut took),
        used.as_secs_f64() * 1e3 / wishes.said as f64,
        used.as_secs_f64() * 1e6 / took.len() as f64,
    );
    crowd.leave()
}

/// Of so many followers, one is asked when it heard each message.
const ASKED: usize = 50;

/// What one follower has heard of all messages.
struct Ears {
    missing: u64,
    heard: Vec<u64>,
}

impl Ears {
    /// Hears a message; whether it was the last.
    fn hear(&mut self, number: u64) -> Result<bool> {
        let word = self.heard.get_mut(usize::try_from(number / 64)?).context("a message that nobody sent")?;
        ensure!(*word & (1 << (number % 64)) == 0, "message {number} was heard twice");
        *word |= 1 << (number % 64);
        self.missing -= 1;
        Ok(self.missing == 0)
    }
}

/// Many messages a second from many writers, whether or not those before were delivered.
async fn throughput(daemon: &Daemon, space: &str, people: &[Person], wishes: &Wishes, followers: usize) -> Result<()> {
    let total = wishes.rate * wishes.seconds;
    let (tally, satisfied) = (Tally::default(), Tally::default());
    let crowd = follow(daemon, space, followers, {
        let (tally, satisfied) = (tally.clone(), satisfied.clone());
        let words = usize::try_from(total.div_ceil(64))?;
        let mut ears: Vec<_> = (0..followers).map(|_| Ears { missing: total, heard: vec![0; words] }).collect();
        move |follower, (number, at)| {
            if follower % ASKED == 0 {
                tally.note((number, at));
            }
            if ears[follower].hear(number)? {
                satisfied.note(at);
            }
            Ok(())
        }
    })?;
    let next = Arc::new(AtomicU64::new(0));
    let (began, used) = (Instant::now(), processor::of(daemon.pid())?);
    let rate = wishes.rate;
    let writing = people.iter().map(|person| {
        let (client, next) = (Client::new(), Arc::clone(&next));
        async move {
            let mut answered = vec![];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return Ok::<_, anyhow::Error>(answered);
                }
                let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                answered.push((number, say(&client, daemon, space, person, number).await?));
            }
        }
    });
    let answered = futures::future::try_join_all(writing).await?;
    let answered: HashMap<u64, Instant> = answered.into_iter().flatten().collect();
    let written = began.elapsed();
    satisfied.until(followers, Duration::from_secs(60)).await;
    let took = began.elapsed();
    if !crowd.is_there() {
        return crowd.leave();
    }
    ensure!(satisfied.look(<[_]>::len) == followers, "messages are missing");
    let mut lags = tally.look(|all| {
        let lag = |(number, at): &Heard| Some(at.saturating_duration_since(*answered.get(number)?));
        all.iter().filter_map(lag).collect::<Vec<_>>()
    });
    let used = (processor::of(daemon.pid())? - used).as_secs_f64() * 1e6;
    println!(
        "{total} messages from {} writers in {:.1} s ({:.0}/s), each heard once and in order by each of {followers}, the \
         last {:.0} ms after its answer; from answer to delivery {}; the node used {:.0} µs of processor for each \
         message, {:.2} µs for each delivery",
        people.len(),
        written.as_secs_f64(),
        total as f64 / written.as_secs_f64(),
        (took - written).as_secs_f64() * 1000.0,
        quantiles(&mut lags),
        used / total as f64,
        used / (total as f64 * followers as f64),
    );
    crowd.leave()
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
            let figures = quantiles(&mut took);
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

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(500), at(990), at(1000))
}
