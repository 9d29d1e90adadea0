//! How people come into a tenant, what they become there, and how they leave.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::limits::{INVITATION_MESSAGE_BYTES_MAX, TENANT_INVITATIONS_MAX};
use angel_protocol::tenants::invitation::{self, Guest, Invitation, InvitationRefused};
use angel_protocol::tenants::role::{self, RoleRefused};
use angel_protocol::tenants::{MembershipStatus, Permissions, Resource, Role, Use};
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::tenants::{MembershipRow, TENANT_INVITATIONS};

use super::change::Change;
use super::{Actor, Tenant, TenantError, Tenants};
use crate::secrets::random_bytes;

/// Whom to invite, and as what.
#[derive(Clone, Debug)]
pub struct Wish {
    /// As what.
    pub role: Role,
    /// With which permissions, for a manager.
    pub permissions: Permissions,
    /// One account alone.
    pub user: Option<Did>,
    /// Whoever proved to have this e-mail address.
    pub email: Option<String>,
    /// A few words.
    pub message: Option<String>,
    /// Until when; a week when nobody says.
    pub expires_at: Option<Timestamp>,
}

/// An invitation that was made.
#[derive(Clone, Debug)]
pub struct Invited {
    /// What opens it. It is told this once.
    pub token: String,
    /// What it says.
    pub invitation: Invitation,
}

/// An invitation that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The tenant.
    pub tenant: Tenant,
    /// The membership.
    pub membership: MembershipRow,
}

impl Tenants {
    /// Invites somebody. That `by` may manage users is for the caller to check. Blocks.
    ///
    /// # Errors
    /// [`TenantError`]: the role is above the inviter's, the plan has no room, too many invitations are open.
    pub fn invite_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        wish: Wish,
        now: Timestamp,
    ) -> Result<Invited, TenantError> {
        let token = random_bytes()?;
        let token = invitation::token_text(&token);
        let hash = invitation::token_hash(&token).ok_or(TenantError::NoInvitation)?;
        let message = wish.message.filter(|message| !message.is_empty());
        if message.as_ref().is_some_and(|message| message.len() > INVITATION_MESSAGE_BYTES_MAX) {
            return Err(InvitationRefused::Message.into());
        }
        let invitation = Invitation {
            role: wish.role,
            permissions: if wish.role == Role::Manager { wish.permissions } else { Permissions::NONE },
            // The operator invites in the name of the tenant.
            by: by.did().unwrap_or(tenant).clone(),
            user: wish.user,
            email: wish.email.map(|email| email.to_ascii_lowercase()),
            message,
            created_at: now,
            expires_at: invitation::expiry(now, wish.expires_at)?,
        };
        let (_, ()) = self.change_blocking(tenant, now, |change| {
            let listed = by.did().and_then(|did| change.standing(did)).map_or(Permissions::NONE, |(_, listed)| listed);
            invitation::may_send(by.standing(listed), &invitation)?;
            if let Some(user) = &invitation.user
                && invitation.role != Role::Owner
                && change.standing(user).is_some()
            {
                return Err(TenantError::AlreadyMember(user.clone()));
            }
            let open = self.drop_expired(change, now)?;
            if open >= TENANT_INVITATIONS_MAX {
                return Err(TenantError::TooManyInvitations);
            }
            if invitation.role != Role::Owner {
                self.room_for_one(change)?;
            }
            change.batch.put(&TENANT_INVITATIONS, &(change.id(), hash), &Cbor(invitation.clone()))?;
            let whom = invitation.user.as_ref().map_or("whoever has the token", Did::as_str);
            change.note(by, "invite", format!("{whom} as {}", invitation.role.name()));
            Ok(())
        })?;
        Ok(Invited { token, invitation })
    }

    /// Adds the removal of invitations that are over to the change, and tells how many are open.
    fn drop_expired(&self, change: &mut Change<'_>, now: Timestamp) -> Result<usize, TenantError> {
        let mut open = 0;
        for (hash, Cbor(invitation)) in
            angel_storage::accounts::all_of(&self.0.reader, &TENANT_INVITATIONS, change.id())?
        {
            if invitation.expires_at <= now {
                change.batch.delete(&TENANT_INVITATIONS, &(change.id(), hash))?;
            } else {
                open += 1;
            }
        }
        Ok(open)
    }

    fn room_for_one(&self, change: &Change<'_>) -> Result<(), TenantError> {
        let wish = Use::beside(Resource::Users, change.active_members());
        Ok(angel_protocol::tenants::Usage::default().check(&change.row.allowance, wish)?)
    }

    /// Accepts an invitation: it is used up with that. Blocks.
    ///
    /// # Errors
    /// [`TenantError`]: the token is none or was used, it is over, it is for somebody else, the plan has no room.
    pub fn accept_blocking(
        &self,
        tenant: &Did,
        token: &str,
        guest: Guest<'_>,
        rkey: Tid,
        now: Timestamp,
    ) -> Result<Accepted, TenantError> {
        let hash = invitation::token_hash(token).ok_or(TenantError::NoInvitation)?;
        let (tenant, membership) = self.change_blocking(tenant, now, |change| {
            let key = (change.id(), hash);
            let stored = self.0.reader.get(&TENANT_INVITATIONS, &key)?.ok_or(TenantError::NoInvitation)?;
            let Cbor(invitation) = &stored;
            invitation::may_accept(invitation, guest, now)?;
            if !change.row.status.takes_writes() {
                return Err(TenantError::Closed(change.row.status));
            }
            // Whoever invited may still do so, or it is no invitation any more.
            let inviter = change.standing(&invitation.by);
            if !inviter.is_some_and(|inviter| invitation::stands(inviter, invitation)) {
                return Err(TenantError::NoInvitation);
            }
            let by = Actor::Guest(guest.did.clone());
            let old = change.member(guest.did).cloned();
            let is_active = old.as_ref().is_some_and(|old| old.status == MembershipStatus::Active);
            // Who is switched off is switched on again by somebody, not by a token.
            if old.as_ref().is_some_and(|old| old.status == MembershipStatus::Suspended) {
                return Err(TenantError::AlreadyMember(guest.did.clone()));
            }
            if invitation.role == Role::Owner {
                change.row.owner = guest.did.clone();
                change.note(&by, "take ownership", guest.did.as_str());
            } else if is_active {
                return Err(TenantError::AlreadyMember(guest.did.clone()));
            }
            if !is_active {
                self.room_for_one(change)?;
            }
            let membership = MembershipRow {
                rkey: old.as_ref().map_or(rkey, |old| old.rkey),
                // Ownership stands in the tenant's row; the membership is an admin's.
                role: invitation.role.min(Role::Admin),
                permissions: invitation.permissions,
                status: MembershipStatus::Active,
                joined_at: Some(now),
                invited_by: Some(invitation.by.clone()),
                created_at: old.as_ref().map_or(now, |old| old.created_at),
                updated_at: now,
            };
            change.batch.expect_value(&TENANT_INVITATIONS, &key, &stored)?;
            change.batch.delete(&TENANT_INVITATIONS, &key)?;
            change.set_member(guest.did.clone(), membership.clone());
            change.note(&by, "accept invitation", invitation.role.name());
            Ok(membership)
        })?;
        Ok(Accepted { tenant, membership })
    }

    /// Gives a member another role, or ends or restores the membership. That `by` may manage users is for the caller to
    /// check, unless members end their own. Blocks.
    ///
    /// # Errors
    /// [`TenantError`]: no such member, or the role is not `by`'s to give or take.
    pub fn set_role_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        member: &Did,
        to: (Role, Permissions, MembershipStatus),
        now: Timestamp,
    ) -> Result<MembershipRow, TenantError> {
        let (role, permissions, status) = to;
        let (_, row) = self.change_blocking(tenant, now, |change| {
            let old = change.member(member).cloned().ok_or_else(|| TenantError::NotMember(member.clone()))?;
            if change.row.owner == *member {
                return Err(RoleRefused::Owner.into());
            }
            let leaves = by.did() == Some(member) && status == MembershipStatus::Revoked;
            if !leaves {
                let listed =
                    by.did().and_then(|did| change.standing(did)).map_or(Permissions::NONE, |(_, listed)| listed);
                role::may_change(by.standing(listed), Some(old.role), role, permissions)?;
            }
            let returns = status == MembershipStatus::Active && old.status != MembershipStatus::Active;
            if returns {
                self.room_for_one(change)?;
            }
            let permissions = if role == Role::Manager { permissions } else { Permissions::NONE };
            let row = MembershipRow { role, permissions, status, updated_at: now, ..old };
            change.set_member(member.clone(), row.clone());
            change.note(by, "set role", format!("{member}: {}, {}", role.name(), status.name()));
            Ok(row)
        })?;
        Ok(row)
    }
}
