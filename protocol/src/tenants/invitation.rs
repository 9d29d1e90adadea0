//! Invitations: who may send one, and whether a token opens it (INV-01 to INV-03).
//!
//! The token is shown once, to whoever invites. What is kept is its SHA-256, so that a stolen store invites nobody.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::role::{self, Permission, Permissions, Role, RoleRefused};
use crate::ids::Did;
use crate::limits::{INVITATION_DEFAULT, INVITATION_MAX, INVITATION_MESSAGE_BYTES_MAX};
use crate::time::Timestamp;

/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 32;

/// What is kept of a token.
pub type TokenHash = [u8; 32];

/// An invitation into a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// As what.
    pub role: Role,
    /// With which permissions, for a manager.
    pub permissions: Permissions,
    /// Who invites.
    pub by: Did,
    /// Whom alone, if it is meant for one account.
    pub user: Option<Did>,
    /// Whom alone, if it was addressed to an e-mail address, in lower case.
    pub email: Option<String>,
    /// What the inviter wants to say.
    pub message: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
}

/// Who accepts.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Their DID.
    pub did: &'a Did,
    /// The address that they proved to be theirs.
    pub verified_email: Option<&'a str>,
}

/// Why an invitation is not sent or not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationRefused {
    /// Longer than [`INVITATION_MAX`], or already over.
    #[error("an invitation holds for at most {} days", INVITATION_MAX.as_secs() / 86_400)]
    Period,
    /// More words than it has room for.
    #[error("the message has more than {INVITATION_MESSAGE_BYTES_MAX} bytes")]
    Message,
    /// The inviter may not give that role.
    #[error(transparent)]
    Role(#[from] RoleRefused),
    /// Ownership is offered to one account by name.
    #[error("ownership is offered to one account: name its DID")]
    OwnerUnnamed,
    /// It is over.
    #[error("the invitation has expired; ask for another")]
    Expired,
    /// It is for somebody else.
    #[error("the invitation is for another account")]
    NotYours,
    /// It was sent to an address that the account has not proved to be its own.
    #[error("the invitation was sent to an e-mail address that this account has not confirmed")]
    EmailUnconfirmed,
}

/// The text of a token.
#[must_use]
pub fn token_text(token: &[u8; TOKEN_BYTES]) -> String {
    BASE64URL_NOPAD.encode(token)
}

/// What is kept of a token; `None` for a text that is none. Looking up a hash takes no longer for a token that is
/// nearly right.
#[must_use]
pub fn token_hash(text: &str) -> Option<TokenHash> {
    let decoded = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let token: [u8; TOKEN_BYTES] = decoded.try_into().ok()?;
    Some(Sha256::digest(token).into())
}

/// Until when an invitation made `now` holds; `wish` counts in place of the usual week.
///
/// # Errors
/// [`InvitationRefused::Period`].
pub fn expiry(now: Timestamp, wish: Option<Timestamp>) -> Result<Timestamp, InvitationRefused> {
    let expires_at = wish.unwrap_or(now + INVITATION_DEFAULT);
    let period: Duration = expires_at.since(now);
    if period.is_zero() || period > INVITATION_MAX { Err(InvitationRefused::Period) } else { Ok(expires_at) }
}

/// Whether somebody may send this invitation. That they may manage users at all is checked before.
///
/// # Errors
/// [`InvitationRefused`], by what stands in the way.
pub fn may_send(by: (Role, Permissions), invitation: &Invitation) -> Result<(), InvitationRefused> {
    if invitation.role == Role::Owner {
        return match (by.0, &invitation.user) {
            (Role::Owner, Some(_)) => Ok(()),
            (Role::Owner, None) => Err(InvitationRefused::OwnerUnnamed),
            _ => Err(RoleRefused::AboveOwn { own: by.0.name() }.into()),
        };
    }
    Ok(role::may_change(by, None, invitation.role, invitation.permissions)?)
}

/// Whether an invitation still stands whose inviter is this today: that it was theirs to send once is not enough (INV-03).
#[must_use]
pub fn stands(by: (Role, Permissions), invitation: &Invitation) -> bool {
    by.0.permissions(by.1).contains(Permission::ManageUsers) && may_send(by, invitation).is_ok()
}

/// Whether somebody may accept it now.
///
/// # Errors
/// [`InvitationRefused`], by what stands in the way.
pub fn may_accept(invitation: &Invitation, guest: Guest<'_>, now: Timestamp) -> Result<(), InvitationRefused> {
    if now >= invitation.expires_at {
        return Err(InvitationRefused::Expired);
    }
    if invitation.user.as_ref().is_some_and(|user| user != guest.did) {
        return Err(InvitationRefused::NotYours);
    }
    match &invitation.email {
        Some(email) if guest.verified_email != Some(email.as_str()) => Err(InvitationRefused::EmailUnconfirmed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("valid")
    }

    fn invitation(role: Role) -> Invitation {
        let now = Timestamp::from_millis(1000);
        Invitation {
            role,
            permissions: Permissions::NONE,
            by: did("owner"),
            user: None,
            email: None,
            message: None,
            created_at: now,
            expires_at: expiry(now, None).expect("a week"),
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let text = token_text(&[7; TOKEN_BYTES]);
        assert_eq!(text.len(), 43);
        assert_eq!(token_hash(&text), Some(Sha256::digest([7; TOKEN_BYTES]).into()));
        assert_ne!(token_hash(&text), token_hash(&token_text(&[8; TOKEN_BYTES])));
        for wrong in ["", "x", &text[..42], &format!("{text}A"), &text.replace('B', "+")] {
            assert_eq!(token_hash(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_holds_for_a_week_and_at_most_for_ninety_days() {
        let now = Timestamp::from_millis(5);
        assert_eq!(expiry(now, None), Ok(now + INVITATION_DEFAULT));
        assert_eq!(expiry(now, Some(now + INVITATION_MAX)), Ok(now + INVITATION_MAX));
        let longer = now + INVITATION_MAX + Duration::from_millis(1);
        assert_eq!(expiry(now, Some(longer)), Err(InvitationRefused::Period));
        assert_eq!(expiry(now, Some(now)), Err(InvitationRefused::Period));
        let wish = invitation(Role::Member);
        let guest = did("guest");
        let accept = |at| may_accept(&wish, Guest { did: &guest, verified_email: None }, at);
        assert_eq!(accept(wish.expires_at - Duration::from_millis(1)), Ok(()));
        assert_eq!(accept(wish.expires_at), Err(InvitationRefused::Expired));
    }

    #[test]
    fn an_invitation_stands_as_long_as_whoever_sent_it_may_send_it() {
        let listed = |permissions: &[Permission]| permissions.iter().copied().collect::<Permissions>();
        let stands = |role, permissions, wish: &Invitation| stands((role, permissions), wish);
        let admin = invitation(Role::Admin);
        assert!(stands(Role::Admin, Permissions::NONE, &admin) && stands(Role::Owner, Permissions::NONE, &admin));
        assert!(!stands(Role::Manager, listed(&[Permission::ManageUsers]), &admin), "a manager makes no admins");
        assert!(!stands(Role::Member, Permissions::NONE, &invitation(Role::Member)), "a member invites nobody");
        assert!(stands(Role::Manager, listed(&[Permission::ManageUsers]), &invitation(Role::Member)));
        assert!(!stands(Role::Manager, listed(&[Permission::ManageContent]), &invitation(Role::Member)));
        let ownership = Invitation { user: Some(did("heir")), ..invitation(Role::Owner) };
        assert!(stands(Role::Owner, Permissions::NONE, &ownership));
        assert!(!stands(Role::Admin, Permissions::NONE, &ownership), "who has handed it over has nothing to give");
    }

    #[test]
    fn whoever_it_is_addressed_to_accepts_it_and_nobody_else() {
        let (guest, other) = (did("guest"), did("other"));
        let mut wish = invitation(Role::Member);
        wish.user = Some(guest.clone());
        let accept = |wish: &Invitation, did: &Did, email: Option<&str>| {
            may_accept(wish, Guest { did, verified_email: email }, wish.created_at)
        };
        assert_eq!(accept(&wish, &guest, None), Ok(()));
        assert_eq!(accept(&wish, &other, None), Err(InvitationRefused::NotYours));
        wish.user = None;
        wish.email = Some("guest@example.com".to_owned());
        assert_eq!(accept(&wish, &guest, Some("guest@example.com")), Ok(()));
        assert_eq!(accept(&wish, &guest, None), Err(InvitationRefused::EmailUnconfirmed));
        assert_eq!(accept(&wish, &guest, Some("other@example.com")), Err(InvitationRefused::EmailUnconfirmed));
    }

    #[test]
    fn only_the_owner_offers_ownership_and_to_one_account() {
        let mut wish = invitation(Role::Owner);
        assert_eq!(may_send((Role::Owner, Permissions::NONE), &wish), Err(InvitationRefused::OwnerUnnamed));
        wish.user = Some(did("heir"));
        assert_eq!(may_send((Role::Owner, Permissions::NONE), &wish), Ok(()));
        assert!(matches!(
            may_send((Role::Admin, Permissions::NONE), &wish),
            Err(InvitationRefused::Role(RoleRefused::AboveOwn { .. }))
        ));
        let manager = (Role::Manager, Permissions::NONE.with(role::Permission::ManageUsers));
        assert!(may_send(manager, &invitation(Role::Admin)).is_err());
        assert_eq!(may_send(manager, &invitation(Role::Member)), Ok(()));
    }
}
