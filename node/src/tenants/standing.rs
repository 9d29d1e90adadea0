//! What a tenant is called, what it may use, and whether it is open.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::limits::PROVISIONING_LOG_MAX;
use angel_protocol::tenants::{Allowance, MembershipStatus, Permissions, Role, TenantStatus};
use angel_protocol::time::Timestamp;
use angel_storage::tenants::{MembershipRow, StepRow, StepStatus};

use super::{Actor, Tenant, TenantError, Tenants};

/// Longest details of a step, in characters: the log is part of the tenant's row.
const DETAILS_MAX: usize = 160;

impl Tenants {
    /// Suspends, reopens or archives a tenant. Blocks.
    ///
    /// # Errors
    /// [`TenantError::Status`], when what it is does not allow that.
    pub fn set_status_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        to: TenantStatus,
        now: Timestamp,
    ) -> Result<Tenant, TenantError> {
        let (tenant, ()) = self.change_blocking(tenant, now, |change| {
            let from = change.row.status;
            if !from.may_become(to) {
                return Err(TenantError::Status { from, to });
            }
            change.row.status = to;
            if from != to {
                change.note(by, "set status", to.name());
            }
            Ok(())
        })?;
        Ok(tenant)
    }

    /// Changes what a tenant may use. Blocks.
    ///
    /// # Errors
    /// [`TenantError`].
    pub fn set_allowance_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        allowance: Allowance,
        now: Timestamp,
    ) -> Result<Tenant, TenantError> {
        let (tenant, ()) = self.change_blocking(tenant, now, |change| {
            change.note(by, "set plan", allowance.plan.name());
            change.row.allowance = allowance;
            Ok(())
        })?;
        Ok(tenant)
    }

    /// Writes into the audit log what was done without changing anything. Blocks.
    ///
    /// # Errors
    /// [`TenantError`].
    pub fn note_blocking(&self, tenant: &Did, by: &Actor, action: &str, now: Timestamp) -> Result<Tenant, TenantError> {
        let (tenant, ()) = self.change_blocking(tenant, now, |change| {
            change.note(by, action, tenant.as_str());
            Ok(())
        })?;
        Ok(tenant)
    }

    /// Writes into the audit log what had to make room in what is known about customers (CRM-01). Blocks.
    ///
    /// # Errors
    /// [`TenantError`].
    pub(crate) fn note_customer_events_blocking(
        &self,
        tenant: &Did,
        gone: Vec<String>,
        now: Timestamp,
    ) -> Result<(), TenantError> {
        let (_, ()) = self.change_blocking(tenant, now, |change| {
            gone.into_iter()
                .for_each(|event| change.note(&Actor::Operator, "make room for events of a customer", event));
            Ok(())
        })?;
        Ok(())
    }

    /// Changes what a tenant is called and its kind of business, as its profile says already. Blocks.
    ///
    /// # Errors
    /// [`TenantError`].
    pub fn set_names_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        name: Option<String>,
        business_type: Option<String>,
        now: Timestamp,
    ) -> Result<Tenant, TenantError> {
        let (tenant, ()) = self.change_blocking(tenant, now, |change| {
            if let Some(name) = name {
                change.note(by, "rename", name.as_str());
                change.row.name = name;
            }
            if let Some(kind) = business_type {
                change.row.business_type = kind;
            }
            Ok(())
        })?;
        Ok(tenant)
    }

    /// Makes the owner a member, which a new tenant's is not yet. Doing it again changes nothing. Blocks.
    ///
    /// # Errors
    /// [`TenantError`].
    pub fn seat_owner_blocking(&self, tenant: &Did, rkey: Tid, now: Timestamp) -> Result<Tenant, TenantError> {
        let (tenant, ()) = self.change_blocking(tenant, now, |change| {
            let owner = change.row.owner.clone();
            if change.member(&owner).is_none() {
                let membership = MembershipRow {
                    rkey,
                    role: Role::Admin,
                    permissions: Permissions::NONE,
                    status: MembershipStatus::Active,
                    joined_at: Some(now),
                    invited_by: None,
                    created_at: now,
                    updated_at: now,
                };
                change.note(&Actor::Operator, "seat the owner", owner.as_str());
                change.set_member(owner, membership);
            }
            Ok(())
        })?;
        Ok(tenant)
    }

    /// Writes down how a step of provisioning ended; with `ready`, that the tenant is ready for use. Blocks.
    ///
    /// # Errors
    /// [`TenantError`].
    pub fn log_step_blocking(
        &self,
        tenant: &Did,
        action: &str,
        ended: Result<String, String>,
        ready: bool,
        now: Timestamp,
    ) -> Result<Tenant, TenantError> {
        let (status, details) = match ended {
            Ok(details) => (StepStatus::Success, details),
            Err(details) => (StepStatus::Failed, details),
        };
        let details = details.chars().take(DETAILS_MAX).collect();
        let (tenant, ()) = self.change_blocking(tenant, now, |change| {
            change.row.log.push(StepRow { action: action.to_owned(), status, details, at: now });
            let beyond = change.row.log.len().saturating_sub(PROVISIONING_LOG_MAX);
            change.row.log.drain(..beyond);
            if ready && change.row.status == TenantStatus::Pending {
                change.row.status = TenantStatus::Active;
                change.row.provisioned_at = Some(now);
            }
            Ok(())
        })?;
        Ok(tenant)
    }
}
