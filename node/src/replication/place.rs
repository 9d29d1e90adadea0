//! Giving a tenant its backups: whom to ask, who consents, what the ledger is asked to decide.

use std::collections::BTreeSet;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Backups, ChangeHosts, PlaceTenant, Residency, Strategy};
use angel_protocol::ledger::{Action, rows, statement};
use angel_protocol::membership::Status;
use angel_protocol::placement::{Candidate, Declined, NoPlace, Offer, Wish, choose};
use angel_protocol::replication::wire::{Answer, Question};
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::ledger::LedgerView;
use angel_storage::replicas::{self, SettingsRow};
use serde::Deserialize;

use super::{Replication, ReplicationError};
use crate::accounts::Account;
use crate::backup::recovery::{self, RecoveryError};
use crate::blocking;

/// How long the ledger may take for each step.
const DECISION_LIMIT: Duration = Duration::from_secs(15);

/// How often others are chosen in the place of nodes that decline.
const CHOICES_MAX: usize = 8;

/// What an operator asks for a tenant.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PlaceWish {
    /// How it is to be spread; as it is, or over several nodes.
    pub(crate) strategy: Option<Strategy>,
    /// Where it may lie; as it is, or anywhere.
    pub(crate) residency: Option<Residency>,
    /// How many backups.
    pub(crate) backups: Option<usize>,
    /// Which nodes, in the place of a choice.
    #[serde(default)]
    pub(crate) nodes: Vec<Did>,
    /// Who speaks where there are two hosts.
    pub(crate) witness: Option<Did>,
    /// Whether writes wait for a standby; as it is when absent.
    pub(crate) waits_for_standby: Option<bool>,
    /// Nodes that keep archives which only the owner's recovery key opens; as they are when absent.
    pub(crate) vaults: Option<Vec<Did>>,
    /// That key, as an `age` recipient; as it is when absent.
    pub(crate) recovery: Option<String>,
}

/// Why a tenant was not placed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPlaced {
    /// No nodes fit.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// A node that was named declines.
    #[error("{node} declines: {why}")]
    Declined {
        /// Which.
        node: Did,
        /// Why.
        why: Declined,
    },
    /// A node that was named does not answer.
    #[error("{node} does not answer: {why}")]
    Silent {
        /// Which.
        node: Did,
        /// Why.
        why: String,
    },
    /// Another node is primary.
    #[error("this node is not the tenant's primary; ask {0}")]
    NotPrimary(Did),
    /// It is to be a vault, and can read the tenant.
    #[error("{0} holds a copy that it can read: a vault is a node that never held one")]
    HoldsCopy(Did),
    /// There are several recovery keys, and it is not said which is the owner's.
    #[error("several recovery keys were proved here: name the owner's with --recovery (age1…)")]
    WhichRecoveryKey,
    /// Nobody has shown to hold the recovery key.
    #[error("an archive for vaults is sealed to the owner's recovery key alone: {0}")]
    RecoveryKey(#[from] RecoveryError),
    /// Everything else.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
}

impl From<crate::ledger::custody::SubmitFailed> for NotPlaced {
    fn from(error: crate::ledger::custody::SubmitFailed) -> Self {
        Self::Replication(error.into())
    }
}

impl Replication {
    /// Places a tenant, or changes its backups. The ledger has decided when this returns.
    pub(crate) async fn place(&self, account: &Account, wish: PlaceWish) -> Result<(), NotPlaced> {
        let did = account.did();
        let present = self.placement().tenant(did);
        if let Some(tenant) = present.as_ref().filter(|tenant| !tenant.is_primary()) {
            return Err(NotPlaced::NotPrimary(tenant.placed.primary.clone()));
        }
        let placed = present.as_ref().map(|tenant| &tenant.placed);
        let strategy = wish.strategy.or(placed.map(|it| it.strategy)).unwrap_or(Strategy::MultiNodeReplica);
        let residency = wish.residency.or(placed.map(|it| it.residency)).unwrap_or(Residency::Global);
        let vaults = wish.vaults.or_else(|| placed.map(|it| it.vaults.clone())).unwrap_or_default();
        self.change_settings(did, wish.waits_for_standby, wish.recovery, !vaults.is_empty()).await?;
        for vault in vaults.iter().filter(|vault| placed.is_none_or(|it| !it.vaults.contains(vault))) {
            if placed.is_some_and(|it| it.standbys.contains(vault)) {
                return Err(NotPlaced::HoldsCopy(vault.clone()));
            }
            self.offer(vault, account, residency).await?;
        }
        let standbys = if wish.nodes.is_empty() {
            let wanted = Wish { strategy, residency, backups: wish.backups.unwrap_or(0) };
            self.choose_standbys(account, wanted, &vaults).await?
        } else {
            for node in &wish.nodes {
                self.offer(node, account, residency).await?;
            }
            wish.nodes
        };
        let backups = Backups { standbys, vaults, witness: wish.witness };
        let submitter = &self.0.parts.submitter;
        match placed {
            Some(placed) => {
                let it = ChangeHosts { tenant: did.clone(), epoch: placed.epoch, backups };
                submitter.as_node(Action::ChangeHosts(it)).await?;
                self.0.replacing.placed(did);
            }
            None => {
                let network = self.placement().ledger().network();
                let (domain, message) = statement::hosting(network, did, 1, self.own());
                let accepted = submitter.key().sign(domain, &message);
                let it = PlaceTenant { primary: self.own().clone(), backups, strategy, residency, accepted };
                submitter.as_account(did, Action::PlaceTenant(it), DECISION_LIMIT).await?;
            }
        }
        let (placement, did) = (self.placement().clone(), did.clone());
        let refreshed = blocking::run(move || placement.refresh_blocking(&did)).await;
        refreshed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        Ok(())
    }

    /// Changes what a tenant asks of its copies, where that is said. With vaults there must be a recovery key that somebody
    /// has shown to hold; where one alone was proved here, it is that.
    async fn change_settings(
        &self,
        tenant: &Did,
        waits_for_standby: Option<bool>,
        recovery: Option<String>,
        has_vaults: bool,
    ) -> Result<(), NotPlaced> {
        let (this, tenant) = (self.clone(), tenant.clone());
        blocking::run(move || {
            let parts = &this.0.parts;
            let before = replicas::settings(&parts.reader, &tenant).map_err(ReplicationError::from)?;
            // However many standbys it was to have: now it is what is placed.
            let mut after = SettingsRow { standbys: None, ..before.clone() };
            after.waits_for_standby = waits_for_standby.unwrap_or(before.waits_for_standby);
            let is_missing = has_vaults && before.recovery.is_none();
            if recovery.is_some() || is_missing {
                let mut proved = recovery::recipients(&parts.archives.layout, recovery.as_slice())?;
                after.recovery = proved.pop();
                if !proved.is_empty() {
                    return Err(NotPlaced::WhichRecoveryKey);
                }
            }
            if after != before {
                this.write_settings(&tenant, after)?;
            }
            Ok(())
        })
        .await
    }

    pub(super) fn write_settings(&self, tenant: &Did, settings: SettingsRow) -> Result<(), ReplicationError> {
        let mut batch = Batch::new();
        batch.put(&replicas::SETTINGS, tenant, &Cbor(settings))?;
        self.0.parts.writer.commit(batch)?;
        let refreshed = self.placement().refresh_blocking(tenant);
        refreshed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        // Settings go to the standbys with the account's state, and no event tells of them.
        if let Some(account) = self.placement().tenant(tenant).and_then(|tenant| tenant.account) {
            self.0.tails.forget_digest(account);
            self.0.dealt.send_replace(());
        }
        Ok(())
    }

    /// The best nodes that consent.
    async fn choose_standbys(&self, account: &Account, wish: Wish, vaults: &[Did]) -> Result<Vec<Did>, NotPlaced> {
        let mut candidates = self.candidates().await?;
        candidates.retain(|it| !vaults.contains(&it.did));
        let mut declined = BTreeSet::new();
        for _ in 0..CHOICES_MAX {
            let willing: Vec<_> = candidates.iter().filter(|it| !declined.contains(&it.did)).cloned().collect();
            let chosen = choose(&willing, self.own(), wish)?;
            let before = declined.len();
            for node in &chosen {
                if let Err(error) = self.offer(node, account, wish.residency).await {
                    tracing::info!(%node, %error, "another node is chosen");
                    declined.insert(node.clone());
                }
            }
            if declined.len() == before {
                return Ok(chosen);
            }
        }
        let needed = wish.backups.max(angel_protocol::placement::backups_min(wish.strategy));
        Err(NoPlace::TooFew { needed, found: 0 }.into())
    }

    async fn offer(&self, node: &Did, account: &Account, residency: Residency) -> Result<(), NotPlaced> {
        let bytes = self.thought_to_take(account).await?;
        self.offer_bytes(node, account.did(), bytes, residency).await
    }

    /// Bytes that a copy is thought to take: what a record and a tree node take on average, and the files. The copy itself is
    /// counted as it comes, private rows with it.
    pub(super) async fn thought_to_take(&self, account: &Account) -> Result<u64, ReplicationError> {
        let (repos, reader, id) = (self.0.parts.repos.clone(), self.0.parts.reader.clone(), account.id());
        blocking::run(move || {
            let head = repos.head_blocking(id)?;
            let bytes = head.map_or(0, |head| head.totals.records * 1024 + head.totals.nodes * 512);
            Ok(bytes.saturating_add(angel_storage::blobs::bytes_of(&reader, id)?))
        })
        .await
    }

    /// Asks a node whether it holds so much of a tenant.
    pub(super) async fn offer_bytes(
        &self,
        node: &Did,
        tenant: &Did,
        bytes: u64,
        residency: Residency,
    ) -> Result<(), NotPlaced> {
        let offer = Offer { tenant: tenant.clone(), bytes, residency };
        match self.ask(node, &Question::Offer(offer)).await {
            Ok(Answer::Accepted) => Ok(()),
            Ok(Answer::Declined(why)) => Err(NotPlaced::Declined { node: node.clone(), why }),
            Ok(_) => Err(ReplicationError::Unexpected.into()),
            Err(error) => Err(NotPlaced::Silent { node: node.clone(), why: error.to_string() }),
        }
    }

    /// Whether this node must assume that it is itself cut off.
    pub(crate) async fn is_cut_off(&self) -> Result<bool, ReplicationError> {
        let seen = self.0.parts.membership.nodes().await;
        Ok(seen.map_err(|stopped| ReplicationError::NotBelieved(stopped.to_string()))?.isolated)
    }

    /// The nodes of the network as this one sees them, this one among them.
    pub(crate) async fn candidates(&self) -> Result<Vec<Candidate>, ReplicationError> {
        let seen = self.0.parts.membership.nodes().await;
        let seen = seen.map_err(|stopped| ReplicationError::NotBelieved(stopped.to_string()))?.nodes;
        let (this, own) = (self.clone(), self.own().clone());
        blocking::run(move || {
            let registered = |did: &Did| {
                let row = rows::node(&LedgerView(&this.0.parts.reader), did);
                row.map_err(|error| ReplicationError::NotBelieved(error.to_string()))
            };
            let mut candidates = Vec::new();
            if let Some(row) = registered(&own)? {
                candidates.push(Candidate {
                    did: own,
                    region: row.region,
                    operator: row.operator,
                    hosts: row.hosts && !row.retired,
                    online: true,
                    load_score: 0,
                    tenants: (1, 0),
                    latency_ms: Some(0),
                });
            }
            for node in seen {
                let view = node.view;
                let Some(row) = registered(&view.did)? else { continue };
                candidates.push(Candidate {
                    did: view.did,
                    region: row.region,
                    operator: row.operator,
                    hosts: row.hosts && !row.retired,
                    online: view.status == Status::Online,
                    load_score: view.measured.load_score,
                    tenants: (view.resources.max_tenants, view.resources.current_tenants),
                    latency_ms: view.measured.latency_ms,
                });
            }
            Ok(candidates)
        })
        .await
    }
}
