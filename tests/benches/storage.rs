//! Durable commits per second: our store on each engine, beside SQLite doing the same work and beside a bare
//! write-and-flush loop, all on the same disk and in the same run.
//!
//! ```text
//! cargo bench -p angel-tests --bench storage [-- SECONDS [ROUNDS]]
//! ```
//!
//! A commit is what a record write changes: eight blocks of 300 bytes, an index row and an event. The contenders take
//! turns, round by round, so that a busy moment of the machine hits all of them; figures are medians over the rounds.
//! Set `TMPDIR` to the disk in question.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use angel_protocol::time::Timestamp;
use angel_storage::codec::Raw;
use angel_storage::engine::EngineKind;
use angel_storage::events::{EventKind, NewEvent};
use angel_storage::{Batch, Options, Store, Table, TableId};

/// As in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

const BLOCKS: u16 = 8;
const BLOCK_BYTES: usize = 300;
const EVENT_BYTES: usize = 200;

/// Bytes of one commit on a page-aligned log, for the bare loop.
const COMMIT_BYTES: usize = 4096;

/// Writers, in the two disciplines.
const ONE: u64 = 1;
const MANY: u64 = 16;

const ROWS: Table<(u8, u64, u64, u16), Raw> = Table::new(TableId::Peers);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Sled,
    Fjall,
    Sqlite,
    BareAppend,
    BareOverwrite,
}

impl Contender {
    const ALL: [Self; 5] = [Self::BareAppend, Self::BareOverwrite, Self::Sqlite, Self::Sled, Self::Fjall];

    fn name(self) -> &'static str {
        match self {
            Self::Sled => "store on sled",
            Self::Fjall => "store on fjall",
            Self::Sqlite => "SQLite, WAL, full sync",
            Self::BareAppend => "bare append + fdatasync",
            Self::BareOverwrite => "bare overwrite + fdatasync",
        }
    }
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let time = Duration::from_secs(numbers.next().unwrap_or(3));
    let rounds = numbers.next().unwrap_or(5).max(3);
    println!("{rounds} rounds of {} s each, in {}", time.as_secs(), std::env::temp_dir().display());

    // Nothing is removed before the end: where freed blocks are discarded at once, a removal slows every flush for
    // seconds, and the next contender would pay.
    let home = tempfile::tempdir()?;
    let mut rates = BTreeMap::<(Contender, u64), Vec<f64>>::new();
    for round in 1..=rounds {
        for contender in Contender::ALL {
            for writers in [ONE, MANY] {
                if writers == MANY && matches!(contender, Contender::BareAppend | Contender::BareOverwrite) {
                    continue;
                }
                let dir = home.path().join(format!("{round}-{contender:?}-{writers}"));
                std::fs::create_dir(&dir)?;
                let (commits, took) = run(contender, writers, time, &dir)?;
                let rate = commits as f64 / took.as_secs_f64();
                eprintln!("round {round}: {:28} {writers:2} writers {rate:8.0}/s", contender.name());
                rates.entry((contender, writers)).or_default().push(rate);
            }
        }
    }
    report(&rates);
    Ok(())
}

fn report(rates: &BTreeMap<(Contender, u64), Vec<f64>>) {
    let median = |contender, writers| {
        let mut rates = rates.get(&(contender, writers)).cloned().unwrap_or_default();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (append, overwrite) = (median(Contender::BareAppend, ONE), median(Contender::BareOverwrite, ONE));
    println!("{:28} {append:8.0}/s", Contender::BareAppend.name());
    println!("{:28} {overwrite:8.0}/s", Contender::BareOverwrite.name());
    println!(
        "{:28} {:>10} {:>10} {:>8} {:>12} {:>15} {:>13}",
        "", "1 writer", "16 writers", "16 : 1", "1 : append", "1 : overwrite", "1 : SQLite"
    );
    for contender in [Contender::Sqlite, Contender::Sled, Contender::Fjall] {
        let (one, many) = (median(contender, ONE), median(contender, MANY));
        println!(
            "{:28} {one:8.0}/s {many:8.0}/s {:8.2} {:12.2} {:15.2} {:13.2}",
            contender.name(),
            many / one,
            one / append,
            one / overwrite,
            one / median(Contender::Sqlite, ONE)
        );
    }
}

/// Commits until the time is over; answers how many were durable, and how long it really took.
fn run(contender: Contender, writers: u64, time: Duration, dir: &Path) -> Outcome<(u64, Duration)> {
    match contender {
        Contender::Sled => store(EngineKind::Sled, writers, time, dir),
        Contender::Fjall => store(EngineKind::Fjall, writers, time, dir),
        Contender::Sqlite => sqlite(writers, time, dir),
        Contender::BareAppend => bare(time, dir, false),
        Contender::BareOverwrite => bare(time, dir, true),
    }
}

/// Runs `commit` in as many threads as there are writers, each with numbers of its own.
fn race(writers: u64, time: Duration, commit: impl Fn(u64, u64) -> Outcome<()> + Sync) -> Outcome<(u64, Duration)> {
    let (commits, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let (commit, commits, stop) = (&commit, &commits, &stop);
                scope.spawn(move || -> Outcome<()> {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) || began.elapsed() >= time {
                            break;
                        }
                        commit(writer, n).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                        commits.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer panicked")?)
    })?;
    Ok((commits.into_inner(), began.elapsed()))
}

/// Content that does not compress, as hashes and signatures do not.
fn content(writer: u64, n: u64, part: u16, bytes: usize) -> Vec<u8> {
    let mut state = (writer << 48) ^ (n << 16) ^ u64::from(part);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        content.extend_from_slice(&(state ^ (state >> 29)).to_be_bytes());
    }
    content.truncate(bytes);
    content
}

/// A block's key is a hash: it lands anywhere.
fn scattered(n: u64, part: u16) -> u64 {
    (n * u64::from(BLOCKS) + u64::from(part)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn store(kind: EngineKind, writers: u64, time: Duration, dir: &Path) -> Outcome<(u64, Duration)> {
    let store = Store::open(&dir.join("store"), Options::new(kind, "benchmark"))?;
    let result = race(writers, time, |writer, n| {
        let mut batch = Batch::new();
        for part in 0..BLOCKS {
            let block = Raw(content(writer, n, part, BLOCK_BYTES));
            batch.put(&ROWS, &(0, writer, scattered(n, part), part), &block)?;
        }
        batch.put(&ROWS, &(1, writer, n, 0), &Raw(content(writer, n, 100, 40)))?;
        let body = content(writer, n, 101, EVENT_BYTES);
        batch.append_event(NewEvent::new(Timestamp::from_millis(n), None, EventKind(1), &body)?)?;
        store.writer().commit(batch)?;
        Ok(())
    });
    store.close()?;
    result
}

/// A commit waiting for the one connection.
struct Waiting {
    writer: u64,
    n: u64,
    done: SyncSender<Outcome<()>>,
}

/// SQLite with the same discipline: one connection; all that waits shares one transaction and one flush.
fn sqlite(writers: u64, time: Duration, dir: &Path) -> Outcome<(u64, Duration)> {
    let mut connection = rusqlite::Connection::open(dir.join("sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE blocks (writer INTEGER, key INTEGER, part INTEGER, value BLOB, PRIMARY KEY (writer, key, part)) WITHOUT ROWID;
         CREATE TABLE records (writer INTEGER, n INTEGER, value BLOB, PRIMARY KEY (writer, n)) WITHOUT ROWID;
         CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB);",
    )?;
    let (sender, receiver) = sync_channel::<Waiting>(1024);
    std::thread::scope(|scope| {
        let committer = scope.spawn(move || commit_waiting(&mut connection, &receiver));
        let result = race(writers, time, |writer, n| {
            let (done, answered) = sync_channel(1);
            sender.send(Waiting { writer, n, done })?;
            answered.recv()?
        });
        drop(sender);
        committer.join().map_err(|_| "the committer panicked")??;
        result
    })
}

fn commit_waiting(connection: &mut rusqlite::Connection, receiver: &Receiver<Waiting>) -> Outcome<()> {
    while let Ok(first) = receiver.recv() {
        let together: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
        let transaction = connection.transaction()?;
        for Waiting { writer, n, .. } in &together {
            let mut block = transaction.prepare_cached("INSERT INTO blocks VALUES (?, ?, ?, ?)")?;
            for part in 0..BLOCKS {
                let key = scattered(*n, part).cast_signed();
                block.execute((writer.cast_signed(), key, part, content(*writer, *n, part, BLOCK_BYTES)))?;
            }
            let mut record = transaction.prepare_cached("INSERT INTO records VALUES (?, ?, ?)")?;
            record.execute((writer.cast_signed(), n.cast_signed(), content(*writer, *n, 100, 40)))?;
            let mut event = transaction.prepare_cached("INSERT INTO events (body) VALUES (?)")?;
            event.execute([content(*writer, *n, 101, EVENT_BYTES)])?;
        }
        transaction.commit()?;
        for Waiting { done, .. } in together {
            // The writer waits for it.
            let _ = done.send(Ok(()));
        }
    }
    Ok(())
}

/// What the disk itself can do: one page per commit, each flushed, to a growing file or within one written before.
fn bare(time: Duration, dir: &Path, overwrite: bool) -> Outcome<(u64, Duration)> {
    const FILE_PAGES: u64 = 16 * 1024;
    let file = File::create(dir.join("log"))?;
    if overwrite {
        (0..FILE_PAGES).try_for_each(|page| file.write_all_at(&[1; COMMIT_BYTES], page * COMMIT_BYTES as u64))?;
        file.sync_all()?;
    }
    race(ONE, time, |writer, n| {
        let page = if overwrite { n % FILE_PAGES } else { n };
        file.write_all_at(&content(writer, n, 0, COMMIT_BYTES), page * COMMIT_BYTES as u64)?;
        Ok(file.sync_data()?)
    })
}
