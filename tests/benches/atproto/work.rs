//! The workloads, one function each.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde::Deserialize;

use crate::{
    Options,
    host::{Account, COLLECTION, Host, WRITERS},
    process,
    report::Sample,
    stream::Subscribers,
};

/// Requests under way at once, where a workload reads.
const READERS: usize = 16;
const UPLOADERS: usize = 4;
const BLOB_BYTES: usize = 1 << 20;
/// How often a whole repository is exported in a round: the clock of processor time has a coarse grain.
const EXPORTS: usize = 10;
/// Subscribers that a host is to bear.
const MANY: usize = 1_000;

type Round<'a> = Pin<Box<dyn Future<Output = Result<Sample>> + 'a>>;

/// Something to do to a host, many times.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Host, &'a Options) -> Round<'a>,
}

pub(crate) const WORKLOADS: [Workload; 13] = [
    Workload { name: "createRecord", run: |host, options| Box::pin(create_record(host, options, 1)) },
    Workload { name: "createRecord-16", run: |host, options| Box::pin(create_record(host, options, WRITERS)) },
    Workload { name: "getRecord", run: |host, options| Box::pin(get_record(host, options)) },
    Workload { name: "listRecords-100", run: |host, options| Box::pin(list_records(host, options)) },
    Workload { name: "describeRepo", run: |host, options| Box::pin(describe_repo(host, options)) },
    Workload { name: "sync.getRecord", run: |host, options| Box::pin(sync_get_record(host, options)) },
    Workload { name: "uploadBlob-1MiB", run: |host, options| Box::pin(upload_blob(host, options)) },
    Workload { name: "createAccount", run: |host, options| Box::pin(create_account(host, options)) },
    Workload { name: "createSession", run: |host, options| Box::pin(create_session(host, options)) },
    Workload { name: "importRepo", run: |host, options| Box::pin(import_repo(host, options)) },
    Workload { name: "getRepo", run: |host, options| Box::pin(get_repo(host, options)) },
    Workload {
        name: "subscribeRepos",
        run: |host, options| Box::pin(subscribe_repos(host, options, options.subscribers)),
    },
    Workload { name: "subscribeRepos-1000", run: |host, options| Box::pin(subscribe_repos(host, options, MANY)) },
];

/// Measures what `body` does; it answers the latencies of its operations, in microseconds.
async fn measured(host: &Host, body: impl Future<Output = Result<Vec<i64>>>) -> Result<Sample> {
    let generator = std::process::id();
    let (server_before, generator_before) = (process::cpu_us(host.target.pid)?, process::cpu_us(generator)?);
    let start = Instant::now();
    let latencies_us = body.await?;
    let elapsed = start.elapsed();
    Ok(Sample {
        operations: latencies_us.len() as u64,
        elapsed,
        latencies_us,
        server_cpu_us: process::cpu_us(host.target.pid)?.saturating_sub(server_before),
        generator_cpu_us: process::cpu_us(generator)?.saturating_sub(generator_before),
    })
}

/// Closed loops side by side until the time is over: each starts the next operation when the one before is answered.
async fn loops(
    host: &Host,
    options: &Options,
    side_by_side: usize,
    operation: impl AsyncFn(usize) -> Result<()>,
) -> Result<Sample> {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let one = async |index: usize| -> Result<Vec<i64>> {
        let mut latencies = Vec::new();
        while Instant::now() < end {
            latencies.push(timed(operation(index)).await?);
        }
        Ok(latencies)
    };
    measured(host, async { Ok(try_join_all((0..side_by_side).map(one)).await?.concat()) }).await
}

async fn timed(operation: impl Future<Output = Result<()>>) -> Result<i64> {
    let start = Instant::now();
    operation.await?;
    Ok(i64::try_from(start.elapsed().as_micros())?)
}

async fn create_record(host: &Host, options: &Options, writers: usize) -> Result<Sample> {
    loops(host, options, writers, async |index| {
        let account = host.writers.get(index).context("too few accounts")?;
        host.create_record(account).await?;
        Ok(())
    })
    .await
}

/// The keys of the account that is read, in an order that jumps about.
fn some_key(host: &Host) -> Result<&str> {
    let count = host.reader_keys.len() as u64;
    let index = host.fresh().wrapping_mul(7_919) % count;
    Ok(host.reader_keys.get(usize::try_from(index)?).context("no records")?)
}

async fn get_record(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, READERS, async |_| {
        let query = [("repo", host.reader.did.as_str()), ("collection", COLLECTION), ("rkey", some_key(host)?)];
        host.read("com.atproto.repo.getRecord", &query, None).await?;
        Ok(())
    })
    .await
}

async fn list_records(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, READERS, async |_| {
        let did = host.reader.did.as_str();
        let query = [("repo", did), ("collection", COLLECTION), ("limit", "100"), ("cursor", some_key(host)?)];
        host.read("com.atproto.repo.listRecords", &query, None).await?;
        Ok(())
    })
    .await
}

async fn describe_repo(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, READERS, async |_| {
        host.read("com.atproto.repo.describeRepo", &[("repo", &host.reader.did)], None).await?;
        Ok(())
    })
    .await
}

async fn sync_get_record(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, READERS, async |_| {
        let query = [("did", host.reader.did.as_str()), ("collection", COLLECTION), ("rkey", some_key(host)?)];
        host.read("com.atproto.sync.getRecord", &query, None).await?;
        Ok(())
    })
    .await
}

async fn upload_blob(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, UPLOADERS, async |index| {
        let mut blob = vec![b'.'; BLOB_BYTES];
        let name = format!("{} {}", std::process::id(), host.fresh());
        blob.splice(..name.len(), name.bytes());
        let account = host.writers.get(index).context("too few accounts")?;
        let request = host.post("com.atproto.repo.uploadBlob", Some(account));
        host.send(request.header("content-type", "application/octet-stream").body(blob)).await?;
        Ok(())
    })
    .await
}

async fn create_account(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, 1, async |_| {
        host.create_account().await?;
        Ok(())
    })
    .await
}

/// Next to nothing but a password's hash: what signing up costs beside that is the difference.
async fn create_session(host: &Host, options: &Options) -> Result<Sample> {
    loops(host, options, 1, async |_| host.create_session(&host.reader).await).await
}

/// An account that waits for its repository, and the repository.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Newcomer {
    did: String,
    access_jwt: String,
    car: String,
}

/// Has an account come from elsewhere, up to the point where its repository is to be imported.
fn newcomer(host: &Host, options: &Options) -> Result<(Account, Vec<u8>)> {
    let output = Command::new(&options.clients)
        .args(["newcomer", &host.target.text, "--records", &options.records.to_string(), "--directory"])
        .arg(host.scratch.path())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", options.clients.display()))?;
    ensure!(output.status.success(), "no repository was made");
    let made: Newcomer = serde_json::from_slice(&output.stdout)?;
    Ok((Account { did: made.did, token: made.access_jwt }, std::fs::read(made.car)?))
}

async fn import(host: &Host, account: &Account, car: Vec<u8>) -> Result<()> {
    let request = host.post("com.atproto.repo.importRepo", Some(account));
    host.send(request.header("content-type", "application/vnd.ipld.car").body(car)).await?;
    Ok(())
}

async fn import_repo(host: &Host, options: &Options) -> Result<Sample> {
    let (account, car) = newcomer(host, options)?;
    measured(host, async { Ok(vec![timed(import(host, &account, car)).await?]) }).await
}

async fn get_repo(host: &Host, options: &Options) -> Result<Sample> {
    let (account, car) = newcomer(host, options)?;
    let size = car.len();
    import(host, &account, car).await?;
    measured(host, async {
        let mut latencies = Vec::new();
        for _ in 0..EXPORTS {
            let start = Instant::now();
            let read = host.read("com.atproto.sync.getRepo", &[("did", &account.did)], Some(&account)).await?;
            ensure!(read.abs_diff(size) < 1_000, "{read} bytes came out where {size} went in");
            latencies.push(i64::try_from(start.elapsed().as_micros())?);
        }
        Ok(latencies)
    })
    .await
}

async fn subscribe_repos(host: &Host, options: &Options, subscribers: usize) -> Result<Sample> {
    let subscribers = Subscribers::connect(host, subscribers).await?;
    let writer = host.writers.first().context("no account")?;
    measured(host, async {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / options.event_rate);
        let mut answered = HashMap::new();
        for _ in 0..options.events {
            pace.tick().await;
            let rev = host.create_record(writer).await?;
            answered.insert(rev, Instant::now());
        }
        subscribers.lags(&answered).await
    })
    .await
}
