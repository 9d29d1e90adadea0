//! Conversations between two people. Each is a space of two that is not public, held by whoever began it: the other one is
//! invited, sees that somebody wants to talk and nothing of what they say, and then joins, leaves it be, or blocks the
//! person. Nobody else is ever let in.

use angel_protocol::ids::Did;
use angel_protocol::spaces::{Invitation, Membership, Role, SPACE, Status};
use angel_storage::Batch;
use angel_storage::codec::Present;
use angel_storage::spaces::{BLOCKS, MEMBERS, MemberChange, SPACES, SPACES_OF, SpaceEvent, SpaceId, SpaceRow};
use serde_json::json;

use super::find::Asker;
use super::people::Change;
use super::records::DIRECT;
use super::told::space_uri;
use super::{SpaceError, Spaces};
use crate::blocking;
use crate::permissioned::PermissionedError;

/// Spaces of one person that are looked at for a conversation with another.
const LOOKED_AT_MAX: usize = 5000;

/// Conversations that one person may have begun or been asked to.
const DIRECT_MAX: usize = 1000;

/// A conversation between two people.
#[derive(Clone, Debug)]
struct Conversation {
    id: SpaceId,
    row: SpaceRow,
    other: Option<Membership>,
}

/// A conversation that is open, or asked for.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// Its space.
    pub(crate) uri: String,
    /// Where the membership of the other one stands.
    pub(crate) status: Status,
}

impl Spaces {
    /// Opens a conversation with `user`: the one that there is, or a new one that they are asked to.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn open_direct(&self, asker: &Asker, user: &Did) -> Result<Opened, SpaceError> {
        let did = asker.somebody()?;
        if did == user {
            return Err(SpaceError::Forbidden("a conversation takes two"));
        }
        let account = asker.account.as_ref().ok_or(SpaceError::AuthorElsewhere)?;
        // One at a time, whoever of the two asks first.
        let place = did.max(user).as_str().bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        let turn = self.lock(SpaceId(place)).await;
        let (this, own, other) = (self.clone(), did.clone(), user.clone());
        let (found, blocked) = blocking::run(move || {
            let blocked = this.0.reader.contains(&BLOCKS, &(other.clone(), own.clone()))?;
            Ok::<_, SpaceError>((this.conversations(&own, Some(&other))?, blocked))
        })
        .await?;
        if blocked {
            return Err(SpaceError::Forbidden("they take no messages from you"));
        }
        let (id, row, before) = match found.into_iter().next() {
            Some(Conversation { id, row, other }) => (id, row, other),
            None => {
                let (this, own) = (self.clone(), did.clone());
                if blocking::run(move || this.conversations(&own, None)).await?.len() >= DIRECT_MAX {
                    return Err(SpaceError::TooMany("you have as many conversations as one person may have"));
                }
                let record = json!({
                    "name": "Direct message", "slug": "direct", "visibility": "private", "memberApproval": "disabled",
                    "businessIdentity": { "type": DIRECT, "industry": "general" },
                });
                let record = self.space_record(account, record, None)?;
                let room = self.open_room(account).await?;
                let record = self.judged(Some(&room), account, SPACE, record, None).await?;
                let written = self.store(Some(&room), account, SPACE, Some(room.key.as_str()), &record).await?;
                self.caught_up().await;
                let (this, own) = (self.clone(), did.clone());
                let found = blocking::run(move || this.here().find(&written.uri, Some(&own))).await?;
                (found.id, found.row, None)
            }
        };
        let status = before.as_ref().map(|membership| membership.status);
        // Whoever left is asked again; who holds it is in it for good.
        let status = match status {
            Some(status @ (Status::Active | Status::Pending | Status::Suspended)) => status,
            Some(Status::Banned) => return Err(SpaceError::Forbidden("you block them; lift that first")),
            Some(Status::Left) | None => {
                let membership = Membership {
                    invited_by: Some(did.clone()),
                    invitation: Some(Invitation::Pending),
                    ..Membership::new(Role::Member, Status::Pending)
                };
                self.say(id, vec![SpaceEvent::Member(MemberChange { space: id, did: user.clone(), membership })])
                    .await?;
                self.tell_of_asking(&row, user).await;
                Status::Pending
            }
        };
        drop(turn);
        Ok(Opened { uri: space_uri(&row), status })
    }

    /// Takes no messages from somebody any more, or does again. Their conversations end.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn block(&self, asker: &Asker, user: &Did, lift: bool) -> Result<(), SpaceError> {
        let did = asker.somebody()?.clone();
        let Some(account) = &asker.account else { return Err(SpaceError::AuthorElsewhere) };
        let leave = self.0.permissioned.fence().enter(account.id()).await.map_err(PermissionedError::from)?;
        let (this, own, other) = (self.clone(), did.clone(), user.clone());
        let (committed, shared) = blocking::run(move || {
            let (mut batch, key) = (Batch::new(), (own.clone(), other.clone()));
            if lift {
                batch.delete(&BLOCKS, &key)?;
            } else {
                batch.put(&BLOCKS, &key, &Present)?;
                this.forget_asked_by(&mut batch, &own, &other)?;
            }
            let committed = this.0.writer.commit(batch)?;
            Ok::<_, SpaceError>((committed, this.conversations(&own, Some(&other))?))
        })
        .await?;
        leave.replicated(committed).await.map_err(PermissionedError::from)?;
        for Conversation { row, other, .. } in shared {
            let uri = space_uri(&row);
            let is_banned = other.is_some_and(|membership| membership.status == Status::Banned);
            if row.holder == did {
                if is_banned == lift {
                    drop(self.change_member(&uri, &did, user, Change::Ban(!lift)).await?);
                }
            } else if !lift {
                self.leave(&uri, &did).await?;
            }
        }
        Ok(())
    }

    /// The conversations of somebody, those with `other` alone if one is named. Blocks.
    fn conversations(&self, did: &Did, other: Option<&Did>) -> Result<Vec<Conversation>, SpaceError> {
        let mut found = vec![];
        for ((_, id), _) in self.0.reader.scan(&SPACES_OF).prefix(did).page(LOOKED_AT_MAX)?.rows {
            let Some(row) = self.0.reader.get(&SPACES, &id)? else { continue };
            if !row.rules.direct || row.gone_at.is_some() {
                continue;
            }
            let member = match other {
                Some(other) => self.0.reader.get(&MEMBERS, &(id, other.clone()))?.map(|row| row.membership),
                None => None,
            };
            if other.is_none() || member.is_some() {
                found.push(Conversation { id, row, other: member });
            }
        }
        Ok(found)
    }
}
