//! Tenants: accounts that are businesses. Who may do what in one, what its plan lets it use, how people come in, and
//! what a new one begins with.
//!
//! Everything here is a pure function of its arguments: memberships, counts and times are handed in, and what should be
//! kept comes out. Nothing here knows repositories, sessions or the ledger.
//!
//! | module | what it answers |
//! |---|---|
//! | [`role`] | who may do what? (`rules.md` RBC-01, RBC-02) |
//! | [`plan`] | how much may be used, and which features are there? (USE-01 to USE-05) |
//! | [`usage`] | is there room for one more? (USE-02) |
//! | [`metering`] | what does this write use, and which features does it take? (USE-02 to USE-04) |
//! | [`invitation`] | who may invite whom, and is this the token? (INV-01 to INV-03) |
//! | [`template`] | which records does a new tenant begin with? (PRV-03) |
//! | [`slug`] | is this a name for a tenant? |

pub mod invitation;
pub mod metering;
pub mod plan;
pub mod role;
pub mod slug;
pub mod template;
pub mod usage;

use serde::{Deserialize, Serialize};

pub use self::metering::{Bill, Draft, FeatureDisabled};
pub use self::plan::{Allowance, Feature, Plan, Resource};
pub use self::role::{Permission, Permissions, Role};
pub use self::slug::Slug;
pub use self::template::Template;
pub use self::usage::{LimitReached, Month, Usage, Use};

/// What may be done with a tenant at all (TEN-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    /// Being set up: for its owner and the operator alone.
    Pending,
    /// In use.
    Active,
    /// In use, not yet paid for. Shown to others as active.
    Trial,
    /// Members read and export, nobody writes.
    Suspended,
    /// Only its owner is let in, to export it.
    Archived,
}

impl TenantStatus {
    /// Its name in the operator's file (`co.kendev.tenants.management`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Trial => "trial",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
        }
    }

    /// Its name in the tenant's own settings and towards others, where a trial is no matter of theirs.
    #[must_use]
    pub const fn public_name(self) -> &'static str {
        match self {
            Self::Trial => Self::Active.name(),
            other => other.name(),
        }
    }

    /// Whether others are told that the tenant exists when they ask for a list.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        matches!(self, Self::Active | Self::Trial)
    }

    /// Whether anything may be written for the tenant.
    #[must_use]
    pub const fn takes_writes(self) -> bool {
        matches!(self, Self::Active | Self::Trial | Self::Pending)
    }

    /// Whether a tenant in this state may be brought into `next`: what was archived comes back only by import.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Archived => matches!(next, Self::Archived),
            Self::Pending => !matches!(next, Self::Trial),
            Self::Active | Self::Trial | Self::Suspended => !matches!(next, Self::Pending),
        }
    }
}

/// Where a membership stands (`records.md` 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MembershipStatus {
    /// In force.
    Active,
    /// Invited, not yet here.
    Pending,
    /// Kept, but without rights for now.
    Suspended,
    /// Ended.
    Revoked,
}

impl MembershipStatus {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_looks_active_from_outside_and_an_archive_is_final() {
        use TenantStatus::{Active, Archived, Pending, Suspended, Trial};
        assert_eq!((Trial.public_name(), Trial.name()), ("active", "trial"));
        assert!(Trial.is_listed() && !Pending.is_listed() && !Suspended.is_listed());
        assert!(Pending.takes_writes() && !Suspended.takes_writes() && !Archived.takes_writes());
        assert!(Active.may_become(Suspended) && Suspended.may_become(Active) && Suspended.may_become(Archived));
        assert!(!Archived.may_become(Active) && !Active.may_become(Pending));
    }
}
