//! What the daemon does about backups: one at a time, on request and by the clock. How the last ones went is kept in the
//! store, shown in the node's health and in its figures.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::backup::{Keep, Manifest};
use angel_protocol::time::Timestamp;
use angel_storage::backup::Roots;
use angel_storage::codec::Cbor;
use angel_storage::engine::EngineKind;
use angel_storage::reader::ReadError;
use angel_storage::{Batch, Table, TableId};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::depot::{BucketAccess, Depot, Place, Purpose};
use super::make::{Made, Source, make};
use super::progress::Progress;
use super::read::{Opener, Snapshot, read_manifest};
use super::{BackupError, check, prune, recovery};
use crate::health::{Service, ServiceState};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

const LOCAL: Table<String, Cbor<Last>> = Table::new(TableId::Local);
const LAST: &str = "backup";

/// Jobs that may wait.
const JOBS_MAX: usize = 4;

/// How long a stop waits for the step under way.
const STEP_LIMIT: Duration = Duration::from_secs(3);

/// How long after a failure it is tried again, at most as long as between two backups.
const AGAIN: Duration = Duration::from_mins(10);

/// How often it is looked whether a backup is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the operator has set.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) to: Option<Place>,
    pub(crate) access: BucketAccess,
    pub(crate) every: Option<Duration>,
    pub(crate) keep: Keep,
    pub(crate) recipients: Vec<String>,
    pub(crate) verify: bool,
    /// The engine of scratch stores: the node's own.
    pub(crate) engine: EngineKind,
}

/// What is asked for once. What is not said is as it is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wish {
    /// Another place.
    #[serde(default)]
    pub(crate) place: Option<String>,
    /// Other recipients.
    #[serde(default)]
    pub(crate) recipients: Vec<String>,
    /// Whether to verify what was made.
    #[serde(default)]
    pub(crate) verify: Option<bool>,
    /// What to keep there.
    #[serde(default)]
    pub(crate) keep: Option<String>,
    /// Which snapshot, to verify one that is there.
    #[serde(default)]
    pub(crate) snapshot: Option<u64>,
}

/// The last backup that was made, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Last {
    pub(crate) number: u64,
    pub(crate) made_at: Timestamp,
    pub(crate) place: String,
    pub(crate) verified: bool,
    pub(crate) sequence: u64,
    pub(crate) bytes_written: u64,
    pub(crate) took_ms: u64,
}

#[derive(Clone, Debug)]
enum Work {
    Create(Wish),
    Verify(Wish),
}

struct Job {
    id: u64,
    work: Work,
}

#[derive(Default)]
struct State {
    jobs: u64,
    running: Option<(u64, Progress)>,
    /// The newest few jobs that ended.
    ended: std::collections::BTreeMap<u64, Result<Value, (&'static str, String)>>,
    last: Option<Last>,
    failure: Option<(Timestamp, String)>,
    tried: Option<Instant>,
}

/// The backups of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Backups(Arc<Shared>);

struct Shared {
    source: Source,
    settings: Settings,
    state: Mutex<State>,
    inbox: mpsc::Sender<Job>,
    written: AtomicU64,
    made: AtomicU64,
    failed: AtomicU64,
}

impl fmt::Debug for Backups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backups")
    }
}

/// The task's side.
pub(crate) struct Inbox(mpsc::Receiver<Job>);

impl Backups {
    /// Reads how the last one went. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn open(source: Source, settings: Settings) -> Result<(Self, Inbox), ReadError> {
        let last = source.reader.get(&LOCAL, &LAST.to_owned())?.map(|Cbor(last)| last);
        let (inbox, jobs) = mpsc::channel(JOBS_MAX);
        let state = Mutex::new(State { last, ..State::default() });
        let (written, made, failed) = Default::default();
        Ok((Self(Arc::new(Shared { source, settings, state, inbox, written, made, failed })), Inbox(jobs)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    /// The last one that was made.
    pub(crate) fn last(&self) -> Option<Last> {
        self.state().last.clone()
    }

    /// Has a snapshot made; answers under which number to ask for it.
    ///
    /// # Errors
    /// Too many wait, or nobody could open it.
    pub(crate) fn create(&self, wish: Wish) -> Result<u64, BackupError> {
        self.begin(Work::Create(wish))
    }

    /// Has a snapshot verified; answers under which number to ask for it.
    ///
    /// # Errors
    /// Too many wait.
    pub(crate) fn verify(&self, wish: Wish) -> Result<u64, BackupError> {
        self.begin(Work::Verify(wish))
    }

    fn begin(&self, work: Work) -> Result<u64, BackupError> {
        let id = {
            let mut state = self.state();
            state.jobs += 1;
            state.jobs
        };
        self.0.inbox.try_send(Job { id, work }).map_err(|_| BackupError::Busy)?;
        Ok(id)
    }

    /// How a job is: waiting, running, or ended one way or the other. `None` for one that is not known any more.
    pub(crate) fn job(&self, id: u64) -> Option<Value> {
        let state = self.state();
        if let Some(ended) = state.ended.get(&id) {
            return Some(match ended {
                Ok(value) => json!({ "state": "done", "result": value }),
                Err((name, why)) => json!({ "state": "failed", "error": name, "message": why }),
            });
        }
        match &state.running {
            Some((running, progress)) if *running == id => {
                Some(json!({ "state": "running", "progress": progress.to_json() }))
            }
            _ if id <= state.jobs && state.ended.keys().next_back().is_none_or(|newest| id > *newest) => {
                Some(json!({ "state": "waiting" }))
            }
            _ => None,
        }
    }

    /// Everything there is to say. Blocks.
    pub(crate) fn status_blocking(&self) -> Result<Value, BackupError> {
        let proved = recovery::proved(&self.0.source.layout)?;
        let settings = &self.0.settings;
        let state = self.state();
        Ok(json!({
            "to": settings.to.as_ref().map(ToString::to_string),
            "everySeconds": settings.every.map(|every| every.as_secs()),
            "keep": settings.keep.to_string(),
            "recipients": settings.recipients,
            "provedRecoveryKeys": proved,
            "running": state.running.as_ref().map(|(_, progress)| progress.to_json()),
            "last": state.last.as_ref().map(last_json),
            "failure": state.failure.as_ref().map(|(at, why)| json!({ "at": at.to_string(), "message": why })),
            "nextAt": self.due_in(&state).map(|wait| (clock::now() + wait).to_string()),
        }))
    }

    /// The snapshots in a place, the newest last. Blocks.
    pub(crate) fn list_blocking(&self, place: Option<&str>) -> Result<Vec<Value>, BackupError> {
        let place = self.place(place)?;
        let depot = Depot::open(&place, &self.0.settings.access, Purpose::Read)?;
        list(&depot)
    }

    fn place(&self, wished: Option<&str>) -> Result<Place, BackupError> {
        match wished {
            Some(text) => Ok(text.parse()?),
            None => self.0.settings.to.clone().ok_or(BackupError::Nowhere),
        }
    }

    fn scratch(&self) -> PathBuf {
        self.0.source.layout.root().join("backup-scratch")
    }

    /// How long until the next one by the clock.
    fn due_in(&self, state: &State) -> Option<Duration> {
        let every = self.0.settings.every?;
        self.0.settings.to.as_ref()?;
        let since = state.last.as_ref().map_or(every, |last| clock::now().since(last.made_at));
        let due = every.saturating_sub(since);
        let again = state.tried.map_or(Duration::ZERO, |tried| AGAIN.min(every).saturating_sub(tried.elapsed()));
        Some(due.max(again))
    }

    /// Works until told to stop.
    pub(crate) async fn run(self, inbox: Inbox, health: Service, stop: CancellationToken) -> TaskResult {
        let Inbox(mut inbox) = inbox;
        loop {
            self.tell(&health);
            let wait = self.due_in(&self.state());
            let wake = wait.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
            let (id, work) = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                job = inbox.recv() => match job {
                    Some(Job { id, work }) => (id, work),
                    None => return Ok(()),
                },
                () = tokio::time::sleep(wake) => {
                    if self.due_in(&self.state()) != Some(Duration::ZERO) {
                        continue;
                    }
                    let mut state = self.state();
                    state.jobs += 1;
                    (state.jobs, Work::Create(Wish::default()))
                }
            };
            let progress = Progress::stopped_by(stop.clone());
            self.state().running = Some((id, progress.clone()));
            let this = self.clone();
            let working = blocking::run(move || this.work_blocking(work, &progress));
            tokio::pin!(working);
            let ended = tokio::select! {
                ended = &mut working => ended,
                () = async { stop.cancelled().await; tokio::time::sleep(STEP_LIMIT).await } => return Ok(()),
            };
            self.ended(id, ended);
        }
    }

    fn ended(&self, id: u64, ended: Result<Value, (bool, BackupError)>) {
        let mut state = self.state();
        state.running = None;
        let ended = match ended {
            Ok(value) => Ok(value),
            Err((counts, error)) => {
                tracing::warn!(%error, "a backup failed");
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                if counts {
                    state.failure = Some((clock::now(), error.to_string()));
                }
                Err((error.name(), error.to_string()))
            }
        };
        state.ended.insert(id, ended);
        while state.ended.len() > 16 {
            state.ended.pop_first();
        }
    }

    /// On failure, whether it is one of the backups that the operator relies on.
    fn work_blocking(&self, work: Work, progress: &Progress) -> Result<Value, (bool, BackupError)> {
        match work {
            Work::Create(wish) => {
                let set = wish.place.is_none();
                if set {
                    self.state().tried = Some(Instant::now());
                }
                self.create_blocking(&wish, progress).map_err(|error| (set, error))
            }
            Work::Verify(wish) => {
                let set = wish.place.is_none();
                self.verify_blocking(&wish, progress).map_err(|error| (set, error))
            }
        }
    }

    fn create_blocking(&self, wish: &Wish, progress: &Progress) -> Result<Value, BackupError> {
        let began = Instant::now();
        let place = self.place(wish.place.as_deref())?;
        let settings = &self.0.settings;
        let wanted = if wish.recipients.is_empty() { &settings.recipients } else { &wish.recipients };
        let recipients = recovery::recipients(&self.0.source.layout, wanted)?;
        let keep = match &wish.keep {
            Some(text) => text.parse()?,
            None => settings.keep,
        };
        let mut depot = Depot::open(&place, &settings.access, Purpose::Write)?;
        let made = make(&self.0.source, &mut depot, recipients, progress)?;
        let made_in = began.elapsed();
        self.0.written.fetch_add(made.bytes_written, Ordering::Relaxed);
        let roots = if wish.verify.unwrap_or(settings.verify) {
            let key = recovery::key(&self.0.source.layout)?;
            let reading = Depot::open(&place, &settings.access, Purpose::Read)?;
            let snapshot = Snapshot::open(&reading, Some(made.manifest.number), &Opener::Own(&key))?;
            let verified = check::verify(&reading, &snapshot, &self.scratch(), settings.engine, progress);
            if let Err(BackupError::Chunk { name, .. }) = &verified {
                // The next one writes it anew; this snapshot, and others that share the chunk, stay damaged till then.
                depot.remove_chunk(*name)?;
            }
            Some(verified?)
        } else {
            None
        };
        let pruned = match &place {
            Place::Archive(_) => prune::Pruned::default(),
            _ => prune::prune(&mut depot, &recovery::key(&self.0.source.layout)?, keep, progress)?,
        };
        let last = Last {
            number: made.manifest.number,
            made_at: made.manifest.made_at,
            place: place.to_string(),
            verified: roots.is_some(),
            sequence: made.manifest.sequence,
            bytes_written: made.bytes_written,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let mut batch = Batch::new();
        batch.put(&LOCAL, &LAST.to_owned(), &Cbor(last.clone())).expect("a note is a small row");
        self.0.source.writer.commit(batch)?;
        self.0.made.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.last = Some(last);
        state.failure = None;
        state.tried = None;
        drop(state);
        tracing::info!(number = made.manifest.number, place = %place, bytes = made.bytes_written, "a backup was made");
        Ok(made_json(&made, &place, roots.as_ref(), pruned, made_in, began.elapsed()))
    }

    fn verify_blocking(&self, wish: &Wish, progress: &Progress) -> Result<Value, BackupError> {
        let began = Instant::now();
        let place = self.place(wish.place.as_deref())?;
        let depot = Depot::open(&place, &self.0.settings.access, Purpose::Read)?;
        let key = recovery::key(&self.0.source.layout)?;
        let snapshot = Snapshot::open(&depot, wish.snapshot, &Opener::Own(&key))?;
        let roots = check::verify(&depot, &snapshot, &self.scratch(), self.0.settings.engine, progress)?;
        Ok(json!({
            "place": place.to_string(),
            "snapshot": manifest_json(&snapshot.manifest),
            "verified": roots_json(&roots),
            "tookMs": began.elapsed().as_millis(),
        }))
    }

    /// Says in the node's health how backups are.
    fn tell(&self, health: &Service) {
        let state = self.state();
        let settings = &self.0.settings;
        let age = state.last.as_ref().map(|last| clock::now().since(last.made_at));
        let told = match (settings.every, &state.failure) {
            (_, Some((_, why))) => ServiceState::Failing(format!("the last backup failed: {why}")),
            (None, None) if age.is_none() => {
                ServiceState::Off("no backup was ever made; see `angel backup --help`".to_owned())
            }
            (None, None) => ServiceState::Ok,
            (Some(every), None) => match age {
                Some(age) if age > every * 2 => ServiceState::Failing(format!(
                    "the last backup is {} minutes old, and one is due every {}",
                    age.as_secs() / 60,
                    every.as_secs() / 60
                )),
                _ => ServiceState::Ok,
            },
        };
        health.set(told);
    }
}

/// The snapshots of a place, for people and programs. Blocks.
pub(crate) fn list(depot: &Depot) -> Result<Vec<Value>, BackupError> {
    let numbers = depot.snapshots()?;
    Ok(numbers
        .into_iter()
        .map(|number| match read_manifest(depot, Some(number)) {
            Ok(manifest) => manifest_json(&manifest),
            Err(error) => json!({ "number": number, "error": error.name(), "message": error.to_string() }),
        })
        .collect())
}

fn last_json(last: &Last) -> Value {
    json!({
        "number": last.number,
        "madeAt": last.made_at.to_string(),
        "place": last.place,
        "verified": last.verified,
        "sequence": last.sequence,
        "bytesWritten": last.bytes_written,
        "tookMs": last.took_ms,
    })
}

/// A manifest for people and programs.
pub(crate) fn manifest_json(manifest: &Manifest) -> Value {
    let totals = &manifest.totals;
    let table = |sum: &angel_protocol::backup::TableSum| json!({ "name": sum.name, "rows": sum.rows, "bytes": sum.bytes, "root": sum.root.to_string() });
    json!({
        "number": manifest.number,
        "madeAt": manifest.made_at.to_string(),
        "node": manifest.node,
        "network": manifest.network,
        "software": manifest.software,
        "sequence": manifest.sequence,
        "height": manifest.height,
        "ledgerRoot": manifest.ledger_root.to_string(),
        "recipients": manifest.recipients,
        "account": manifest.account,
        "rows": totals.rows,
        "rowBytes": totals.row_bytes,
        "blobs": totals.blobs,
        "blobBytes": totals.blob_bytes,
        "files": totals.files,
        "tables": manifest.tables.iter().map(table).collect::<Vec<_>>(),
    })
}

/// What was verified, for people and programs.
pub(crate) fn roots_json(roots: &Roots) -> Value {
    json!({
        "repositories": roots.repositories,
        "records": roots.records,
        "privateRepositories": roots.private_repositories,
        "privateRecords": roots.private_records,
        "height": roots.height,
        "roots": roots.heads.iter().map(|(did, root)| (did.to_string(), json!(root.to_string()))).collect::<serde_json::Map<_, _>>(),
    })
}

fn made_json(
    made: &Made,
    place: &Place,
    roots: Option<&Roots>,
    pruned: prune::Pruned,
    made_in: Duration,
    took: Duration,
) -> Value {
    json!({
        "place": place.to_string(),
        "snapshot": manifest_json(&made.manifest),
        "bytesWritten": made.bytes_written,
        "chunksWritten": made.chunks_written,
        "chunksThere": made.chunks_there,
        "verified": roots.map(roots_json),
        "pruned": pruned,
        "madeInMs": made_in.as_millis(),
        "tookMs": took.as_millis(),
    })
}

/// The figures, read when somebody asks.
#[derive(Debug)]
pub(crate) struct BackupsCollector(pub(crate) Backups);

impl Collector for BackupsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = &self.0.0;
        let counters = [
            ("angel_backup_made", "Backups made since the start", &shared.made),
            ("angel_backup_failed", "Backups and verifications that failed since the start", &shared.failed),
            ("angel_backup_written_bytes", "Bytes put into the place for backups since the start", &shared.written),
        ];
        for (name, help, value) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value.load(Ordering::Relaxed), None)?;
        }
        let state = self.0.state();
        let at = state.last.as_ref().map_or(0, |last| last.made_at.as_millis() / 1000);
        let gauges = [
            ("angel_backup_last_timestamp_seconds", "When the last backup was cut, 0 if never", at),
            ("angel_backup_failing", "Whether the last backup failed", u64::from(state.failure.is_some())),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&value)?;
        }
        Ok(())
    }
}
