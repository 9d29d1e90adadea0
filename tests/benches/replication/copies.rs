//! The first copy of a tenant with many records and files: how long it takes, and what of it comes again after a cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use angel_harness::hosts::Host;
use angel_harness::tenancy::{COLLECTION, Session, Tenancy};
use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method};
use serde_json::json;

use super::{COPIES, TOLD_EVERY, Wishes, tell};

/// How often it is looked how far a copy is that is to be cut in the middle.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The node whose copy is cut.
const CUT: usize = 1;

/// Copies much to two nodes at once, and as many bytes plainly.
pub(crate) async fn first(tenancy: &Tenancy, wishes: Wishes) -> Result<()> {
    let (bytes, took) = copy(tenancy, wishes).await?;
    // Two standbys copy at once, so as many bytes go twice in the plain copy, too.
    let plain = tokio::task::spawn_blocking(move || plain_copy(None, None, Ipv4Addr::LOCALHOST, bytes * 2)).await??;
    report("", bytes, took, plain);
    Ok(())
}

/// The same between hosts with lines that carry `--line` megabits a second.
pub(crate) async fn over_lines(wishes: Wishes) -> Result<()> {
    let Some(tenancy) = Tenancy::on_lines(wishes.line).await? else { return Ok(()) };
    let (bytes, took) = copy(&tenancy, wishes).await?;
    // Both standbys at once, over the line of the primary.
    let began = Instant::now();
    let copies = COPIES.map(|to| {
        let (from, to) = (tenancy.host(0).cloned(), tenancy.host(to).cloned());
        let address = to.as_ref().map_or(Ipv4Addr::LOCALHOST, Host::address);
        tokio::task::spawn_blocking(move || plain_copy(from, to, address, bytes))
    });
    for copy in copies {
        copy.await??;
    }
    report(&format!(" over lines of {} Mbit/s", wishes.line), bytes, took, began.elapsed());
    Ok(())
}

fn report(over: &str, bytes: u64, took: Duration, plain: Duration) {
    println!(
        "the first copies of {bytes} bytes{over}: {took:?}; a plain copy {plain:?}, {} %",
        took.as_millis() * 100 / plain.as_millis().max(1)
    );
}

/// Makes an account with much, and copies it to two nodes at once; answers how many bytes each has, and how long that took.
async fn copy(tenancy: &Tenancy, wishes: Wishes) -> Result<(u64, Duration)> {
    let account = store(tenancy, wishes).await?;
    let began = Instant::now();
    place(tenancy, &account.did).await?;
    let copied = tenancy.until_copied(&account.did);
    tokio::pin!(copied);
    let mut told = tokio::time::interval(TOLD_EVERY);
    loop {
        tokio::select! {
            copied = &mut copied => break copied?,
            _ = told.tick() => {
                let copy = tenancy.report_of(CUT, &account.did).await?.unwrap_or_default();
                tell(&format!("copying {}", copy["copying"]));
            }
        }
    }
    let took = began.elapsed();
    Ok((bytes_of(tenancy, CUT, &account.did).await?, took))
}

/// Kills a standby in the middle of its first copy, and counts what the primary sends beyond what the copies have.
pub(crate) async fn cut(client: &Client, wishes: Wishes) -> Result<()> {
    let mut tenancy = Tenancy::under_load().await?;
    let account = store(&tenancy, wishes).await?;
    place(&tenancy, &account.did).await?;
    let half = wishes.megabytes * 1_000_000 / 2;
    let came = loop {
        let report = tenancy.report_of(CUT, &account.did).await?.unwrap_or_default();
        ensure!(!report["complete"].is_u64(), "the copy was whole before it could be cut: more megabytes are needed");
        let copying = &report["copying"];
        let came = copying["bytes"].as_u64().filter(|_| copying["what"] == "files").unwrap_or(0);
        if came >= half {
            break came;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    tenancy.validators.kill(CUT)?;
    tell(&format!("a standby was killed when {came} bytes of files had come"));
    tenancy.validators.start(CUT)?;
    tenancy.until_copied(&account.did).await?;
    tenancy.until_equal_of(&account.did, &[0, 1, 2]).await?;
    let (one, two) = (bytes_of(&tenancy, 1, &account.did).await?, bytes_of(&tenancy, 2, &account.did).await?);
    let sent = sent(&tenancy, client).await?;
    // Of the one that is not cut nothing comes again; both have the same.
    let again = sent.saturating_sub(2 * two);
    println!(
        "a copy of {two} bytes ({one} as counted where it was cut), killed after {came}: {again} bytes came again, {}.{:02} %",
        again * 100 / two.max(1),
        again * 10_000 / two.max(1) % 100
    );
    Ok(())
}

async fn place(tenancy: &Tenancy, did: &str) -> Result<()> {
    let nodes = COPIES.map(|index| tenancy.node(index));
    let body = json!({ "account": did, "wish": { "nodes": nodes, "waitsForStandby": false } });
    let (status, answer) = tenancy.operate(0, Method::POST, "/admin/replicas/place", Some(&body)).await?;
    ensure!(status == 200, "not placed: {status} {answer}");
    Ok(())
}

async fn bytes_of(tenancy: &Tenancy, index: usize, did: &str) -> Result<u64> {
    let report = tenancy.report_of(index, did).await?.context("it has a copy")?;
    report["bytes"].as_u64().with_context(|| format!("a count in {report}"))
}

/// Bytes of repositories and files that the primary has sent.
async fn sent(tenancy: &Tenancy, client: &Client) -> Result<u64> {
    let url = format!("{}/metrics", tenancy.validators.daemon(0).fact("httpUrl"));
    let page = client.get(url).send().await?.text().await?;
    let counted = page.lines().filter(|line| line.starts_with("angel_copied_bytes_total{"));
    let counts = counted.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()));
    counts.sum::<Option<u64>>().context("counts of what was sent")
}

/// Makes an account with many records and files on the first node.
async fn store(tenancy: &Tenancy, wishes: Wishes) -> Result<Session> {
    let account = tenancy.sign_up("gallery").await?;
    let caller = tenancy.caller(0);
    let file = 10_000_000_u64.min(wishes.megabytes.max(1) * 1_000_000);
    let mut embeds = Vec::new();
    let storing = Instant::now();
    let mut told = storing;
    for number in 0..(wishes.megabytes * 1_000_000) / file {
        let mut bytes = vec![7_u8; usize::try_from(file)?];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        embeds.push(caller.upload(&account.token, bytes).await?);
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            tell(&format!("{} MB of files are stored", (number + 1) * file / 1_000_000));
        }
    }
    println!("storing {} MB of files: {:?}", wishes.megabytes, storing.elapsed());
    let mut number = 0;
    while number < wishes.records {
        let writes: Vec<_> = (number..wishes.records.min(number + 200))
            .map(|at| {
                let mut value = json!({ "$type": COLLECTION, "text": format!("record {at}") });
                if let Some(blob) = usize::try_from(at).ok().and_then(|at| embeds.get(at)) {
                    value["file"] = blob.clone();
                }
                json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": COLLECTION, "value": value })
            })
            .collect();
        number += writes.len() as u64;
        let body = json!({ "repo": account.did, "writes": writes });
        let (status, answer) = caller.call("com.atproto.repo.applyWrites", Some(&account.token), &body).await?;
        ensure!(status == 200, "not written: {status} {answer}");
    }
    println!("storing {} records with them: {:?} in all", wishes.records, storing.elapsed());
    Ok(account)
}

/// Sends as many bytes over a socket to a file that is flushed in the end: from one host to another with this address, or
/// here.
fn plain_copy(from: Option<Host>, to: Option<Host>, address: Ipv4Addr, bytes: u64) -> Result<Duration> {
    let (tell, told) = mpsc::channel();
    // Threads of their own, for one that entered a host stays there.
    let receiving = std::thread::spawn(move || {
        to.map_or(Ok(()), |host| host.enter())?;
        let listener = TcpListener::bind((address, 0))?;
        tell.send(listener.local_addr()?)?;
        let (mut from, _) = listener.accept()?;
        let mut file = tempfile::tempfile()?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            match from.read(&mut piece)? {
                0 => break,
                read => file.write_all(&piece[..read])?,
            }
        }
        anyhow::Ok(file.sync_data()?)
    });
    let sending = std::thread::spawn(move || {
        from.map_or(Ok(()), |host| host.enter())?;
        let began = Instant::now();
        let mut to = TcpStream::connect(told.recv()?)?;
        let piece = vec![7; 256 * 1024];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(piece.len() as u64);
            to.write_all(&piece[..usize::try_from(now).unwrap_or(0)])?;
            left -= now;
        }
        anyhow::Ok(began)
    });
    let began = sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    Ok(began.elapsed())
}
