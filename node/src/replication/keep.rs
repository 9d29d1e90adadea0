//! Confirming primaries: what a backup says to each node that is primary of tenants it holds, and how it hears that the
//! node is there. Apart from the copying, which may take long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::limits::REPLICA_KEPT_MAX;
use angel_protocol::replication::wire::{Answer, Keep, Kept, Question};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ANSWER_LIMIT, LOOK_EVERY, Replication, ReplicationError, stream};
use crate::placement::Tenant;
use crate::tasks::TaskResult;

/// How often it is asked again while a tenant is hosted here and not watched yet.
const UNWATCHED: Duration = Duration::from_millis(200);

impl Replication {
    /// Confirms all primaries until told to stop.
    pub(super) async fn keep_all(self, stop: CancellationToken) -> TaskResult {
        let mut running = JoinSet::new();
        let mut kept = BTreeSet::new();
        let mut changed = self.placement().watch();
        loop {
            for primary in self.followed().into_keys().filter(|primary| !kept.contains(primary)).collect::<Vec<_>>() {
                kept.insert(primary.clone());
                let (this, stop) = (self.clone(), stop.child_token());
                running.spawn(async move {
                    this.keep(&primary, &stop).await;
                    primary
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = changed.changed() => changed.map_err(|_| "the placements ended")?,
                Some(ended) = running.join_next() => { kept.remove(&ended?); }
            }
        }
        running.shutdown().await;
        Ok(())
    }

    /// The tenants that this node holds for others, by primary.
    fn followed(&self) -> BTreeMap<Did, Vec<Kept>> {
        let mut followed: BTreeMap<Did, Vec<Kept>> = BTreeMap::new();
        let own = self.own();
        for tenant in self.placement().tenants().iter().filter(|it| !it.is_primary() && it.concerns(own)) {
            let epoch = tenant.placed.epoch;
            if !self.0.failover.may_follow(&tenant.did, epoch) {
                // It has promised not to; the primary is still asked whether it is there.
                followed.entry(tenant.placed.primary.clone()).or_default();
                continue;
            }
            let sequence = self.0.failover.complete(&tenant.did, epoch).unwrap_or(0);
            let kept = Kept { tenant: tenant.did.clone(), epoch, sequence };
            followed.entry(tenant.placed.primary.clone()).or_default().push(kept);
        }
        followed
    }

    /// How often a primary is confirmed: several times within a lease.
    fn keep_interval(&self) -> Duration {
        (Duration::from_millis(self.placement().parameters().silence) / 10)
            .clamp(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// Confirms one primary, as long as there is anything to confirm.
    async fn keep(&self, primary: &Did, stop: &CancellationToken) {
        while !stop.is_cancelled() && self.followed().contains_key(primary) {
            if let Err(error) = self.keep_stream(primary, stop).await {
                tracing::debug!(%primary, %error, "the primary is not confirmed");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.keep_interval().min(LOOK_EVERY)) => {}
            }
        }
    }

    async fn keep_stream(&self, primary: &Did, stop: &CancellationToken) -> Result<(), ReplicationError> {
        let mut io = self.open(primary).await?;
        let (mut confirms, mut confirmed) = (None, BTreeSet::new());
        let mut changed = self.placement().watch();
        while !stop.is_cancelled() {
            let Some(mut tenants) = self.followed().remove(primary) else { return Ok(()) };
            tenants.truncate(REPLICA_KEPT_MAX);
            let asked: BTreeSet<_> = tenants.iter().map(|it| (it.tenant.clone(), it.epoch)).collect();
            stream::ask(&mut io, &Question::Keep(Keep { tenants, confirms })).await?;
            let Answer::Kept { stamp, tenants } = stream::answered(&mut io, ANSWER_LIMIT).await? else {
                return Err(ReplicationError::Unexpected);
            };
            confirms = Some(stamp);
            for kept in tenants {
                let is_its = self
                    .placement()
                    .tenant(&kept.tenant)
                    .is_some_and(|tenant| tenant.placed.primary == *primary && tenant.placed.epoch == kept.epoch);
                if is_its {
                    self.0.failover.heard(&kept.tenant);
                }
            }
            // Until it is confirmed for the first time, the primary takes no writes: a tenant that is new is confirmed
            // at once, or as soon as it is watched here.
            let of_primary = |tenant: &&Arc<Tenant>| {
                !tenant.is_primary() && tenant.placed.primary == *primary && tenant.concerns(self.own())
            };
            let hosted = self.placement().tenants().iter().filter(of_primary).count();
            let interval = self.keep_interval();
            let pause = if asked != confirmed {
                Duration::ZERO
            } else if asked.len() < hosted {
                interval.min(UNWATCHED)
            } else {
                interval
            };
            confirmed = asked;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                changed = changed.changed() => changed.map_err(|_| ReplicationError::Unexpected)?,
            }
        }
        Ok(())
    }
}
