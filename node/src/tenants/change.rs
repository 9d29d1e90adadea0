//! The one door through which a tenant changes: rows, audit log and memory together.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use angel_protocol::ids::Did;
use angel_protocol::limits::{TENANT_MEMBERS_MAX, TENANTS_MAX};
use angel_protocol::tenants::{Month, Permissions, Role, Slug, Usage};
use angel_protocol::time::Timestamp;
use angel_storage::batch::RowRefused;
use angel_storage::codec::Cbor;
use angel_storage::tenants::{
    self, AuditRow, MembershipRow, TENANT_AUDIT, TENANT_MEMBERS, TENANTS, TENANTS_BY_SLUG, TenantRow,
};
use angel_storage::{AccountId, Batch};

use super::{Entry, Tenant, TenantError, Tenants};
use crate::accounts::AccountError;

/// Who does something to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The operator of the node.
    Operator,
    /// Somebody, as what they are in the tenant.
    Person(Did, Role),
    /// Somebody who is nothing in the tenant yet.
    Guest(Did),
}

impl Actor {
    /// Their DID; the operator acts without one.
    #[must_use]
    pub const fn did(&self) -> Option<&Did> {
        match self {
            Self::Operator => None,
            Self::Person(did, _) | Self::Guest(did) => Some(did),
        }
    }

    const fn role_name(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Person(_, role) => role.name(),
            Self::Guest(_) => "guest",
        }
    }

    /// What they may give away: the operator everything.
    #[must_use]
    pub fn standing(&self, listed: Permissions) -> (Role, Permissions) {
        match self {
            Self::Operator => (Role::Owner, Permissions::ALL),
            Self::Person(_, role) => (*role, listed),
            Self::Guest(_) => (Role::Member, Permissions::NONE),
        }
    }
}

/// A change that is being put together.
pub(super) struct Change<'a> {
    entry: &'a Entry,
    /// The tenant as it will be.
    pub(super) row: TenantRow,
    /// What else belongs to the same batch.
    pub(super) batch: Batch,
    members: BTreeMap<Did, MembershipRow>,
    audit: Vec<AuditRow>,
    now: Timestamp,
}

impl Change<'_> {
    /// The membership of somebody, as it will be.
    pub(super) fn member(&self, did: &Did) -> Option<&MembershipRow> {
        self.members.get(did).or_else(|| self.entry.members.get(did))
    }

    /// What somebody will be, and with which permissions.
    pub(super) fn standing(&self, did: &Did) -> Option<(Role, Permissions)> {
        self.entry.standing(did)
    }

    /// How many memberships are in force before the change.
    pub(super) fn active_members(&self) -> u64 {
        self.entry.active_members()
    }

    /// The account.
    pub(super) fn id(&self) -> AccountId {
        self.entry.tenant.id()
    }

    pub(super) fn set_member(&mut self, did: Did, row: MembershipRow) {
        self.members.insert(did, row);
    }

    /// Writes into the audit log who did what.
    pub(super) fn note(&mut self, by: &Actor, action: &str, subject: impl Into<String>) {
        self.audit.push(audit_row(by, action, subject.into(), self.now));
    }
}

fn audit_row(by: &Actor, action: &str, subject: String, at: Timestamp) -> AuditRow {
    AuditRow {
        at,
        by: by.did().cloned(),
        role: by.role_name().to_owned(),
        action: action.to_owned(),
        subject,
        previous: [0; 32],
    }
}

impl Tenants {
    /// Whether there is room for another tenant of this name.
    ///
    /// # Errors
    /// The short name is taken, or the node is full.
    pub fn check_free(&self, slug: &Slug) -> Result<(), TenantError> {
        let roster = self.roster();
        if roster.tenants.len() >= TENANTS_MAX || roster.members >= TENANT_MEMBERS_MAX {
            return Err(TenantError::Full);
        }
        if roster.by_slug.contains_key(slug) { Err(TenantError::SlugTaken(slug.clone())) } else { Ok(()) }
    }

    /// Adds a new tenant to the batch that makes its account, which is refused when the short name is taken;
    /// [`Self::made`] follows when that is durable.
    ///
    /// # Errors
    /// The batch is full.
    pub fn stage_new(batch: &mut Batch, id: AccountId, row: &TenantRow, by: &Actor) -> Result<(), RowRefused> {
        tenants::stage_new(batch, id, row)?;
        let entry = audit_row(by, "create", row.slug.to_string(), row.created_at);
        batch.put(&TENANT_AUDIT, &(id, 0), &entry)
    }

    /// Takes note of a tenant whose batch is durable.
    pub fn made(&self, id: AccountId, row: TenantRow) -> Tenant {
        self.made_with(id, row, HashMap::new(), None)
    }

    /// Takes note of a tenant that is in the store and not in memory, if there is one of this name. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn adopt_blocking(&self, slug: &Slug) -> Result<(), TenantError> {
        let _turn = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Cbor(id)) = self.0.reader.get(&TENANTS_BY_SLUG, &slug.as_str().to_owned())? else { return Ok(()) };
        if let Some(row) = self.0.reader.get(&TENANTS, &id)?.filter(|row| self.find(&row.did).is_none()) {
            self.made(id, row);
        }
        Ok(())
    }

    pub(super) fn made_with(
        &self,
        id: AccountId,
        row: TenantRow,
        members: HashMap<Did, MembershipRow>,
        usage: Option<Usage>,
    ) -> Tenant {
        let tenant = Tenant::new(id, row.clone());
        self.0.roster.write().unwrap_or_else(PoisonError::into_inner).insert(id, row, members);
        self.note_changed(tenant.did());
        self.counters().load(id, usage.unwrap_or_else(|| Usage::new(Month::default())));
        tenant
    }

    /// Changes a tenant. `act` sees it as it is, and nothing else changes it meanwhile. Blocks until the change is
    /// durable.
    ///
    /// # Errors
    /// There is no such tenant, `act` refuses, the node is full, or the store fails.
    pub(super) fn change_blocking<T>(
        &self,
        tenant: &Did,
        now: Timestamp,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, TenantError>,
    ) -> Result<(Tenant, T), TenantError> {
        let account = self.find(tenant).ok_or(TenantError::NotFound)?.id();
        let leave = self.0.fence.enter_blocking(account).map_err(AccountError::from)?;
        let turn = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, change, told) = {
            let roster = self.roster();
            let entry = roster.tenants.get(tenant).ok_or(TenantError::NotFound)?;
            let row = TenantRow { updated_at: now, ..entry.tenant.row().clone() };
            let (members, audit) = (BTreeMap::new(), Vec::new());
            let mut change = Change { entry, row, batch: Batch::new(), members, audit, now };
            let told = act(&mut change)?;
            let new = change.members.keys().filter(|did| !entry.members.contains_key(*did)).count();
            if new > 0 && roster.members + new > TENANT_MEMBERS_MAX {
                return Err(TenantError::Full);
            }
            let Change { row, mut batch, members, audit, .. } = change;
            let id = entry.tenant.id();
            self.stage_audit(&mut batch, id, audit)?;
            batch.put(&TENANTS, &id, &row)?;
            for (did, row) in &members {
                batch.put(&TENANT_MEMBERS, &(id, did.clone()), row)?;
            }
            (id, (row, batch, members), told)
        };
        let (row, batch, members) = change;
        let committed = self.0.writer.commit(batch)?;
        let changed = Tenant::new(id, row);
        let mut roster = self.0.roster.write().unwrap_or_else(PoisonError::into_inner);
        let (mut new, mut is_other) = (0, !members.is_empty());
        if let Some(entry) = roster.tenants.get_mut(tenant) {
            let before = entry.tenant.row();
            is_other |= before.owner != changed.row().owner || before.status != changed.status();
            entry.tenant = changed.clone();
            for (did, row) in members {
                new += usize::from(entry.members.insert(did, row).is_none());
            }
        }
        roster.members += new;
        drop((roster, turn));
        if is_other {
            self.note_changed(tenant);
        }
        leave.replicated_blocking(committed).map_err(AccountError::from)?;
        Ok((changed, told))
    }

    fn stage_audit(&self, batch: &mut Batch, id: AccountId, entries: Vec<AuditRow>) -> Result<(), TenantError> {
        if entries.is_empty() {
            return Ok(());
        }
        let last = tenants::last_audit(&self.0.reader, id)?;
        let (mut number, mut previous) = match &last {
            Some((number, row)) => (number + 1, row.hash()?),
            None => (0, [0; 32]),
        };
        for entry in entries {
            let entry = AuditRow { previous, ..entry };
            batch.put(&TENANT_AUDIT, &(id, number), &entry)?;
            (number, previous) = (number + 1, entry.hash()?);
        }
        Ok(())
    }

    /// Takes note that a tenant's account is gone, and removes what is kept of it. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn forget_blocking(&self, tenant: &Did) -> Result<(), TenantError> {
        let _turn = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = self.find(tenant).map(|tenant| tenant.id()) else { return Ok(()) };
        let mut batch = Batch::new();
        tenants::stage_remove(&self.0.reader, &mut batch, id)?;
        self.0.writer.commit(batch)?;
        self.0.roster.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.counters().forget(id);
        Ok(())
    }
}
