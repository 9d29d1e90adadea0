//! Repositories without HTTP: what a durable write, a read, an export and an import cost, on each engine, as a
//! repository grows.
//!
//! ```text
//! cargo bench -p angel-tests --bench repos [-- RECORDS…]
//! ```
//!
//! Prints one line for each size: time and processor time of the whole process, engine and writer included. Cost per
//! commit may grow by at most half from a thousand records to a million. Set `TMPDIR` to the disk in question.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_node::repos::{Action, NewRecord, Owner, RepoWrite, Repos};
use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::data;
use angel_protocol::ids::{Nsid, RecordKey, RepoPath, Tid};
use angel_storage::engine::EngineKind;
use angel_storage::{AccountId, Batch, Options, Store};
use tokio::task::JoinSet;

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const COLLECTION: &str = "app.bsky.feed.post";
const WRITERS: u64 = 16;
const READS: u64 = 4_000;
const TRANSFERS: u64 = 5;

fn main() -> Outcome<()> {
    let mut sizes: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for engine in [EngineKind::Sled, EngineKind::Fjall] {
        println!("{engine:?}, in {}", std::env::temp_dir().display());
        for records in &sizes {
            let home = tempfile::tempdir()?;
            runtime.block_on(measure(engine, *records, home.path()))?;
        }
    }
    Ok(())
}

async fn measure(engine: EngineKind, records: u64, home: &Path) -> Outcome<()> {
    let store = Store::open(&home.join("storage"), Options::new(engine, "bench"))?;
    let repos = Repos::new(store.reader().clone(), store.writer().clone(), 7, home.join("imports"));
    repos.recover()?;
    let owners = (1..=WRITERS + 2).map(|id| account(&store, &repos, id)).collect::<Outcome<Vec<_>>>()?;
    let (main, second) = (&owners[0], &owners[1]);
    let filling = Clock::start();
    for first in (0..records).step_by(200) {
        let writes = (first..records.min(first + 200)).map(create).collect();
        repos.write(main, writes, None).await?;
    }
    filling.tell(&format!("{records} records, 200 a commit"), records);

    let one = Clock::start();
    for n in 0..300 {
        repos.write(main, vec![create(records + n)], None).await?;
    }
    one.tell("create, one after the other", 300);
    let many = Clock::start();
    let mut writers = JoinSet::new();
    for owner in owners.iter().skip(2) {
        let (repos, owner) = (repos.clone(), owner.clone());
        writers.spawn(async move {
            for n in 0..200 {
                repos.write(&owner, vec![create(n)], None).await?;
            }
            Ok::<_, angel_node::repos::RepoError>(())
        });
    }
    for written in writers.join_all().await {
        written?;
    }
    many.tell("create, 16 accounts at once", 200 * WRITERS);
    let same = Clock::start();
    let mut writers = JoinSet::new();
    for n in 0..800 {
        let (repos, owner) = (repos.clone(), main.clone());
        writers.spawn(async move { repos.write(&owner, vec![create(records + 1000 + n)], None).await });
    }
    for written in writers.join_all().await {
        written?;
    }
    same.tell("create, 800 at once in one account", 800);

    reads(&repos, main, records)?;

    let file = export(&repos, main).await?;
    let exporting = Clock::start();
    for _ in 0..TRANSFERS {
        export(&repos, main).await?;
    }
    exporting.tell(&format!("export, {} KiB", file.len() / 1024), TRANSFERS);
    let mut theirs = second.clone();
    theirs.did = main.did.clone();
    let importing = Clock::start();
    for _ in 0..TRANSFERS {
        let mut import = repos.import(&theirs, vec![main.key.public(), theirs.key.public()]).await;
        for part in file.chunks(256 * 1024) {
            import = import.take(part.to_vec()).await?;
        }
        import.finish(false).await?;
    }
    importing.tell("import", TRANSFERS);
    drop(repos);
    store.close()?;
    Ok(())
}

async fn export(repos: &Repos, owner: &Owner) -> Outcome<Vec<u8>> {
    let mut file = Vec::new();
    let mut export = repos.export(owner.id, None).await?;
    while let Some((piece, rest)) = export.next().await? {
        file.extend(piece);
        export = rest;
    }
    Ok(file)
}

fn reads(repos: &Repos, owner: &Owner, records: u64) -> Outcome<()> {
    let collection: Nsid = COLLECTION.parse()?;
    let some = |n: u64| path(n.wrapping_mul(7_919) % records);
    let get = Clock::start();
    for n in 0..READS {
        let record = repos.record_blocking(owner.id, &some(n).to_string())?.ok_or("a record is missing")?;
        let mut out = Vec::new();
        data::write_json(&record.bytes, &mut out)?;
    }
    get.tell("get", READS);
    let list = Clock::start();
    for n in 0..READS / 20 {
        let listed = repos.list_blocking(owner.id, &collection, 100, Some(some(n).rkey.as_str()), false)?;
        let mut out = Vec::new();
        for (_, record) in &listed.records {
            data::write_json(&record.bytes, &mut out)?;
        }
    }
    list.tell("list of 100", READS / 20);
    let proof = Clock::start();
    for n in 0..READS / 4 {
        repos.proof_blocking(owner.id, &collection, &some(n).rkey)?;
    }
    proof.tell("proof", READS / 4);
    Ok(())
}

fn account(store: &Store, repos: &Repos, id: u64) -> Outcome<Owner> {
    let key: SigningKey = Secp256k1Key::from_bytes(&[u8::try_from(id)?; 32]).ok_or("no scalar")?.into();
    let did = format!("did:web:n{id}.example").parse()?;
    let owner = Owner { id: AccountId(id), did, key: Arc::new(key) };
    let mut batch = Batch::new();
    repos.stage_new(&mut batch, owner.id, &owner.did, &owner.key)?;
    store.writer().commit(batch)?;
    Ok(owner)
}

/// Record keys are times, as clients make them.
fn path(n: u64) -> RepoPath {
    let rkey: RecordKey = Tid::new(1_700_000_000_000_000 + n * 977, 7).into();
    RepoPath::new(COLLECTION.parse().expect("an NSID"), rkey)
}

fn create(n: u64) -> RepoWrite {
    let record = serde_json::json!({
        "$type": COLLECTION,
        "text": format!("{n} {}", "The quick brown fox jumps over the lazy dog. ".repeat(5)),
        "createdAt": "2026-11-21T09:00:00.000Z",
    });
    let record = NewRecord::new(&data::record_from_json(&record).expect("a record"));
    RepoWrite { path: path(n), action: Action::Create(record), swap: None }
}

/// Time and processor time since a moment.
struct Clock {
    began: Instant,
    processor: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { began: Instant::now(), processor: processor_time() }
    }

    fn tell(&self, what: &str, times: u64) {
        let per = |took: Duration| took.as_secs_f64() * 1e6 / times as f64;
        let (took, processor) = (self.began.elapsed(), processor_time().saturating_sub(self.processor));
        println!("  {what:<36} {:>12.1} µs {:>12.1} µs of processor", per(took), per(processor));
    }
}

/// What this process has used so far.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}
