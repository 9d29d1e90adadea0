//! Standbys that have no room for more of a tenant are replaced, where the operator wants that: when and by whom,
//! [`angel_protocol::placement::Replace`] decides; here the nodes are asked, and the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::ledger::Action;
use angel_protocol::ledger::action::{Backups, ChangeHosts};
use angel_protocol::placement::{Covered, Declined, Offer, Replace, Step};
use angel_protocol::replication::wire::{Answer, Question};
use angel_storage::replicas;
use tokio_util::sync::CancellationToken;

use super::place::NotPlaced;
use super::{Replication, ReplicationError};
use crate::placement::Tenant;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// How often standbys are asked; more often where they are replaced sooner.
const LOOK_EVERY: Duration = Duration::from_mins(5);
const LOOK_LEAST: Duration = Duration::from_secs(1);

/// Nodes that are asked in one look whether they take the place of another.
const TRIES_MAX: usize = 8;

/// What a node that takes the place must have room for, in fourths of what the copy is thought to take: the tenant grows.
const ROOM_IN_FOURTHS: u64 = 5;

/// What is remembered of standbys without room. Cheap to clone.
#[derive(Clone)]
pub(super) struct Replacing {
    state: Arc<Mutex<Replace>>,
    /// After how long they are replaced; `None` where the operator does not want it.
    after: Option<Duration>,
}

impl Replacing {
    pub(super) fn new(after: Option<Duration>) -> Self {
        Self { state: Arc::new(Mutex::new(Replace::new(after.unwrap_or(Duration::MAX)))), after }
    }

    fn state(&self) -> MutexGuard<'_, Replace> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tenant was placed anew: it has as many standbys as are wanted.
    pub(super) fn placed(&self, tenant: &Did) {
        self.state().placed(tenant);
    }

    /// The standbys of a tenant that said last that they have no room.
    pub(super) fn full_of(&self, tenant: &Did) -> BTreeSet<Did> {
        self.state().full_of(tenant).cloned().collect()
    }
}

impl Replication {
    /// Asks the standbys of the tenants that this node serves, and replaces those without room, until told to stop.
    pub(super) async fn replace_full(self, stop: CancellationToken) -> TaskResult {
        let every = self.0.replacing.after.map_or(LOOK_EVERY, |after| LOOK_EVERY.min(after).max(LOOK_LEAST));
        let mut look = tokio::time::interval(every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            match stop.run_until_cancelled(Box::pin(self.look_for_room())).await {
                Some(Err(error)) => tracing::info!(%error, "standbys without room are not replaced yet"),
                Some(Ok(())) => {}
                None => break,
            }
        }
        Ok(())
    }

    async fn look_for_room(&self) -> Result<(), ReplicationError> {
        let mut covered = Vec::new();
        for tenant in self.placement().tenants() {
            let holds = tenant.lease().holds(self.placement().uptime().now());
            if !(tenant.is_primary() && tenant.serves() && holds) || tenant.placed.standbys.is_empty() {
                continue;
            }
            let it = covered_of(&tenant, self.standbys_wanted(&tenant.did).await?);
            let said = self.ask_for_room(&tenant).await?;
            self.0.replacing.state().heard(clock::now(), &it, &said);
            let has_room = |standby: &Did| said.get(standby).copied().unwrap_or(false);
            if it.wanted.is_some() && it.standbys.iter().all(has_room) {
                self.note_wanted(&tenant.did, None).await?;
            }
            covered.push(it);
        }
        // A lease that has lapsed for a moment, as after every change of hosts, ends nothing.
        let is_primary = |did: &Did| self.placement().tenant(did).is_some_and(|tenant| tenant.is_primary());
        self.0.replacing.state().serves(is_primary);
        if self.0.replacing.after.is_none() || self.placement().is_returning() || self.is_cut_off().await? {
            return Ok(());
        }
        let nodes = self.candidates().await?;
        for _ in 0..TRIES_MAX {
            let now = clock::now();
            let proposed = self.0.replacing.state().propose(now, self.own(), &covered, &nodes);
            let Some(step) = proposed else { return Ok(()) };
            match self.carry_out(&step).await {
                Ok(()) => {
                    self.0.replacing.state().done(now, &step);
                    return Ok(());
                }
                Err(error @ (NotPlaced::Declined { .. } | NotPlaced::Silent { .. })) => {
                    let Step::Add { tenant, node } = &step else { return Ok(()) };
                    tracing::info!(%tenant, %node, %error, "a node does not take the place of a full one: another is looked for");
                    self.0.replacing.state().declined(now, tenant, node);
                }
                Err(error) => {
                    tracing::info!(?step, %error, "a standby without room is not replaced yet");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Which standbys have room for more. One that has everything is not asked; of one that does not answer nothing is
    /// known.
    async fn ask_for_room(&self, tenant: &Tenant) -> Result<BTreeMap<Did, bool>, ReplicationError> {
        let Some(account) = tenant.account else { return Ok(BTreeMap::new()) };
        let newest = self.newest_event(account).await?;
        let (copies, full) = (tenant.copies(), self.0.replacing.full_of(&tenant.did));
        let mut said = BTreeMap::new();
        for standby in &tenant.placed.standbys {
            if copies.get(standby).is_some_and(|complete| *complete >= newest) && !full.contains(standby) {
                said.insert(standby.clone(), true);
                continue;
            }
            // It counts what it holds itself: how much the tenant is says nothing to it.
            let offer = Offer { tenant: tenant.did.clone(), bytes: 0, residency: tenant.placed.residency };
            match self.ask(standby, &Question::Offer(offer)).await {
                Ok(Answer::Accepted) => drop(said.insert(standby.clone(), true)),
                Ok(Answer::Declined(Declined::Quota)) => drop(said.insert(standby.clone(), false)),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(tenant = %tenant.did, %standby, %error, "a standby does not say whether it has room");
                }
            }
        }
        Ok(said)
    }

    async fn carry_out(&self, step: &Step) -> Result<(), NotPlaced> {
        let (Step::Add { tenant: did, .. } | Step::Remove { tenant: did, .. }) = step;
        let unplaced = || NotPlaced::from(ReplicationError::Unexpected);
        let tenant = self.placement().tenant(did).filter(|it| it.is_primary()).ok_or_else(unplaced)?;
        let placed = &tenant.placed;
        let mut standbys = placed.standbys.clone();
        match step {
            Step::Add { node, .. } => {
                let account = self.0.parts.accounts.by_did(did).await.map_err(ReplicationError::from)?;
                let account = account.ok_or_else(unplaced)?;
                let bytes = self.thought_to_take(&account).await?.saturating_mul(ROOM_IN_FOURTHS) / 4;
                self.offer_bytes(node, did, bytes, placed.residency).await?;
                tracing::warn!(tenant = %did, %node, full = ?self.0.replacing.full_of(did), "a standby has no room for more: another is added");
                // Before there is one more: whoever is primary when it is whole is to know how many were wanted.
                let wanted = self.0.replacing.state().wanted_of(did).unwrap_or(standbys.len());
                self.note_wanted(did, Some(wanted)).await?;
                standbys.push(node.clone());
            }
            Step::Remove { node, .. } => {
                tracing::warn!(tenant = %did, %node, "the copy of a standby without room is replaced: it is a standby no more");
                standbys.retain(|it| it != node);
            }
        }
        let backups = Backups { standbys, vaults: placed.vaults.clone(), witness: placed.witness.clone() };
        let it = ChangeHosts { tenant: did.clone(), epoch: placed.epoch, backups };
        self.0.parts.submitter.as_node(Action::ChangeHosts(it)).await?;
        let (placement, did) = (self.placement().clone(), did.clone());
        let refreshed = blocking::run(move || placement.refresh_blocking(&did)).await;
        Ok(refreshed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?)
    }

    /// How many standbys a tenant is to have, while one of them is being replaced.
    async fn standbys_wanted(&self, tenant: &Did) -> Result<Option<usize>, ReplicationError> {
        let (reader, did) = (self.0.parts.reader.clone(), tenant.clone());
        let settings = blocking::run(move || replicas::settings(&reader, &did)).await?;
        Ok(settings.standbys.map(usize::from))
    }

    /// Notes it among the tenant's settings, which outlive this process and go to the standbys.
    async fn note_wanted(&self, tenant: &Did, wanted: Option<usize>) -> Result<(), ReplicationError> {
        let wanted = wanted.and_then(|wanted| u16::try_from(wanted).ok());
        let (this, did) = (self.clone(), tenant.clone());
        blocking::run(move || {
            let before = replicas::settings(&this.0.parts.reader, &did)?;
            if before.standbys == wanted {
                return Ok(());
            }
            this.write_settings(&did, replicas::SettingsRow { standbys: wanted, ..before })
        })
        .await
    }

    /// The tenant of which this node is a standby, if its primary asks.
    pub(super) fn held_for(&self, asker: &Did, tenant: &Did) -> Option<Arc<Tenant>> {
        let tenant = self.placement().tenant(tenant)?;
        let is_held = tenant.placed.primary == *asker && tenant.placed.standbys.contains(self.own());
        is_held.then_some(tenant)
    }

    /// A standby is asked whether it has room for more of what it holds: what its own copy came to, it knows.
    pub(super) async fn has_room_for(&self, tenant: &Tenant) -> Result<Answer, ReplicationError> {
        let (reader, did) = (self.0.parts.reader.clone(), tenant.did.clone());
        let row = blocking::run(move || reader.get(&replicas::REPLICAS, &did)).await?;
        let is_full = row.is_some_and(|row| row.has_no_room());
        Ok(if is_full { Answer::Declined(Declined::Quota) } else { Answer::Accepted })
    }
}

fn covered_of(tenant: &Tenant, wanted: Option<usize>) -> Covered {
    let placed = &tenant.placed;
    Covered {
        tenant: tenant.did.clone(),
        strategy: placed.strategy,
        residency: placed.residency,
        standbys: placed.standbys.clone(),
        whole: tenant.whole_copies(),
        others: placed.vaults.iter().chain(&placed.witness).cloned().collect(),
        wanted,
    }
}
