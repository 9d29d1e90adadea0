//! How long a tenant is not written to when its primary changes: because the machine is gone, or because the tenant moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use angel_harness::tenancy::{COLLECTION, HOSTS, SILENCE, Session, Tenancy};
use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::{Value, json};

/// How often a client tries again that finds no primary.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How long a failover may take before the part breaks off.
const FAILOVER_WITHIN: Duration = Duration::from_secs(120);

/// Between two writes of the client that a tenant moves under: a hundred a second.
const WRITE_EVERY: Duration = Duration::from_millis(10);

/// For how long it writes before the move begins, and behind it.
const WRITES_FOR: Duration = Duration::from_secs(1);

/// Kills the primary of a tenant with two copies, again and again, and measures until a write is accepted elsewhere. A
/// primary that is silent for [`SILENCE`] counts as gone here; the kill comes at most one confirmation after the last that
/// was heard of it.
pub(crate) async fn failovers(rounds: u64) -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    tenancy.place(true).await?;
    let (mut primary, mut took) = (0, Vec::new());
    for round in 0..rounds {
        super::tell(&format!("failover {}: node {primary} is killed", round + 1));
        tenancy.validators.kill(primary)?;
        let killed = Instant::now();
        let living: Vec<_> = HOSTS.into_iter().filter(|index| *index != primary).collect();
        let next = loop {
            anyhow::ensure!(killed.elapsed() < FAILOVER_WITHIN, "nobody has taken over");
            if let Some(next) = write_somewhere(&tenancy, &living, round).await {
                break next;
            }
            tokio::time::sleep(TRY_EVERY).await;
        };
        took.push(killed.elapsed());
        tenancy.validators.start(primary)?;
        tenancy.until_equal(&HOSTS).await?;
        // Before that nobody could follow the new one.
        let both = |report: &Value| report["heirs"].as_array().is_some_and(|heirs| heirs.len() == 2);
        tenancy.until_reported("either of the others could follow", next, both).await?;
        primary = next;
    }
    took.sort_unstable();
    let beyond = took.last().copied().unwrap_or_default().saturating_sub(SILENCE);
    println!(
        "failover, from SIGKILL to the first accepted write: {took:?}; at most {beyond:?} beyond the silence of {SILENCE:?}"
    );
    Ok(())
}

/// Writes as a client does that asks all who may have taken over; answers who took it.
async fn write_somewhere(tenancy: &Tenancy, living: &[usize], round: u64) -> Option<usize> {
    for index in living {
        let report = tenancy.report(*index).await.ok().flatten().unwrap_or_default();
        if report["role"] != "primary" || report["writable"] != true {
            continue;
        }
        let caller = tenancy.caller(*index);
        let Ok(token) = caller.log_in().await else { continue };
        if matches!(caller.write(&token, &format!("after-{round}"), "written").await, Ok((200, _))) {
            return Some(*index);
        }
    }
    None
}

/// Moves tenants from node 0 to node 1 while a client writes to each, and measures for how long writes waited.
pub(crate) async fn freezes(tenancy: &Tenancy, client: &Client, rounds: u64) -> Result<()> {
    let (mut froze, mut slowest) = (Vec::new(), Vec::new());
    let (mut written, mut refused) = (0, 0);
    for round in 0..rounds {
        let account = tenancy.sign_up(&format!("mover-{round}")).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let url = format!("{}/xrpc/com.atproto.repo.createRecord", tenancy.validators.daemon(0).fact("httpUrl"));
        let writer = tokio::spawn(write_on(client.clone(), url, account.clone(), Arc::clone(&stop)));
        tokio::time::sleep(WRITES_FOR).await;
        super::tell(&format!("move {} of {rounds}", round + 1));
        let to = tenancy.node(1);
        let moved =
            tokio::task::block_in_place(|| tenancy.angel(0, &["tenant", "migrate", &account.did, "--to", &to]))?;
        tokio::time::sleep(WRITES_FOR).await;
        stop.store(true, Ordering::Relaxed);
        let all = writer.await??;
        anyhow::ensure!(moved["status"] == "completed", "{moved}");
        froze.push(Duration::from_millis(moved["writesWaitedMs"].as_u64().context("how long writes waited")?));
        slowest.push(all.slowest);
        written += all.written;
        refused += all.refused;
    }
    froze.sort_unstable();
    slowest.sort_unstable();
    println!(
        "{rounds} moves under {} writes/s: writes waited {froze:?} while frozen; the slowest write of each took {slowest:?}; \
         {written} written, {refused} refused",
        Duration::from_secs(1).as_millis() / WRITE_EVERY.as_millis()
    );
    Ok(())
}

#[derive(Default)]
struct All {
    written: u64,
    refused: u64,
    slowest: Duration,
}

/// Writes to the address that the tenant had first, one record after another.
async fn write_on(client: Client, url: String, account: Session, stop: Arc<AtomicBool>) -> Result<All> {
    let mut tick = tokio::time::interval(WRITE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut all = All::default();
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let body = json!({ "repo": account.did, "collection": COLLECTION,
            "record": { "$type": COLLECTION, "text": "written while it moves" } });
        let asked = Instant::now();
        let answer = client.post(&url).bearer_auth(&account.token).json(&body).send().await?;
        let accepted = answer.status().is_success();
        answer.bytes().await?;
        all.slowest = all.slowest.max(asked.elapsed());
        if accepted {
            all.written += 1;
        } else {
            all.refused += 1;
        }
    }
    Ok(all)
}
