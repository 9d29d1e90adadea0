//! Who may see, read, write and join (SPC-04, CHN-03, RBC-01, RBC-04). The first explicit denial wins; the default is
//! denial.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::membership::{ChannelAccess, Membership, Permission, Role, RoleRefused, Status};

/// Who may know that a space exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Those who were invited.
    InviteOnly,
    /// Its members.
    Private,
}

/// What happens when somebody asks to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// They are in.
    Automatic,
    /// Somebody decides.
    Manual,
    /// Nobody gets in by asking.
    Disabled,
}

/// What a space says about who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpaceRules {
    /// Who may know of it.
    pub visibility: Visibility,
    /// What happens when somebody asks to join.
    pub approval: Approval,
    /// Whether every member may invite.
    pub members_can_invite: bool,
    /// Whether joining takes the code of the space.
    pub requires_code: bool,
    /// Whether it is a conversation between two people, which nobody else joins.
    #[serde(default)]
    pub direct: bool,
}

/// Who may know of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelVisibility {
    /// Whoever may see the space.
    Public,
    /// Members of the space.
    Private,
    /// Some of them.
    Restricted,
}

/// What a channel says about who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRules {
    /// Who may know of it.
    pub visibility: ChannelVisibility,
    /// The roles that a restricted channel lets in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_roles: BTreeSet<Role>,
    /// Whether guests may read and write.
    #[serde(default)]
    pub guest_access: bool,
}

impl ChannelRules {
    /// Those of a space's own stream, which is no channel.
    #[must_use]
    pub const fn of_the_space() -> Self {
        Self { visibility: ChannelVisibility::Public, allowed_roles: BTreeSet::new(), guest_access: false }
    }
}

/// Who somebody is to a tenant, beyond any space (RBC-01: the tenant's roles come first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Nothing.
    Stranger,
    /// May manage the tenant's spaces: counts as an administrator of each.
    Manager,
    /// The tenant itself.
    Holder,
}

impl Standing {
    /// The role in each of the tenant's spaces that comes with it.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Stranger => None,
            Self::Manager => Some(Role::SpaceAdmin),
            Self::Holder => Some(Role::Owner),
        }
    }

    /// Whether somebody with the role `acting` in a space may take something in it away from a person who is this to the
    /// tenant: the tenant's roles come before any space's (RBC-01), and nobody turns out those above them (RBC-04).
    ///
    /// # Errors
    /// [`RoleRefused::AboveYou`].
    pub fn yields_to(self, acting: Role) -> Result<(), RoleRefused> {
        match self.role() {
            Some(role) if acting != Role::Owner && role >= acting => Err(RoleRefused::AboveYou),
            _ => Ok(()),
        }
    }
}

/// One person before one space: all that access depends on.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The space.
    pub space: SpaceRules,
    /// The person's membership, if there is one, in whatever state.
    pub membership: Option<&'a Membership>,
    /// Who the person is to the tenant.
    pub standing: Standing,
}

/// What becomes of somebody who asks to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// In, with this role.
    Joined(Role),
    /// Waits for a decision.
    Waits,
    /// Was in already.
    Already,
}

/// Why somebody does not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefused {
    /// For them there is no such space.
    #[error("there is no such space")]
    NotFound,
    /// Banned.
    #[error("you are banned from this space")]
    Banned,
    /// Switched off for the time being.
    #[error("your membership is suspended")]
    Suspended,
    /// Joining takes an invitation.
    #[error("this space is joined by invitation")]
    InvitationNeeded,
    /// Joining takes the code of the space.
    #[error("joining this space takes its code")]
    CodeNeeded,
}

impl Access<'_> {
    /// Whether the person may know that the space exists, and read what it says of itself. A stranger to a space that is
    /// not public may not, and neither may whoever is banned from it.
    #[must_use]
    pub fn may_see(&self) -> bool {
        if self.standing > Standing::Stranger {
            return true;
        }
        match self.membership.map(|membership| membership.status) {
            Some(Status::Banned) => false,
            Some(Status::Active | Status::Suspended) => true,
            // Whoever was invited has to see what they are invited to.
            Some(Status::Pending) => {
                self.space.visibility == Visibility::Public || self.membership.is_some_and(|it| it.invited_by.is_some())
            }
            Some(Status::Left) | None => self.space.visibility == Visibility::Public,
        }
    }

    /// Whether the person is in.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.standing > Standing::Stranger || self.membership.is_some_and(Membership::is_active)
    }

    /// Whether something is allowed in the space as a whole.
    #[must_use]
    pub fn allows(&self, permission: Permission) -> bool {
        if self.membership.is_some_and(|membership| membership.status == Status::Banned) {
            return self.standing == Standing::Holder;
        }
        if self.standing > Standing::Stranger {
            return true;
        }
        if permission == Permission::InviteUsers && self.space.members_can_invite && self.may_write_anywhere() {
            return true;
        }
        self.membership.is_some_and(|membership| membership.allows(permission))
    }

    /// The person as a member who changes others: managers of the tenant count as administrators, the tenant as owner.
    #[must_use]
    pub fn acting(&self) -> Option<Membership> {
        let by_standing = self.standing.role();
        let own = self.membership.filter(|membership| membership.is_active());
        match (by_standing, own) {
            (Some(role), Some(own)) if own.role >= role => Some(own.clone()),
            (Some(role), _) => Some(Membership::new(role, Status::Active)),
            (None, own) => own.cloned(),
        }
    }

    /// Whether the person may read a channel; `key` is its record key, absent for the space's own stream.
    #[must_use]
    pub fn may_read(&self, channel: &ChannelRules, key: Option<&str>) -> bool {
        self.channel(channel, key) >= ChannelAccess::Read
    }

    /// Whether the person may write into a channel.
    #[must_use]
    pub fn may_post(&self, channel: &ChannelRules, key: Option<&str>) -> bool {
        self.channel(channel, key) >= ChannelAccess::Write
    }

    fn may_write_anywhere(&self) -> bool {
        self.membership.is_some_and(|membership| membership.is_active() && membership.role >= Role::Member)
    }

    /// What the person may do in a channel.
    fn channel(&self, channel: &ChannelRules, key: Option<&str>) -> ChannelAccess {
        if !self.may_see() {
            return ChannelAccess::None;
        }
        let membership = self.membership.filter(|membership| membership.is_active());
        let explicit = membership.zip(key).and_then(|(membership, key)| membership.channels.get(key)).copied();
        if explicit == Some(ChannelAccess::None) {
            return ChannelAccess::None;
        }
        let by_role = self.channel_by_role(channel, membership);
        explicit.map_or(by_role, |explicit| explicit.max(by_role))
    }

    fn channel_by_role(&self, channel: &ChannelRules, membership: Option<&Membership>) -> ChannelAccess {
        if self.standing > Standing::Stranger {
            return ChannelAccess::Admin;
        }
        let Some(membership) = membership else {
            // Suspended members and those who wait read what everybody reads.
            let open = self.space.visibility == Visibility::Public && channel.visibility == ChannelVisibility::Public;
            return if open { ChannelAccess::Read } else { ChannelAccess::None };
        };
        if membership.role >= Role::SpaceAdmin {
            return ChannelAccess::Admin;
        }
        let let_in = match channel.visibility {
            ChannelVisibility::Public => true,
            ChannelVisibility::Private => membership.role != Role::Guest || channel.guest_access,
            ChannelVisibility::Restricted => {
                let listed = channel.allowed_roles.contains(&membership.role);
                let listed = listed && (membership.role != Role::Guest || channel.guest_access);
                listed || membership.allows(Permission::AccessPrivate)
            }
        };
        let writes =
            membership.allows(Permission::PostMessages) || (membership.role == Role::Guest && channel.guest_access);
        match (let_in, writes) {
            (false, _) => ChannelAccess::None,
            (true, false) => ChannelAccess::Read,
            (true, true) => ChannelAccess::Write,
        }
    }

    /// What becomes of the person who asks to join; `invited` is the role that a valid invitation gives, `has_code`
    /// whether they know the code of the space.
    ///
    /// # Errors
    /// [`JoinRefused`], by what stands in the way.
    pub fn join(&self, invited: Option<Role>, has_code: bool) -> Result<Joining, JoinRefused> {
        match self.membership.map(|membership| membership.status) {
            Some(Status::Banned) if self.space.visibility != Visibility::Public => return Err(JoinRefused::NotFound),
            Some(Status::Banned) => return Err(JoinRefused::Banned),
            Some(Status::Suspended) => return Err(JoinRefused::Suspended),
            Some(Status::Active) => return Ok(Joining::Already),
            Some(Status::Pending | Status::Left) | None => {}
        }
        if let Some(role) = invited {
            return Ok(Joining::Joined(role));
        }
        if self.space.visibility != Visibility::Public {
            if has_code && self.space.visibility == Visibility::InviteOnly {
                return Ok(Joining::Joined(Role::Member));
            }
            return Err(if self.may_see() { JoinRefused::InvitationNeeded } else { JoinRefused::NotFound });
        }
        match self.space.approval {
            Approval::Disabled => Err(JoinRefused::InvitationNeeded),
            _ if self.space.requires_code && !has_code => Err(JoinRefused::CodeNeeded),
            Approval::Automatic => Ok(Joining::Joined(Role::Member)),
            Approval::Manual => Ok(Joining::Waits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: SpaceRules = SpaceRules {
        visibility: Visibility::Public,
        approval: Approval::Automatic,
        members_can_invite: false,
        requires_code: false,
        direct: false,
    };

    const VISIBILITIES: [Visibility; 3] = [Visibility::Public, Visibility::InviteOnly, Visibility::Private];
    const STATUSES: [Status; 5] = [Status::Active, Status::Pending, Status::Suspended, Status::Left, Status::Banned];
    const ROLES: [Role; 6] = [Role::Viewer, Role::Guest, Role::Member, Role::Moderator, Role::SpaceAdmin, Role::Owner];

    fn access(space: SpaceRules, membership: Option<&Membership>) -> Access<'_> {
        Access { space, membership, standing: Standing::Stranger }
    }

    #[test]
    fn a_stranger_sees_public_spaces_only() {
        for visibility in VISIBILITIES {
            let space = SpaceRules { visibility, ..PUBLIC };
            assert_eq!(access(space, None).may_see(), visibility == Visibility::Public);
            assert_eq!(
                access(space, None).may_read(&ChannelRules::of_the_space(), None),
                visibility == Visibility::Public
            );
            assert!(!access(space, None).may_post(&ChannelRules::of_the_space(), None));
        }
    }

    #[test]
    fn whoever_is_not_active_never_writes_and_whoever_is_banned_reads_nothing() {
        let channels = [ChannelVisibility::Public, ChannelVisibility::Private, ChannelVisibility::Restricted];
        for visibility in VISIBILITIES {
            for status in STATUSES {
                for role in ROLES {
                    for channel in channels {
                        let mut membership = Membership::new(role, status);
                        membership.channels.insert("a".to_owned(), ChannelAccess::Admin);
                        let rules =
                            ChannelRules { visibility: channel, allowed_roles: ROLES.into(), guest_access: true };
                        let access = access(SpaceRules { visibility, ..PUBLIC }, Some(&membership));
                        let (reads, posts) = (access.may_read(&rules, Some("a")), access.may_post(&rules, Some("a")));
                        assert_eq!(posts, status == Status::Active, "{visibility:?} {status:?} {role:?} {channel:?}");
                        if status == Status::Banned {
                            assert!(!reads && !access.may_see() && !access.is_member());
                            assert!(!access.allows(Permission::ManageSpace));
                        }
                        if reads && status != Status::Active {
                            assert_eq!((visibility, channel), (Visibility::Public, ChannelVisibility::Public));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn channels_let_in_whom_they_name() {
        let guest = Membership::new(Role::Guest, Status::Active);
        let mut member = Membership::new(Role::Member, Status::Active);
        let private = ChannelRules { visibility: ChannelVisibility::Private, ..ChannelRules::of_the_space() };
        assert!(!access(PUBLIC, Some(&guest)).may_read(&private, Some("a")));
        assert!(access(PUBLIC, Some(&member)).may_post(&private, Some("a")));
        let restricted = ChannelRules {
            visibility: ChannelVisibility::Restricted,
            allowed_roles: [Role::Moderator].into(),
            guest_access: false,
        };
        assert!(!access(PUBLIC, Some(&member)).may_read(&restricted, Some("a")));
        member.channels.insert("a".to_owned(), ChannelAccess::Read);
        assert!(access(PUBLIC, Some(&member)).may_read(&restricted, Some("a")));
        assert!(!access(PUBLIC, Some(&member)).may_post(&restricted, Some("a")));
        member.channels.insert("a".to_owned(), ChannelAccess::None);
        assert!(!access(PUBLIC, Some(&member)).may_read(&private, Some("a")), "none always wins");
        assert!(access(PUBLIC, Some(&member)).may_read(&private, Some("b")));
    }

    #[test]
    fn joining_goes_by_the_rules_of_the_space() {
        let with = |visibility, approval| SpaceRules { visibility, approval, ..PUBLIC };
        let join = |space, invited, code| access(space, None).join(invited, code);
        let public = |approval| with(Visibility::Public, approval);
        assert_eq!(join(public(Approval::Automatic), None, false), Ok(Joining::Joined(Role::Member)));
        assert_eq!(join(public(Approval::Manual), None, false), Ok(Joining::Waits));
        assert_eq!(join(public(Approval::Disabled), None, false), Err(JoinRefused::InvitationNeeded));
        assert_eq!(join(public(Approval::Disabled), Some(Role::Guest), false), Ok(Joining::Joined(Role::Guest)));
        let coded = SpaceRules { requires_code: true, ..PUBLIC };
        assert_eq!(join(coded, None, false), Err(JoinRefused::CodeNeeded));
        assert_eq!(join(coded, None, true), Ok(Joining::Joined(Role::Member)));
        let private = with(Visibility::Private, Approval::Automatic);
        assert_eq!(join(private, None, true), Err(JoinRefused::NotFound), "a code does not open a private space");
        assert_eq!(join(private, Some(Role::Member), false), Ok(Joining::Joined(Role::Member)));
        let invite_only = with(Visibility::InviteOnly, Approval::Automatic);
        assert_eq!(join(invite_only, None, false), Err(JoinRefused::NotFound));
        assert_eq!(join(invite_only, None, true), Ok(Joining::Joined(Role::Member)));
        let banned = Membership::new(Role::Member, Status::Banned);
        assert_eq!(access(PUBLIC, Some(&banned)).join(Some(Role::Member), true), Err(JoinRefused::Banned));
        assert_eq!(access(private, Some(&banned)).join(Some(Role::Member), true), Err(JoinRefused::NotFound));
    }

    #[test]
    fn the_tenant_stands_above_memberships() {
        let guest = Membership::new(Role::Guest, Status::Active);
        let private = SpaceRules { visibility: Visibility::Private, ..PUBLIC };
        let manager = Access { space: private, membership: Some(&guest), standing: Standing::Manager };
        assert!(manager.may_see() && manager.allows(Permission::ManageSpace));
        assert_eq!(manager.acting().map(|acting| acting.role), Some(Role::SpaceAdmin));
        let nobody = Access { space: private, membership: None, standing: Standing::Stranger };
        assert_eq!(nobody.acting(), None);
        let holder = Access { standing: Standing::Holder, ..nobody };
        assert_eq!(holder.acting().map(|acting| acting.role), Some(Role::Owner));
    }

    #[test]
    fn nobody_takes_anything_from_those_above_them_in_the_tenant() {
        let refused = Err(RoleRefused::AboveYou);
        for acting in [Role::Moderator, Role::SpaceAdmin] {
            assert_eq!(Standing::Holder.yields_to(acting), refused, "{acting:?}");
            assert_eq!(Standing::Manager.yields_to(acting), refused, "{acting:?}");
            assert_eq!(Standing::Stranger.yields_to(acting), Ok(()));
        }
        assert_eq!(Standing::Manager.yields_to(Role::Owner), Ok(()));
    }
}
