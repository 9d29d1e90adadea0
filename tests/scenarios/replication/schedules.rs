//! Random schedules of what happens to machines: they are killed, stand still, are cut off, have no room left on their
//! disks and start with another time of day, while clients write, read and follow. Whatever the order: what was acknowledged is
//! there afterwards, once, nothing goes back in time, the copies are equal, and one node is primary; nobody reads what was never
//! written; and the official consumer believes what each host told, finds no gap that is not explained, and verifies the
//! repository. A failure prints the seed of its schedule.

mod followers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use angel_harness::tenancy::{COLLECTION, Caller, HOSTS, NODES, Tenancy};
use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::sync::watch;

use followers::Followers;

/// Records that are written again and again.
const REGISTERS: u64 = 4;

/// Failovers after which a campaign begins anew, with a new tenant: an identity changes ten times an hour at most, and one
/// schedule may bring three.
const EPOCHS_MAX: u64 = 7;

/// How long the writer waits for a session before it turns to the next node.
const LOG_IN: Duration = Duration::from_secs(2);

/// How long it waits after a node that gave none.
const PAUSE: Duration = Duration::from_millis(50);

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kill(usize),
    /// With the clock so many seconds from the truth.
    Start(usize, i64),
    Pause(usize),
    Continue(usize),
    Cut(usize),
    Mend(usize),
    Fill(usize),
    /// And start it, if it ended for want of room, as what watches over a service does.
    Free(usize),
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    Dead,
    Still,
    Apart,
    Full,
}

/// What the writer tried and what it was told.
#[derive(Debug, Default)]
struct Told {
    /// Records made once, by the number in their text: whether that was acknowledged.
    made: BTreeMap<u64, bool>,
    /// By record: the last number that was acknowledged, and the last that was tried.
    registers: BTreeMap<u64, (u64, u64)>,
}

/// Asks whoever is primary to write, over and over.
async fn keep_writing(
    mut callers: watch::Receiver<Vec<Caller>>,
    stop: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
    mut told: Told,
) -> Told {
    let mut tokens: BTreeMap<usize, String> = BTreeMap::new();
    let mut number = told.made.keys().last().map_or(0, |last| last + 1);
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        if callers.has_changed().unwrap_or(false) {
            tokens.clear();
        }
        let known = callers.borrow_and_update().clone();
        let caller = &known[at % known.len()];
        let token = match tokens.remove(&at) {
            Some(token) => Some(token),
            None => tokio::time::timeout(LOG_IN, caller.log_in()).await.ok().and_then(Result::ok),
        };
        let Some(token) = token else {
            at = (at + 1) % known.len();
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        tried.store(number, Ordering::SeqCst);
        if write_next(caller, &token, number, &mut told).await {
            tokens.insert(at, token);
        } else {
            at = (at + 1) % known.len();
        }
        number += 1;
    }
    told
}

/// Reads from whoever answers, over and over: never what nobody has written there. Answers how often something was read.
async fn keep_reading(
    mut callers: watch::Receiver<Vec<Caller>>,
    stop: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
) -> Result<u64> {
    let mut read = 0;
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let known = callers.borrow_and_update().clone();
        let (at, register) = (usize::try_from(round)? % known.len(), (round / known.len() as u64) % REGISTERS);
        let path = format!(
            "/xrpc/com.atproto.repo.getRecord?repo={}&collection={COLLECTION}&rkey=register-{register}",
            known[at].did()
        );
        let answer = tokio::time::timeout(LOG_IN, known[at].get(&path)).await;
        if let Ok(Ok((200, record))) = answer {
            let text = record.pointer("/value/text").and_then(|text| text.as_str());
            let number: u64 = text.context("a text")?.parse()?;
            let fits = number <= tried.load(Ordering::SeqCst) && (number / 2) % REGISTERS == register;
            ensure!(fits, "node {at} shows {number} as record {register}");
            read += 1;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(read)
}

/// One new record, or the next version of one that is there.
async fn write_next(caller: &Caller, token: &str, number: u64, told: &mut Told) -> bool {
    let text = number.to_string();
    let record = json!({ "$type": COLLECTION, "text": text });
    let made = number.is_multiple_of(2);
    let (method, body) = if made {
        // The node chooses the name: a write that is replayed under another name would show.
        told.made.insert(number, false);
        ("createRecord", json!({ "repo": caller.did(), "collection": COLLECTION, "record": record }))
    } else {
        let register = (number / 2) % REGISTERS;
        told.registers.entry(register).or_default().1 = number;
        let rkey = format!("register-{register}");
        ("putRecord", json!({ "repo": caller.did(), "collection": COLLECTION, "rkey": rkey, "record": record }))
    };
    let answer = caller.call(&format!("com.atproto.repo.{method}"), Some(token), &body).await;
    let acknowledged = matches!(answer, Ok((200, _)));
    if acknowledged && made {
        told.made.insert(number, true);
    } else if acknowledged {
        told.registers.entry((number / 2) % REGISTERS).or_default().0 = number;
    }
    acknowledged
}

struct Campaign {
    followers: Option<Followers>,
    tenancy: Tenancy,
    states: [State; NODES],
    callers: watch::Sender<Vec<Caller>>,
    /// The number of the newest write that was tried.
    tried: Arc<AtomicU64>,
}

impl Campaign {
    async fn start() -> Result<Self> {
        let tenancy = Tenancy::for_anything().await?;
        tenancy.place(true).await?;
        let callers = HOSTS.iter().map(|index| tenancy.caller(*index)).collect();
        let (states, callers, tried) = ([State::Well; NODES], watch::Sender::new(callers), Arc::default());
        Ok(Self { followers: Followers::start(&tenancy)?, tenancy, states, callers, tried })
    }

    /// What may happen next. Never more than two nodes are unwell: with three, only waiting is left to see.
    fn draw(&self, rng: &mut impl Rng) -> Step {
        let unwell = self.states.iter().filter(|state| **state != State::Well).count();
        let index = rng.random_range(0..NODES);
        match self.states[index] {
            State::Dead => Step::Start(index, if rng.random_ratio(1, 3) { rng.random_range(-60..=60) } else { 0 }),
            State::Still => Step::Continue(index),
            State::Apart => Step::Mend(index),
            State::Full => Step::Free(index),
            State::Well if unwell < 2 => match rng.random_range(0..4) {
                2 if self.tenancy.can_be_cut() => Step::Cut(index),
                3 if self.tenancy.can_be_filled() => Step::Fill(index),
                0 | 2 => Step::Kill(index),
                _ => Step::Pause(index),
            },
            State::Well => self.draw(rng),
        }
    }

    fn perform(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Kill(index) => {
                self.tenancy.validators.kill(index)?;
                self.states[index] = State::Dead;
            }
            Step::Start(index, seconds) => {
                self.tenancy.validators.set_for(index, "ANGEL_CLOCK_OFFSET", &seconds.to_string());
                self.tenancy.validators.start(index)?;
                self.states[index] = State::Well;
                if HOSTS.contains(&index) {
                    let caller = self.tenancy.caller(index);
                    self.callers.send_modify(|callers| callers[index] = caller);
                }
            }
            Step::Pause(index) => {
                self.tenancy.pause(index, true)?;
                self.states[index] = State::Still;
            }
            Step::Continue(index) => {
                self.tenancy.pause(index, false)?;
                self.states[index] = State::Well;
            }
            Step::Cut(index) => {
                self.tenancy.cut(index, true)?;
                self.states[index] = State::Apart;
            }
            Step::Mend(index) => {
                self.tenancy.cut(index, false)?;
                self.states[index] = State::Well;
            }
            Step::Fill(index) => {
                self.tenancy.fill(index, true)?;
                self.states[index] = State::Full;
            }
            Step::Free(index) => {
                self.tenancy.fill(index, false)?;
                if self.tenancy.validators.bury(index) {
                    self.perform(Step::Start(index, 0))?;
                }
                self.states[index] = State::Well;
            }
        }
        Ok(())
    }

    fn make_well(&mut self) -> Result<()> {
        for index in 0..NODES {
            match self.states[index] {
                State::Well => {}
                State::Dead => self.perform(Step::Start(index, 0))?,
                State::Still => self.perform(Step::Continue(index))?,
                State::Apart => self.perform(Step::Mend(index))?,
                State::Full => self.perform(Step::Free(index))?,
            }
        }
        Ok(())
    }

    /// One schedule to its end. What the writer was told so far goes in and comes out.
    async fn run(&mut self, seed: u64, told: Told) -> Result<Told> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let stop = Arc::new(AtomicBool::new(false));
        let (callers, tried) = (&self.callers, &self.tried);
        let writer = tokio::spawn(keep_writing(callers.subscribe(), Arc::clone(&stop), Arc::clone(tried), told));
        let reader = tokio::spawn(keep_reading(callers.subscribe(), Arc::clone(&stop), Arc::clone(tried)));
        let mut schedule = Vec::new();
        let mut performed = Ok(());
        for _ in 0..rng.random_range(3..=7) {
            let (wait, step) = (Duration::from_millis(rng.random_range(50..4_000)), self.draw(&mut rng));
            schedule.push((wait.as_millis(), step));
            // Time is what a schedule is made of.
            tokio::time::sleep(wait).await;
            performed = self.perform(step);
            if performed.is_err() {
                break;
            }
        }
        println!("seed {seed}: {schedule:?}");
        performed?;
        self.make_well()?;
        let primary = self.tenancy.until_primary(&HOSTS).await;
        stop.store(true, Ordering::Relaxed);
        let told = writer.await?;
        println!("  {} reads answered", reader.await??);
        self.check(primary?, &told).await.with_context(|| self.logs())?;
        Ok(told)
    }

    async fn check(&self, primary: usize, told: &Told) -> Result<()> {
        for index in HOSTS {
            let role = if index == primary { "primary" } else { "standby" };
            self.tenancy.until_reported("each in its role", index, |report| report["role"] == role).await?;
        }
        self.tenancy.until_equal(&HOSTS).await?;
        let mut shown = BTreeSet::new();
        let mut registers = BTreeMap::new();
        for (name, text) in self.tenancy.caller(primary).records().await? {
            let number: u64 = text.parse().context("a number")?;
            match name.strip_prefix("register-") {
                Some(register) => drop(registers.insert(register.parse::<u64>()?, number)),
                None => ensure!(shown.insert(number), "write {number} is there twice"),
            }
        }
        let acknowledged = told.made.iter().filter(|(_, acknowledged)| **acknowledged).map(|(number, _)| number);
        let lost: Vec<_> = acknowledged.clone().filter(|number| !shown.contains(number)).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for number in &shown {
            ensure!(told.made.contains_key(number), "write {number} was never asked for");
        }
        for (register, (acknowledged, tried)) in &told.registers {
            let shown = registers.get(register).copied().unwrap_or(0);
            let fits =
                shown >= *acknowledged && shown <= *tried && (shown == 0 || (shown / 2) % REGISTERS == *register);
            ensure!(fits, "record {register} shows {shown}; acknowledged was {acknowledged}, tried {tried}");
        }
        println!("  node {primary} is primary; {} writes acknowledged, {} shown", acknowledged.count(), shown.len());
        Ok(())
    }

    async fn epoch(&self) -> Result<u64> {
        let primary = self.tenancy.until_primary(&HOSTS).await?;
        let report = self.tenancy.report(primary).await?.context("a report")?;
        report["epoch"].as_u64().context("an epoch")
    }

    fn logs(&self) -> String {
        let log = |index: usize| format!("node {index}:\n{}", self.tenancy.validators.daemon(index).log().join("\n"));
        self.tenancy.validators.running().map(log).collect::<Vec<_>>().join("\n\n")
    }

    /// What the official consumer found, and every node's files hold what they should, once it is stopped.
    async fn verify(&mut self) -> Result<()> {
        let primary = self.tenancy.until_primary(&HOSTS).await?;
        let report = self.tenancy.report(primary).await?.context("a report")?;
        if let Some(followers) = self.followers.take() {
            let rev = report["rev"].as_str().context("a revision")?;
            tokio::task::block_in_place(|| followers.stop(primary, rev)).with_context(|| self.logs())?;
        }
        for index in 0..NODES {
            self.tenancy.validators.stop(index)?;
            let dir = self.tenancy.validators.dir(index);
            let said = angel_harness::binary::verb(&dir, &["storage", "verify"])?;
            if !said.status.success() {
                bail!("node {index}: {}", String::from_utf8_lossy(&said.stderr));
            }
        }
        Ok(())
    }
}

/// More in a campaign: `ANGEL_SOAK_ROUNDS`, from `ANGEL_SOAK_SEED` on.
#[tokio::test(flavor = "multi_thread")]
async fn random_schedules_lose_nothing() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("ANGEL_SOAK_ROUNDS").unwrap_or(1);
    let first = number("ANGEL_SOAK_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let mut campaign = Campaign::start().await?;
    let mut told = Told::default();
    for seed in first..first + rounds {
        told = campaign.run(seed, told).await.with_context(|| format!("seed {seed}, campaign from {first}"))?;
        if seed + 1 < first + rounds && campaign.epoch().await? >= EPOCHS_MAX {
            campaign.verify().await.with_context(|| format!("seed {seed}, campaign from {first}"))?;
            (campaign, told) = (Campaign::start().await?, Told::default());
        }
    }
    campaign.verify().await.with_context(|| format!("campaign from {first}"))
}
