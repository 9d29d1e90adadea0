//! The membership of one person in one space: role, permissions, standing; and how the two early versions of the record
//! become one (`records.md` 4.4 and 11.2, RBC-04).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::ids::Did;
use crate::limits::{CHANNEL_PERMISSIONS_MAX, SPACE_CHANNEL_KEY_BYTES_MAX};

/// What a member may do by default, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and writes where a channel lets guests in.
    Guest,
    /// Writes.
    Member,
    /// Hides, bans, and sees to members below it.
    Moderator,
    /// Everything but deletion and ownership.
    SpaceAdmin,
    /// Everything. There is one.
    Owner,
}

/// What a role or a membership allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Write messages.
    PostMessages,
    /// Attach files.
    UploadFiles,
    /// Make events.
    CreateEvents,
    /// Hide messages and read complaints about them.
    ModerateContent,
    /// Approve, ban and change members below one's own role.
    ManageMembers,
    /// See figures about members.
    ViewAnalytics,
    /// See to bookings.
    ManageBookings,
    /// Read channels that are for some.
    AccessPrivate,
    /// Invite others.
    InviteUsers,
    /// Make channels.
    CreateChannels,
    /// Change the space.
    ManageSpace,
    /// Take the data out.
    ExportData,
}

/// Where a membership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In force.
    Active,
    /// Asked for, or invited and not accepted.
    Pending,
    /// Switched off for the time being.
    Suspended,
    /// Given up by the member.
    Left,
    /// Ended by the space; takes away everything.
    Banned,
}

/// What became of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invitation {
    /// Not answered.
    Pending,
    /// Taken.
    Accepted,
    /// Turned down.
    Declined,
}

/// What a member may do in one channel, whatever the role says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelAccess {
    /// Nothing. Always wins.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read, write and change it.
    Admin,
}

/// A membership in its one form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// What the member may do by default.
    pub role: Role,
    /// Where it stands.
    pub status: Status,
    /// What the member may do besides: adds to the role, never takes away.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub permissions: BTreeSet<Permission>,
    /// By the record key of the channel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, ChannelAccess>,
    /// Who invited the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_by: Option<Did>,
    /// What became of the invitation; absent for those who were not invited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<Invitation>,
    /// Whether the member has finished the introduction.
    #[serde(default)]
    pub onboarded: bool,
}

impl Role {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Guest => "guest",
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::SpaceAdmin => "space_admin",
            Self::Owner => "owner",
        }
    }

    /// Whether the role allows something by itself.
    #[must_use]
    pub const fn allows(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Owner | Self::SpaceAdmin => true,
            Self::Moderator => matches!(
                permission,
                P::PostMessages | P::UploadFiles | P::ModerateContent | P::ManageMembers | P::AccessPrivate
            ),
            Self::Member => matches!(permission, P::PostMessages | P::UploadFiles),
            Self::Guest | Self::Viewer => false,
        }
    }

    /// A role by its word, or by one that early records used.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "owner" => Self::Owner,
            "space_admin" | "admin" => Self::SpaceAdmin,
            "moderator" => Self::Moderator,
            "member" => Self::Member,
            "guest" => Self::Guest,
            "viewer" => Self::Viewer,
            _ => return None,
        })
    }
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Left => "left",
            Self::Banned => "banned",
        }
    }
}

/// Why one member may not change another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleRefused {
    /// Without the permission.
    #[error("this takes the permission to manage members")]
    NotAllowed,
    /// The other has the same role or a higher one.
    #[error("a member of that role is not yours to change")]
    AboveYou,
    /// To a role above one's own.
    #[error("nobody gives a role above their own")]
    AboveOwn,
    /// There is one owner, and ownership is handed over by another method.
    #[error("a space has one owner; ownership is not given by role")]
    Ownership,
}

impl Membership {
    /// A membership of this role and standing, with nothing besides.
    #[must_use]
    pub const fn new(role: Role, status: Status) -> Self {
        Self {
            role,
            status,
            permissions: BTreeSet::new(),
            channels: BTreeMap::new(),
            invited_by: None,
            invitation: None,
            onboarded: false,
        }
    }

    /// The membership of somebody who comes, or comes back: what was given to them beside their role is given anew by
    /// somebody, and a channel that was closed to them stays closed.
    #[must_use]
    pub fn coming(self, role: Role, status: Status) -> Self {
        let closed = self.channels.into_iter().filter(|(_, access)| *access == ChannelAccess::None);
        Self { role, status, permissions: BTreeSet::new(), channels: closed.collect(), ..self }
    }

    /// Whether it is in force.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.status, Status::Active)
    }

    /// Whether it allows something, by role or by a permission of its own.
    #[must_use]
    pub fn allows(&self, permission: Permission) -> bool {
        self.is_active() && (self.role.allows(permission) || self.permissions.contains(&permission))
    }

    /// Whether this member may give `other` (absent for somebody new) the role `to`, or take the membership away when
    /// `to` is absent.
    ///
    /// # Errors
    /// [`RoleRefused`], by what stands in the way.
    pub fn may_change(&self, other: Option<Role>, to: Option<Role>) -> Result<(), RoleRefused> {
        if !self.allows(Permission::ManageMembers) {
            return Err(RoleRefused::NotAllowed);
        }
        if other == Some(Role::Owner) || to == Some(Role::Owner) {
            return Err(RoleRefused::Ownership);
        }
        if self.role != Role::Owner && other.is_some_and(|other| other >= self.role) {
            return Err(RoleRefused::AboveYou);
        }
        if to.is_some_and(|to| to > self.role) {
            return Err(RoleRefused::AboveOwn);
        }
        Ok(())
    }
}

/// Why a record of an early version is no membership.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// No object.
    #[error("a membership is an object")]
    Form,
    /// A field whose value means nothing.
    #[error("{field} has a value that is not known: {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds, shortened.
        value: String,
    },
    /// More than [`CHANNEL_PERMISSIONS_MAX`].
    #[error("a membership names at most {CHANNEL_PERMISSIONS_MAX} channels")]
    TooManyChannels,
}

/// The five flags of version 1, and the permission that each became.
const FLAGS: [(&str, Permission); 5] = [
    ("canInviteUsers", Permission::InviteUsers),
    ("canCreateChannels", Permission::CreateChannels),
    ("canManageSpace", Permission::ManageSpace),
    ("canAccessAnalytics", Permission::ViewAnalytics),
    ("canExportData", Permission::ExportData),
];

/// Reads a membership of either early version, or of the present one, into its one form (`records.md` 11.2): a true flag
/// becomes a permission, `admin` is `space_admin`, a pending invitation is a pending membership, an accepted one is
/// active, a declined one has left. Where both versions speak, the one that allows less counts.
///
/// # Errors
/// [`MembershipError`], by the field that means nothing.
pub fn merge_versions(record: &Json) -> Result<Membership, MembershipError> {
    let record = record.as_object().ok_or(MembershipError::Form)?;
    let role = word(record.get("role"), "role", Role::from_word)?.unwrap_or(Role::Member);
    let invitation = known(record.get("invitationStatus"), "invitationStatus")?;
    let by_invitation = invitation.map(|invitation| match invitation {
        Invitation::Pending => Status::Pending,
        Invitation::Accepted => Status::Active,
        Invitation::Declined => Status::Left,
    });
    let status: Option<Status> = known(record.get("status"), "status")?;
    // The order of the variants is from most to least allowed.
    let status = status.into_iter().chain(by_invitation).max().unwrap_or(Status::Active);
    let mut membership = Membership { invitation, ..Membership::new(role, status) };

    if let Some(flags) = record.get("permissions").and_then(Json::as_object) {
        let set = FLAGS.iter().filter(|(flag, _)| flags.get(*flag) == Some(&Json::Bool(true)));
        membership.permissions.extend(set.map(|(_, permission)| *permission));
    }
    for listed in [record.get("permissions"), record.get("customPermissions")] {
        for value in listed.and_then(Json::as_array).into_iter().flatten() {
            membership.permissions.extend(known::<Permission>(Some(value), "customPermissions")?);
        }
    }
    for entry in record.get("channelPermissions").and_then(Json::as_array).into_iter().flatten() {
        let channel = entry.get("channelId").and_then(Json::as_str).unwrap_or_default();
        let key = channel.rsplit('/').next().unwrap_or_default();
        if key.is_empty() || key.len() > SPACE_CHANNEL_KEY_BYTES_MAX {
            return Err(unknown("channelPermissions", &channel.into()));
        }
        if let Some(access) = known::<ChannelAccess>(entry.get("access"), "access")? {
            let least = membership.channels.get(key).map_or(access, |before| access.min(*before));
            membership.channels.insert(key.to_owned(), least);
        }
        if membership.channels.len() > CHANNEL_PERMISSIONS_MAX {
            return Err(MembershipError::TooManyChannels);
        }
    }
    membership.invited_by = word(record.get("invitedBy"), "invitedBy", |text| text.parse().ok())?;
    membership.onboarded = record.get("onboardingCompleted") == Some(&Json::Bool(true));
    Ok(membership)
}

fn known<T: for<'de> Deserialize<'de>>(
    value: Option<&Json>,
    field: &'static str,
) -> Result<Option<T>, MembershipError> {
    value.map(|value| T::deserialize(value).map_err(|_| unknown(field, value))).transpose()
}

fn word<T>(
    value: Option<&Json>,
    field: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, MembershipError> {
    let Some(value) = value else { return Ok(None) };
    value.as_str().and_then(read).map(Some).ok_or_else(|| unknown(field, value))
}

fn unknown(field: &'static str, value: &Json) -> MembershipError {
    MembershipError::Value { field, value: value.to_string().chars().take(64).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_comes_back_has_what_their_role_has_and_no_more() {
        let mut before = Membership::new(Role::Moderator, Status::Left);
        before.permissions.insert(Permission::ManageMembers);
        before.channels.insert("open".to_owned(), ChannelAccess::Write);
        before.channels.insert("closed".to_owned(), ChannelAccess::None);
        before.onboarded = true;
        let back = before.coming(Role::Member, Status::Active);
        assert!(!back.allows(Permission::ManageMembers) && back.allows(Permission::PostMessages));
        assert_eq!(back.channels, [("closed".to_owned(), ChannelAccess::None)].into());
        assert!(back.onboarded, "what they have done stays done");
    }

    #[test]
    fn both_early_versions_become_one_form() {
        let first = merge_versions(&json!({
            "role": "admin",
            "permissions": { "canInviteUsers": true, "canCreateChannels": false, "canAccessAnalytics": true },
            "channelPermissions": [
                { "channelId": "at://did:web:a.example/co.kendev.spaces.channel/3kz", "access": "write" },
                { "channelId": "at://did:web:a.example/co.kendev.spaces.channel/3kz", "access": "none" },
            ],
            "invitationStatus": "accepted",
            "invitedBy": "did:web:b.example",
            "onboardingCompleted": true,
        }))
        .expect("reads");
        assert_eq!((first.role, first.status), (Role::SpaceAdmin, Status::Active));
        assert_eq!(first.permissions, [Permission::InviteUsers, Permission::ViewAnalytics].into());
        assert_eq!(first.channels.get("3kz"), Some(&ChannelAccess::None), "none always wins");
        assert_eq!(first.invited_by.as_ref().map(Did::as_str), Some("did:web:b.example"));
        assert!(first.onboarded);

        let second = merge_versions(&json!({
            "role": "moderator", "status": "banned", "permissions": ["view_analytics", "access_private"],
        }))
        .expect("reads");
        assert_eq!((second.role, second.status), (Role::Moderator, Status::Banned));
        assert!(!second.allows(Permission::ModerateContent), "a ban takes away everything");

        let both = merge_versions(&json!({ "status": "active", "invitationStatus": "declined" })).expect("reads");
        assert_eq!(both.status, Status::Left, "the one that allows less counts");
    }

    #[test]
    fn what_means_nothing_is_refused_by_its_field() {
        for (record, field) in [
            (json!({ "role": "king" }), "role"),
            (json!({ "status": "happy" }), "status"),
            (json!({ "customPermissions": ["fly"] }), "customPermissions"),
            (json!({ "channelPermissions": [{ "access": "read" }] }), "channelPermissions"),
            (json!({ "invitedBy": "nobody" }), "invitedBy"),
        ] {
            let refused = merge_versions(&record);
            assert!(
                matches!(&refused, Err(MembershipError::Value { field: found, .. }) if *found == field),
                "{refused:?}"
            );
        }
        assert_eq!(merge_versions(&json!([])), Err(MembershipError::Form));
        let many: Vec<_> = (0..=CHANNEL_PERMISSIONS_MAX)
            .map(|n| json!({ "channelId": format!("at://did:web:a.example/c/{n}"), "access": "read" }))
            .collect();
        assert_eq!(merge_versions(&json!({ "channelPermissions": many })), Err(MembershipError::TooManyChannels));
    }

    #[test]
    fn nobody_raises_anybody_above_themselves() {
        let all = [Role::Viewer, Role::Guest, Role::Member, Role::Moderator, Role::SpaceAdmin, Role::Owner];
        for own in all {
            let member = Membership::new(own, Status::Active);
            for other in all {
                for to in all {
                    let allowed = member.may_change(Some(other), Some(to)).is_ok();
                    if allowed {
                        assert!(own >= Role::Moderator && to <= own && to != Role::Owner && other != Role::Owner);
                        assert!(own == Role::Owner || other < own);
                    }
                }
            }
        }
        let moderator = Membership::new(Role::Moderator, Status::Active);
        assert_eq!(moderator.may_change(Some(Role::SpaceAdmin), None), Err(RoleRefused::AboveYou));
        assert_eq!(moderator.may_change(Some(Role::Member), Some(Role::SpaceAdmin)), Err(RoleRefused::AboveOwn));
        assert_eq!(moderator.may_change(Some(Role::Member), None), Ok(()));
        let suspended = Membership::new(Role::Owner, Status::Suspended);
        assert_eq!(suspended.may_change(Some(Role::Member), None), Err(RoleRefused::NotAllowed));
    }
}
