//! What a node does when the ledger has given it another role: it takes a tenant over, gives way, or hands over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::crypto::Signature;
use angel_protocol::firehose::HostingStatus;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Migrate;
use angel_protocol::ledger::{Action, statement};
use angel_protocol::plc::PlcOperation;
use angel_protocol::replication::wire::{Answer, HandOver, Of, Question, Refusal};
use angel_storage::limits::SEQUENCE_STRIDE;
use angel_storage::replicas::{self, ReplicaRow, Role};
use angel_storage::{AccountId, Batch, firehose};
use serde_bytes::ByteBuf;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::next_epoch;
use crate::accounts::{Account, AccountError, Deactivation};
use crate::lifecycle::hosting_status;
use crate::placement::Tenant;
use crate::replication::{Replication, ReplicationError};
use crate::repos::Owner;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// How long to wait before trying again what did not succeed.
const AGAIN: Duration = Duration::from_millis(500);

/// How often the same trouble is told.
const TELL_AGAIN: Duration = Duration::from_mins(5);

/// How long it waits before it tells the rest of what it alone wrote, where the primary takes no more for now.
const FULL_AGAIN: Duration = Duration::from_secs(15);

/// How long a standby may take to get the last events when a tenant is handed over.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(5);

/// How long handing over may take in all, for whoever asks.
pub(crate) const HAND_OVER_LIMIT: Duration = Duration::from_secs(40);

/// What keeps roles from being changed, as it was told. It is tried again twice a second, and may last for an hour: an
/// identity changes only so often.
#[derive(Default)]
struct Troubles(BTreeMap<Did, (String, Instant)>);

impl Troubles {
    /// What is to be told of one more try, which met `trouble` or went well.
    fn news(&mut self, tenant: &Did, trouble: Option<String>, now: Instant) -> Option<String> {
        let Some(trouble) = trouble else {
            self.0.remove(tenant);
            return None;
        };
        if let Some((before, at)) = self.0.get(tenant)
            && *before == trouble
            && now.duration_since(*at) < TELL_AGAIN
        {
            return None;
        }
        self.0.insert(tenant.clone(), (trouble.clone(), now));
        Some(trouble)
    }
}

impl Replication {
    /// Brings every tenant into the role that the ledger gives it, until told to stop.
    pub(crate) async fn change_roles(self, stop: CancellationToken) -> TaskResult {
        let changes = TaskTracker::new();
        let under_way: Arc<Mutex<BTreeSet<Did>>> = Arc::default();
        let troubles: Arc<Mutex<Troubles>> = Arc::default();
        let mut changed = self.placement().watch();
        let mut again = tokio::time::interval(AGAIN);
        loop {
            for tenant in self.placement().tenants() {
                let Some(change) = self.change_due(&tenant) else { continue };
                if !under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.did.clone()) {
                    continue;
                }
                let (this, stop, under_way) = (self.clone(), stop.clone(), Arc::clone(&under_way));
                let troubles = Arc::clone(&troubles);
                changes.spawn(async move {
                    let changing = async {
                        match change {
                            Change::TakeOver => this.take_over(&tenant).await,
                            Change::GiveWay => this.give_way(&tenant).await,
                        }
                    };
                    let trouble = match stop.run_until_cancelled(changing).await {
                        Some(Err(error)) => Some(error.to_string()),
                        Some(Ok(())) | None => None,
                    };
                    let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(error) = troubles.news(&tenant.did, trouble, Instant::now()) {
                        tracing::warn!(tenant = %tenant.did, error, "the role is not changed yet; trying again");
                    }
                    drop(troubles);
                    under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant.did);
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = changed.changed() => changed.map_err(|_| "the placements ended")?,
                _ = again.tick() => {}
            }
        }
        changes.close();
        changes.wait().await;
        Ok(())
    }

    /// What is due for a tenant. What was restored by half takes no role before it is whole.
    fn change_due(&self, tenant: &Tenant) -> Option<Change> {
        tenant.account?;
        if tenant.is_primary() {
            return (!tenant.serves()).then_some(Change::TakeOver);
        }
        let row = self.0.parts.reader.get(&replicas::REPLICAS, &tenant.did).ok()?;
        if row.as_ref().is_some_and(ReplicaRow::is_half_restored) {
            return None;
        }
        let was_primary = row.is_none_or(|row| !matches!(row.role, Role::Standby | Role::Restored));
        was_primary.then_some(Change::GiveWay)
    }

    /// The ledger made this node primary: the identity moves here, then the tenant is served.
    async fn take_over(&self, tenant: &Tenant) -> Result<(), ReplicationError> {
        self.set_role(tenant, Role::TakingOver).await?;
        self.keep_log(&tenant.did, None).await?;
        if tenant.did.method() == "plc" {
            self.move_identity(tenant).await?;
        } else {
            tracing::warn!(tenant = %tenant.did, "whoever serves its domain has to point the identity here");
        }
        self.serve_tenant(tenant).await?;
        tracing::warn!(tenant = %tenant.did, epoch = tenant.placed.epoch, "this node is the primary and serves");
        Ok(())
    }

    async fn move_identity(&self, tenant: &Tenant) -> Result<(), ReplicationError> {
        let identities = &self.0.parts.lifecycle.identities;
        let failed = |error: crate::directory::DirectoryError| ReplicationError::Identity(error.to_string());
        let account = self.0.parts.accounts.by_did(&tenant.did).await?.ok_or(AccountError::NotFound)?;
        if self.0.parts.lifecycle.check_identity(&account).await.is_ok() {
            return Ok(());
        }
        let (reader, did) = (self.0.parts.reader.clone(), tenant.did.clone());
        let row = blocking::run(move || reader.get(&replicas::REPLICAS, &did)).await?;
        let way = row.map_or(Way::Shares, |row| Way::of(row, tenant.hosts().backups().next().is_some()));
        let is_owners = matches!(way, Way::Owners(_));
        let operation = match way {
            Way::Owners(bytes) => PlcOperation::from_bytes(&bytes).map_err(|_| {
                ReplicationError::Identity("the owner's operation that is kept here cannot be read".to_owned())
            })?,
            Way::OwnerAgain => {
                let words = format!("its owner has to point the identity here: `angel tenant claim {}`", tenant.did);
                return Err(ReplicationError::Identity(words));
            }
            Way::Shares => self.collect_operation(tenant).await?,
        };
        if !self.leads_here(&account, &operation) {
            if is_owners {
                let words = format!(
                    "the owner's operation that is kept here leads elsewhere, as when this node's address has changed since: the \
                     owner has to sign again, with `angel tenant claim {}`",
                    tenant.did
                );
                return Err(ReplicationError::Identity(words));
            }
            return Err(ReplicationError::Identity("the operation leads elsewhere".to_owned()));
        }
        if let Err(error) = identities.directory().submit(&tenant.did, operation).await {
            if is_owners && error.is_refusal() {
                let words = format!(
                    "the directory refuses the owner's operation that is kept here ({error}): the owner has to sign again, with \
                     `angel tenant claim {}`",
                    tenant.did
                );
                return Err(ReplicationError::Identity(words));
            }
            return Err(failed(error));
        }
        // What was known of it by others' requests is old now.
        drop(self.0.parts.resolver.fresh_did(&tenant.did).await);
        Ok(())
    }

    /// Whether an operation points an account's identity at this node and at its key here.
    pub(crate) fn leads_here(&self, account: &Account, operation: &PlcOperation) -> bool {
        let endpoint = self.0.parts.lifecycle.identities.endpoint();
        operation.statement().data().is_some_and(|data| {
            let document = data.document(account.did().clone());
            document.pds() == Some(endpoint)
                && document.signing_key().is_some_and(|key| key.did() == account.row().signing_key)
        })
    }

    /// Opens what was kept apart or sealed, tells followers, and lets writes in.
    async fn serve_tenant(&self, tenant: &Tenant) -> Result<(), ReplicationError> {
        let Some(id) = tenant.account else { return Err(AccountError::NotFound.into()) };
        self.install_rows(tenant, id).await?;
        let (this, did, epoch) = (self.clone(), tenant.did.clone(), tenant.placed.epoch);
        let account = blocking::run(move || {
            let tenant = this.placement().tenant(&did).ok_or(AccountError::NotFound)?;
            let state = this.held_state_blocking(&tenant)?;
            let handle = state.as_ref().and_then(|state| state.handle.as_ref()).and_then(|text| text.parse().ok());
            let email = state.as_ref().and_then(|state| state.email.clone());
            let parts = &this.0.parts;
            let copy = parts.reader.get(&replicas::REPLICAS, &did)?.ok_or(AccountError::NotFound)?;
            // What was put back from a backup has its names already.
            let (handle, email) = if copy.restored.is_some() {
                let account = parts.accounts.by_id_blocking(id)?.ok_or(AccountError::NotFound)?;
                (account.row().handle.clone(), account.row().email.clone())
            } else {
                (handle, email)
            };
            // Another account here may have the names by now.
            let handle = match handle {
                Some(handle) => match parts.accounts.by_handle_blocking(&handle)? {
                    Some(other) if other.id() != id => None,
                    _ => Some(handle),
                },
                None => None,
            };
            let email = match email {
                Some(email) => match parts.accounts.by_email_blocking(&email)? {
                    Some(other) if other.id() != id => None,
                    _ => Some(email),
                },
                None => None,
            };
            let (account, ()) = parts.accounts.change_role_blocking(id, |row, batch| {
                row.deactivated = None;
                if let Some(state) = &state {
                    this.stage_state(batch, id, row, state)?;
                    row.email_confirmed_at = state.email_confirmed_at.filter(|_| email.is_some());
                    row.second_factor = state.second_factor && row.email_confirmed_at.is_some();
                }
                (row.handle, row.email) = (handle.clone(), email.clone());
                let now = clock::now();
                // Whoever followed the former primary under the same name goes on behind what it saw.
                batch.raise_sequence_floor(copy.complete.unwrap_or(copy.cursor).saturating_add(SEQUENCE_STRIDE));
                batch.append_event(firehose::identity(id, &did, row.handle.as_ref(), now)?)?;
                batch.append_event(firehose::account(id, &did, hosting_status(&row.status()), now)?)?;
                Ok::<_, ReplicationError>(())
            })?;
            Ok::<_, ReplicationError>(account)
        })
        .await?;
        let key = self.0.parts.accounts.signing_key(id).await?;
        let (owner, did) = (Owner { id, did: tenant.did.clone(), key }, account.did().clone());
        // In one batch: the commit under the new key, and that this node serves.
        let reader = self.0.parts.reader.clone();
        self.0
            .parts
            .repos
            .resync(&owner, move |batch: &mut Batch| {
                if let Ok(Some(row)) = reader.get(&replicas::REPLICAS, &did) {
                    let row = ReplicaRow {
                        role: Role::Primary,
                        epoch,
                        complete: None,
                        stopped: None,
                        restored: None,
                        operation: None,
                        ..row
                    };
                    replicas::put(batch, &did, &row)?;
                }
                Ok(())
            })
            .await?;
        self.refresh(tenant).await
    }

    async fn set_role(&self, tenant: &Tenant, role: Role) -> Result<(), ReplicationError> {
        let (this, did, account, epoch) = (self.clone(), tenant.did.clone(), tenant.account, tenant.placed.epoch);
        blocking::run(move || {
            let parts = &this.0.parts;
            let Some(account) = account else { return Ok(()) };
            let before = parts.reader.get(&replicas::REPLICAS, &did)?;
            let is_here = parts.accounts.by_id_blocking(account)?.is_some();
            let mut batch = Batch::new();
            match &before {
                Some(row) => batch.expect_value(&replicas::REPLICAS, &did, row)?,
                None => batch.expect_absent(&replicas::REPLICAS, &did)?,
            }
            let newest = parts.reader.durable_sequence();
            let row = in_role(before, account, is_here, role, epoch, newest).ok_or(AccountError::NotFound)?;
            replicas::put(&mut batch, &did, &row)?;
            parts.writer.commit(batch)?;
            Ok::<_, ReplicationError>(())
        })
        .await
    }

    async fn refresh(&self, tenant: &Tenant) -> Result<(), ReplicationError> {
        let (placement, did) = (self.placement().clone(), tenant.did.clone());
        let refreshed = blocking::run(move || placement.refresh_blocking(&did)).await;
        refreshed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        self.placement().touch();
        Ok(())
    }

    /// Another node is primary: this one serves no more, tells what it alone wrote, and becomes a standby.
    async fn give_way(&self, tenant: &Tenant) -> Result<(), ReplicationError> {
        let Some(id) = tenant.account else { return Ok(()) };
        self.set_role(tenant, Role::GivingWay).await?;
        let (this, did) = (self.clone(), tenant.did.clone());
        blocking::run(move || {
            let parts = &this.0.parts;
            let changed = parts.accounts.change_role_blocking(id, |row, batch| {
                if row.deactivated.is_some() && row.password.is_none() {
                    return Ok(());
                }
                let now = clock::now();
                row.deactivated = Some(Deactivation::new(now, None));
                row.password = None;
                row.tokens_valid_from = now;
                parts.lifecycle.sessions.stage_end(batch, id, None)?;
                batch.append_event(firehose::account(id, &did, HostingStatus::Deactivated, now)?)?;
                Ok::<_, ReplicationError>(())
            });
            changed.map(drop)
        })
        .await?;
        self.0.parts.tenants.give_away(&tenant.did);
        self.release_identity(tenant, &tenant.placed.primary).await?;
        if let Err(error) = self.tell_unseen(tenant, id).await {
            if matches!(error, ReplicationError::Refused(Refusal::TooManyVersions)) {
                tokio::time::sleep(FULL_AGAIN).await;
            }
            return Err(error);
        }
        self.set_role(tenant, Role::Standby).await?;
        tracing::warn!(tenant = %tenant.did, primary = %tenant.placed.primary, "this node has given way and is a standby");
        self.refresh(tenant).await
    }

    /// Hands the tenant to `to`, which holds a copy: writes wait until the ledger has decided.
    pub(crate) async fn hand_over(
        &self,
        tenant: &Tenant,
        to: &Did,
        accepted: Signature,
    ) -> Result<Answer, ReplicationError> {
        let not = |why: &str| Err(ReplicationError::Refused(Refusal::Not(why.to_owned())));
        let Some(account) = tenant.account else { return not("there is no account") };
        let frozen = tenant.freeze().await;
        let newest = self.newest_event(account).await?;
        if !tenant.until_copied(to, newest, CATCH_UP_LIMIT).await {
            return not("the standby did not catch up in time");
        }
        let epoch = next_epoch(tenant);
        let it = Migrate { tenant: tenant.did.clone(), epoch, to: to.clone(), accepted };
        self.0.parts.submitter.as_node(Action::Migrate(it)).await?;
        self.refresh(tenant).await?;
        drop(frozen);
        // Should this fail, it is tried again while giving way, and the shares would do it too.
        if let Err(error) = self.release_identity(tenant, to).await {
            tracing::warn!(tenant = %tenant.did, %error, "the identity is not moved yet");
        }
        Ok(Answer::HandedOver)
    }

    /// Asks the living primary for a tenant of which this node is a standby.
    pub(crate) async fn promote(&self, tenant: &Tenant) -> Result<(), ReplicationError> {
        let epoch = next_epoch(tenant);
        let network = self.placement().ledger().network();
        let (domain, message) = statement::hosting(network, &tenant.did, epoch, self.own());
        let accepted = self.0.parts.submitter.key().sign(domain, &message);
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        let question = Question::HandOver(HandOver { of, accepted });
        match self.ask_within(&tenant.placed.primary, &question, HAND_OVER_LIMIT).await? {
            Answer::HandedOver => Ok(()),
            _ => Err(ReplicationError::Unexpected),
        }
    }

    /// Who would take over and how far each copy is, for the operator of the primary.
    pub(crate) fn successors(tenant: &Tenant) -> Vec<(Did, u64)> {
        let copies: BTreeMap<_, _> = tenant.copies();
        let mut standbys: Vec<_> =
            tenant.placed.standbys.iter().map(|did| (did.clone(), copies.get(did).copied().unwrap_or(0))).collect();
        standbys.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        standbys
    }
}

/// What is noted of the tenant whose account here is `account` once it has this role, where `newest` is the last event of
/// this node's log. `None` when what the role was for is gone: the copy was dropped meanwhile, and what is noted now, if
/// anything, is of another that has begun. That one would stand still for ever in a role that is not its own.
fn in_role(
    before: Option<ReplicaRow>,
    account: AccountId,
    is_here: bool,
    role: Role,
    epoch: u64,
    newest: u64,
) -> Option<ReplicaRow> {
    if !is_here || before.as_ref().is_some_and(|row| row.account != account) {
        return None;
    }
    let gives_way_already = before.as_ref().is_some_and(|row| row.role == Role::GivingWay);
    let new = || ReplicaRow { epoch: 1.min(epoch), ..ReplicaRow::new(account, role) };
    let mut row = before.map_or_else(new, |row| ReplicaRow { role, ..row });
    if role == Role::GivingWay && !gives_way_already {
        // What the new primary tells of its taking over lies behind everything that was written here.
        row.cursor = row.cursor.max(newest);
    }
    Some(row)
}

#[derive(Clone, Copy, Debug)]
enum Change {
    TakeOver,
    GiveWay,
}

/// How the identity of a tenant comes to this node.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// By the operation that its owner signed with a claim.
    Owners(ByteBuf),
    /// Its owner has to sign: nobody has a share.
    OwnerAgain,
    /// By the operation that the former primary signed, put together from shares.
    Shares,
}

impl Way {
    /// A claim that is decided leaves the tenant no other host. Where there are others, the ledger has decided something
    /// else, such as a failover, and what an owner, or somebody who gave themselves out for one, once signed for a claim
    /// that came to nothing counts no more.
    fn of(row: ReplicaRow, has_backups: bool) -> Self {
        match row {
            ReplicaRow { operation: Some(bytes), restored, .. } if restored.is_some() || !has_backups => {
                Self::Owners(bytes)
            }
            ReplicaRow { restored: Some(_), .. } => Self::OwnerAgain,
            _ => Self::Shares,
        }
    }
}

#[cfg(test)]
mod tests;
