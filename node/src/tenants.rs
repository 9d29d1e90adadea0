//! The tenants of this node: which accounts are businesses, who belongs to them and may do what, how much they used.
//!
//! All of them and their members lie in memory, so that asking costs a look into a map and never fails: every request
//! asks. Every change goes through one door (`change`), which writes rows and audit log in one batch and brings memory
//! up to date before it answers. What a role may do is for `angel_protocol::tenants` to say.
//!
//! Nothing here knows HTTP. What a tenant says of itself is in its repository; here is what the node must know.

mod blueprint;
mod change;
mod counters;
mod error;
mod members;
mod metering;
mod provision;
mod rulebook;
mod standing;
mod transfer;
mod webhooks;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use angel_protocol::ids::Did;
use angel_protocol::tenants::{
    MembershipStatus, Month, Permission, Permissions, Plan, Role, Slug, TenantStatus, Usage, role,
};
use angel_storage::reader::ReadError;
use angel_storage::tenants::{self, AuditRow, MembershipRow, StoredTenant, TenantRow};
use angel_storage::{AccountId, Reader, Writer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::counters::Counters;
use crate::placement::{Fence, Placement};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

pub use self::blueprint::Blueprint;
pub use self::change::Actor;
pub use self::error::TenantError;
pub use self::members::{Accepted, Invited, Wish};
pub(crate) use self::metering::Admitted;
pub use self::provision::{NewTenant, ProvisionError, Provisioner};
pub use self::rulebook::{Court, Rulebook, RulebookError};
pub use self::transfer::ImportError;
pub(crate) use self::transfer::workspace;
pub use angel_protocol::tenants::{FeatureDisabled, LimitReached, Use};

/// The tenants of this node. Cheap to clone.
#[derive(Clone)]
pub struct Tenants(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    roster: RwLock<Roster>,
    counters: Mutex<Counters>,
    /// Held by whoever counts what is there and then adds to it.
    adding: Vec<Arc<tokio::sync::Mutex<()>>>,
    /// Held by whoever changes a tenant: a change is a look, a decision and a write, and nothing may come in between.
    changing: Mutex<()>,
    /// The tenants that were taken over and of which nobody has taken note yet.
    arrived: Mutex<BTreeSet<Did>>,
    /// Tenants of which it has changed who may do what, for whoever acts on that: all of them at first.
    changed: Mutex<BTreeSet<Did>>,
    changes: watch::Sender<u64>,
    fence: Fence,
}

#[derive(Default)]
struct Roster {
    tenants: HashMap<Did, Entry>,
    by_slug: HashMap<Slug, Did>,
    /// Memberships of all tenants together.
    members: usize,
}

struct Entry {
    tenant: Tenant,
    members: HashMap<Did, MembershipRow>,
}

/// A tenant as it was when it was looked up. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tenant(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: AccountId,
    row: TenantRow,
}

impl Tenant {
    fn new(id: AccountId, row: TenantRow) -> Self {
        Self(Arc::new(Inner { id, row }))
    }

    /// The number of its account.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.0.id
    }

    /// Its DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.0.row.did
    }

    /// What may be done with it.
    #[must_use]
    pub fn status(&self) -> TenantStatus {
        self.0.row.status
    }

    /// Everything that is kept about it.
    #[must_use]
    pub fn row(&self) -> &TenantRow {
        &self.0.row
    }
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenants")
    }
}

impl Tenants {
    /// Reads all of them. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(reader: Reader, writer: Writer) -> Result<Self, ReadError> {
        let mut roster = Roster::default();
        let mut counters = Counters::default();
        let month = Month::of(clock::now());
        for StoredTenant { id, row, members } in tenants::all(&reader)? {
            counters.load(id, tenants::usage(&reader, id, month)?);
            roster.insert(id, row, members.into_iter().collect());
        }
        let changed = Mutex::new(roster.tenants.keys().cloned().collect());
        let (roster, counters) = (RwLock::new(roster), Mutex::new(counters));
        Ok(Self(Arc::new(Shared {
            reader,
            writer,
            roster,
            counters,
            adding: (0..metering::LOCKS).map(|_| Arc::default()).collect(),
            changing: Mutex::new(()),
            arrived: Mutex::default(),
            changed,
            changes: watch::Sender::new(0),
            fence: Fence::default(),
        })))
    }

    /// From now on `placement` says which tenants may be changed here. Those that another node serves are not served.
    pub(crate) fn guard(&self, placement: Placement) {
        for tenant in placement.tenants().iter().filter(|tenant| !tenant.is_primary()) {
            self.give_away(&tenant.did);
        }
        self.0.fence.raise(placement);
    }

    /// Reads a tenant whose rows another room has written: it was taken over from another node. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn take_over_blocking(&self, id: AccountId) -> Result<(), ReadError> {
        let _turn = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = self.0.reader.get(&tenants::TENANTS, &id)? else { return Ok(()) };
        let members = angel_storage::accounts::all_of(&self.0.reader, &tenants::TENANT_MEMBERS, id)?;
        let usage = tenants::usage(&self.0.reader, id, Month::of(clock::now()))?;
        self.0.roster.write().unwrap_or_else(PoisonError::into_inner).remove(&row.did);
        self.0.arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(row.did.clone());
        self.made_with(id, row, members.into_iter().collect(), Some(usage));
        Ok(())
    }

    /// The tenants that were taken over since they were last asked for: of what happened to them elsewhere, only their
    /// records tell.
    pub(crate) fn take_arrived(&self) -> BTreeSet<Did> {
        std::mem::take(&mut *self.0.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves a tenant no more: another node does. Its rows stay as they are.
    pub(crate) fn give_away(&self, tenant: &Did) {
        let _turn = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = self.find(tenant).map(|tenant| tenant.id()) else { return };
        self.0.roster.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.counters().forget(id);
    }

    /// Tells when it has changed in some tenant who may do what; [`Self::take_changed`] says in which.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The tenants that have changed since they were last asked for.
    pub(crate) fn take_changed(&self) -> BTreeSet<Did> {
        std::mem::take(&mut *self.0.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_changed(&self, tenant: &Did) {
        self.0.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        self.0.changes.send_modify(|count| *count += 1);
    }

    fn roster(&self) -> RwLockReadGuard<'_, Roster> {
        // A change brings memory up to date in one step that cannot panic half-way.
        self.0.roster.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tenant with this DID, if that account is one.
    #[must_use]
    pub fn find(&self, did: &Did) -> Option<Tenant> {
        self.roster().tenants.get(did).map(|entry| entry.tenant.clone())
    }

    /// The tenant with this short name.
    #[must_use]
    pub fn by_slug(&self, slug: &Slug) -> Option<Tenant> {
        let roster = self.roster();
        roster.tenants.get(roster.by_slug.get(slug)?).map(|entry| entry.tenant.clone())
    }

    /// Up to `limit` tenants that `wanted` lets through, in the order of their accounts, behind `after`.
    #[must_use]
    pub fn list(
        &self,
        after: Option<AccountId>,
        limit: usize,
        wanted: impl Fn(&Tenant, Option<&MembershipRow>) -> bool,
        member: Option<&Did>,
    ) -> Vec<Tenant> {
        let roster = self.roster();
        let behind = |entry: &&Entry| after.is_none_or(|after| entry.tenant.id() > after);
        let of_member = |entry: &Entry| member.and_then(|did| entry.members.get(did)).cloned();
        let mut found: Vec<_> = roster
            .tenants
            .values()
            .filter(behind)
            .filter(|entry| wanted(&entry.tenant, of_member(entry).as_ref()))
            .map(|entry| entry.tenant.clone())
            .collect();
        found.sort_unstable_by_key(Tenant::id);
        found.truncate(limit);
        found
    }

    /// What `member` is in the tenant; `None` without a membership that is in force.
    #[must_use]
    pub fn role(&self, tenant: &Did, member: &Did) -> Option<Role> {
        self.standing(tenant, member).map(|(role, _)| role)
    }

    /// Whether `member` may do in the tenant what `permission` names, as the tenant is now.
    #[must_use]
    pub fn allows(&self, tenant: &Did, member: &Did, permission: Permission) -> bool {
        let roster = self.roster();
        let standing = roster.tenants.get(tenant).and_then(|entry| Some((entry.standing(member)?, entry)));
        standing.is_some_and(|((role, listed), entry)| role::allows(role, listed, entry.tenant.status(), permission))
    }

    /// Whether `member` may look at what the tenant's members look at, as the tenant is now.
    #[must_use]
    pub fn may_read(&self, tenant: &Did, member: &Did) -> bool {
        let roster = self.roster();
        let standing = roster.tenants.get(tenant).and_then(|entry| Some((entry.standing(member)?, entry)));
        standing.is_some_and(|((role, _), entry)| role::may_read(role, entry.tenant.status()))
    }

    /// Whether anything may be written for the account: a tenant that is suspended or archived takes no writes. An
    /// account that is no tenant is asked elsewhere.
    #[must_use]
    pub fn takes_writes(&self, account: &Did) -> bool {
        self.roster().tenants.get(account).is_none_or(|entry| entry.tenant.status().takes_writes())
    }

    /// What `member` is in the tenant, with the permissions that were listed for them.
    #[must_use]
    pub fn standing(&self, tenant: &Did, member: &Did) -> Option<(Role, Permissions)> {
        self.roster().tenants.get(tenant)?.standing(member)
    }

    /// The membership of `member`, in force or not.
    #[must_use]
    pub fn membership(&self, tenant: &Did, member: &Did) -> Option<MembershipRow> {
        self.roster().tenants.get(tenant)?.members.get(member).cloned()
    }

    /// Up to `limit` memberships of a tenant in the order of their record keys, behind `after`.
    #[must_use]
    pub fn memberships(
        &self,
        tenant: &Did,
        after: Option<angel_protocol::ids::Tid>,
        limit: usize,
    ) -> Vec<(Did, MembershipRow)> {
        let roster = self.roster();
        let Some(entry) = roster.tenants.get(tenant) else { return Vec::new() };
        let behind = |(_, row): &(&Did, &MembershipRow)| after.is_none_or(|after| row.rkey > after);
        let mut found: Vec<_> = entry.members.iter().filter(behind).collect();
        found.sort_unstable_by_key(|(_, row)| row.rkey);
        found.into_iter().take(limit).map(|(did, row)| (did.clone(), row.clone())).collect()
    }

    /// The best plan of the tenants to which each of these people belongs, among tenants that are active (RMP-02). Whoever
    /// belongs to none is left out.
    #[must_use]
    pub fn best_plans(&self, people: &HashSet<Did>) -> HashMap<Did, Plan> {
        let roster = self.roster();
        let active = |entry: &&Entry| matches!(entry.tenant.status(), TenantStatus::Active | TenantStatus::Trial);
        let mut best: HashMap<Did, Plan> = HashMap::new();
        for entry in roster.tenants.values().filter(active) {
            let (owner, plan) = (&entry.tenant.row().owner, entry.tenant.row().allowance.plan);
            for person in entry.members.keys().chain([owner]).filter(|person| people.contains(*person)) {
                if entry.standing(person).is_some() && best.get(person).is_none_or(|known| *known < plan) {
                    best.insert(person.clone(), plan);
                }
            }
        }
        best
    }

    /// Everybody who belongs to a tenant that is active.
    #[must_use]
    pub fn people(&self) -> BTreeSet<Did> {
        let roster = self.roster();
        let active = |entry: &&Entry| matches!(entry.tenant.status(), TenantStatus::Active | TenantStatus::Trial);
        let people = roster.tenants.values().filter(active).flat_map(|entry| {
            let in_force = |(_, row): &(&Did, &MembershipRow)| row.status == MembershipStatus::Active;
            let members = entry.members.iter().filter(in_force).map(|(did, _)| did);
            members.chain([&entry.tenant.row().owner])
        });
        people.cloned().collect()
    }

    /// How many memberships are in force.
    #[must_use]
    pub fn active_members(&self, tenant: &Did) -> u64 {
        self.roster().tenants.get(tenant).map_or(0, Entry::active_members)
    }

    /// Whether there is room for `wish` in what the tenant may use; what is counted by the month is counted then. An
    /// account that is no tenant has no plan, and no limit here.
    ///
    /// # Errors
    /// [`LimitReached`], with the figures; nothing is counted then.
    pub fn check_limit(&self, tenant: &Did, wish: Use) -> Result<(), LimitReached> {
        let Some(tenant) = self.find(tenant) else { return Ok(()) };
        self.counters().take(tenant.id(), &tenant.row().allowance, wish, Month::of(clock::now()))
    }

    /// What the tenant used in this month.
    #[must_use]
    pub fn usage(&self, tenant: &Tenant) -> Usage {
        self.counters().usage(tenant.id(), Month::of(clock::now()))
    }

    /// Notes how much storage a tenant uses, of which the month's highest is kept.
    pub fn note_storage(&self, tenant: &Tenant, mb: u64) {
        self.counters().note_storage(tenant.id(), mb, Month::of(clock::now()));
    }

    fn counters(&self) -> std::sync::MutexGuard<'_, Counters> {
        self.0.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes the tenant's files have together. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn file_bytes_blocking(&self, tenant: &Tenant) -> Result<u64, TenantError> {
        Ok(angel_storage::blobs::bytes_of(&self.0.reader, tenant.id())?)
    }

    /// Up to `limit` entries of a tenant's audit log behind `after`. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn audit_blocking(
        &self,
        tenant: &Tenant,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditRow)>, TenantError> {
        Ok(tenants::audit(&self.0.reader, tenant.id(), after, limit)?)
    }

    /// Writes down what was counted, every few seconds and when the node stops. After a crash the counts of the last
    /// seconds are missing: a tenant may use that much more, and nothing else is wrong.
    pub(crate) async fn run_counters(self, stop: CancellationToken) -> TaskResult {
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(counters::FLUSH_INTERVAL) => false,
            };
            let this = self.clone();
            if let Err(error) = blocking::run(move || this.flush_blocking()).await {
                tracing::warn!(%error, "what tenants used could not be written down; it will be tried again");
            }
            if stopping {
                return Ok(());
            }
        }
    }
}

impl Roster {
    fn insert(&mut self, id: AccountId, row: TenantRow, members: HashMap<Did, MembershipRow>) {
        self.members += members.len();
        self.by_slug.insert(row.slug.clone(), row.did.clone());
        self.tenants.insert(row.did.clone(), Entry { tenant: Tenant::new(id, row), members });
    }

    fn remove(&mut self, did: &Did) {
        if let Some(entry) = self.tenants.remove(did) {
            self.members -= entry.members.len();
            self.by_slug.remove(&entry.tenant.row().slug);
        }
    }
}

impl Entry {
    fn standing(&self, member: &Did) -> Option<(Role, Permissions)> {
        if self.tenant.row().owner == *member {
            return Some((Role::Owner, Permissions::NONE));
        }
        let row = self.members.get(member)?;
        (row.status == MembershipStatus::Active).then_some((row.role, row.permissions))
    }

    fn active_members(&self) -> u64 {
        self.members.values().filter(|row| row.status == MembershipStatus::Active).count() as u64
    }
}
