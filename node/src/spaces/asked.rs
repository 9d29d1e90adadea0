//! People who are asked into spaces on other nodes: their node is told by the node of the space, and tells them. It learns
//! who asks and into which space, and nothing of what is said there.

use angel_protocol::ids::Did;
use angel_protocol::limits::SPACES_ASKED_MAX;
use angel_protocol::spaces::{SPACE, Status};
use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{BLOCKS, FACTS, Fact, MEMBERS, SpaceRow, asked};
use serde_json::json;

use super::find::Found;
use super::records::Address;
use super::rooms::room;
use super::told::space_uri;
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::permissioned::PermissionedError;
use crate::{blocking, clock};

/// The method by which a node is told.
pub(crate) const NOTIFY: &str = "co.kendev.spaces.notifyInvitation";

/// A space on another node that somebody here was asked into.
#[derive(Clone, Debug)]
pub(crate) struct AskedInto {
    /// The space.
    pub(crate) space: String,
    /// When they were asked first.
    pub(crate) at: Timestamp,
    /// When this node last heard of it: of being asked, or of something new for them there.
    pub(crate) heard_at: Timestamp,
}

impl Spaces {
    /// Tells the node of whoever was asked into a space here, if that is another one. That it could not be told keeps
    /// nothing else from happening.
    pub(super) async fn tell_of_asking(&self, space: &SpaceRow, user: &Did) {
        if let Err(error) = self.try_tell_of_asking(space, user).await {
            tracing::warn!(%error, "the node of somebody who was asked into a space was not told");
        }
    }

    async fn try_tell_of_asking(&self, space: &SpaceRow, user: &Did) -> Result<(), SpaceError> {
        if self.0.accounts.resident(user).await?.is_some() {
            return Ok(());
        }
        let Some(about) = room(&space.holder, &space.rkey) else { return Ok(()) };
        let body = json!({ "space": space_uri(space), "user": user }).to_string();
        Ok(self.0.permissioned.tell(&about, user, NOTIFY, body).await?)
    }

    /// Tells the node of the other one in a conversation that there is something new.
    pub(super) async fn tell_the_other(&self, found: &Found) {
        let (this, id, holder) = (self.clone(), found.id, found.row.holder.clone());
        let others = blocking::run(move || {
            let members = this.0.reader.scan(&MEMBERS).prefix(&id).page(PEOPLE)?.rows;
            let is_in = |status| matches!(status, Status::Active | Status::Pending);
            let others = members.into_iter().filter(|((_, did), row)| *did != holder && is_in(row.membership.status));
            Ok::<_, SpaceError>(others.map(|((_, did), _)| did).collect::<Vec<_>>())
        });
        for other in others.await.unwrap_or_default() {
            self.tell_of_asking(&found.row, &other).await;
        }
    }

    /// Hears that `user`, who has an account here, was asked into a space of `holder`. Whom they block is not heard.
    ///
    /// # Errors
    /// [`SpaceError::SpaceNotFound`], when it is none of the holder's; the store fails.
    pub(crate) async fn heard_asking(&self, user: &Did, holder: &Did, space: &str) -> Result<(), SpaceError> {
        let address = Address::of(space, SPACE).ok_or(SpaceError::SpaceNotFound)?;
        if address.did != *holder {
            return Err(SpaceError::SpaceNotFound);
        }
        let (this, named) = (self.clone(), user.clone());
        let account = blocking::run(move || this.0.accounts.resident_blocking(&named)).await?;
        let account = account.ok_or(SpaceError::AuthorElsewhere)?;
        let leave = self.0.permissioned.fence().enter(account.id()).await.map_err(PermissionedError::from)?;
        let (this, user, holder, space) = (self.clone(), user.clone(), holder.clone(), space.to_owned());
        let committed = blocking::run(move || {
            if this.0.reader.contains(&BLOCKS, &(user.clone(), holder))? {
                return Ok(None);
            }
            let now = clock::now();
            let batch = this.note_asked(&user, space, (now, now))?;
            Ok::<_, SpaceError>(batch.map(|batch| this.0.writer.commit(batch)).transpose()?)
        })
        .await?;
        match committed {
            Some(committed) => Ok(leave.replicated(committed).await.map_err(PermissionedError::from)?),
            None => Ok(()),
        }
    }

    /// Takes in that an account was asked into a space elsewhere, as the host that it comes from had heard: the first time
    /// and the last. Of whom it blocks, and of spaces that are here, it takes nothing. `false` when that is no space of
    /// somebody else.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn take_asked(
        &self,
        account: &Account,
        space: &str,
        (at, heard_at): (Timestamp, Timestamp),
    ) -> Result<bool, SpaceError> {
        let Some(address) = Address::of(space, SPACE).filter(|address| address.did != *account.did()) else {
            return Ok(false);
        };
        let (this, user, holder, space) = (self.clone(), account.did().clone(), address.did, space.to_owned());
        blocking::run(move || {
            let is_blocked = this.0.reader.contains(&BLOCKS, &(user.clone(), holder.clone()))?;
            if is_blocked || this.0.accounts.resident_blocking(&holder)?.is_some() {
                return Ok(true);
            }
            let heard_at = heard_at.min(clock::now());
            if let Some(batch) = this.note_asked(&user, space, (at.min(heard_at), heard_at))? {
                this.0.writer.commit(batch)?;
            }
            Ok(true)
        })
        .await
    }

    /// Notes that somebody was asked into a space: when first, and when this was last heard of. `None` when that is known, or
    /// when as many are kept and of each was heard later. Blocks.
    fn note_asked(
        &self,
        user: &Did,
        space: String,
        (at, heard_at): (Timestamp, Timestamp),
    ) -> Result<Option<Batch>, SpaceError> {
        let key = (user.clone(), String::new(), Fact::asked(&space));
        let mut batch = Batch::new();
        let (at, heard_at) = match self.0.reader.get(&FACTS, &key)? {
            Some(Cbor(Fact::Asked { at: first, heard_at: last, .. })) if first <= at && heard_at <= last => {
                return Ok(None);
            }
            Some(Cbor(Fact::Asked { at: first, heard_at: last, .. })) => (at.min(first), heard_at.max(last)),
            _ if self.make_room(&mut batch, user, heard_at)? => (at, heard_at),
            _ => return Ok(None),
        };
        batch.put(&FACTS, &key, &Cbor(Fact::Asked { space, at, heard_at }))?;
        Ok(Some(batch))
    }

    /// Of as many as are kept, the one that nothing was heard of for the longest time goes, unless what comes is older.
    /// Blocks.
    fn make_room(&self, batch: &mut Batch, user: &Did, heard_at: Timestamp) -> Result<bool, SpaceError> {
        let kept = asked(&self.0.reader, user, SPACES_ASKED_MAX)?;
        if kept.len() < SPACES_ASKED_MAX {
            return Ok(true);
        }
        let oldest = kept.into_iter().filter_map(|fact| match fact {
            Fact::Asked { space, heard_at, .. } => Some((heard_at, space)),
            _ => None,
        });
        match oldest.min() {
            Some((at, _)) if at > heard_at => Ok(false),
            Some((_, space)) => {
                batch.delete(&FACTS, &(user.clone(), String::new(), Fact::asked(&space)))?;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    /// Forgets what `other` asked somebody into. Blocks.
    pub(super) fn forget_asked_by(&self, batch: &mut Batch, user: &Did, other: &Did) -> Result<(), SpaceError> {
        for fact in asked(&self.0.reader, user, SPACES_ASKED_MAX)? {
            if let Fact::Asked { space, .. } = fact
                && Address::of(&space, SPACE).is_some_and(|address| address.did == *other)
            {
                batch.delete(&FACTS, &(user.clone(), String::new(), Fact::asked(&space)))?;
            }
        }
        Ok(())
    }

    /// The spaces on other nodes that somebody was asked into, the one last heard of first. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn asked_into(&self, user: &Did) -> Result<Vec<AskedInto>, SpaceError> {
        let found = asked(&self.0.reader, user, SPACES_ASKED_MAX)?.into_iter().filter_map(|fact| match fact {
            Fact::Asked { space, at, heard_at } => Some(AskedInto { space, at, heard_at }),
            _ => None,
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|asked| std::cmp::Reverse(asked.heard_at));
        Ok(found)
    }
}

/// People of a conversation, with room for one who is there by mistake.
const PEOPLE: usize = 4;
