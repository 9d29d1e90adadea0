//! What deciding costs: rates, latencies, processor time for each transfer and node, catching up, idling.
//! `cargo bench -p angel-tests --bench ledger [-- alone four dead catchup idle thirteen]`, with `fjall` for that engine
//! under the stores.
//!
//! Validators are processes of the release binary on this machine, the load comes over HTTP from this one, so all of them
//! and the load share its cores: the processor time of each daemon is printed beside every rate. Malachite's makers publish
//! 780 ms to finality with 100 validators over the world and about 50,000 transactions/s of empty payload; CometBFT v1
//! 400/s with 175 validators on 200 rented machines. Those are other networks; what compares is the cost of one transfer.

use std::time::{Duration, Instant};

use angel_harness::processor;
use angel_harness::validators::{Payment, Validators};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use futures::stream::{self, StreamExt};

/// Wallets, and as many requests of the load under way at once: each wallet pays one after another.
const WALLETS: usize = 512;
const PATIENCE: Duration = Duration::from_secs(120);

/// Payments at half of the rate that saturates, by wallets whose payments are followed to their confirmation.
const HALF: usize = 4_000;

/// One of so many of these payments is followed, by asking for it this often. Asking is load too, so it is kept small beside
/// the payments themselves.
const FOLLOWED: usize = 25;
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How long the light load lasts, in payments one after another.
const LIGHT: u64 = 100;

/// The engine that is not the usual one.
const FJALL: &str = "fjall";

/// How long an idle network is watched.
const IDLE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let is_part = |argument: &String| !argument.starts_with('-') && argument != FJALL;
    let which: Vec<String> = std::env::args().skip(1).filter(is_part).collect();
    let wanted = |name: &str| which.is_empty() || which.iter().any(|which| which == name);
    if wanted("alone") {
        let mut alone = Load::start(1)?;
        alone.light("alone, light load").await?;
        let rate = alone.saturate("alone, saturated", 40_000).await?;
        alone.half("alone, half of that", rate / 2.0).await?;
    }
    if wanted("four") || wanted("dead") {
        let mut four = Load::start(4)?;
        if wanted("four") {
            four.light("four, light load").await?;
            let rate = four.saturate("four, saturated", 20_000).await?;
            four.half("four, half of that", rate / 2.0).await?;
        }
        if wanted("dead") {
            four.validators.kill(3)?;
            four.light("one of four dead, light load").await?;
            four.saturate("one of four dead, saturated", 10_000).await?;
        }
    }
    if wanted("catchup") {
        catch_up().await?;
    }
    if wanted("idle") {
        idle().await?;
    }
    if wanted("thirteen") {
        thirteen().await?;
    }
    Ok(())
}

/// Validators with a load.
struct Load {
    validators: Validators,
    /// The next number of each wallet.
    next: Vec<u64>,
}

impl Load {
    fn start(count: usize) -> Result<Self> {
        let mut validators = Validators::found(count, WALLETS)?;
        if std::env::args().any(|argument| argument == FJALL) {
            validators.set("ANGEL_STORAGE_ENGINE", FJALL);
        }
        for index in 0..count {
            validators.start(index)?;
        }
        Ok(Self { validators, next: vec![0; WALLETS] })
    }

    fn payment(&mut self, wallet: usize) -> Payment {
        let sequence = self.next[wallet];
        self.next[wallet] += 1;
        self.validators.payment(wallet, (wallet + 1) % WALLETS, sequence, 1)
    }

    /// Processor time of each daemon that runs.
    fn processor(&self) -> Result<Vec<Duration>> {
        self.validators.running().map(|index| processor::of(self.validators.daemon(index).pid())).collect()
    }

    /// One payment after another: how long from handing it in until it is confirmed, asked for every millisecond.
    async fn light(&mut self, what: &str) -> Result<()> {
        let mut took = Vec::new();
        for place in 0..LIGHT {
            let payment = self.payment(usize::try_from(place)? % WALLETS);
            let began = Instant::now();
            self.validators.hand_in(0, &payment).await?;
            while self.validators.status_of(0, &payment).await?["status"] != "confirmed" {
                ensure!(began.elapsed() < PATIENCE, "a payment was not decided");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took.push(began.elapsed());
        }
        told(&format!("{what}, until confirmed"), took);
        Ok(())
    }

    /// Payments at a steady rate: how long from the moment at which each is due until it is taken, and until it is
    /// confirmed. A few are followed.
    async fn half(&mut self, what: &str, rate: f64) -> Result<()> {
        let payments: Vec<_> = (0..HALF).map(|place| self.payment(place % WALLETS)).collect();
        let nodes: Vec<_> = self.validators.running().collect();
        let validators = &self.validators;
        let first = self.validators.height(nodes[0]).await?;
        let began = Instant::now();
        let nodes = &nodes;
        let each = payments.iter().enumerate().map(|(place, payment)| async move {
            let due = began + Duration::from_secs_f64(place as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            // A wallet's payments go to one node.
            let node = nodes[place % WALLETS % nodes.len()];
            while validators.hand_in(node, payment).await?.0 != 202 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if place % FOLLOWED != 0 {
                return Ok(None);
            }
            let taken = due.elapsed();
            while validators.status_of(node, payment).await?["status"] != "confirmed" {
                ensure!(due.elapsed() < PATIENCE, "a payment was not decided");
                tokio::time::sleep(ASK_EVERY).await;
            }
            Ok(Some((taken, due.elapsed())))
        });
        let took: Vec<Result<Option<(Duration, Duration)>>> = stream::iter(each).buffer_unordered(HALF).collect().await;
        let (taken, took) = took.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().unzip();
        for payment in payments.iter().rev().take(WALLETS) {
            validators.decided(nodes[0], payment).await?;
        }
        let heights = self.validators.height(nodes[0]).await? - first;
        told(&format!("{what}, until taken"), taken);
        told(&format!("{what} ({rate:.0} transfers/s, {heights} heights), until confirmed"), took);
        Ok(())
    }

    /// As many payments as go through: the rate at which they are confirmed, and what each costs each node.
    async fn saturate(&mut self, what: &str, count: usize) -> Result<f64> {
        let payments: Vec<_> = (0..count).map(|place| self.payment(place % WALLETS)).collect();
        let before = self.processor()?;
        let first = self.validators.height(0).await?;
        let (began, own) = (Instant::now(), processor::time());
        let nodes: Vec<_> = self.validators.running().collect();
        let validators = &self.validators;
        // A wallet's payments go to one node, in their order.
        let by_wallet = (0..WALLETS).map(|wallet| {
            let mine: Vec<_> = payments.iter().skip(wallet).step_by(WALLETS).collect();
            let node = nodes[wallet % nodes.len()];
            async move {
                for payment in mine {
                    loop {
                        let (status, _) = validators.hand_in(node, payment).await?;
                        match status {
                            202 => break,
                            429 | 503 => tokio::time::sleep(Duration::from_millis(20)).await,
                            other => anyhow::bail!("a payment was refused with {other}"),
                        }
                    }
                }
                Ok(())
            }
        });
        let outcomes: Vec<Result<()>> = stream::iter(by_wallet).buffer_unordered(WALLETS).collect().await;
        outcomes.into_iter().collect::<Result<Vec<_>>>()?;
        let handed_in = began.elapsed();
        for payment in payments.iter().rev().take(WALLETS) {
            validators.decided(nodes[0], payment).await?;
        }
        let took = began.elapsed();
        let load = processor::time().saturating_sub(own);
        let spent: Duration = self.processor()?.iter().zip(&before).map(|(after, before)| *after - *before).sum();
        let heights = self.validators.height(nodes[0]).await? - first;
        let each = spent.as_secs_f64() * 1e6 / (count * nodes.len()) as f64;
        println!(
            "{what}: {:.0} transfers/s ({count} in {:.1} s, {heights} heights; handed in after {:.1} s), {each:.0} µs of \
             processor time for each transfer and node; the load itself took {:.1} s",
            count as f64 / took.as_secs_f64(),
            took.as_secs_f64(),
            handed_in.as_secs_f64(),
            load.as_secs_f64()
        );
        Ok(count as f64 / took.as_secs_f64())
    }
}

fn told(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!("{what}: p50 {:.1} ms, p99 {:.1} ms", at(50), at(99));
}

/// A node that joins when many heights are decided.
async fn catch_up() -> Result<()> {
    let mut load = Load::start(4)?;
    let began = Instant::now();
    load.saturate("making a log to catch up on", 10_000).await?;
    let making = began.elapsed();
    let height = load.validators.height(0).await?;
    let began = Instant::now();
    load.validators.start(4)?;
    until("the newcomer has caught up", PATIENCE, async || {
        Ok((load.validators.height(4).await? >= height).then_some(()))
    })
    .await?;
    let took = began.elapsed();
    println!(
        "catching up on {height} heights of 10,000 transfers: {:.1} s with its start, {:.1} times as fast as they were made",
        took.as_secs_f64(),
        making.as_secs_f64() / took.as_secs_f64()
    );
    Ok(())
}

/// Four validators with nothing to decide.
async fn idle() -> Result<()> {
    let mut load = Load::start(4)?;
    load.light("before idling").await?;
    // The first checkpoint gives each validator an account of its own, which is decided too.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let height = load.validators.agree().await?;
    let before = load.processor()?;
    tokio::time::sleep(IDLE).await;
    for (index, (after, before)) in load.processor()?.iter().zip(&before).enumerate() {
        let share = (*after - *before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        println!("idle validator {index}: {share:.2} % of a core");
    }
    let now = load.validators.height(0).await.context("it answers")?;
    ensure!(now == height, "an idle network decided {} heights", now - height);
    Ok(())
}

/// Thirteen validators, each a process of its own: they go on deciding.
async fn thirteen() -> Result<()> {
    let mut thirteen = Load::start(13)?;
    thirteen.light("thirteen, light load").await?;
    let before = thirteen.processor()?;
    thirteen.saturate("thirteen, saturated", 2_000).await?;
    let height = thirteen.validators.agree().await?;
    let spent: Duration = thirteen.processor()?.iter().zip(&before).map(|(after, before)| *after - *before).sum();
    println!("thirteen agree on {height} heights; together they took {:.1} s of processor time", spent.as_secs_f64());
    Ok(())
}
