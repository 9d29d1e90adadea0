//! How soon nodes find each other, and what an idle one costs:
//! `cargo bench -p angel-tests --bench nodes [-- discovery idle]`.
//!
//! Prints, one figure a line: seconds until 64 nodes in one process all list each other online, counted from the start of
//! the last (target: 10 s); the time the real binary takes to start; and with 8 peers its resident memory and the share
//! of one core it uses while nothing happens.

use std::time::{Duration, Instant};

use angel_harness::binary::{Daemon, Launch};
use angel_harness::peers::Sight;
use angel_harness::processor;
use angel_harness::village::Village;
use angel_harness::wait::until;
use anyhow::{Context, Result};
use reqwest::Client;

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NODES: usize = 64;
const PEERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the idle node is watched: two heartbeat intervals.
const IDLE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let which: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| which.is_empty() || which.iter().any(|which| which == name);
    if wanted("discovery") {
        discovery().await?;
    }
    if wanted("idle") {
        idle().await?;
    }
    Ok(())
}

async fn discovery() -> Result<()> {
    let mut village = Village::new()?;
    let began = Instant::now();
    for _ in 0..NODES {
        village.settle().await?;
    }
    println!("{NODES} nodes in one process started: {:.1} s", began.elapsed().as_secs_f64());
    let took = village.until_all_see_all(PATIENCE).await?;
    println!("{NODES} nodes all see all after the last start: {:.1} s (target 10 s)", took.as_secs_f64());
    // Both processors are busy all the while: this is what tells a quiet machine from a busy one.
    println!("processor time until then: {:.1} s", processor::time().as_secs_f64());
    village.stop().await
}

async fn idle() -> Result<()> {
    let client = Client::new();
    let mut village = Village::new()?;
    for _ in 0..PEERS {
        village.settle().await?;
    }
    let dir = tempfile::tempdir()?;
    let daemon = Launch::in_dir(dir.path());
    let daemon =
        daemon.env("ANGEL_NETWORK_BOOTSTRAP", village.bootstrap().context("there is a first node")?).start()?;
    println!("one binary ready after: {} ms", daemon.started_within().as_millis());
    let all = async || {
        let sight = Sight::of(&client, &daemon).await?;
        Ok((sight.nodes().iter().filter(|node| node["status"] == "online").count() == PEERS).then_some(()))
    };
    until("it sees all", PATIENCE, all).await?;
    let cpu_before = metric(&client, &daemon, "process_cpu_seconds_total").await?;
    tokio::time::sleep(IDLE).await;
    let cpu = metric(&client, &daemon, "process_cpu_seconds_total").await? - cpu_before;
    println!("idle with {PEERS} peers: {:.2} % of a core", cpu / IDLE.as_secs_f64() * 100.0);
    let resident = metric(&client, &daemon, "process_resident_memory_bytes").await?;
    println!("idle with {PEERS} peers: {:.1} MiB resident", resident / f64::from(1 << 20));
    daemon.stop()?;
    village.stop().await
}

async fn metric(client: &Client, daemon: &Daemon, name: &str) -> Result<f64> {
    let page = client.get(format!("{}/metrics", daemon.fact("httpUrl"))).send().await?.text().await?;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("{name} is not among the metrics"))?.parse()?)
}
