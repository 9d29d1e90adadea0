//! Trying a failover on purpose: the tenant is handed to the standby that is furthest, served there, and brought back;
//! before, in between and afterwards all hosts are asked for the root of its repository. What nobody has ever tried does
//! not work on the day it is needed.
//!
//! The hand-over is the one that an operator orders (`angel tenant promote`), with the same safety: nothing here decides
//! who is primary. A drill that would be unsafe is refused by name and changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::ids::Did;
use angel_protocol::replication::wire::{Answer, How, Of, Question};
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::replicas::{self, Role};
use angel_storage::{Batch, Reader, Table, TableId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::failover::HAND_OVER_LIMIT;
use crate::placement::Tenant;
use crate::replication::{Replication, ReplicationError};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

const LOCAL: Table<String, Cbor<Drill>> = Table::new(TableId::Local);

/// How long a standby may take to get the last events before a drill.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(10);

/// How long each way may take until the tenant is served, and until all hosts have the same again.
const SERVED_LIMIT: Duration = Duration::from_secs(60);
const EQUAL_LIMIT: Duration = Duration::from_secs(120);

/// How often it is looked whether it has come so far.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a drill went, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Drill {
    /// When it began.
    pub(crate) at: Timestamp,
    /// Who served in between.
    pub(crate) standby: Did,
    /// How long nobody took writes on the way there, in milliseconds.
    pub(crate) refused_there_ms: u64,
    /// The same on the way back.
    pub(crate) refused_back_ms: u64,
    /// The whole, in milliseconds.
    pub(crate) took_ms: u64,
    /// What went wrong, if something did.
    pub(crate) failure: Option<String>,
    /// The root before.
    pub(crate) root_before: Option<String>,
    /// The root afterwards, by host.
    pub(crate) roots_after: BTreeMap<Did, String>,
}

impl Drill {
    /// For people and programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "at": self.at.to_string(),
            "standby": self.standby,
            "refusedThereMs": self.refused_there_ms,
            "refusedBackMs": self.refused_back_ms,
            "tookMs": self.took_ms,
            "outcome": if self.failure.is_none() { "equal" } else { "failed" },
            "failure": self.failure,
            "rootBefore": self.root_before,
            "rootsAfter": self.roots_after,
        })
    }
}

/// Why a tenant is not drilled. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotDrilled {
    /// It has no backups.
    #[error("the account is not placed on the network: it has no standby to try; see `angel tenant place`")]
    NotPlaced,
    /// This node is not the one to ask.
    #[error("a drill begins at the tenant's primary, which is {primary}")]
    NotPrimary {
        /// Who is.
        primary: Did,
    },
    /// It takes no writes as it is.
    #[error(
        "too few backups have confirmed this node of late: the tenant takes no writes as it is, and is not put at risk"
    )]
    Unconfirmed,
    /// No standby may take over.
    #[error("the tenant has no standby, only vaults, which cannot serve")]
    NoStandby,
    /// The standby is gone.
    #[error("the standby {standby} does not answer: {why}")]
    StandbySilent {
        /// Which.
        standby: Did,
        /// Why.
        why: String,
    },
    /// The copy is not whole.
    #[error("the copy at {standby} is not complete: it goes up to event {complete} of {newest}")]
    CopyIncomplete {
        /// Which standby.
        standby: Did,
        /// How far it goes.
        complete: u64,
        /// How far it should.
        newest: u64,
    },
    /// One is under way.
    #[error("the tenant is being drilled already")]
    UnderWay,
    /// The store.
    #[error("{0}")]
    Failed(String),
}

impl NotDrilled {
    /// A word for programs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NotPlaced => "NotPlaced",
            Self::NotPrimary { .. } => "NotPrimary",
            Self::Unconfirmed => "PrimaryUnconfirmed",
            Self::NoStandby => "NoStandby",
            Self::StandbySilent { .. } => "StandbySilent",
            Self::CopyIncomplete { .. } => "CopyIncomplete",
            Self::UnderWay => "DrillUnderWay",
            Self::Failed(_) => "DrillFailed",
        }
    }
}

/// How a drill that was asked for is.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Waiting,
    Running(&'static str),
    Ended(Result<Drill, NotDrilled>),
}

/// The drills that were asked for since the start, one per tenant.
#[derive(Default)]
pub(crate) struct Drills {
    states: Mutex<BTreeMap<Did, State>>,
    asked: Notify,
}

impl Drills {
    fn states(&self) -> MutexGuard<'_, BTreeMap<Did, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, tenant: &Did, state: State) {
        self.states().insert(tenant.clone(), state);
    }
}

/// How the last drill of a tenant that began here went. Blocks.
pub(crate) fn last(reader: &Reader, tenant: &Did) -> Result<Option<Drill>, angel_storage::reader::ReadError> {
    Ok(reader.get(&LOCAL, &key(tenant))?.map(|Cbor(drill)| drill))
}

fn key(tenant: &Did) -> String {
    format!("drill/{tenant}")
}

impl Replication {
    /// Has a tenant drilled; [`Replication::drill_state`] says how it goes.
    pub(crate) fn ask_for_drill(&self, tenant: &Did) -> Result<(), NotDrilled> {
        let drills = &self.0.drills;
        let mut states = drills.states();
        if matches!(states.get(tenant), Some(State::Waiting | State::Running(_))) {
            return Err(NotDrilled::UnderWay);
        }
        states.insert(tenant.clone(), State::Waiting);
        drop(states);
        drills.asked.notify_one();
        Ok(())
    }

    /// How the drill that was asked for last is.
    pub(crate) fn drill_state(&self, tenant: &Did) -> Option<State> {
        self.0.drills.states().get(tenant).cloned()
    }

    /// Drills what is asked for, one tenant after the other, until told to stop.
    pub(crate) async fn run_drills(self, stop: CancellationToken) -> TaskResult {
        loop {
            let next = self
                .0
                .drills
                .states()
                .iter()
                .find(|(_, state)| matches!(state, State::Waiting))
                .map(|(did, _)| did.clone());
            let Some(did) = next else {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.0.drills.asked.notified() => continue,
                }
            };
            self.0.drills.set(&did, State::Running("looking whether it is safe"));
            let Some(ended) = stop.run_until_cancelled(Box::pin(self.drill(&did))).await else { return Ok(()) };
            if let Err(error) = &ended {
                tracing::warn!(tenant = %did, %error, "the drill was refused");
            }
            self.0.drills.set(&did, State::Ended(ended));
        }
    }

    /// How the tenant is here.
    pub(crate) async fn how(&self, tenant: &Tenant) -> Result<How, ReplicationError> {
        let (this, did) = (self.clone(), tenant.did.clone());
        let epoch = tenant.placed.epoch;
        let (is_primary, serves) = (tenant.is_primary(), tenant.is_primary() && tenant.serves());
        let account = tenant.account;
        blocking::run(move || {
            let parts = &this.0.parts;
            let head = match account {
                Some(account) => parts.repos.head_blocking(account)?,
                None => None,
            };
            let row = parts.reader.get(&replicas::REPLICAS, &did)?;
            let whole = row.filter(|row| !is_primary && row.role == Role::Standby && row.epoch == epoch);
            Ok(How {
                epoch,
                serves,
                complete: whole.filter(|row| row.stopped.is_none()).and_then(|row| row.complete),
                rev: head.as_ref().map(|head| head.commit.rev()),
                data: head.as_ref().map(|head| head.commit.data()),
            })
        })
        .await
    }

    async fn ask_how(&self, node: &Did, tenant: &Tenant) -> Result<How, ReplicationError> {
        if node == self.own() {
            return self.how(tenant).await;
        }
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        match self.ask(node, &Question::How(of)).await? {
            Answer::How(how) => Ok(how),
            _ => Err(ReplicationError::Unexpected),
        }
    }

    /// Whether the tenant may be drilled, and with whom.
    async fn safe_to_drill(&self, did: &Did) -> Result<(Arc<Tenant>, Did), NotDrilled> {
        let tenant = self.placement().tenant(did).ok_or(NotDrilled::NotPlaced)?;
        if !tenant.is_primary() || !tenant.serves() {
            return Err(NotDrilled::NotPrimary { primary: tenant.placed.primary.clone() });
        }
        if !tenant.lease().holds(self.placement().uptime().now()) {
            return Err(NotDrilled::Unconfirmed);
        }
        let (standby, _) = Self::successors(&tenant).into_iter().next().ok_or(NotDrilled::NoStandby)?;
        let asked = self.ask_how(&standby, &tenant).await;
        asked.map_err(|error| NotDrilled::StandbySilent { standby: standby.clone(), why: error.to_string() })?;
        let account = tenant.account.ok_or(NotDrilled::NotPlaced)?;
        let newest = self.newest_event(account).await.map_err(|error| NotDrilled::Failed(error.to_string()))?;
        if !tenant.until_copied(&standby, newest, CATCH_UP_LIMIT).await {
            let complete = tenant.copies().get(&standby).copied().unwrap_or(0);
            return Err(NotDrilled::CopyIncomplete { standby, complete, newest });
        }
        Ok((tenant, standby))
    }

    async fn drill(&self, did: &Did) -> Result<Drill, NotDrilled> {
        let (tenant, standby) = self.safe_to_drill(did).await?;
        let before = self.how(&tenant).await.map_err(|error| NotDrilled::Failed(error.to_string()))?;
        let mut drill = Drill {
            at: clock::now(),
            standby: standby.clone(),
            refused_there_ms: 0,
            refused_back_ms: 0,
            took_ms: 0,
            failure: None,
            root_before: before.data.map(|root| root.to_string()),
            roots_after: BTreeMap::new(),
        };
        let began = Instant::now();
        tracing::warn!(tenant = %did, %standby, "a drill begins: the tenant is handed over and brought back");
        if let Err(why) = self.there_and_back(&tenant, &standby, &mut drill).await {
            let now_at = self.placement().tenant(did).map(|tenant| tenant.placed.primary.clone());
            let at = now_at.map(|primary| format!("; the tenant's primary is now {primary}")).unwrap_or_default();
            drill.failure = Some(format!("{why}{at}"));
        }
        drill.took_ms = millis(began);
        tracing::warn!(tenant = %did, failure = ?drill.failure, took_ms = drill.took_ms, "the drill has ended");
        let (writer, row, key) = (self.0.parts.writer.clone(), drill.clone(), key(did));
        let kept = blocking::run(move || {
            let mut batch = Batch::new();
            batch.put(&LOCAL, &key, &Cbor(row)).expect("a note is a small row");
            writer.commit(batch)
        });
        kept.await.map_err(|error| NotDrilled::Failed(error.to_string()))?;
        Ok(drill)
    }

    async fn there_and_back(&self, tenant: &Tenant, standby: &Did, drill: &mut Drill) -> Result<(), String> {
        let text = |error: ReplicationError| error.to_string();
        let did = &tenant.did;
        self.0.drills.set(did, State::Running("handing over"));
        let began = Instant::now();
        let question = Question::TakeOver(Of { tenant: did.clone(), epoch: tenant.placed.epoch });
        self.ask_within(standby, &question, HAND_OVER_LIMIT).await.map_err(text)?;
        self.until(SERVED_LIMIT, "the standby does not serve the tenant", || async {
            let tenant = self.placement().tenant(did)?;
            self.ask_how(standby, &tenant).await.ok().filter(|how| how.serves)
        })
        .await?;
        drill.refused_there_ms = millis(began);

        self.0.drills.set(did, State::Running("waiting for the copy here to be whole"));
        self.until(EQUAL_LIMIT, "this node's copy does not become equal to the standby's", || async {
            let tenant = self.placement().tenant(did)?;
            let (here, there) = (self.how(&tenant).await.ok()?, self.ask_how(standby, &tenant).await.ok()?);
            (here.complete.is_some() && here.data == there.data && here.rev == there.rev).then_some(())
        })
        .await?;

        self.0.drills.set(did, State::Running("bringing it back"));
        let began = Instant::now();
        let tenant = self.placement().tenant(did).ok_or("the tenant is gone from the network")?;
        self.promote(&tenant).await.map_err(text)?;
        self.until(SERVED_LIMIT, "this node does not serve the tenant again", || async {
            self.placement().tenant(did).filter(|tenant| tenant.is_primary() && tenant.serves())
        })
        .await?;
        drill.refused_back_ms = millis(began);

        self.0.drills.set(did, State::Running("comparing roots on all hosts"));
        let equal = self.until(EQUAL_LIMIT, "the hosts do not come to equal roots", || async {
            let tenant = self.placement().tenant(did)?;
            drill_roots(self, &tenant).await
        });
        drill.roots_after = equal.await?;
        Ok(())
    }

    /// Looks until there is an answer.
    async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        limit: Duration,
        otherwise: &str,
        look: impl Fn() -> F,
    ) -> Result<T, String> {
        let looking = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(limit, looking).await.map_err(|_| format!("{otherwise} within {} s", limit.as_secs()))
    }
}

/// The roots at all hosts that keep a repository, if they are equal.
async fn drill_roots(replication: &Replication, tenant: &Tenant) -> Option<BTreeMap<Did, String>> {
    let mut roots = BTreeMap::new();
    let hosts = std::iter::once(&tenant.placed.primary).chain(&tenant.placed.standbys);
    for host in hosts {
        let how = replication.ask_how(host, tenant).await.ok()?;
        if host != &tenant.placed.primary && how.complete.is_none() {
            return None;
        }
        roots.insert(host.clone(), how.data?.to_string());
    }
    let mut all = roots.values();
    let first = all.next()?;
    all.all(|root| root == first).then_some(roots)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
