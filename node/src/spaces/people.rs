//! Joining, inviting, leaving, changing and banning. Each looks first and then writes an event, under a lock of the
//! space, and returns when the index has it: whoever is told that they are in, is in.

use std::sync::PoisonError;

use angel_protocol::ids::Did;
use angel_protocol::limits::{CHANNEL_PERMISSIONS_MAX, INVITE_CODE_CHARS_MIN, SPACE_MEMBERS_MAX};
use angel_protocol::spaces::{
    ChannelAccess, Invitation, Joining, Membership, Permission, Role, RoleRefused, Standing, Status,
};
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{
    FACTS, Fact, INVITES, InviteRow, Invited, MemberChange, Moderated, ReadChange, SPACES, SpaceEvent, SpaceId,
    SpaceRow, event,
};
use angel_storage::{Batch, Committed};

use super::announce::Announcement;
use super::find::Found;
use super::invitations::{INVITES_MAX, has_expired, hash_of, new_token};
use super::told::space_uri;
use super::{SpaceError, Spaces};
use crate::permissioned::PermissionedError;
use crate::{blocking, clock};

/// How long an invitation is good when nobody says, and at most (INV-02).
const INVITE_DAYS: u32 = 7;
const INVITE_DAYS_MAX: u32 = 90;

/// What became of somebody who asked to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Where the membership stands.
    pub(crate) status: Status,
    /// What they are.
    pub(crate) role: Role,
}

/// An invitation that was made.
#[derive(Debug)]
pub(crate) struct NewInvite {
    /// Shown once, kept as a hash.
    pub(crate) token: String,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
}

/// A change of somebody's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Somebody who asked is let in, or not.
    Approve(bool),
    /// Another role, and permissions besides when they are given.
    Role(Role, Option<std::collections::BTreeSet<Permission>>),
    /// Switched off for the time being, or on again.
    Suspend(bool),
    /// Turned out for good, or forgiven.
    Ban(bool),
    /// Something else in one channel than the role allows, or again just that.
    Channel(String, Option<ChannelAccess>),
}

impl Change {
    /// Whether somebody may have less by it than before.
    const fn takes_away(&self) -> bool {
        match self {
            Self::Role(..) | Self::Channel(..) | Self::Suspend(true) | Self::Ban(true) => true,
            Self::Approve(_) | Self::Suspend(false) | Self::Ban(false) => false,
        }
    }
}

impl Spaces {
    /// Writes what happened in a space and waits until the index has it, and a standby too where the space's holder asks
    /// for that.
    pub(super) async fn say(&self, id: SpaceId, events: Vec<SpaceEvent>) -> Result<(), SpaceError> {
        let this = self.clone();
        let (space, account) = blocking::run(move || {
            let space = this.0.reader.get(&SPACES, &id)?.ok_or(SpaceError::SpaceNotFound)?;
            let account = this.0.accounts.resident_blocking(&space.holder)?.ok_or(SpaceError::HolderElsewhere)?;
            Ok::<_, SpaceError>((space, account))
        })
        .await?;
        let leave = self.0.permissioned.fence().enter(account.id()).await.map_err(PermissionedError::from)?;
        let this = self.clone();
        blocking::run(move || {
            let (mut batch, now) = (Batch::new(), clock::now());
            for said in &events {
                batch.append_event(event(now, said)?)?;
            }
            this.0.writer.commit(batch)?;
            Ok::<_, SpaceError>(())
        })
        .await?;
        self.caught_up().await;
        if leave.is_waiting() {
            let this = self.clone();
            let committed = blocking::run(move || this.touch(&space)).await?;
            leave.replicated(committed).await.map_err(PermissionedError::from)?;
        }
        Ok(())
    }

    /// Writes what is known of a space's holder once more, just as it is. Standbys are told of it behind everything that the
    /// index has written of the space so far: whoever has this has all of that. Blocks.
    fn touch(&self, space: &SpaceRow) -> Result<Committed, SpaceError> {
        // Nobody else writes the row meanwhile.
        let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let key = (space.holder.clone(), space.rkey.clone(), Fact::member(&space.holder));
        let mut batch = Batch::new();
        if let Some(fact) = self.0.reader.get(&FACTS, &key)? {
            batch.put(&FACTS, &key, &fact)?;
        }
        Ok(self.0.writer.commit(batch)?)
    }

    pub(super) async fn lock(&self, id: SpaceId) -> tokio::sync::MutexGuard<'_, ()> {
        let locks = &self.0.locks;
        // Of a remainder nothing is lost.
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of locks")]
        let place = (id.0 % locks.len() as u64) as usize;
        locks[place].lock().await
    }

    async fn find_anyway(&self, uri: &str, did: &Did) -> Result<Found, SpaceError> {
        let (this, uri, did) = (self.clone(), uri.to_owned(), did.clone());
        blocking::run(move || this.here().find_hidden(&uri, Some(&did))).await
    }

    /// A space for somebody who may see it.
    async fn find_visible(&self, uri: &str, did: &Did) -> Result<Found, SpaceError> {
        let (this, uri, did) = (self.clone(), uri.to_owned(), did.clone());
        blocking::run(move || this.here().find(&uri, Some(&did))).await
    }

    /// Joins, with an invitation or the code of the space if there is one.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn join(
        &self,
        uri: &str,
        did: &Did,
        token: Option<&str>,
        code: Option<&str>,
    ) -> Result<Joined, SpaceError> {
        let id = self.find_anyway(uri, did).await?.id;
        let turn = self.lock(id).await;
        let found = self.find_anyway(uri, did).await?;
        let hidden = !found.access().may_see();
        let not_valid = |error: SpaceError| if hidden { SpaceError::SpaceNotFound } else { error };
        let mut events = vec![];
        let mut invited_by = None;
        let mut invited = None;
        if let Some(token) = token {
            let (hash, invite) =
                self.invite_of(id, token).await?.ok_or(SpaceError::InvalidInvitation).map_err(not_valid)?;
            if !invite.once || invite.only.as_ref().is_some_and(|only| only != did) {
                return Err(not_valid(SpaceError::InvalidInvitation));
            }
            if has_expired(&invite, clock::now()) {
                return Err(not_valid(SpaceError::ExpiredInvitation));
            }
            self.check_inviter(id, &invite.by, invite.role).await.map_err(not_valid)?;
            events.push(SpaceEvent::Invited(Invited { space: id, hash: hash.into(), invite: None }));
            (invited, invited_by) = (Some(invite.role), Some(invite.by));
        } else if let Some(membership) = &found.membership
            && membership.status == Status::Pending
            && membership.invitation == Some(Invitation::Pending)
        {
            // Whom a conversation of two is with is asked without a token, and for good.
            if !found.row.rules.direct {
                let hash = self.invitation_for(id, did).await?;
                let hash = hash.ok_or(SpaceError::ExpiredInvitation).map_err(not_valid)?;
                if let Some(by) = &membership.invited_by {
                    self.check_inviter(id, by, membership.role).await.map_err(not_valid)?;
                }
                events.push(SpaceEvent::Invited(Invited { space: id, hash: hash.into(), invite: None }));
            }
            (invited, invited_by) = (Some(membership.role), membership.invited_by.clone());
        }
        let has_code = match code {
            Some(code) => match self.invite_of(id, code).await? {
                Some((_, invite)) if !invite.once => true,
                _ => return Err(not_valid(SpaceError::InvalidInvitation)),
            },
            None => false,
        };
        let (role, status) = match found.access().join(invited, has_code)? {
            Joining::Already => {
                let role = found.membership.as_ref().map_or(Role::Viewer, |membership| membership.role);
                return Ok(Joined { status: Status::Active, role });
            }
            Joining::Joined(role) => (role, Status::Active),
            Joining::Waits => (Role::Member, Status::Pending),
        };
        if found.row.members >= SPACE_MEMBERS_MAX {
            return Err(SpaceError::TooMany("the space has as many members as it takes"));
        }
        let before = found.membership.clone().unwrap_or_else(|| Membership::new(role, status));
        let membership = Membership {
            invitation: invited_by.is_some().then_some(Invitation::Accepted),
            invited_by,
            ..before.coming(role, status)
        };
        self.let_in(id, &found.row, did, Some(&membership)).await?;
        events.push(SpaceEvent::Member(MemberChange { space: id, did: did.clone(), membership }));
        self.say(id, events).await?;
        drop(turn);
        if status == Status::Active {
            self.tell_of_member("member.joined", &found.row, did).await;
        }
        Ok(Joined { status, role })
    }

    /// Whether somebody who has invited may still invite as that: an invitation of who was turned out since is none.
    async fn check_inviter(&self, id: SpaceId, by: &Did, role: Role) -> Result<(), SpaceError> {
        let (this, did) = (self.clone(), by.clone());
        let found = blocking::run(move || this.here().found(id, Some(&did))).await?;
        let access = found.access();
        let still = access.acting().is_some_and(|acting| acting.role >= role);
        let banned = found.membership.as_ref().is_some_and(|membership| membership.status == Status::Banned);
        let stands = still && access.allows(Permission::InviteUsers) && (!banned || found.standing == Standing::Holder);
        if stands { Ok(()) } else { Err(SpaceError::InvalidInvitation) }
    }

    /// Leaves. The owner cannot: a space has one.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn leave(&self, uri: &str, did: &Did) -> Result<(), SpaceError> {
        let id = self.find_visible(uri, did).await?.id;
        let turn = self.lock(id).await;
        let found = self.find_visible(uri, did).await?;
        let Some(membership) = found.membership else { return Err(SpaceError::MemberNotFound) };
        match membership.status {
            Status::Active | Status::Pending | Status::Suspended => {}
            Status::Left | Status::Banned => return Ok(()),
        }
        if membership.role == Role::Owner {
            return Err(RoleRefused::Ownership.into());
        }
        let declined = membership.invitation == Some(Invitation::Pending);
        let invitation = if declined { Some(Invitation::Declined) } else { membership.invitation };
        let membership = Membership { status: Status::Left, invitation, ..membership };
        self.let_in(id, &found.row, did, Some(&membership)).await?;
        self.say(id, vec![SpaceEvent::Member(MemberChange { space: id, did: did.clone(), membership })]).await?;
        drop(turn);
        self.tell_of_member("member.left", &found.row, did).await;
        Ok(())
    }

    /// Tells the business who came and went.
    async fn tell_of_member(&self, event: &'static str, space: &SpaceRow, did: &Did) {
        let (subject, actor) = (Some(space_uri(space)), Some(did.clone()));
        self.announce(&space.holder, Announcement { event, subject, actor, ..Announcement::default() }).await;
    }

    /// Makes an invitation, for `user` alone if one is named.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn invite(
        &self,
        uri: &str,
        by: &Did,
        user: Option<Did>,
        role: Role,
        days: Option<u32>,
    ) -> Result<NewInvite, SpaceError> {
        let id = self.find_visible(uri, by).await?.id;
        let _turn = self.lock(id).await;
        let found = self.find_visible(uri, by).await?;
        if found.row.rules.direct {
            return Err(SpaceError::Forbidden("a direct conversation is between two; make a space for more"));
        }
        if !found.access().allows(Permission::InviteUsers) {
            return Err(SpaceError::Forbidden("you may not invite into this space"));
        }
        let own = found.access().acting().map_or(Role::Viewer, |acting| acting.role);
        if role == Role::Owner {
            return Err(RoleRefused::Ownership.into());
        }
        if role > own {
            return Err(RoleRefused::AboveOwn.into());
        }
        let (open, expired, before) = self.invites_and_member(id, user.clone()).await?;
        if open >= INVITES_MAX {
            return Err(SpaceError::TooMany("the space has as many open invitations as it takes"));
        }
        let days = days.unwrap_or(INVITE_DAYS).clamp(1, INVITE_DAYS_MAX);
        let expires_at = clock::now() + std::time::Duration::from_hours(24) * days;
        let token = new_token();
        let invite = InviteRow { role, by: by.clone(), only: user.clone(), expires_at: Some(expires_at), once: true };
        let hash = hash_of(&token).into();
        let gone = |hash: [u8; 32]| SpaceEvent::Invited(Invited { space: id, hash: hash.into(), invite: None });
        let mut events: Vec<_> = expired.into_iter().map(gone).collect();
        events.push(SpaceEvent::Invited(Invited { space: id, hash, invite: Some(invite) }));
        let asked = user.clone();
        if let Some(did) = user {
            match before.as_ref().map(|membership| membership.status) {
                Some(Status::Active | Status::Suspended) => {
                    return Err(SpaceError::Forbidden("they are a member already"));
                }
                // Whoever may ban may forgive; an invitation alone does not.
                Some(Status::Banned) => return Err(SpaceError::Forbidden("they are banned from this space")),
                Some(Status::Pending | Status::Left) | None => {}
            }
            let membership = Membership {
                invited_by: Some(by.clone()),
                invitation: Some(Invitation::Pending),
                ..Membership::new(role, Status::Pending)
            };
            events.push(SpaceEvent::Member(MemberChange { space: id, did, membership }));
        }
        self.say(id, events).await?;
        if let Some(asked) = asked {
            self.tell_of_asking(&found.row, &asked).await;
        }
        Ok(NewInvite { token, expires_at })
    }

    /// Sets the code by which a space may be joined, in place of the one before; takes it away without one.
    ///
    /// # Errors
    /// The code is too short.
    pub(crate) async fn set_code(&self, id: SpaceId, by: &Did, code: Option<&str>) -> Result<(), SpaceError> {
        if code.is_some_and(|code| code.chars().count() < INVITE_CODE_CHARS_MIN) {
            return Err(SpaceError::ShortCode);
        }
        let _turn = self.lock(id).await;
        let this = self.clone();
        let before = blocking::run(move || {
            let rows = this.0.reader.scan(&INVITES).prefix(&id).page(INVITES_MAX + 1)?.rows;
            let codes = rows.into_iter().filter(|(_, Cbor(invite))| !invite.once).map(|((_, hash), _)| hash);
            Ok::<Vec<_>, SpaceError>(codes.collect())
        })
        .await?;
        let withdraw = |hash: [u8; 32]| SpaceEvent::Invited(Invited { space: id, hash: hash.into(), invite: None });
        let mut events: Vec<_> = before.into_iter().map(withdraw).collect();
        if let Some(code) = code {
            let invite = InviteRow { role: Role::Member, by: by.clone(), only: None, expires_at: None, once: false };
            let hash = hash_of(code).into();
            events.push(SpaceEvent::Invited(Invited { space: id, hash, invite: Some(invite) }));
        }
        if events.is_empty() { Ok(()) } else { self.say(id, events).await }
    }

    /// Changes somebody's membership.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn change_member(
        &self,
        uri: &str,
        by: &Did,
        user: &Did,
        change: Change,
    ) -> Result<Membership, SpaceError> {
        let id = self.find_visible(uri, by).await?.id;
        let _turn = self.lock(id).await;
        let found = self.find_visible(uri, by).await?;
        let acting = found.access().acting().ok_or(RoleRefused::NotAllowed)?;
        let (_, _, before) = self.invites_and_member(id, Some(user.clone())).await?;
        if !acting.allows(Permission::ManageMembers) {
            // Whether somebody is a member is for members to know.
            return Err(RoleRefused::NotAllowed.into());
        }
        if by != user && change.takes_away() {
            self.standing(&found.row.holder, user).yields_to(acting.role)?;
        }
        let membership = changed(&acting, before, change)?;
        self.let_in(id, &found.row, user, Some(&membership)).await?;
        let change = MemberChange { space: id, did: user.clone(), membership: membership.clone() };
        self.say(id, vec![SpaceEvent::Member(change)]).await?;
        Ok(membership)
    }

    /// Sets what a member may do in one channel; `None` for what their role allows.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn set_channel_access(
        &self,
        channel: &str,
        by: &Did,
        user: &Did,
        access: Option<ChannelAccess>,
    ) -> Result<Membership, SpaceError> {
        let (this, uri, did) = (self.clone(), channel.to_owned(), by.clone());
        let (found, _, row) = blocking::run(move || this.here().channel_alone(&uri, &did)).await?;
        self.change_member(&space_uri(&found.row), by, user, Change::Channel(row.rkey, access)).await
    }

    /// Hides a message, or shows it again.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn moderate(
        &self,
        uri: &str,
        by: &Did,
        hidden: bool,
        reason: Option<String>,
    ) -> Result<(), SpaceError> {
        let (this, uri, asker) = (self.clone(), uri.to_owned(), by.clone());
        let (found, position, _) = blocking::run(move || this.here().message(&uri, Some(&asker))).await?;
        if !found.access().allows(Permission::ModerateContent) {
            return Err(SpaceError::Forbidden("you may not moderate this space"));
        }
        let moderated = Moderated { space: found.id, position, by: by.clone(), hidden, reason };
        self.say(moderated.space, vec![SpaceEvent::Moderated(moderated)]).await
    }

    /// Moves somebody's read mark forward to a message.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn mark_read(&self, uri: &str, did: &Did) -> Result<(), SpaceError> {
        let (this, uri, asker) = (self.clone(), uri.to_owned(), did.clone());
        let (found, position, message) = blocking::run(move || this.here().message(&uri, Some(&asker))).await?;
        if !found.access().is_member() {
            return Err(SpaceError::Forbidden("only members keep marks"));
        }
        let read = ReadChange { space: found.id, channel: message.channel, did: did.clone(), position };
        self.say(found.id, vec![SpaceEvent::Read(read)]).await
    }
}

/// A membership after a change by `acting`.
fn changed(acting: &Membership, before: Option<Membership>, change: Change) -> Result<Membership, SpaceError> {
    let role = before.as_ref().map(|membership| membership.role);
    match change {
        Change::Approve(approve) => {
            let before = before.filter(|membership| membership.status == Status::Pending);
            let before = before.ok_or(SpaceError::MemberNotFound)?;
            acting.may_change(role, approve.then_some(before.role))?;
            Ok(Membership { status: if approve { Status::Active } else { Status::Left }, ..before })
        }
        Change::Role(to, permissions) => {
            let before = before.ok_or(SpaceError::MemberNotFound)?;
            acting.may_change(role, Some(to))?;
            let given = permissions.unwrap_or_else(|| before.permissions.clone());
            if given.difference(&before.permissions).any(|permission| !acting.allows(*permission)) {
                return Err(SpaceError::Forbidden("nobody gives a permission that they do not have"));
            }
            Ok(Membership { role: to, permissions: given, ..before })
        }
        Change::Channel(rkey, access) => {
            let mut before = before.ok_or(SpaceError::MemberNotFound)?;
            acting.may_change(role, None)?;
            match access {
                Some(_) if before.channels.len() >= CHANNEL_PERMISSIONS_MAX && !before.channels.contains_key(&rkey) => {
                    return Err(SpaceError::TooMany(
                        "the member has access of their own to as many channels as can be",
                    ));
                }
                Some(access) => drop(before.channels.insert(rkey, access)),
                None => drop(before.channels.remove(&rkey)),
            }
            Ok(before)
        }
        Change::Suspend(suspend) => {
            let from = if suspend { Status::Active } else { Status::Suspended };
            let before = before.filter(|membership| membership.status == from).ok_or(SpaceError::MemberNotFound)?;
            acting.may_change(role, None)?;
            Ok(Membership { status: if suspend { Status::Suspended } else { Status::Active }, ..before })
        }
        Change::Ban(ban) => {
            acting.may_change(role, None)?;
            // Somebody may be banned before they ever came.
            let before = before.unwrap_or_else(|| Membership::new(Role::Member, Status::Left));
            match (ban, before.status) {
                (true, _) => Ok(Membership { status: Status::Banned, permissions: [].into(), ..before }),
                (false, Status::Banned) => Ok(Membership { status: Status::Left, ..before }),
                (false, _) => Err(SpaceError::MemberNotFound),
            }
        }
    }
}
