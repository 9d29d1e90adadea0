//! One round: the others are asked, words are collected, the ledger is asked.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use angel_protocol::crypto::NodePublicKey;
use angel_protocol::failover::{Effect, Input, Poll};
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Failover as FailoverAction, Observation};
use angel_protocol::ledger::{Action, statement};
use angel_protocol::replication::wire::{Answer, InFavour, Question};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::next_epoch;
use crate::placement::Tenant;
use crate::replication::{Replication, ReplicationError};
use crate::tasks::TaskResult;
use crate::{blocking, network};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(200);

impl Replication {
    /// Watches until told to stop.
    pub(crate) async fn watch_over(self, stop: CancellationToken) -> TaskResult {
        let rounds = TaskTracker::new();
        let under_way = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let mut changed = self.placement().watch();
        let mut tick = tokio::time::interval(TICK);
        let mut looked_around = tokio::time::Instant::now();
        self.follow_placements().await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = changed.changed() => {
                    changed.map_err(|_| "the placements ended")?;
                    self.follow_placements().await?;
                    continue;
                }
                _ = tick.tick() => {}
            }
            let (due, soon) = self.0.failover.due();
            if soon && looked_around.elapsed() > TICK * 2 {
                looked_around = tokio::time::Instant::now();
                let isolated = self.0.parts.membership.nodes().await.is_ok_and(|list| list.isolated);
                self.0.failover.isolated(isolated);
            }
            for did in due {
                if !under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(did.clone()) {
                    continue;
                }
                let (this, stop, under_way) = (self.clone(), stop.clone(), std::sync::Arc::clone(&under_way));
                rounds.spawn(async move {
                    let effects = this.0.failover.handle(&did, Input::Tick);
                    let done = stop.run_until_cancelled(this.perform_round(&did, effects)).await;
                    if let Some(Err(error)) = done {
                        tracing::warn!(tenant = %did, %error, "the failover did not come about");
                    }
                    under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&did);
                });
            }
        }
        rounds.close();
        rounds.wait().await;
        Ok(())
    }

    async fn follow_placements(&self) -> Result<(), ReplicationError> {
        self.stay_connected().await;
        let failover = self.0.failover.clone();
        blocking::run(move || failover.follow_placements_blocking()).await
    }

    /// Who hosts a tenant together must hear each other, on a network of any size.
    async fn stay_connected(&self) {
        let mut peers = BTreeSet::new();
        for tenant in self.placement().tenants() {
            let hosts = tenant.hosts();
            let together = hosts.backups().chain([&hosts.primary]).chain(&hosts.witness);
            peers.extend(together.filter_map(|host| network::peer_id_of(host).ok()));
        }
        // A network that has stopped stops this task as well.
        let _stopped = self.0.parts.network.keep(peers).await;
    }

    async fn perform_round(&self, did: &Did, effects: Vec<Effect>) -> Result<(), ReplicationError> {
        let mut waiting: VecDeque<_> = effects.into();
        while let Some(effect) = waiting.pop_front() {
            let Some(tenant) = self.placement().tenant(did) else { return Ok(()) };
            match effect {
                Effect::Poll(who) => {
                    // All are asked at once: one that is gone must not delay the others.
                    let mut asked = BTreeSet::from([who]);
                    while let Some(Effect::Poll(_)) = waiting.front() {
                        if let Some(Effect::Poll(who)) = waiting.pop_front() {
                            asked.insert(who);
                        }
                    }
                    let mut polls: FuturesUnordered<_> =
                        asked.into_iter().map(|who| self.poll_one(&tenant, who)).collect();
                    while let Some((who, poll)) = polls.next().await {
                        waiting.extend(self.0.failover.handle(did, Input::Polled(who, poll)));
                    }
                }
                Effect::Promise(promise) => self.0.failover.store_promise(did, promise).await?,
                Effect::Sign(suspicion) => {
                    let own = self.0.failover.sign(did, suspicion, self.0.parts.submitter.key());
                    waiting.extend(self.0.failover.handle(did, Input::Observed(own)));
                }
                Effect::Observe(who) => {
                    if let Some(observation) = self.observe_one(&tenant, &who).await {
                        waiting.extend(self.0.failover.handle(did, Input::Observed(observation)));
                    }
                }
                Effect::Submit { epoch, observations } => {
                    tracing::warn!(tenant = %did, epoch, primary = %tenant.placed.primary, "the primary is silent: taking over");
                    let action = Action::Failover(FailoverAction { tenant: did.clone(), epoch, observations });
                    self.0.parts.submitter.as_node(action).await?;
                }
            }
        }
        Ok(())
    }

    async fn poll_one(&self, tenant: &Tenant, who: Did) -> (Did, Poll) {
        let question = Question::Silent(InFavour { tenant: tenant.did.clone(), epoch: next_epoch(tenant) });
        let poll = match self.ask(&who, &question).await {
            Ok(Answer::Silent { silent: true, cursor }) => Poll::Silent { cursor },
            _ => Poll::No,
        };
        (who, poll)
    }

    /// The signed word of another, if it is what the ledger would take.
    async fn observe_one(&self, tenant: &Tenant, who: &Did) -> Option<Observation> {
        let epoch = next_epoch(tenant);
        let question = Question::Observe(InFavour { tenant: tenant.did.clone(), epoch });
        let Ok(Answer::Observed(observation)) = self.ask(who, &question).await else { return None };
        let key = NodePublicKey::from_did(who).ok()?;
        let network = self.placement().ledger().network();
        let (domain, message) = statement::silence(network, &tenant.did, epoch, &observation);
        let holds = observation.observer == *who && key.verify(domain, &message, &observation.signature).is_ok();
        holds.then_some(observation)
    }
}
