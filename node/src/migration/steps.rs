//! What each effect of a move does in the world. Each may be asked for again after a crash.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::Signature;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Backups, ChangeHosts, Migrate, RollBack, Strategy};
use angel_protocol::ledger::{Action, Outcome, statement};
use angel_protocol::migration::wire::{Answer, Holds, Question, Stand};
use angel_protocol::migration::{Input, Kind, Progress, Why};
use angel_protocol::placement::{Declined, Offer, within};
use angel_protocol::replication::wire::{InFavour, Of};
use angel_storage::moves::MoveRow;

use super::driver::Driver;
use super::{Migrations, NotMoved, refused};
use crate::accounts::Account;
use crate::ledger::wallet::WalletError;
use crate::placement::Tenant;
use crate::replication::{NotPlaced, PlaceWish, ReplicationError};
use crate::{blocking, clock};

/// How long the ledger's word may take to reach this node's own picture of who hosts whom.
const SEEN_LIMIT: Duration = Duration::from_secs(15);

/// How often the target is asked whether it serves.
const SERVES_ASK: Duration = Duration::from_millis(50);

impl Migrations {
    pub(super) async fn account(&self, did: &Did) -> Result<Account, NotMoved> {
        let found = self.0.parts.replication.0.parts.accounts.by_did(did).await?;
        Ok(found.ok_or(crate::accounts::AccountError::NotFound)?)
    }

    /// Whether the move can be done at all, as far as can be known now.
    pub(super) async fn precheck(&self, did: &Did, row: &MoveRow) -> Result<(), NotMoved> {
        let parts = &self.0.parts.replication.0.parts;
        let tenant = self.placement().tenant(did);
        if let Some(tenant) = tenant.as_ref().filter(|tenant| !tenant.is_primary() || !tenant.serves()) {
            return Err(NotMoved::why(Why::NotPrimary, format!("ask {}", tenant.placed.primary)));
        }
        if row.to == *self.own() {
            return Err(NotMoved::why(Why::NotPrimary, "the tenant is on this node already"));
        }
        let account = self.account(did).await?;
        let ledger = self.placement().ledger();
        let node = ledger.node(row.to.clone()).await.map_err(|error| refused(&error.to_string()))?;
        let node = node.filter(|node| node.hosts && !node.retired);
        let node =
            node.ok_or_else(|| NotMoved::why(Why::NoRoom, "no node of that name takes tenants on this network"))?;
        let residency =
            tenant.as_ref().map_or(angel_protocol::ledger::action::Residency::Global, |it| it.placed.residency);
        if !within(residency, node.region) {
            return Err(Why::ResidencyViolation.into());
        }
        self.check_movable(&account).await?;
        let is_host = tenant.as_ref().is_some_and(|tenant| tenant.is_followed_by(&row.to));
        // Whoever hosts it has consented already, and whoever had it takes it back; to relieve a full node is more.
        if row.state.kind() == Kind::Return || (is_host && !row.unasked) {
            return Ok(());
        }
        let (repos, id) = (parts.repos.clone(), account.id());
        let head = blocking::run(move || repos.head_blocking(id)).await.map_err(ReplicationError::from)?;
        // As placement counts it; the copy itself is counted as it comes.
        let bytes = head.map_or(0, |head| head.totals.records * 1024 + head.totals.nodes * 512);
        let offer = Offer { tenant: did.clone(), bytes, residency };
        let question = if row.unasked { Question::Relieve(offer) } else { Question::Offer(offer) };
        match self.ask(&row.to, &question).await {
            Ok(Answer::Welcome) => Ok(()),
            Ok(Answer::Declined(Declined::Residency)) => Err(Why::ResidencyViolation.into()),
            Ok(Answer::Declined(declined)) => Err(NotMoved::why(Why::NoRoom, declined.to_string())),
            Ok(_) => Err(ReplicationError::Unexpected.into()),
            Err(error) => Err(NotMoved::why(Why::TargetUnreachable, error.to_string())),
        }
    }

    /// An identity moves where this node holds a key of it, or where its domain is not this node's own.
    async fn check_movable(&self, account: &Account) -> Result<(), NotMoved> {
        if account.did().method() == "plc" {
            let found = self.0.parts.replication.0.parts.lifecycle.check_identity(account).await;
            return found.map_err(|error| NotMoved::why(Why::IdentityNotMovable, error.to_string()));
        }
        let host = url::Url::parse(&self.0.parts.endpoint).ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
        let domain = account.did().as_str().strip_prefix("did:web:").unwrap_or_default();
        let under_this = host.is_some_and(|host| domain == host || domain.ends_with(&format!(".{host}")));
        if under_this {
            return Err(NotMoved::why(Why::IdentityNotMovable, "its did:web is a name of this node's own domain"));
        }
        Ok(())
    }

    /// Waits until this node's own picture of the hosts is as `fits` wants it.
    pub(super) async fn until_placed(
        &self,
        did: &Did,
        fits: impl Fn(Option<&Arc<Tenant>>) -> bool,
    ) -> Result<(), NotMoved> {
        let mut changed = self.placement().watch();
        let seen = async {
            while !fits(self.placement().tenant(did).as_ref()) {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        let seen = tokio::time::timeout(SEEN_LIMIT, seen).await;
        seen.map_err(|_| refused("what the ledger decided has not reached this node yet").into())
    }

    async fn refresh(&self, did: &Did) -> Result<(), NotMoved> {
        let (placement, of) = (self.placement().clone(), did.clone());
        let refreshed = blocking::run(move || placement.refresh_blocking(&of)).await;
        refreshed.map_err(|error| refused(&error.to_string()))?;
        self.placement().touch();
        Ok(())
    }

    /// Takes a node from the backups of a tenant of which this node is primary. Whether that was done, or nothing was to
    /// do; `false` where the strategy needs the node.
    pub(super) async fn dismiss(&self, tenant: &Tenant, node: &Did) -> Result<bool, NotMoved> {
        let placed = &tenant.placed;
        if !placed.standbys.contains(node) {
            return Ok(true);
        }
        let backups = Backups {
            standbys: placed.standbys.iter().filter(|it| *it != node).cloned().collect(),
            vaults: placed.vaults.clone(),
            witness: placed.witness.clone(),
        };
        let it = ChangeHosts { tenant: tenant.did.clone(), epoch: placed.epoch, backups };
        match self.0.parts.replication.0.parts.submitter.wallet.act(Action::ChangeHosts(it)).await {
            Ok(_) => self.refresh(&tenant.did).await.map(|()| true),
            Err(WalletError::Outcome(Outcome::TooFewHosts | Outcome::TooFewRegions)) => Ok(false),
            Err(error) => Err(ReplicationError::Submit(error.into()).into()),
        }
    }
}

impl Driver {
    fn tenant(&self) -> Result<Arc<Tenant>, NotMoved> {
        let found = self.migrations.placement().tenant(&self.did);
        found.ok_or_else(|| refused("the tenant is not placed").into())
    }

    fn of(&self, tenant: &Tenant) -> Of {
        Of { tenant: self.did.clone(), epoch: tenant.placed.epoch }
    }

    pub(super) async fn prechecked(&mut self) -> Result<(), Why> {
        let done = self.migrations.precheck(&self.did, &self.row).await;
        done.map_err(|error| self.told(&error))
    }

    fn told(&mut self, error: &NotMoved) -> Why {
        self.row.note(clock::now(), error.to_string());
        error.reason()
    }

    /// Makes the target a standby.
    pub(super) async fn place(&mut self) -> Result<(), Why> {
        match self.try_place().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.told(&error)),
        }
    }

    async fn try_place(&mut self) -> Result<(), NotMoved> {
        let placed = self.migrations.placement().tenant(&self.did);
        if placed.as_ref().is_some_and(|tenant| tenant.is_followed_by(&self.row.to)) {
            return Ok(());
        }
        // Before it is done: a crash in between must not leave a standby that nobody asked for.
        self.row.placed = true;
        self.migrations.store(&self.did, &self.id, &self.row).await?;
        match placed {
            Some(tenant) => {
                let mut standbys = tenant.placed.standbys.clone();
                standbys.push(self.row.to.clone());
                let without = |nodes: &[Did]| nodes.iter().filter(|node| **node != self.row.to).cloned().collect();
                let backups = Backups {
                    standbys,
                    vaults: without(&tenant.placed.vaults),
                    witness: tenant.placed.witness.clone().filter(|node| *node != self.row.to),
                };
                let it = ChangeHosts { tenant: self.did.clone(), epoch: tenant.placed.epoch, backups };
                let submitter = &self.migrations.0.parts.replication.0.parts.submitter;
                submitter.as_node(Action::ChangeHosts(it)).await.map_err(ReplicationError::from)?;
                self.migrations.refresh(&self.did).await?;
            }
            None => {
                let account = self.migrations.account(&self.did).await?;
                let wish = PlaceWish {
                    strategy: Some(Strategy::SingleNode),
                    residency: None,
                    backups: None,
                    nodes: vec![self.row.to.clone()],
                    witness: None,
                    waits_for_standby: None,
                    vaults: None,
                    recovery: None,
                };
                match self.migrations.0.parts.replication.place(&account, wish).await {
                    Ok(()) => {}
                    Err(NotPlaced::Declined { why, .. }) => return Err(NotMoved::why(Why::NoRoom, why.to_string())),
                    Err(NotPlaced::Silent { why, .. }) => return Err(NotMoved::why(Why::TargetUnreachable, why)),
                    Err(NotPlaced::Replication(error)) => return Err(error.into()),
                    Err(error) => return Err(NotMoved::why(Why::LedgerRefused, error.to_string())),
                }
            }
        }
        let to = self.row.to.clone();
        self.migrations
            .until_placed(&self.did, move |tenant| tenant.is_some_and(|tenant| tenant.is_followed_by(&to)))
            .await
    }

    /// How far the target says it is, and its bytes. What else is kept for the account counts as part of the copy.
    pub(super) async fn stand(&self) -> Result<(Progress, u64), NotMoved> {
        let tenant = self.tenant()?;
        let stand = self.stand_of(&tenant).await?;
        let replication = &self.migrations.0.parts.replication;
        let account = tenant.account.ok_or(crate::accounts::AccountError::NotFound)?;
        let newest = replication.newest_event(account).await?;
        let same = stand.account == replication.account_digest_for(&tenant, &self.row.to).await?;
        let complete = stand.complete.filter(|_| same && stand.epoch == tenant.placed.epoch);
        Ok((Progress { complete, newest, stopped: stand.stopped.is_some() }, stand.bytes))
    }

    async fn stand_of(&self, tenant: &Tenant) -> Result<Stand, NotMoved> {
        match self.migrations.ask(&self.row.to, &Question::Stand(self.of(tenant))).await? {
            Answer::Stand(stand) => Ok(stand),
            _ => Err(ReplicationError::Unexpected.into()),
        }
    }

    /// What is left of the time for which writes may wait.
    fn patience(&self) -> Duration {
        let deadline = self.row.state.next_deadline(&self.migrations.0.parts.config);
        deadline.map_or(Duration::ZERO, |deadline| deadline.since(clock::now()))
    }

    /// Makes writes wait, and answers the newest event; nothing when those under way do not end in time.
    pub(super) async fn freeze(&mut self) -> Result<Option<u64>, NotMoved> {
        let tenant = self.tenant()?;
        self.row.tokens_from = self.migrations.account(&self.did).await?.row().tokens_valid_from;
        if self.held.is_none() {
            let Ok(held) = tokio::time::timeout(self.patience(), tenant.freeze()).await else { return Ok(None) };
            self.held = Some(held);
        }
        let account = tenant.account.ok_or(crate::accounts::AccountError::NotFound)?;
        Ok(Some(self.migrations.0.parts.replication.newest_event(account).await?))
    }

    /// Waits until the target has the last write, as long as writes may wait.
    pub(super) async fn caught_up(&self) -> Option<Progress> {
        let (tenant, newest) = (self.tenant().ok()?, self.row.state.newest()?);
        let caught_up = tenant.until_copied(&self.row.to, newest, self.patience()).await;
        caught_up.then_some(Progress { complete: Some(newest), newest, stopped: false })
    }

    /// Whether both sides have the same; the target's consent to become primary comes along.
    pub(super) async fn compare(&mut self) -> bool {
        match tokio::time::timeout(self.patience(), self.try_compare()).await {
            Ok(Ok((here, there, accepted))) => {
                self.row.roots = Some((here.root.to_string(), there.root.to_string()));
                self.row.accepted = Some(serde_bytes::ByteBuf::from(accepted.to_vec()));
                if here != there {
                    self.row.note(clock::now(), format!("here {here:?}, there {there:?}"));
                }
                here == there
            }
            Ok(Err(error)) => {
                self.row.note(clock::now(), error.to_string());
                false
            }
            Err(_) => false,
        }
    }

    async fn try_compare(&self) -> Result<(Holds, Holds, Signature), NotMoved> {
        let tenant = self.tenant()?;
        let (here, there) = self.both_hold(&tenant).await?;
        let question = Question::Accept(InFavour { tenant: self.did.clone(), epoch: tenant.placed.epoch + 1 });
        let Answer::Accepted(accepted) = self.migrations.ask(&self.row.to, &question).await? else {
            return Err(ReplicationError::Unexpected.into());
        };
        let network = self.migrations.placement().ledger().network();
        let (domain, message) = statement::hosting(network, &self.did, tenant.placed.epoch + 1, &self.row.to);
        let key =
            angel_protocol::crypto::NodePublicKey::from_did(&self.row.to).map_err(|_| ReplicationError::Unexpected)?;
        key.verify(domain, &message, &accepted).map_err(|_| refused("the target's consent is not signed by it"))?;
        Ok((here, there, accepted))
    }

    /// What both sides have. Some of what is private changes without the tenant's own writes, as others read and join: then
    /// the target gets that too, and both are looked at again, for as long as writes may wait.
    async fn both_hold(&self, tenant: &Arc<Tenant>) -> Result<(Holds, Holds), NotMoved> {
        let replication = &self.migrations.0.parts.replication;
        let id = tenant.account.ok_or(crate::accounts::AccountError::NotFound)?;
        let mut newest = self.row.state.newest().unwrap_or_default();
        loop {
            let account = replication.account_digest_for(tenant, &self.row.to).await?;
            let here = replication.holds(tenant, account).await?;
            let Answer::Holds(there) = self.migrations.ask(&self.row.to, &Question::Holds(self.of(tenant))).await?
            else {
                return Err(ReplicationError::Unexpected.into());
            };
            let now = replication.newest_event(id).await?;
            if here == there || now == newest {
                return Ok((here, there));
            }
            newest = now;
            tenant.until_copied(&self.row.to, newest, self.patience()).await;
        }
    }

    /// Brings the switch before the ledger, under the same id each time, and waits for its word.
    pub(super) async fn decide(&mut self) -> Result<Result<(), Why>, NotMoved> {
        if self.held.is_none() && self.tenant()?.is_primary() {
            self.held = Some(self.tenant()?.freeze().await);
        }
        let placed = self.tenant()?.placed.clone();
        if placed.primary == self.row.to {
            return Ok(Ok(()));
        }
        if placed.primary != *self.migrations.own() {
            return Ok(Err(Why::NotPrimary));
        }
        let epoch = placed.epoch + 1;
        let accepted = self.row.accepted.as_ref().and_then(|bytes| Signature::try_from(bytes.as_slice()).ok());
        let is_back = self.tenant()?.is_former(&self.row.to) && self.row.state.kind() == Kind::Return;
        let action = match accepted {
            _ if is_back => Action::RollBack(RollBack { tenant: self.did.clone(), epoch }),
            Some(accepted) => {
                Action::Migrate(Migrate { tenant: self.did.clone(), epoch, to: self.row.to.clone(), accepted })
            }
            None => return Ok(Err(Why::LedgerRefused)),
        };
        let wallet = &self.migrations.0.parts.replication.0.parts.submitter.wallet;
        let decided = wallet.act_as(self.row.nonce, action).await;
        self.migrations.refresh(&self.did).await?;
        match decided {
            Ok(_) => Ok(Ok(())),
            Err(WalletError::Outcome(outcome)) => {
                self.row.note(clock::now(), format!("the ledger: {}", outcome.text()));
                let moved = self.tenant()?.placed.primary == self.row.to;
                Ok(if moved { Ok(()) } else { Err(Why::LedgerRefused) })
            }
            // It may still be decided: writes go on waiting, and it is asked again.
            Err(error) => Err(ReplicationError::Submit(error.into()).into()),
        }
    }

    /// Points the identity at the target, and waits until the target serves.
    pub(super) async fn switch(&mut self) -> Result<Input, NotMoved> {
        let tenant = self.tenant()?;
        if tenant.is_primary() {
            return Ok(Input::Returned);
        }
        if tenant.placed.primary != self.row.to {
            return Ok(Input::MovedOn);
        }
        let replication = self.migrations.0.parts.replication.clone();
        replication.release_identity(&tenant, &self.row.to).await?;
        loop {
            if self.stand_of(&tenant).await?.serves {
                return Ok(Input::Serving);
            }
            if self.tenant()?.placed.epoch != tenant.placed.epoch {
                return Err(refused("the tenant was moved on").into());
            }
            tokio::time::sleep(SERVES_ASK).await;
        }
    }

    /// Whether there is nothing left of this move that could be undone.
    pub(super) fn moved_on(&self) -> Option<Input> {
        let tenant = self.tenant().ok()?;
        match &tenant.placed.previous {
            _ if tenant.is_primary() => Some(Input::Returned),
            Some(before) if before.primary == *self.migrations.own() => None,
            _ => Some(Input::MovedOn),
        }
    }

    /// Drops the copy here, unless the tenant needs it.
    pub(super) async fn release(&mut self) -> Result<(), NotMoved> {
        let tenant = self.tenant()?;
        if tenant.is_primary() {
            return Ok(());
        }
        let own = self.migrations.own().clone();
        if tenant.placed.hosts().any(|host| *host == own) {
            let question = Question::Release(self.of(&tenant));
            match self.migrations.ask(&tenant.placed.primary, &question).await? {
                Answer::Released => {}
                Answer::Needed => {
                    self.row.note(clock::now(), "the copy stays: the tenant's strategy needs it");
                    return Ok(());
                }
                _ => return Err(ReplicationError::Unexpected.into()),
            }
            let gone = move |tenant: Option<&Arc<Tenant>>| {
                tenant.is_none_or(|tenant| !tenant.placed.hosts().any(|host| *host == own))
            };
            self.migrations.until_placed(&self.did, gone).await?;
        }
        // A business that others host is none of this node's.
        let (tenants, did) = (self.migrations.0.parts.tenants.clone(), self.did.clone());
        drop(blocking::run(move || tenants.forget_blocking(&did)).await);
        self.migrations.0.parts.replication.drop_copy(&self.did).await?;
        self.row.note(clock::now(), "the copy is dropped");
        Ok(())
    }

    /// Takes the target's standing back, where this move gave it.
    pub(super) async fn undo(&mut self) -> Result<(), NotMoved> {
        self.held = None;
        if !self.row.placed {
            return Ok(());
        }
        let Ok(tenant) = self.tenant() else { return Ok(()) };
        if tenant.is_primary() && self.migrations.dismiss(&tenant, &self.row.to).await? {
            // Should it not hear, it finds out from the ledger that nobody needs its copy.
            if let Err(error) = self.migrations.ask(&self.row.to, &Question::Drop(self.of(&tenant))).await {
                self.row.note(clock::now(), format!("the target has not dropped its copy yet: {error}"));
            }
        }
        Ok(())
    }
}
