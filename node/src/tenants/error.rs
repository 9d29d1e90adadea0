//! Why something is not done to a tenant.

use angel_protocol::ids::Did;
use angel_protocol::limits::{TENANT_INVITATIONS_MAX, TENANT_MEMBERS_MAX, TENANTS_MAX, WEBHOOKS_MAX};
use angel_protocol::tenants::invitation::InvitationRefused;
use angel_protocol::tenants::role::RoleRefused;
use angel_protocol::tenants::{LimitReached, Slug, TenantStatus};
use angel_storage::batch::RowRefused;
use angel_storage::codec::CodecError;
use angel_storage::events::TrimError;
use angel_storage::reader::ReadError;
use angel_storage::{CommitError, TableId};

use crate::accounts::AccountError;
use crate::secrets::SecretError;

/// Why something is not done to a tenant. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// The account is no tenant of this node, or whoever asks must not know.
    #[error("there is no such tenant here")]
    NotFound,
    /// Somebody has the short name.
    #[error("a tenant is called {0} already; choose another short name")]
    SlugTaken(Slug),
    /// The account has no membership here.
    #[error("{0} is no member of the tenant")]
    NotMember(Did),
    /// The account is a member already.
    #[error("{0} is a member of the tenant already")]
    AlreadyMember(Did),
    /// What the tenant is allows no such change.
    #[error("the tenant is {}; it cannot become {}", from.name(), to.name())]
    Status {
        /// What it is.
        from: TenantStatus,
        /// What was asked for.
        to: TenantStatus,
    },
    /// The tenant takes no writes.
    #[error("the tenant is {}: nothing is written for it", .0.name())]
    Closed(TenantStatus),
    /// The plan.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The role.
    #[error(transparent)]
    Role(#[from] RoleRefused),
    /// The invitation.
    #[error(transparent)]
    Invitation(#[from] InvitationRefused),
    /// No such invitation, or it was used.
    #[error("the invitation is not known here, or was used already")]
    NoInvitation,
    /// As many invitations are open as a tenant can have.
    #[error("{TENANT_INVITATIONS_MAX} invitations are open; wait until some are accepted or expire")]
    TooManyInvitations,
    /// No such webhook.
    #[error("the tenant has no such webhook")]
    NoWebhook,
    /// As many webhooks as a tenant can have.
    #[error("a tenant has at most {WEBHOOKS_MAX} webhooks; delete one first")]
    TooManyWebhooks,
    /// The node has as many tenants or members as it can hold.
    #[error("this node has no room for more: at most {TENANTS_MAX} tenants and {TENANT_MEMBERS_MAX} memberships")]
    Full,
    /// No randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<RowRefused> for TenantError {
    fn from(error: RowRefused) -> Self {
        Self::Account(error.into())
    }
}

impl From<TrimError> for TenantError {
    fn from(error: TrimError) -> Self {
        Self::Account(error.into())
    }
}

impl From<CodecError> for TenantError {
    fn from(source: CodecError) -> Self {
        RowRefused::Value { table: TableId::TenantAudit, source }.into()
    }
}

impl From<CommitError> for TenantError {
    fn from(error: CommitError) -> Self {
        match error {
            // One invitation is accepted once: whoever comes second finds its row gone.
            CommitError::Conflict { table: TableId::TenantInvitations, .. } => Self::NoInvitation,
            error => Self::Account(error.into()),
        }
    }
}
