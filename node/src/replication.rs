//! Copies of tenants: this node's of others, and others' of this node's. The driver of
//! [`angel_protocol::replication`] and [`angel_protocol::failover`].
//!
//! | where | what |
//! |---|---|
//! | `tails` | what the log has of each tenant, for those who pull |
//! | `serve` | answers to the other hosting nodes |
//! | `keep` | confirms the primaries, so that they may write |
//! | `pull` | follows one tenant's log |
//! | `copy` | the first copy of a repository |
//! | `files` | fetches files |
//! | `coming` | how much all copies together may still grow by |
//! | `partial` | files of which something has come |
//! | `wanting` | files that the primary does not have as their names say |
//! | `pace` | how fast copying may be |
//! | `rows` | private rows: sealed, compared, installed |
//! | `state` | what else is kept for an account, sealed |
//! | `progress` | how far copying is |
//! | `shares` | the operation by which an identity moves, in shares |
//! | `stand` | what both sides of a move compare |
//! | `replay` | what a node wrote unseen, told when it comes back |
//! | `replace` | standbys without room make way for others |
//! | `formers` | who was primary before |
//! | `vaults` | archives that only the owner's recovery key opens |
//!
//! Everything here runs apart from requests: a standby that is slow, gone or hostile costs its tenants' writers nothing
//! but the wait that they asked for.

mod coming;
mod copy;
mod files;
mod formers;
mod keep;
mod pace;
mod partial;
mod place;
mod progress;
mod pull;
mod replace;
mod replay;
mod rows;
mod serve;
mod shares;
mod stand;
mod state;
pub(crate) mod stream;
mod tails;
mod vaults;
mod versions;
mod wanting;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::placement::{Consent, Declined, Holding};
use angel_protocol::replication::wire::{Answer, PROTOCOL, Question, Refusal};
use angel_storage::reader::ReadError;
use angel_storage::replicas::{self, Role};
use angel_storage::{AccountId, Reader, Writer};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accounts::{AccountError, Accounts};
use crate::backup;
use crate::blobs::{BlobError, Blobs};
use crate::drill::Drills;
use crate::events::Events;
use crate::failover::Failover;
use crate::firehose::Firehose;
use crate::ledger::custody::{SubmitFailed, Submitter};
use crate::lifecycle::Lifecycle;
use crate::network::{self, StreamError};
use crate::permissioned::Permissioned;
use crate::placement::{Placement, Tenant};
use crate::preferences::Preferences;
use crate::repos::{ImportRefused, NotFollowed, RepoError, Repos};
use crate::resolver::Resolver;
use crate::spaces::Spaces;
use crate::tasks::TaskResult;
use crate::tenants::Tenants;
use crate::{blocking, membership};

use coming::{Coming, Room};
use formers::Formers;
use pace::Pace;
use partial::Partials;
pub(crate) use place::{NotPlaced, PlaceWish};
pub(crate) use progress::Progress;
use progress::Progresses;
use replace::Replacing;
pub(crate) use state::{Sealing, SealingError};
use tails::Tails;
use vaults::{ArchiveReport, VaultReport, Vaults};
pub(crate) use vaults::{KeptReport, NotExported, Settings as VaultSettings};
pub(crate) use versions::{VERSIONS_SHOWN, VersionOf};

/// How long it may take to open a stream to another node: over a connection that died unnoticed it never opens.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How long another node may take to answer a small question.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked for tasks to start or stop when nothing tells.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What replication is made of.
pub(crate) struct Parts {
    pub(crate) placement: Placement,
    pub(crate) submitter: Submitter,
    pub(crate) consent: Consent,
    pub(crate) network: network::Handle,
    pub(crate) membership: membership::Handle,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) accounts: Accounts,
    pub(crate) repos: Repos,
    pub(crate) blobs: Blobs,
    pub(crate) firehose: Firehose,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) resolver: Resolver,
    pub(crate) permissioned: Permissioned,
    pub(crate) tenants: Tenants,
    pub(crate) preferences: Preferences,
    pub(crate) spaces: Spaces,
    pub(crate) sealing: Sealing,
    /// Where files lie that have not all come.
    pub(crate) partial_dir: PathBuf,
    /// Bytes a second that are sent in bulk.
    pub(crate) copy_rate: u64,
    /// What archives for vaults are made of.
    pub(crate) archives: backup::Source,
    /// How vaults are cared for.
    pub(crate) vaults: VaultSettings,
    /// After how long standbys without room are replaced; `None` where the operator does not want it.
    pub(crate) replace_after: Option<Duration>,
    /// Where is counted what is sent.
    pub(crate) events: Events,
}

/// The copies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Replication(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) failover: Failover,
    tails: Tails,
    /// Tells those who wait for events that shares of an identity were dealt.
    dealt: watch::Sender<()>,
    pub(crate) drills: Drills,
    progress: Progresses,
    partials: Partials,
    coming: Coming,
    formers: Formers,
    pace: Pace,
    vaults: Vaults,
    replacing: Replacing,
}

/// Why something between hosting nodes did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicationError {
    /// The way there.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The stream broke, or what came is no message.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other node refuses.
    #[error("the other node refuses: {0}")]
    Refused(Refusal),
    /// The other node answered something else.
    #[error("the other node does not answer what was asked")]
    Unexpected,
    /// What it sent does not verify.
    #[error("what the primary sent does not verify: {0}")]
    NotBelieved(String),
    /// A file.
    #[error("the primary does not have the file as its name says: {0}")]
    OtherFile(String),
    /// It would take more room than this node gives.
    #[error("the copy would take more room than this node sets aside for others (replicas.quota)")]
    Quota,
    /// This node's terms are others by now.
    #[error("this node does not take it: {0}")]
    Declined(#[from] Declined),
    /// A DID that names no node.
    #[error("{0} is no node")]
    NoNode(Did),
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A file.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store.
    #[error(transparent)]
    Commit(#[from] angel_storage::CommitError),
    /// The store.
    #[error(transparent)]
    Row(#[from] angel_storage::events::TrimError),
    /// Sealing.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// Private rows cannot be put in force.
    #[error("the private rows of the copy cannot be put in force: {0}")]
    Install(String),
    /// The identity.
    #[error("the identity cannot be moved: {0}")]
    Identity(String),
    /// The ledger.
    #[error(transparent)]
    Submit(#[from] SubmitFailed),
}

impl From<angel_storage::batch::RowRefused> for ReplicationError {
    fn from(error: angel_storage::batch::RowRefused) -> Self {
        Self::Row(error.into())
    }
}

impl From<NotFollowed> for ReplicationError {
    fn from(error: NotFollowed) -> Self {
        match error {
            NotFollowed::Follow(error) => Self::NotBelieved(error.to_string()),
            NotFollowed::Repo(error) => Self::Repo(error),
        }
    }
}

impl From<ImportRefused> for ReplicationError {
    fn from(error: ImportRefused) -> Self {
        match error {
            ImportRefused::Repo(error) => Self::Repo(error),
            ImportRefused::Spool(error) => Self::Io(error),
            refused => Self::NotBelieved(refused.to_string()),
        }
    }
}

/// How one tenant is, for its operator.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantReport {
    /// The tenant.
    pub(crate) did: Did,
    /// Its epoch.
    pub(crate) epoch: u64,
    /// What this node is to it.
    pub(crate) role: &'static str,
    /// The primary.
    pub(crate) primary: Did,
    /// Whether writes wait for a standby.
    pub(crate) ack: &'static str,
    /// Revision and root of the repository here.
    pub(crate) rev: Option<String>,
    /// See `rev`.
    pub(crate) root: Option<String>,
    /// At the primary: whether so many backups have confirmed it that it may write.
    pub(crate) writable: bool,
    /// At the primary: events of the tenant that no failover is sure to find. What would be lost if this machine died
    /// now.
    pub(crate) unsafe_events: Option<u64>,
    /// At the primary: every standby, with the newest event that it has. 0 of one that is still copying, or that has said nothing
    /// since this node started.
    pub(crate) standbys: BTreeMap<Did, u64>,
    /// At the primary: those of them to which the identity would move if this node ended now.
    pub(crate) heirs: BTreeSet<Did>,
    /// At the primary: standbys that say that they have no room for more.
    pub(crate) full: BTreeSet<Did>,
    /// At a copy: up to which event of the primary it is complete.
    pub(crate) complete: Option<u64>,
    /// At a copy: how long the primary has been silent, in milliseconds.
    pub(crate) silent_ms: Option<u64>,
    /// At a copy: for how long it follows nobody, in milliseconds, because this node gave its word for a failover that has not
    /// come about.
    pub(crate) promised_ms: Option<u64>,
    /// At a copy: why it has stopped.
    pub(crate) stopped: Option<String>,
    /// Records of which a second version is kept.
    pub(crate) kept_versions: usize,
    /// At a copy: what is being copied, until it is complete.
    pub(crate) copying: Option<Progress>,
    /// At a copy: private rows that differed although nothing had told of it.
    pub(crate) mended: u64,
    /// At a copy: bytes of it, as they were counted.
    pub(crate) bytes: Option<u64>,
    /// At the primary: how the vaults do.
    pub(crate) vaults: Vec<VaultReport>,
    /// At the primary of a tenant with vaults: the newest archive.
    pub(crate) archive: Option<ArchiveReport>,
    /// At a vault: the archive that it keeps.
    pub(crate) kept: Option<KeptReport>,
}

impl Replication {
    /// Ready to be run.
    pub(crate) fn new(parts: Parts) -> Self {
        let failover = Failover::new(parts.reader.clone(), parts.writer.clone(), parts.placement.clone());
        let tails = Tails::new(parts.reader.clone());
        let (partials, pace) = (Partials::new(parts.partial_dir.clone()), Pace::new(parts.copy_rate));
        let replacing = Replacing::new(parts.replace_after);
        let (drills, progress, vaults) = (Drills::default(), Progresses::default(), Vaults::new(parts.vaults.clone()));
        Self(Arc::new(Shared {
            parts,
            failover,
            tails,
            dealt: watch::Sender::new(()),
            drills,
            progress,
            partials,
            coming: Coming::default(),
            formers: Formers::default(),
            pace,
            vaults,
            replacing,
        }))
    }

    pub(crate) fn placement(&self) -> &Placement {
        &self.0.parts.placement
    }

    pub(crate) fn own(&self) -> &Did {
        self.0.parts.placement.own()
    }

    /// What this node holds of others' tenants, and what is coming of them. Blocks.
    pub(crate) fn holding_blocking(&self, except: Option<&Did>) -> Result<Holding, ReplicationError> {
        let excepted = except.map(|did| self.0.parts.reader.get(&replicas::REPLICAS, did)).transpose()?.flatten();
        let coming = self.0.coming.except(excepted.map(|row| row.account));
        let mut holding = self.counted_blocking(except)?.0;
        holding.bytes = holding.bytes.saturating_add(coming);
        Ok(holding)
    }

    /// What rows and archives count of others' tenants, and the accounts that have copies of them. Blocks.
    fn counted_blocking(&self, except: Option<&Did>) -> Result<(Holding, BTreeSet<AccountId>), ReplicationError> {
        let (mut holding, mut copies) = (self.archives_held_blocking(except)?, BTreeSet::new());
        let mut after = None;
        loop {
            let page = replicas::page(&self.0.parts.reader, after.as_ref(), 1000)?;
            let Some((last, _)) = page.last() else { return Ok((holding, copies)) };
            after = Some(last.clone());
            for (did, row) in page.iter().filter(|(_, row)| row.role == Role::Standby) {
                copies.insert(row.account);
                if Some(did) == except {
                    continue;
                }
                tracing::trace!(tenant = %did, bytes = row.bytes, "held");
                holding.tenants += 1;
                holding.bytes = holding.bytes.saturating_add(row.bytes);
            }
        }
    }

    /// Room for the copy of a tenant, of which `bytes` are here and whole. Blocks.
    fn room_blocking(&self, tenant: &Did, account: AccountId, bytes: u64) -> Result<Room, ReplicationError> {
        self.0.coming.room_blocking(account, || {
            let (others, copies) = self.counted_blocking(Some(tenant))?;
            Ok((self.0.parts.consent.room(others).saturating_sub(bytes), copies))
        })
    }

    /// Asks another node one question.
    pub(crate) async fn ask(&self, node: &Did, question: &Question) -> Result<Answer, ReplicationError> {
        self.ask_within(node, question, ANSWER_LIMIT).await
    }

    /// Asks another node one question that takes it a while.
    pub(crate) async fn ask_within(
        &self,
        node: &Did,
        question: &Question,
        limit: Duration,
    ) -> Result<Answer, ReplicationError> {
        let asking = async {
            let mut stream = self.open(node).await?;
            stream::ask(&mut stream, question).await?;
            Ok::<_, ReplicationError>(stream::answered(&mut stream, limit).await?)
        };
        let answer = tokio::time::timeout(limit, asking).await;
        match answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            Answer::Refused(refusal) => Err(ReplicationError::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    async fn open(&self, node: &Did) -> Result<network::Stream, ReplicationError> {
        let peer = network::peer_id_of(node).map_err(|_| ReplicationError::NoNode(node.clone()))?;
        let opened = tokio::time::timeout(OPEN_LIMIT, self.0.parts.network.open_stream(peer, PROTOCOL)).await;
        Ok(opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)
    }

    /// The newest event of a tenant that is durable, once that has been read.
    pub(crate) async fn newest_event(&self, account: AccountId) -> Result<u64, ReplicationError> {
        let mut head = self.0.tails.watch(account);
        let durable = self.0.parts.reader.durable_sequence();
        while !self.0.tails.is_fed_to(durable) {
            // The feed is at most a page behind; other accounts' events wake nobody here.
            drop(tokio::time::timeout(Duration::from_millis(20), head.changed()).await);
        }
        let newest = *head.borrow();
        Ok(newest)
    }

    /// How each tenant is that this node hosts in whatever role. Blocks.
    pub(crate) fn reports_blocking(&self) -> Result<Vec<TenantReport>, ReplicationError> {
        self.placement().tenants().iter().map(|tenant| self.report_blocking(tenant)).collect()
    }

    pub(crate) fn report_blocking(&self, tenant: &Tenant) -> Result<TenantReport, ReplicationError> {
        let parts = &self.0.parts;
        let row = parts.reader.get(&replicas::REPLICAS, &tenant.did)?;
        let head = match tenant.account {
            Some(account) => parts.repos.head_blocking(account)?,
            None => None,
        };
        let newest = tenant.account.and_then(|account| self.0.tails.head(account));
        let is_primary = tenant.is_primary();
        let role = match (is_primary, row.as_ref().map(|row| row.role)) {
            (true, Some(Role::Primary) | None) => "primary",
            (true, _) => "taking over",
            (false, Some(Role::GivingWay)) => "giving way",
            (false, Some(Role::Restored)) => "restored",
            _ if tenant.placed.vaults.contains(self.own()) => "vault",
            // It lies here, and nobody asks for it; what was written here is told first.
            (false, None) if !tenant.concerns(self.own()) => "giving way",
            (false, Some(Role::Standby)) if !tenant.concerns(self.own()) => "former host",
            (false, _) => "standby",
        };
        let (vaults, archive) = if is_primary { self.vault_reports(tenant) } else { (Vec::new(), None) };
        Ok(TenantReport {
            did: tenant.did.clone(),
            epoch: tenant.placed.epoch,
            role,
            primary: tenant.placed.primary.clone(),
            ack: if tenant.waits_for_standby() { "replicated" } else { "local" },
            rev: head.as_ref().map(|head| head.commit.rev().to_string()),
            root: head.as_ref().map(|head| head.commit.data().to_string()),
            writable: is_primary && tenant.serves() && tenant.lease().holds(self.placement().uptime().now()),
            unsafe_events: newest.filter(|_| is_primary).map(|(_, count)| count(tenant.safe())),
            standbys: if is_primary { tenant.copies_told() } else { BTreeMap::new() },
            full: self.0.replacing.full_of(&tenant.did),
            heirs: if is_primary { self.heirs_blocking(tenant)? } else { BTreeSet::new() },
            complete: row.as_ref().filter(|_| !is_primary).and_then(|row| row.complete),
            copying: self.0.progress.of(&tenant.did).filter(|_| !is_primary),
            mended: row.as_ref().map_or(0, |row| row.mended),
            bytes: row.as_ref().filter(|_| !is_primary).map(|row| row.bytes),
            silent_ms: self.0.failover.silent_for(&tenant.did).map(|silence| silence.as_millis() as u64),
            promised_ms: self.0.failover.promised_for(&tenant.did).map(|bound| bound.as_millis() as u64),
            stopped: row.and_then(|row| row.stopped),
            vaults,
            archive,
            kept: self.kept_archive_blocking(&tenant.did).filter(|_| !is_primary),
            kept_versions: replicas::kept(&parts.reader, &tenant.did)?.versions,
        })
    }

    /// Runs everything until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let this = self.clone();
        blocking::run(move || this.placement().load_blocking()).await?;
        let this = self.clone();
        blocking::run(move || {
            let (_, copies) = this.counted_blocking(None)?;
            this.0.partials.sweep_blocking(&copies)?;
            this.0.coming.found(this.0.partials.all_blocking()?);
            Ok::<_, ReplicationError>(())
        })
        .await?;
        // Of an account that another node serves, what was kept here of it is served no more.
        for tenant in self.placement().tenants().iter().filter(|tenant| !tenant.is_primary()) {
            self.0.parts.tenants.give_away(&tenant.did);
        }
        let tasks = tokio::join!(
            self.clone().serve(stop.clone()),
            self.clone().feed_tails(stop.clone()),
            self.clone().keep_all(stop.clone()),
            self.clone().follow_all(stop.clone()),
            self.clone().watch_over(stop.clone()),
            self.clone().change_roles(stop.clone()),
            self.clone().run_drills(stop.clone()),
            self.clone().run_vaults(stop.clone()),
            self.clone().replace_full(stop),
        );
        tasks.0.and(tasks.1).and(tasks.2).and(tasks.3).and(tasks.4).and(tasks.5).and(tasks.6).and(tasks.7).and(tasks.8)
    }
}
