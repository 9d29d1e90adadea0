//! Moving tenants to other nodes and back: the driver of [`angel_protocol::migration`].
//!
//! The node that is primary drives a move, one task for each; what it has done and what it waits for is in the journal
//! (`angel_storage::moves`) before it happens. What the tenant has travels by replication; here is only what the two
//! nodes have to agree on.
//!
//! | where | what |
//! |---|---|
//! | `driver` | one move, from effect to input |
//! | `steps` | what each effect does |
//! | `names` | what browsers look up |
//! | `rebalance` | tenants that a full node hands over of its own accord, and that another takes off it |
//! | `serve` | answers to the other node |
//! | `forward` | requests of clients that still come to the old node |

mod driver;
mod forward;
mod names;
mod rebalance;
mod serve;
mod steps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use angel_protocol::ids::{Did, Tid};
use angel_protocol::migration::wire::{Answer, PROTOCOL, Question};
use angel_protocol::migration::{Config, Input, Kind, Migration, Phase, Why};
use angel_protocol::placement::Intake;
use angel_protocol::replication::wire::{Of, Refusal};
use angel_storage::moves::{self, MoveRow};
use angel_storage::{Batch, CommitError};
use serde_json::{Value, json};
use tokio::sync::{OwnedRwLockWriteGuard, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Account;
use crate::dns::moved::Names;
use crate::fetch::Fetcher;
use crate::placement::Placement;
use crate::replication::{Replication, ReplicationError, stream};
use crate::sessions::Sessions;
use crate::tasks::TaskResult;
use crate::tenants::Tenants;
use crate::{blocking, clock, network};

pub(crate) use forward::or_where_it_moved;

/// Moves that this node drives at once.
const MOVES_MAX: usize = 16;

/// Moves of one tenant that are told.
const TOLD_MAX: usize = 20;

/// How long another node may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What moving is made of.
pub(crate) struct Parts {
    pub(crate) replication: Replication,
    pub(crate) sessions: Sessions,
    pub(crate) tenants: Tenants,
    /// The way to other nodes' HTTP.
    pub(crate) fetcher: Fetcher,
    /// Where this node answers.
    pub(crate) endpoint: String,
    /// Names of tenants, for browsers.
    pub(crate) names: Names,
    /// How long this node has to be full before it hands tenants over; nothing where it never does.
    pub(crate) rebalances: Option<Duration>,
    pub(crate) config: Config,
}

/// A move that is to begin.
struct Wanted<'a> {
    to: &'a Did,
    reason: &'a str,
    kind: Kind,
    /// Whether this node wants it of its own accord.
    unasked: bool,
}

/// The moves of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Migrations(Arc<Shared>);

struct Shared {
    parts: Parts,
    running: Mutex<BTreeMap<Did, Running>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    forwards: forward::Tokens,
    /// Tenants that come here from full nodes.
    intake: Mutex<Intake>,
}

/// A move that a task drives.
struct Running {
    id: String,
    inbox: mpsc::Sender<Input>,
    row: watch::Receiver<MoveRow>,
}

impl Running {
    /// Asks for it to be called off; where commands wait already, this is one of them.
    fn cancel(&self) {
        if self.inbox.try_send(Input::Cancel).is_err() {
            tracing::debug!(id = %self.id, "the move is asked to end already");
        }
    }
}

/// Why a move does not begin, or is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMoved {
    /// It cannot be done.
    #[error("{why}{}", .detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Why {
        /// By name.
        why: Why,
        /// More, for people.
        detail: Option<String>,
    },
    /// Another move of the tenant is under way.
    #[error("a move of the tenant is under way already: {0}")]
    InProgress(String),
    /// This node drives as many as it can.
    #[error("this node moves {MOVES_MAX} tenants already; try again when one is done")]
    TooMany,
    /// There is no such move.
    #[error("no such move is known here")]
    Unknown,
    /// There is nothing to go back to.
    #[error("the tenant was not moved, or its grace is over: there is nothing to roll back; move it anew")]
    NothingToReturn,
    /// It has gone too far to be called off.
    #[error("the move is in {0}: the ledger was asked, so it can be rolled back but not called off")]
    TooLate(&'static str),
    /// Between the nodes.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The journal.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl NotMoved {
    fn why(why: Why, detail: impl Into<String>) -> Self {
        Self::Why { why, detail: Some(detail.into()) }
    }

    /// As the journal has it.
    const fn reason(&self) -> Why {
        match self {
            Self::Why { why, .. } => *why,
            Self::Replication(ReplicationError::Submit(_)) => Why::LedgerRefused,
            _ => Why::TargetUnreachable,
        }
    }
}

impl From<Why> for NotMoved {
    fn from(why: Why) -> Self {
        Self::Why { why, detail: None }
    }
}

impl From<angel_storage::reader::ReadError> for NotMoved {
    fn from(error: angel_storage::reader::ReadError) -> Self {
        Self::Replication(error.into())
    }
}

impl From<crate::accounts::AccountError> for NotMoved {
    fn from(error: crate::accounts::AccountError) -> Self {
        Self::Replication(error.into())
    }
}

impl Migrations {
    /// Ready to be run.
    pub(crate) fn new(parts: Parts) -> Self {
        let (running, tasks, stop) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        let intake = Mutex::new(rebalance::intake(parts.replication.placement()));
        Self(Arc::new(Shared { parts, running, tasks, stop, forwards: forward::Tokens::default(), intake }))
    }

    fn placement(&self) -> &Placement {
        self.0.parts.replication.placement()
    }

    fn own(&self) -> &Did {
        self.placement().own()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Did, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with what the last run left, before anybody is served: where the ledger may still decide, writes wait.
    pub(crate) async fn resume(&self) -> Result<(), ReplicationError> {
        let reader = self.0.parts.replication.0.parts.reader.clone();
        let left = blocking::run(move || moves::under_way(&reader, MOVES_MAX)).await?;
        for ((did, id), row) in left {
            let tenant = self.placement().tenant(&did);
            let held = match tenant {
                Some(tenant) if row.state.phase() == Phase::Cutover && tenant.is_primary() => {
                    Some(tenant.freeze().await)
                }
                _ => None,
            };
            tracing::warn!(tenant = %did, phase = row.state.phase().name(), "a move goes on after a restart");
            self.drive(did, id, row, held, true);
        }
        Ok(())
    }

    /// Answers other nodes until told to stop; moves stop where they are, and go on at the next start.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let balancing = async {
            if let Err(error) = self.clone().rebalance(stop.clone()).await {
                return error;
            }
            // It is not wanted, or has stopped: the rest goes on.
            std::future::pending().await
        };
        let ended = tokio::select! {
            ended = self.clone().serve(stop.clone()) => ended,
            error = balancing => Err(error.to_string().into()),
        };
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        ended
    }

    fn drive(
        &self,
        did: Did,
        id: String,
        row: MoveRow,
        held: Option<OwnedRwLockWriteGuard<()>>,
        resumed: bool,
    ) -> watch::Receiver<MoveRow> {
        let (inbox, commands) = mpsc::channel(4);
        let (told, watching) = watch::channel(row.clone());
        self.running().insert(did.clone(), Running { id: id.clone(), inbox, row: watching.clone() });
        let (this, stop) = (self.clone(), self.0.stop.clone());
        self.0.tasks.spawn(async move {
            let driver = driver::Driver::new(this.clone(), did.clone(), id, row, held, told, commands);
            Box::pin(stop.run_until_cancelled(driver.run(resumed))).await;
            this.running().remove(&did);
        });
        watching
    }

    /// Begins a move of an account to another node. With `dry_run` it is only found out whether it could be done.
    pub(crate) async fn begin(
        &self,
        account: &Account,
        to: &Did,
        reason: &str,
        dry_run: bool,
    ) -> Result<Value, NotMoved> {
        self.start(account, Wanted { to, reason, kind: Kind::Move, unasked: false }, dry_run).await
    }

    async fn start(&self, account: &Account, wanted: Wanted<'_>, dry_run: bool) -> Result<Value, NotMoved> {
        let Wanted { to, reason, kind, unasked } = wanted;
        let did = account.did().clone();
        self.until_gone(&did).await;
        self.check_free(&did)?;
        let now = clock::now();
        let mut row = MoveRow {
            state: Migration::new(kind, now),
            from: self.own().clone(),
            to: to.clone(),
            reason: reason.to_owned(),
            unasked,
            created_at: now,
            ended_at: None,
            epoch: self.placement().tenant(&did).map_or(0, |tenant| tenant.placed.epoch),
            nonce: rand::random(),
            placed: false,
            tokens_from: account.row().tokens_valid_from,
            accepted: None,
            bytes: 0,
            roots: None,
            log: Vec::new(),
        };
        self.precheck(&did, &row).await?;
        let id = Tid::new(now.as_millis() * 1000, rand::random::<u16>() & 0x3ff).to_string();
        if dry_run {
            let mut view = view(&did, &id, &row);
            view["dryRun"] = json!(true);
            return Ok(view);
        }
        self.check_free(&did)?;
        row.note(now, format!("to {to}"));
        self.store(&did, &id, &row).await?;
        tracing::warn!(tenant = %did, %to, %id, "a move begins");
        let view = view(&did, &id, &row);
        self.drive(did, id, row, None, false);
        Ok(view)
    }

    /// Waits for a move that is over, as everybody may read, to be put away: it does not stand in the way of the next.
    async fn until_gone(&self, did: &Did) {
        loop {
            let over = self.running().get(did).map(|it| it.row.clone()).filter(|row| row.borrow().state.is_over());
            let Some(mut over) = over else { return };
            while over.changed().await.is_ok() {}
            // Who told of it has gone, and takes it away next.
            tokio::task::yield_now().await;
        }
    }

    fn check_free(&self, did: &Did) -> Result<(), NotMoved> {
        let running = self.running();
        match running.get(did) {
            // The grace of an earlier move does not stand in the way of the next.
            Some(other) if !matches!(other.row.borrow().state.phase(), Phase::Grace | Phase::Cleanup) => {
                Err(NotMoved::InProgress(other.id.clone()))
            }
            Some(_) => Err(NotMoved::InProgress("the grace of the last one has not been left yet".to_owned())),
            None if running.len() >= MOVES_MAX => Err(NotMoved::TooMany),
            None => Ok(()),
        }
    }

    /// Moves a tenant back to where it came from. Asked of either node, it is the present primary that does it.
    pub(crate) async fn roll_back(&self, account: &Account) -> Result<Value, NotMoved> {
        let did = account.did();
        let tenant = self.placement().tenant(did).ok_or(NotMoved::NothingToReturn)?;
        if let Some(running) = self.running().get(did).filter(|running| running.row.borrow().state.can_cancel()) {
            // Before the switch, going back is calling it off.
            running.cancel();
            return Ok(view(did, &running.id, &running.row.borrow()));
        }
        let former = tenant.placed.previous.as_ref().map(|before| before.primary.clone());
        let former = former.filter(|former| tenant.is_former(former)).ok_or(NotMoved::NothingToReturn)?;
        if tenant.is_primary() {
            let back = Wanted { to: &former, reason: "manual", kind: Kind::Return, unasked: false };
            return self.start(account, back, false).await;
        }
        let primary = tenant.placed.primary.clone();
        let of = Of { tenant: did.clone(), epoch: tenant.placed.epoch };
        match self.ask(&primary, &Question::Return(of)).await? {
            Answer::Returning(id) => Ok(json!({
                "id": id, "tenant": did, "fromNode": primary, "toNode": self.own(), "status": "pending", "at": primary,
            })),
            _ => Err(ReplicationError::Unexpected.into()),
        }
    }

    /// Calls a move off, before the ledger is asked.
    pub(crate) fn cancel(&self, id: &str) -> Result<Value, NotMoved> {
        let running = self.running();
        let (did, found) = running.iter().find(|(_, it)| it.id == id).ok_or(NotMoved::Unknown)?;
        let row = found.row.borrow().clone();
        if !row.state.can_cancel() {
            return Err(NotMoved::TooLate(row.state.phase().name()));
        }
        found.cancel();
        Ok(view(did, id, &row))
    }

    /// Whose move it is, and how far.
    pub(crate) async fn find(&self, id: &str) -> Result<(Did, MoveRow), NotMoved> {
        if let Some((did, it)) = self.running().iter().find(|(_, it)| it.id == id) {
            return Ok((did.clone(), it.row.borrow().clone()));
        }
        let (reader, id) = (self.0.parts.replication.0.parts.reader.clone(), id.to_owned());
        let found = blocking::run(move || moves::by_id(&reader, &id)).await?;
        found.ok_or(NotMoved::Unknown)
    }

    /// The moves of a tenant that began at this node, the newest first.
    pub(crate) async fn list(&self, did: &Did) -> Result<Vec<Value>, NotMoved> {
        let (reader, of) = (self.0.parts.replication.0.parts.reader.clone(), did.clone());
        let mut rows = blocking::run(move || moves::of(&reader, &of, TOLD_MAX)).await?;
        if let Some(running) = self.running().get(did)
            && let Some((_, row)) = rows.iter_mut().find(|(id, _)| *id == running.id)
        {
            row.clone_from(&running.row.borrow());
        }
        Ok(rows.iter().map(|(id, row)| view(did, id, row)).collect())
    }

    /// Whether any move is on its way that has not come to its grace.
    fn moves_anything(&self) -> bool {
        let rests = |phase: Phase| matches!(phase, Phase::Grace | Phase::Cleanup | Phase::Ended(_));
        self.running().values().any(|it| !rests(it.row.borrow().state.phase()))
    }

    /// Whether a move of this tenant is under way, so that its writers may have to wait and be sent elsewhere.
    fn is_moving(&self, did: &Did) -> bool {
        self.running().contains_key(did)
    }

    async fn store(&self, did: &Did, id: &str, row: &MoveRow) -> Result<(), NotMoved> {
        let writer = self.0.parts.replication.0.parts.writer.clone();
        let (key, row) = ((did.clone(), id.to_owned()), row.clone());
        blocking::run(move || {
            let mut batch = Batch::new();
            batch.put(&moves::MOVES, &key, &row).map_err(ReplicationError::from)?;
            writer.commit(batch)?;
            Ok(())
        })
        .await
    }

    /// Asks another node.
    async fn ask(&self, node: &Did, question: &Question) -> Result<Answer, ReplicationError> {
        let asking = async {
            let peer = network::peer_id_of(node).map_err(|_| ReplicationError::NoNode(node.clone()))?;
            let mut io = self.0.parts.replication.0.parts.network.open_stream(peer, PROTOCOL).await?;
            stream::write_frame(&mut io, &question.encode().map_err(std::io::Error::from)?).await?;
            let bytes = angel_protocol::limits::MIGRATION_FRAME_BYTES_MAX;
            let answer = stream::read_frame(&mut io, bytes, ANSWER_LIMIT).await?;
            Ok::<_, ReplicationError>(Answer::decode(&answer).map_err(std::io::Error::from)?)
        };
        let answer = tokio::time::timeout(ANSWER_LIMIT, asking).await;
        match answer.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?? {
            Answer::Refused(refusal) => Err(ReplicationError::Refused(refusal)),
            answer => Ok(answer),
        }
    }
}

fn refused(why: &str) -> ReplicationError {
    ReplicationError::Refused(Refusal::Not(why.to_owned()))
}

/// A move as the API tells it.
pub(crate) fn view(did: &Did, id: &str, row: &MoveRow) -> Value {
    let state = &row.state;
    let (source, target) = row.roots.clone().unzip();
    let mut view = json!({
        "id": id,
        "tenant": did,
        "fromNode": row.from,
        "toNode": row.to,
        "migrationType": row.reason,
        "isReturn": state.kind() == Kind::Return,
        "status": state.status().name(),
        "phase": state.phase().name(),
        "reason": state.why().map(Why::name),
        "message": state.why().map(|why| why.to_string()),
        "createdAt": row.created_at.to_string(),
        "completedAt": row.ended_at.map(|at| at.to_string()),
        "undoUntil": state.until().map(|at| at.to_string()),
        "bytes": row.bytes,
        "writesWaitedMs": state.froze_for(),
        "sourceRoot": source,
        "targetRoot": target,
        "log": row.log.iter().map(|line| json!({ "at": line.at.to_string(), "phase": line.phase, "text": line.text })).collect::<Vec<_>>(),
    });
    // What is not known is left out, as a lexicon has it.
    view.as_object_mut().expect("it was made as one").retain(|_, value| !value.is_null());
    view
}
