//! Who may do what in a tenant: three levels, nine permissions, denial unless something allows (RBC-01, RBC-02).

use serde::{Deserialize, Serialize};

use super::TenantStatus;

/// What one may be in a tenant. The order is that of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Sees, and uses what everybody uses.
    #[serde(rename = "tenant_member")]
    Member,
    /// A member with the permissions that were listed.
    #[serde(rename = "tenant_manager")]
    Manager,
    /// Everything but billing and the owner's own things.
    #[serde(rename = "tenant_admin")]
    Admin,
    /// Everything. There is one.
    #[serde(rename = "owner")]
    Owner,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Member, Self::Manager, Self::Admin, Self::Owner];

    /// 3 for the owner, 2 for admins, 1 for everybody else.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Owner => 3,
            Self::Admin => 2,
            Self::Manager | Self::Member => 1,
        }
    }

    /// Its name in requests and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "tenant_admin",
            Self::Manager => "tenant_manager",
            Self::Member => "tenant_member",
        }
    }

    /// Its name in a membership record, which knows no owner: whose the tenant is stands in the operator's file.
    #[must_use]
    pub const fn record_name(self) -> &'static str {
        match self {
            Self::Owner => Self::Admin.name(),
            other => other.name(),
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What the role allows by itself; `listed` counts for managers alone.
    #[must_use]
    pub const fn permissions(self, listed: Permissions) -> Permissions {
        match self {
            Self::Owner => Permissions::ALL,
            Self::Admin => Permissions::ALL.without(Permission::ManageBilling),
            Self::Manager => listed,
            Self::Member => Permissions::NONE,
        }
    }
}

/// Something that a tenant's role may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Permission {
    /// Invite people, change their roles, end memberships.
    ManageUsers,
    /// Make and change spaces and channels.
    ManageSpaces,
    /// Pages, posts, forms, files.
    ManageContent,
    /// The catalogue.
    ManageProducts,
    /// Orders and appointments.
    ManageOrders,
    /// Figures.
    ViewAnalytics,
    /// Name, looks and settings.
    ManageSettings,
    /// Plan and payment.
    ManageBilling,
    /// Take the tenant's data out.
    ExportData,
}

impl Permission {
    /// All nine.
    pub const ALL: [Self; 9] = [
        Self::ManageUsers,
        Self::ManageSpaces,
        Self::ManageContent,
        Self::ManageProducts,
        Self::ManageOrders,
        Self::ViewAnalytics,
        Self::ManageSettings,
        Self::ManageBilling,
        Self::ExportData,
    ];

    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ManageUsers => "manage_users",
            Self::ManageSpaces => "manage_spaces",
            Self::ManageContent => "manage_content",
            Self::ManageProducts => "manage_products",
            Self::ManageOrders => "manage_orders",
            Self::ViewAnalytics => "view_analytics",
            Self::ManageSettings => "manage_settings",
            Self::ManageBilling => "manage_billing",
            Self::ExportData => "export_data",
        }
    }

    /// Whether it only lets somebody see.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::ViewAnalytics | Self::ExportData)
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// A set of permissions. In stored rows and records it is the list of their names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Permission>", into = "Vec<Permission>")]
pub struct Permissions(u16);

impl Permissions {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// All nine.
    pub const ALL: Self = Self((1 << Permission::ALL.len()) - 1);

    /// Whether `permission` is among them.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub const fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, permission: Permission) -> Self {
        Self(self.0 | permission.bit())
    }

    /// These but one.
    #[must_use]
    pub const fn without(self, permission: Permission) -> Self {
        Self(self.0 & !permission.bit())
    }

    /// Each of them, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<Vec<Permission>> for Permissions {
    fn from(permissions: Vec<Permission>) -> Self {
        permissions.into_iter().collect()
    }
}

impl From<Permissions> for Vec<Permission> {
    fn from(permissions: Permissions) -> Self {
        permissions.iter().collect()
    }
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::name)).finish()
    }
}

/// Whether somebody with `role` may do what `permission` names, in a tenant that is in this state. An active
/// membership is taken for granted: without one there is no role.
#[must_use]
pub const fn allows(role: Role, listed: Permissions, status: TenantStatus, permission: Permission) -> bool {
    let allowed = role.permissions(listed).contains(permission);
    match status {
        TenantStatus::Active | TenantStatus::Trial => allowed,
        // Only the owner sets up.
        TenantStatus::Pending => matches!(role, Role::Owner),
        TenantStatus::Suspended => allowed && permission.only_reads(),
        // A tenant can always be taken out by its owner.
        TenantStatus::Archived => matches!((role, permission), (Role::Owner, Permission::ExportData)),
    }
}

/// Whether somebody with `role` may look at what members look at.
#[must_use]
pub const fn may_read(role: Role, status: TenantStatus) -> bool {
    match status {
        TenantStatus::Active | TenantStatus::Trial | TenantStatus::Suspended => true,
        TenantStatus::Pending | TenantStatus::Archived => matches!(role, Role::Owner),
    }
}

/// Why a role is not given or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleRefused {
    /// The owner's membership is nobody's to change.
    #[error("the owner's role does not change; ownership is handed over by an invitation as owner")]
    Owner,
    /// Ownership is offered by an invitation and taken by accepting it.
    #[error("nobody is made owner; the owner invites somebody as owner, who accepts")]
    MakesOwner,
    /// More than whoever gives it holds.
    #[error("one gives no role above one's own ({own})")]
    AboveOwn {
        /// The giver's role.
        own: &'static str,
    },
    /// Permissions that whoever gives them does not hold.
    #[error("one gives no permission that one does not hold")]
    NotHeld,
}

/// Whether `by` may turn a membership of role `from` into one of role `to` with `permissions`. That `by` may manage
/// users at all is checked before.
///
/// # Errors
/// [`RoleRefused`], by what stands in the way.
pub fn may_change(
    by: (Role, Permissions),
    from: Option<Role>,
    to: Role,
    permissions: Permissions,
) -> Result<(), RoleRefused> {
    let (own, listed) = by;
    if from == Some(Role::Owner) {
        return Err(RoleRefused::Owner);
    }
    if to == Role::Owner {
        return Err(RoleRefused::MakesOwner);
    }
    if to > own || from.is_some_and(|from| from > own) {
        return Err(RoleRefused::AboveOwn { own: own.name() });
    }
    if to == Role::Manager && !own.permissions(listed).covers(permissions) {
        return Err(RoleRefused::NotHeld);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_permissions_follow_the_table() {
        assert_eq!(Role::ALL.map(Role::level), [1, 1, 2, 3]);
        for permission in Permission::ALL {
            let by = |role, listed| allows(role, listed, TenantStatus::Active, permission);
            assert!(by(Role::Owner, Permissions::NONE));
            assert_eq!(by(Role::Admin, Permissions::NONE), permission != Permission::ManageBilling);
            assert!(by(Role::Manager, Permissions::NONE.with(permission)));
            assert!(!by(Role::Manager, Permissions::ALL.without(permission)));
            assert!(!by(Role::Member, Permissions::ALL), "what is listed counts for managers alone");
        }
    }

    #[test]
    fn a_state_takes_rights_away_and_never_adds_any() {
        for (role, permission) in Role::ALL.into_iter().flat_map(|role| Permission::ALL.map(|one| (role, one))) {
            let in_state = |status| allows(role, Permissions::ALL, status, permission);
            for status in [TenantStatus::Pending, TenantStatus::Suspended, TenantStatus::Archived] {
                assert!(!in_state(status) || in_state(TenantStatus::Active), "{role:?} {permission:?} {status:?}");
            }
            assert!(!in_state(TenantStatus::Suspended) || permission.only_reads());
        }
        assert!(allows(Role::Owner, Permissions::NONE, TenantStatus::Archived, Permission::ExportData));
        assert!(!may_read(Role::Admin, TenantStatus::Archived) && may_read(Role::Member, TenantStatus::Suspended));
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let admin = (Role::Admin, Permissions::NONE);
        assert_eq!(may_change(admin, Some(Role::Owner), Role::Member, Permissions::NONE), Err(RoleRefused::Owner));
        assert_eq!(may_change(admin, None, Role::Owner, Permissions::NONE), Err(RoleRefused::MakesOwner));
        assert_eq!(may_change(admin, Some(Role::Member), Role::Admin, Permissions::NONE), Ok(()));
        let billing = Permissions::NONE.with(Permission::ManageBilling);
        assert_eq!(may_change(admin, None, Role::Manager, billing), Err(RoleRefused::NotHeld));
        let manager = (Role::Manager, Permissions::NONE.with(Permission::ManageUsers));
        assert!(matches!(
            may_change(manager, None, Role::Admin, Permissions::NONE),
            Err(RoleRefused::AboveOwn { own: "tenant_manager" })
        ));
        assert!(matches!(
            may_change(manager, Some(Role::Admin), Role::Member, Permissions::NONE),
            Err(RoleRefused::AboveOwn { .. })
        ));
    }

    #[test]
    fn a_set_is_stored_as_the_names_in_it() {
        let set: Permissions = [Permission::ExportData, Permission::ManageUsers].into_iter().collect();
        let json = serde_json::to_string(&set).expect("serialises");
        assert_eq!(json, r#"["manage_users","export_data"]"#);
        assert_eq!(serde_json::from_str::<Permissions>(&json).expect("reads"), set);
        assert_eq!(Permissions::ALL.iter().count(), 9);
    }
}
