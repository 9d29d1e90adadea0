//! Complaints about messages, for those who moderate the space (MOD-01). The operator of the node has each of them as well:
//! a space whose moderators look away is no place without help.
//!
//! A moderator sees complaints about messages of channels that they may read, and none about their own messages: nobody
//! settles what is said against themselves.

use angel_protocol::ids::Did;
use angel_protocol::limits::SPACE_COMPLAINTS_MAX;
use angel_protocol::spaces::{CHANNEL, ChannelRules, MESSAGE, Permission};
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{
    CHANNELS, Complaint, FACTS, Fact, MESSAGES, MessageRow, OWN_STREAM, Place, RECORDS, Settled, SpaceRow, complaints,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::find::Found;
use super::list::Page;
use super::{SpaceError, Spaces};
use crate::permissioned::PermissionedError;
use crate::{blocking, clock};

/// Which complaints are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    /// Those that nobody has settled.
    #[default]
    Open,
    /// Those that somebody has.
    Settled,
    /// Both.
    All,
}

/// A complaint as it is made.
#[derive(Clone, Debug)]
pub(crate) struct NewComplaint {
    /// The number under which the operator has it.
    pub(crate) number: u64,
    /// Who complains.
    pub(crate) by: Did,
    /// Why.
    pub(crate) reason: String,
}

impl Spaces {
    /// Keeps a complaint about a message of a space that is held here, for its moderators. Who complains about the same
    /// message again says it anew, in place of what they said before.
    ///
    /// # Errors
    /// The tenant is written elsewhere now, or the store fails.
    pub(crate) async fn keep_complaint(
        &self,
        found: &Found,
        message: &MessageRow,
        new: NewComplaint,
    ) -> Result<(), SpaceError> {
        let (this, found, message) = (self.clone(), found.clone(), message.clone());
        let complaint = blocking::run(move || {
            let channel = match message.channel {
                OWN_STREAM => None,
                number => this.0.reader.get(&CHANNELS, &(found.id, number))?.map(|row| row.rkey),
            };
            let NewComplaint { number, by, reason } = new;
            let (author, cid, path) = (message.author, message.cid, format!("{MESSAGE}/{}", message.rkey));
            let complaint =
                Complaint { number, by, reason, author, path, cid, channel, at: clock::now(), settled: None };
            Ok::<_, SpaceError>((found.row, complaint))
        });
        let (space, complaint) = complaint.await?;
        self.put_complaint(space, complaint).await
    }

    async fn put_complaint(&self, space: SpaceRow, complaint: Complaint) -> Result<(), SpaceError> {
        let (this, holder) = (self.clone(), space.holder.clone());
        let account = blocking::run(move || this.0.accounts.resident_blocking(&holder)).await?;
        let account = account.ok_or(SpaceError::HolderElsewhere)?;
        let leave = self.0.permissioned.fence().enter(account.id()).await.map_err(PermissionedError::from)?;
        let this = self.clone();
        let committed = blocking::run(move || {
            let mut batch = Batch::new();
            let name = Fact::reported(&complaint);
            let key = (space.holder.clone(), space.rkey.clone(), name);
            if !this.0.reader.contains(&FACTS, &key)? {
                this.room_for_a_complaint(&mut batch, &space)?;
            }
            batch.put(&FACTS, &key, &Cbor(Fact::Reported(complaint)))?;
            Ok::<_, SpaceError>(this.0.writer.commit(batch)?)
        });
        let committed = committed.await?;
        Ok(leave.replicated(committed).await.map_err(PermissionedError::from)?)
    }

    /// Of as many as are kept, one that is settled goes, or else the oldest. Blocks.
    fn room_for_a_complaint(&self, batch: &mut Batch, space: &SpaceRow) -> Result<(), SpaceError> {
        let kept = complaints(&self.0.reader, (&space.holder, &space.rkey), SPACE_COMPLAINTS_MAX)?;
        if kept.len() < SPACE_COMPLAINTS_MAX {
            return Ok(());
        }
        if let Some(oldest) = kept.iter().min_by_key(|complaint| (complaint.settled.is_none(), complaint.number)) {
            batch.delete(&FACTS, &(space.holder.clone(), space.rkey.clone(), Fact::reported(oldest)))?;
        }
        Ok(())
    }

    /// Complaints of a space that whoever asks may settle, the newest first, older than number `before`. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::Forbidden`] for whoever does not moderate the space; for strangers to one that is not public there is
    /// no such space.
    pub(crate) fn complaints(
        &self,
        uri: &str,
        did: &Did,
        wanted: Wanted,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let found = self.moderated_by(uri, did)?;
        let mut kept = self.complaints_for(&found, did)?;
        kept.retain(|complaint| match wanted {
            Wanted::Open => complaint.settled.is_none(),
            Wanted::Settled => complaint.settled.is_some(),
            Wanted::All => true,
        });
        kept.retain(|complaint| before.is_none_or(|before| complaint.number < before));
        kept.sort_unstable_by_key(|complaint| std::cmp::Reverse(complaint.number));
        let more = kept.len() > limit;
        kept.truncate(limit);
        let cursor = kept.last().filter(|_| more).map(|complaint| complaint.number.to_string());
        let mut items = Vec::with_capacity(kept.len());
        for complaint in &kept {
            items.push(self.complaint_view(complaint)?);
        }
        Ok(Page { items, cursor })
    }

    /// Settles a complaint. One that is settled already stays as it is.
    ///
    /// # Errors
    /// As with [`Self::complaints`]; [`SpaceError::ReportNotFound`].
    pub(crate) async fn settle_complaint(
        &self,
        uri: &str,
        did: &Did,
        number: u64,
        note: Option<String>,
    ) -> Result<(), SpaceError> {
        let (this, uri, asking) = (self.clone(), uri.to_owned(), did.clone());
        let looked_up = blocking::run(move || {
            let found = this.moderated_by(&uri, &asking)?;
            let kept = this.complaints_for(&found, &asking)?;
            let complaint = kept.into_iter().find(|complaint| complaint.number == number);
            Ok::<_, SpaceError>((found.row, complaint.ok_or(SpaceError::ReportNotFound)?))
        });
        let (space, complaint) = looked_up.await?;
        if complaint.settled.is_some() {
            return Ok(());
        }
        let settled = Some(Settled { by: did.clone(), note, at: clock::now() });
        self.put_complaint(space, Complaint { settled, ..complaint }).await
    }

    /// A space of this node that `did` moderates. Blocks.
    fn moderated_by(&self, uri: &str, did: &Did) -> Result<Found, SpaceError> {
        let found = self.find_live(uri, Some(did))?;
        if found.access().allows(Permission::ModerateContent) {
            return Ok(found);
        }
        Err(SpaceError::Forbidden("you may not moderate this space"))
    }

    /// The complaints that `did` may look at. Blocks.
    fn complaints_for(&self, found: &Found, did: &Did) -> Result<Vec<Complaint>, SpaceError> {
        let all = complaints(&self.0.reader, (&found.row.holder, &found.row.rkey), SPACE_COMPLAINTS_MAX)?;
        let mut seen = vec![];
        for complaint in all {
            if complaint.author != *did && self.may_read_where(found, complaint.channel.as_deref())? {
                seen.push(complaint);
            }
        }
        Ok(seen)
    }

    /// Whether whoever asks may read the channel with this key. Blocks.
    fn may_read_where(&self, found: &Found, channel: Option<&str>) -> Result<bool, SpaceError> {
        let Some(rkey) = channel else {
            return Ok(found.access().may_read(&ChannelRules::of_the_space(), None));
        };
        let at = (found.row.holder.clone(), format!("{CHANNEL}/{rkey}"));
        match self.0.reader.get(&RECORDS, &at)? {
            Some(Cbor(Place::Channel(id, number))) if id == found.id => self.here().may_read_number(found, number),
            _ => Ok(false),
        }
    }

    fn complaint_view(&self, complaint: &Complaint) -> Result<Json, SpaceError> {
        let Complaint { number, by, reason, author, path, cid, channel: _, at, settled } = complaint;
        let mut view = json!({
            "id": number, "uri": format!("at://{author}/{path}"), "cid": cid.to_string(), "author": author,
            "reportedBy": by, "reason": reason, "createdAt": at.to_string(),
            "hidden": self.is_hidden(author, path)?,
        });
        if let Some(Settled { by, note, at }) = settled {
            view["settled"] = json!({ "by": by, "at": at.to_string() });
            if let Some(note) = note {
                view["settled"]["note"] = note.as_str().into();
            }
        }
        Ok(view)
    }

    /// Whether a message is hidden, or gone. Blocks.
    fn is_hidden(&self, author: &Did, path: &str) -> Result<bool, SpaceError> {
        let Some(Cbor(Place::Message(id, position))) =
            self.0.reader.get(&RECORDS, &(author.clone(), path.to_owned()))?
        else {
            return Ok(true);
        };
        let message = self.0.reader.get(&MESSAGES, &(id, position))?;
        Ok(message.is_none_or(|message| message.hidden.is_some()))
    }
}
