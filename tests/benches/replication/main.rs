//! Copies under load: four real daemons on loopback that decide one ledger, a tenant on the first, copies on two others.
//!
//! * what a write costs the primary's processor, without copies and with them;
//! * how far a standby is behind while writes come as fast as told (`--rate`, 1,000 a second);
//! * the first copy of many records and files (`--records`, 10,000; `--megabytes`, 1,000) beside a plain copy of as many
//!   bytes over a socket onto the same disk, the same between hosts whose lines carry `--line` megabits a second (1,000;
//!   root), and how much of it comes again when a standby is killed in the middle;
//! * writes that wait for a standby beside writes that do not, by 1 and by 16 writers;
//! * how long nobody takes writes when the primary is killed, and how long writes wait when a tenant moves (`--rounds`).
//!
//! Parts are named on the command line (`serving`, `following`, `waiting`, `copy`, `lines`, `cut`, `freeze`, `failover`; all when none is). Each prints its figures
//! as soon as it has them, may take `--limit` seconds (600), and one that breaks off says why and lets the next begin: a run
//! that is cut short still reports what it has measured. What is under way is told on standard error.

mod copies;
mod moves;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use angel_harness::processor;
use angel_harness::tenancy::{COLLECTION, Session, Tenancy};
use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How often is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Longest wait for one answer: of a daemon that does not answer nothing is measured.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long standbys may take to have what was written, once nothing is written any more.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// Writes that a part may be refused before it breaks off.
const REFUSALS_MAX: u64 = 100;

/// The parts, in their order.
const PARTS: [&str; 8] = ["serving", "following", "waiting", "copy", "lines", "cut", "freeze", "failover"];

/// The nodes that hold copies.
const COPIES: [usize; 2] = [1, 2];

#[derive(Clone, Copy)]
struct Wishes {
    rate: u64,
    seconds: u64,
    records: u64,
    megabytes: u64,
    /// Megabits a second.
    line: u64,
    rounds: u64,
    limit: Duration,
}

fn main() -> Result<()> {
    let limit = Duration::from_mins(10);
    let mut wishes =
        Wishes { rate: 1000, seconds: 10, records: 10_000, megabytes: 1_000, line: 1_000, rounds: 5, limit };
    let mut wanted = BTreeSet::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).context("a number is missing");
        match name.as_str() {
            "--rate" => wishes.rate = number()?,
            "--seconds" => wishes.seconds = number()?,
            "--records" => wishes.records = number()?,
            "--megabytes" => wishes.megabytes = number()?,
            "--line" => wishes.line = number()?,
            "--rounds" => wishes.rounds = number()?,
            "--limit" => wishes.limit = Duration::from_secs(number()?),
            // From `cargo bench`.
            "--bench" => {}
            name => {
                let part = PARTS.into_iter().find(|part| *part == name);
                wanted.insert(part.with_context(|| format!("{name} is none of {}", PARTS.join(", ")))?);
            }
        }
    }
    if wanted.is_empty() {
        wanted.extend(PARTS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tell("four daemons start");
        let client = Client::builder().timeout(ANSWER_WITHIN).build()?;
        let bench = Bench { tenancy: Tenancy::under_load().await?, client };
        bench.run(wishes, &wanted).await
    })
}

/// Says what is under way, apart from the figures.
fn tell(words: &str) {
    eprintln!("… {words}");
}

struct Bench {
    tenancy: Tenancy,
    client: Client,
}

impl Bench {
    fn url(&self, method: &str) -> String {
        format!("{}/xrpc/{method}", self.tenancy.validators.daemon(0).fact("httpUrl"))
    }

    /// Puts copies on two nodes, and waits until they are whole.
    async fn place(&self, did: &str, ack: &str) -> Result<()> {
        let (one, two) = (self.tenancy.node(1), self.tenancy.node(2));
        self.tenancy.angel(0, &["tenant", "place", did, "--node", &one, "--node", &two, "--ack", ack])?;
        self.tenancy.until_copied(did).await
    }

    async fn copy_of(&self, did: &str) -> Result<Value> {
        Ok(self.tenancy.report_of(1, did).await?.unwrap_or_default())
    }

    /// Runs the parts that are wanted, one after another.
    async fn run(&self, wishes: Wishes, wanted: &BTreeSet<&str>) -> Result<()> {
        let (mut bare, mut missing) = (None, Vec::new());
        let writer = self.tenancy.sign_up("writer").await?;
        for part in PARTS.into_iter().filter(|part| wanted.contains(part)) {
            tell(&format!("{part}, at most {} s", wishes.limit.as_secs()));
            let measuring = async {
                match part {
                    "serving" => bare = Some(self.serving(&writer, wishes).await?),
                    "following" => self.following(&writer, wishes, bare).await?,
                    "waiting" => self.waiting(&writer, wishes).await?,
                    "copy" => copies::first(&self.tenancy, wishes).await?,
                    // Its own nodes, each on a host.
                    "lines" => copies::over_lines(wishes).await?,
                    "cut" => copies::cut(&self.client, wishes).await?,
                    "freeze" => moves::freezes(&self.tenancy, &self.client, wishes.rounds).await?,
                    // Its own nodes, which are killed, and believe sooner that one is gone.
                    _ => moves::failovers(wishes.rounds).await?,
                }
                Ok::<_, anyhow::Error>(())
            };
            let why = match tokio::time::timeout(wishes.limit, measuring).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => format!("not done within {} s (--limit)", wishes.limit.as_secs()),
            };
            println!("{part} broke off: {why}");
            missing.push(part);
        }
        anyhow::ensure!(missing.is_empty(), "without all figures: {}", missing.join(", "));
        Ok(())
    }

    /// What serving writes costs without copies, in microseconds of processor each.
    async fn serving(&self, account: &Session, wishes: Wishes) -> Result<u64> {
        let pid = self.tenancy.validators.daemon(0).pid();
        let span = Duration::from_secs(wishes.seconds);
        let bare = self.write_for(account, 16, wishes.rate, span, pid, None).await?;
        println!("without copies   {}", bare.words());
        Ok(bare.cpu_micros())
    }

    /// What following costs, and how far behind it is.
    async fn following(&self, account: &Session, wishes: Wishes, bare: Option<u64>) -> Result<()> {
        let pid = self.tenancy.validators.daemon(0).pid();
        let span = Duration::from_secs(wishes.seconds);
        tell("two nodes copy what there is");
        self.place(&account.did, "local").await?;
        let lag = Arc::new(Lag::default());
        let watching = self.watch(account, Arc::clone(&lag));
        let before = self.copies_cpu()?;
        let writing = self.write_for(account, 16, wishes.rate, span, pid, Some(&lag));
        let (copied, watched) = tokio::join!(
            async {
                let written = writing.await;
                lag.over.store(true, Ordering::Relaxed);
                written
            },
            watching
        );
        let copied = copied?;
        println!("with two copies  {}", copied.words());
        let each = self.copies_cpu()?.saturating_sub(before).as_micros() as u64 / (2 * copied.count.max(1));
        println!("a standby takes {each} µs of processor for each write");
        if let Some(bare) = bare {
            let more = copied.cpu_micros().saturating_sub(bare) * 100 / bare.max(1);
            println!("copies cost the primary {more} % of what serving the writes costs (two standbys)");
        }
        let mut lags = lag.found.lock().await.clone();
        lags.sort_unstable();
        let at = |part: usize| lags.get(lags.len().saturating_sub(1) * part / 100).copied().unwrap_or_default();
        println!("a standby is behind by: median {:?}, p99 {:?}, of {} writes", at(50), at(99), lags.len());
        watched
    }

    /// What both copies have used of the processor.
    fn copies_cpu(&self) -> Result<Duration> {
        COPIES.iter().map(|index| processor::of(self.tenancy.validators.daemon(*index).pid())).sum()
    }

    /// What waiting for a standby costs.
    async fn waiting(&self, account: &Session, wishes: Wishes) -> Result<()> {
        let pid = self.tenancy.validators.daemon(0).pid();
        let span = Duration::from_secs(wishes.seconds);
        for writers in [1, 16] {
            let mut results = Vec::new();
            for ack in ["local", "replicated"] {
                self.place(&account.did, ack).await?;
                // What the part before wrote is not waited for by those who write now.
                self.tenancy.until_equal_of(&account.did, &[0, 1, 2]).await?;
                let done = self.write_for(account, writers, u64::MAX, span, pid, None).await?;
                println!("{writers:2} writers, {ack:10} {}", done.words());
                results.push(done.per_second());
            }
            println!("{writers:2} writers: replicated is {} % of local", results[1] * 100 / results[0].max(1));
        }
        Ok(())
    }

    /// Looks how far a standby is, until it has everything that was written.
    async fn watch(&self, account: &Session, lag: Arc<Lag>) -> Result<()> {
        let (mut told, mut over) = (Instant::now(), None);
        loop {
            let left = lag.waiting.lock().await.len();
            if lag.over.load(Ordering::Relaxed) {
                let since = *over.get_or_insert_with(Instant::now);
                if left == 0 {
                    return Ok(());
                }
                anyhow::ensure!(since.elapsed() < DRAINED_WITHIN, "{left} writes have not come to a standby");
            }
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                tell(&format!("{left} writes are on their way to a standby"));
            }
            let report = self.copy_of(&account.did).await?;
            let (now, rev) = (Instant::now(), report["rev"].as_str().unwrap_or_default().to_owned());
            let mut waiting = lag.waiting.lock().await;
            while waiting.front().is_some_and(|(written, _)| *written <= rev) {
                let (_, at) = waiting.pop_front().context("there is one")?;
                lag.found.lock().await.push(now.saturating_duration_since(at));
            }
            drop(waiting);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn write_for(
        &self,
        account: &Session,
        writers: u64,
        rate: u64,
        span: Duration,
        pid: rustix::process::Pid,
        lag: Option<&Arc<Lag>>,
    ) -> Result<Written> {
        let (began, cpu) = (Instant::now(), processor::of(pid)?);
        let (written, slowest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let refused = Arc::new(AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..writers {
            let (client, url, account) =
                (self.client.clone(), self.url("com.atproto.repo.createRecord"), account.clone());
            let (written, slowest, lag) = (Arc::clone(&written), Arc::clone(&slowest), lag.cloned());
            let refused = Arc::clone(&refused);
            tasks.spawn(async move {
                let mut due = began;
                while began.elapsed() < span {
                    if rate != u64::MAX {
                        due += Duration::from_micros(1_000_000 * writers / rate);
                        tokio::time::sleep_until(due.into()).await;
                    }
                    let body = json!({ "repo": account.did, "collection": COLLECTION,
                        "record": { "$type": COLLECTION, "text": format!("a note of writer {writer}") } });
                    let asked = Instant::now();
                    let answer = client.post(&url).bearer_auth(&account.token).json(&body).send().await?;
                    let status = answer.status();
                    let answer: Value = answer.json().await?;
                    if !status.is_success() {
                        // On a busy machine a standby may be late: that is counted, and told with the figures.
                        let many = refused.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX;
                        anyhow::ensure!(!many, "refused {REFUSALS_MAX} times, at last with {status} {answer}");
                        continue;
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                    slowest.fetch_max(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
                    if let (Some(lag), Some(rev)) = (&lag, answer.pointer("/commit/rev").and_then(Value::as_str)) {
                        lag.waiting.lock().await.push_back((rev.to_owned(), Instant::now()));
                    }
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        let mut told = tokio::time::interval_at((began + TOLD_EVERY).into(), TOLD_EVERY);
        loop {
            tokio::select! {
                done = tasks.join_next() => match done {
                    Some(done) => done??,
                    None => break,
                },
                _ = told.tick() => tell(&format!("{} writes", written.load(Ordering::Relaxed))),
            }
        }
        Ok(Written {
            count: written.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            slowest: Duration::from_micros(slowest.load(Ordering::Relaxed)),
            took: began.elapsed(),
            cpu: processor::of(pid)?.saturating_sub(cpu),
        })
    }
}

#[derive(Default)]
struct Lag {
    waiting: Mutex<VecDeque<(String, Instant)>>,
    found: Mutex<Vec<Duration>>,
    over: AtomicBool,
}

struct Written {
    count: u64,
    refused: u64,
    slowest: Duration,
    took: Duration,
    cpu: Duration,
}

impl Written {
    fn per_second(&self) -> u64 {
        self.count * 1000 / (self.took.as_millis() as u64).max(1)
    }

    fn cpu_micros(&self) -> u64 {
        self.cpu.as_micros() as u64 / self.count.max(1)
    }

    fn words(&self) -> String {
        let (per_second, cpu) = (self.per_second(), self.cpu_micros());
        let refused = if self.refused == 0 { String::new() } else { format!(", {} REFUSED", self.refused) };
        format!("{per_second:6} writes/s, slowest {:?}, {cpu} µs of processor each{refused}", self.slowest)
    }
}
