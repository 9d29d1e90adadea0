//! Repositories without HTTP: what a durable write, a read, an export and an import cost, on each engine, as a
//! repository grows.
//!
//! ```text
//! cargo bench -p angel-tests --bench repos [-- sled|fjall… RECORDS…]
//! ```
//!
//! Prints one line for each step: time and processor time of the whole process, engine and writer included, and the memory
//! it has in use then. Cost per commit may grow by at most half from a thousand records to a million, and memory not at
//! all beyond what the store is given. The exported file lies on the disk, so none of this memory is the bench's own. Set
//! `TMPDIR` to the disk in question.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_node::repos::{Action, NewRecord, Owner, RepoWrite, Repos};
use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::data;
use angel_protocol::ids::{Nsid, RecordKey, RepoPath, Tid};
use angel_storage::engine::{EngineKind, Tuning};
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
const SINGLES: u64 = 300;

/// Bytes of a file that arrive at a time.
const PART_BYTES: usize = 256 * 1024;

/// What a node gives its store unless its operator says otherwise.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Processor time over [`PAUSE`] below which the store has nothing left to do.
const IDLE: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_secs(1);

/// How long the store may tidy up after something before the next step begins all the same.
const PAUSES_MAX: u32 = 120;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut sizes: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    let mut engines: Vec<EngineKind> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if engines.is_empty() {
        engines = EngineKind::ALL.to_vec();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for engine in engines {
        println!("{engine:?}, in {}", std::env::temp_dir().display());
        for records in &sizes {
            let home = tempfile::tempdir()?;
            runtime.block_on(measure(engine, *records, home.path()))?;
        }
    }
    Ok(())
}

async fn measure(engine: EngineKind, records: u64, home: &Path) -> Outcome<()> {
    let options = Options { tuning: Tuning::with_memory(MEMORY_BYTES), ..Options::new(engine, "bench") };
    let store = Store::open(&home.join("storage"), options)?;
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
    tidy(records).await;

    singles(&repos, main, records).await?;
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

    let file_path = home.join("repository.car");
    let bytes = export(&repos, main, File::create(&file_path)?).await?;
    let exporting = Clock::start();
    for _ in 0..TRANSFERS {
        export(&repos, main, std::io::sink()).await?;
    }
    exporting.tell(&format!("export, {} KiB", bytes / 1024), TRANSFERS);
    let mut theirs = second.clone();
    theirs.did = main.did.clone();
    let importing = Clock::start();
    for _ in 0..TRANSFERS {
        let mut file = File::open(&file_path)?;
        let mut import = repos.import(&theirs, vec![main.key.public(), theirs.key.public()]).await;
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            Read::by_ref(&mut file).take(PART_BYTES as u64).read_to_end(&mut part)?;
            if part.is_empty() {
                break;
            }
            import = import.take(part).await?;
        }
        import.finish(false).await?;
    }
    importing.tell("import", TRANSFERS);
    println!("  what was imported:");
    tidy(records).await;
    reads(&repos, &theirs, records)?;
    let exporting = Clock::start();
    for _ in 0..TRANSFERS {
        export(&repos, &theirs, std::io::sink()).await?;
    }
    exporting.tell("export", TRANSFERS);
    // Behind what `main` has been given above.
    singles(&repos, &theirs, records + 10_000).await?;
    let replacing = Clock::start();
    for n in 0..SINGLES {
        let place = path(n.wrapping_mul(7_919) % records);
        let write = RepoWrite { path: place, action: Action::Put(record(records + n)), swap: None };
        repos.write(&theirs, vec![write], None).await?;
    }
    replacing.tell("put, one after the other", SINGLES);
    reads(&repos, &theirs, records)?;
    drop(repos);
    store.close()?;
    Ok(())
}

/// Lets the engine do in the background what would be counted with the next step otherwise.
async fn tidy(records: u64) {
    let tidying = Clock::start();
    for _ in 0..PAUSES_MAX {
        let pause = Clock::start();
        tokio::time::sleep(PAUSE).await;
        if pause.processor_time() < IDLE {
            break;
        }
    }
    tidying.tell("tidied up after, each record", records);
}

/// Records behind all others, as clients write them.
async fn singles(repos: &Repos, owner: &Owner, first: u64) -> Outcome<()> {
    let one = Clock::start();
    for n in 0..SINGLES {
        repos.write(owner, vec![create(first + n)], None).await?;
    }
    one.tell("create, one after the other", SINGLES);
    Ok(())
}

/// Answers how many bytes there were.
async fn export(repos: &Repos, owner: &Owner, mut to: impl Write) -> Outcome<usize> {
    let mut bytes = 0;
    let mut export = repos.export(owner.id, None).await?;
    while let Some((piece, rest)) = export.next().await? {
        bytes += piece.len();
        to.write_all(&piece)?;
        export = rest;
    }
    Ok(bytes)
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
    RepoWrite { path: path(n), action: Action::Create(record(n)), swap: None }
}

fn record(n: u64) -> NewRecord {
    let record = serde_json::json!({
        "$type": COLLECTION,
        "text": format!("{n} {}", "The quick brown fox jumps over the lazy dog. ".repeat(5)),
        "createdAt": "2026-11-21T09:00:00.000Z",
    });
    NewRecord::new(&data::record_from_json(&record).expect("a record"))
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
        let (took, processor) = (per(self.began.elapsed()), per(self.processor_time()));
        let mib = memory_bytes() / (1024 * 1024);
        println!("  {what:<36} {took:>12.1} µs {processor:>12.1} µs of processor {mib:>6} MiB");
    }

    fn processor_time(&self) -> Duration {
        processor_time().saturating_sub(self.processor)
    }
}

/// Anonymous memory of this process; 0 where the system does not tell.
fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_or(0, |kib: u64| kib * 1024)
}

/// What this process has used so far.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}
