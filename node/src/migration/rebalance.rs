//! A node that is full hands tenants over, where its operator wants that, and one with room takes them: when, which and
//! whether, `angel_protocol::placement` decides; here it is asked, and the move begun like any other.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::ledger::rows;
use angel_protocol::membership::Resources;
use angel_protocol::migration::{Kind, Why};
use angel_protocol::placement::{Declined, Hosted, Intake, Load, Offer, Proposal, Rebalance};
use angel_protocol::replication::wire::Refusal;
use angel_protocol::time::Timestamp;
use angel_storage::ledger::LedgerView;
use angel_storage::moves;
use serde::Deserialize as _;
use tokio_util::sync::CancellationToken;

use super::{Migrations, NotMoved, Wanted, refused};
use crate::placement::{Placement, Tenant};
use crate::replication::ReplicationError;
use crate::{blocking, clock};

/// How often a node looks how full it is; more often where it need not be full for so long.
const LOOK_EVERY: Duration = Duration::from_mins(5);
const LOOK_LEAST: Duration = Duration::from_secs(1);

/// Proposals that are tried in one look, where nodes decline or tenants cannot be moved.
const TRIES_MAX: usize = 8;

/// For how long what was handed over counts.
const DAY: Duration = Duration::from_hours(24);

/// How such a move is called in its journal (network specification, 5.1).
const REASON: &str = "load_balancing";

/// What this node has taken of late, as the ledger has it: a restart counts nothing anew.
pub(super) fn intake(placement: &Placement) -> Intake {
    let grace = placement.parameters().grace;
    let tenants = placement.tenants().into_iter().filter(|tenant| tenant.is_primary());
    Intake::new(tenants.filter_map(|tenant| Some((arrived_at(&tenant, grace)?, tenant.did.clone()))).collect())
}

/// When a tenant moved to its present primary, if that is how it came there.
fn arrived_at(tenant: &Tenant, grace: u64) -> Option<Timestamp> {
    let before = tenant.placed.previous.as_ref()?;
    Some(Timestamp::from_millis(before.until.saturating_sub(grace)))
}

impl Migrations {
    /// Looks again and again until told to stop. Ends at once where the operator does not want it.
    pub(super) async fn rebalance(self, stop: CancellationToken) -> Result<(), NotMoved> {
        let Some(full_for) = self.0.parts.rebalances else { return Ok(()) };
        let reader = self.0.parts.replication.0.parts.reader.clone();
        let yesterday = Timestamp::from_millis(clock::now().as_millis().saturating_sub(DAY.as_millis() as u64));
        let begun = blocking::run(move || moves::unasked_since(&reader, yesterday)).await?;
        let mut state = Rebalance::new(full_for, begun);
        let mut look = tokio::time::interval(LOOK_EVERY.min(full_for).max(LOOK_LEAST));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            if let Err(error) = Box::pin(self.look(&mut state)).await {
                tracing::info!(%error, "no tenant was handed over to a node with more room");
            }
        }
        Ok(())
    }

    async fn look(&self, state: &mut Rebalance) -> Result<(), NotMoved> {
        let now = clock::now();
        let Some(load) = self.own_load().await? else { return Ok(()) };
        state.measured(now, load);
        if state.is_due(now).is_none() || self.moves_anything() || self.placement().is_returning() {
            return Ok(());
        }
        let replication = &self.0.parts.replication;
        if replication.is_cut_off().await? {
            return Ok(());
        }
        let mut nodes = replication.candidates().await?;
        let mut hosted = self.hosted(now).await?;
        for _ in 0..TRIES_MAX {
            let Some(proposal) = state.propose(now, self.own(), &hosted, &nodes) else { return Ok(()) };
            let (tenant, to) = (&proposal.tenant, &proposal.to);
            match self.hand_over(&proposal).await {
                Ok(()) => {
                    tracing::warn!(%tenant, %to, load = load.score(), "this node is full: a tenant is handed over");
                    state.moved(now);
                    return Ok(());
                }
                Err(NotMoved::Why { why: why @ (Why::NoRoom | Why::TargetUnreachable), detail }) => {
                    tracing::info!(%tenant, %to, %why, ?detail, "a node does not relieve this one: another is looked for");
                    for node in nodes.iter_mut().filter(|node| node.did == *to) {
                        // It is as full as it says now, or not there.
                        node.load_score = 100;
                        node.online &= why == Why::NoRoom;
                    }
                }
                Err(error) => {
                    tracing::info!(%tenant, %to, %error, "a tenant cannot be handed over: another is looked for");
                    hosted.retain(|it| it.tenant != *tenant);
                }
            }
        }
        Ok(())
    }

    async fn hand_over(&self, proposal: &Proposal) -> Result<(), NotMoved> {
        let account = self.account(&proposal.tenant).await?;
        let wanted = Wanted { to: &proposal.to, reason: REASON, kind: Kind::Move, unasked: true };
        self.start(&account, wanted, false).await.map(drop)
    }

    /// The tenants that this node serves for sure.
    async fn hosted(&self, now: Timestamp) -> Result<Vec<Hosted>, NotMoved> {
        let (replication, grace) = (&self.0.parts.replication, self.placement().parameters().grace);
        let mut hosted = Vec::new();
        for tenant in self.placement().tenants() {
            let holds = tenant.lease().holds(self.placement().uptime().now());
            let serves = tenant.is_primary() && tenant.serves() && holds;
            let Some(account) = tenant.account.filter(|_| serves) else { continue };
            let (reader, did) = (replication.0.parts.reader.clone(), tenant.did.clone());
            let latest = blocking::run(move || moves::of(&reader, &did, 1)).await?;
            let began = latest.first().map(|(_, row)| row.created_at);
            hosted.push(Hosted {
                tenant: tenant.did.clone(),
                strategy: tenant.placed.strategy,
                residency: tenant.placed.residency,
                backups: tenant.placed.hosts().skip(1).cloned().collect(),
                copies: tenant.whole_copies().into_iter().collect(),
                newest: replication.newest_event(account).await?,
                moved_at: began.max(arrived_at(&tenant, grace)),
                in_grace: tenant.placed.previous.as_ref().is_some_and(|before| now.as_millis() <= before.until),
            });
        }
        Ok(hosted)
    }

    /// A full node asks whether this one takes a tenant off it.
    pub(super) async fn relieve(&self, asker: &Did, offer: &Offer) -> Result<Result<(), Declined>, NotMoved> {
        let (this, of) = (self.0.parts.replication.clone(), offer.tenant.clone());
        let (placed, holding) = blocking::run(move || {
            let placed = rows::placement(&LedgerView(&this.0.parts.reader), &of);
            let placed = placed.map_err(|error| refused(&error.to_string()))?;
            Ok::<_, NotMoved>((placed, this.holding_blocking(None)?))
        })
        .await?;
        // Only whoever serves a tenant may take up this node's room with it.
        let Some(placed) = placed.filter(|placed| placed.primary == *asker) else {
            return Err(ReplicationError::Refused(Refusal::NotPrimary).into());
        };
        let is_host = placed.standbys.contains(self.own());
        if !is_host && let Err(declined) = self.0.parts.replication.0.parts.consent.to(asker, offer, holding) {
            return Ok(Err(declined));
        }
        let Some(load) = self.own_load().await? else { return Ok(Err(Declined::Busy)) };
        let served = self.placement().tenants().into_iter().filter(|tenant| tenant.is_primary() && tenant.serves());
        let served: BTreeSet<_> = served.map(|tenant| tenant.did.clone()).collect();
        let mut intake = self.0.intake.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(intake.asked(clock::now(), &offer.tenant, load, |tenant| served.contains(tenant)))
    }

    /// How full this node tells others that it is; nothing before it has told.
    async fn own_load(&self) -> Result<Option<Load>, NotMoved> {
        let membership = &self.0.parts.replication.0.parts.membership;
        let told = membership.own_heartbeat().await;
        let told = told.map_err(|stopped| ReplicationError::NotBelieved(stopped.to_string()))?;
        let resources = told.as_ref().and_then(|heartbeat| heartbeat.pointer("/body/resources"));
        let resources = resources.and_then(|it| Resources::deserialize(it).ok());
        Ok(resources.map(|it| Load { work: it.work_score(), space: it.space_score() }))
    }
}
