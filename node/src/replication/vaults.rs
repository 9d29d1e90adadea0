//! Vaults: archives of tenants that only their owners' recovery keys open. The driver of [`angel_protocol::vault`].
//!
//! | where | what |
//! |---|---|
//! | `make` | the primary makes archives, and lets go of them once the vaults have them |
//! | `made` | what it keeps of each on disk: the file, the questions, what it knows of the vaults |
//! | `send` | it hands them out |
//! | `ask` | it asks for proofs |
//! | `keep` | a vault fetches the newest, and proves that it has it |
//! | `kept` | what a vault has on disk, and how its operator takes it out |
//!
//! A vault opens nothing, serves nothing and takes nothing over.

mod ask;
mod keep;
mod kept;
mod made;
mod make;
mod send;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_protocol::vault::{ArchiveDigest, Record, State};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) use self::kept::{KeptReport, NotExported};
use self::made::Archive;
use super::Replication;
use crate::clock;
use crate::placement::Tenant;
use crate::tasks::TaskResult;

/// Archives that are fetched at a time, of whatever tenants.
const FETCHES: usize = 4;

/// How archives are made and asked for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where archives lie, those made here and those kept for others.
    pub(crate) dir: PathBuf,
    /// How old an archive becomes.
    pub(crate) every: Duration,
    /// How often a vault has to prove that it has it.
    pub(crate) check: Duration,
}

/// What this node knows of its tenants' vaults, and of the archives that it keeps as one.
pub(super) struct Vaults {
    settings: Settings,
    cared: Mutex<BTreeMap<Did, Cared>>,
    /// Held while what is known of a tenant's vaults is written down, so that the last to write writes the newest.
    noting: Mutex<()>,
    /// Wakes whoever makes archives: a vault lacks one.
    wanted: Notify,
    /// Wakes whoever asks: a vault has a new one.
    fetched: Notify,
    fetches: Arc<Semaphore>,
}

/// A tenant of this node that has vaults.
#[derive(Clone, Debug, Default)]
struct Cared {
    archive: Option<Archive>,
    /// Whether its file is still here.
    is_there: bool,
    vaults: BTreeMap<Did, Record>,
    /// When each was last asked.
    asked: BTreeMap<Did, Instant>,
    /// When making an archive last failed, and why.
    failed: Option<(Instant, String)>,
    /// Whether something of this is not written down yet.
    is_new: bool,
}

/// A vault, for the operator of the primary.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VaultReport {
    /// Which node.
    did: Did,
    /// How it does.
    state: State,
    /// Whether it has the newest archive.
    has_newest: bool,
    /// When it last proved to have one.
    proved_at: Option<String>,
    /// When it was last noticed that it had lost one.
    lost_at: Option<String>,
    /// How often that was noticed.
    losses: u64,
}

/// The newest archive, for the operator of the primary.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchiveReport {
    /// When it was made.
    made_at: Option<String>,
    /// Up to which event of this node it goes.
    sequence: Option<u64>,
    /// Its size in bytes.
    bytes: Option<u64>,
    /// Whose recovery key opens it.
    recovery: Option<String>,
    /// Why none could be made of late.
    failure: Option<String>,
}

/// What a vault gets when it asks for the newest archive.
enum Given {
    /// There is none, or none that it could be given: one is made.
    Nothing,
    /// This, and it has it.
    HasIt(Archive),
    /// This.
    Newest(Archive),
}

fn text(at: Timestamp) -> String {
    at.to_string()
}

impl Vaults {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            cared: Mutex::default(),
            noting: Mutex::default(),
            wanted: Notify::new(),
            fetched: Notify::new(),
            fetches: Arc::new(Semaphore::new(FETCHES)),
        }
    }

    fn cared(&self) -> MutexGuard<'_, BTreeMap<Did, Cared>> {
        self.cared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cared_for(&self, tenant: &Did) -> Option<Cared> {
        self.cared().get(tenant).cloned()
    }

    /// How often it is looked whether something is due when nothing tells.
    fn round(&self) -> Duration {
        self.settings.check.min(Duration::from_mins(1))
    }

    /// A vault says which archive it has. What it gets, and whether what is known of it has changed.
    fn said(&self, tenant: &Did, vault: &Did, has: Option<ArchiveDigest>) -> (Given, bool) {
        let mut cared = self.cared();
        // Before what was known is read again, its word could not be compared with anything.
        let Some(cared) = cared.get_mut(tenant) else { return (Given::Nothing, false) };
        let record = cared.vaults.entry(vault.clone()).or_default();
        let before = record.clone();
        if record.said(has, clock::now()) && before.state() != State::Lost {
            tracing::error!(%tenant, %vault, "the vault says that it has lost its archive; it is given a new one");
        }
        let is_changed = *record != before;
        cared.is_new |= is_changed;
        let given = match &cared.archive {
            Some(archive) if record.has(&archive.digest) => Given::HasIt(archive.clone()),
            Some(archive) if cared.is_there && !record.has_lost(&archive.digest) => Given::Newest(archive.clone()),
            _ => Given::Nothing,
        };
        if is_changed && matches!(given, Given::HasIt(_)) {
            cared.asked.remove(vault);
        }
        (given, is_changed)
    }

    fn report(&self, tenant: &Tenant) -> Vec<VaultReport> {
        let cared = self.cared_for(&tenant.did).unwrap_or_default();
        let report = |did: &Did| {
            let record = cared.vaults.get(did).cloned().unwrap_or_default();
            VaultReport {
                did: did.clone(),
                state: record.state(),
                has_newest: cared.archive.as_ref().is_some_and(|archive| record.has(&archive.digest)),
                proved_at: record.proved_at.map(text),
                lost_at: record.lost_at.map(text),
                losses: record.losses,
            }
        };
        tenant.placed.vaults.iter().map(report).collect()
    }

    fn archive_report(&self, tenant: &Tenant) -> ArchiveReport {
        let cared = self.cared_for(&tenant.did).unwrap_or_default();
        let archive = cared.archive.as_ref();
        ArchiveReport {
            made_at: archive.map(|archive| text(archive.made_at)),
            sequence: archive.map(|archive| archive.sequence),
            bytes: archive.map(|archive| archive.bytes),
            recovery: archive.map(|archive| archive.recipient.clone()),
            failure: cared.failed.map(|(_, why)| why),
        }
    }
}

impl Replication {
    /// Does what a primary of tenants with vaults does, and what a vault does, until told to stop.
    pub(super) async fn run_vaults(self, stop: CancellationToken) -> TaskResult {
        let tasks = tokio::join!(
            self.clone().make_archives(stop.clone()),
            self.clone().ask_vaults(stop.clone()),
            self.clone().keep_archives(stop),
        );
        tasks.0.and(tasks.1).and(tasks.2)
    }

    /// How the vaults of a tenant do, of which this node is primary.
    pub(crate) fn vault_reports(&self, tenant: &Tenant) -> (Vec<VaultReport>, Option<ArchiveReport>) {
        if tenant.placed.vaults.is_empty() {
            return (Vec::new(), None);
        }
        (self.0.vaults.report(tenant), Some(self.0.vaults.archive_report(tenant)))
    }
}
