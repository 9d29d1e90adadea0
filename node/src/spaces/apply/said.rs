//! What members say, as it changes the index: messages, their versions, and reactions to them.

use angel_protocol::data::Value;
use angel_protocol::ids::Did;
use angel_protocol::spaces::{Access, Status, check_message, text_of, words};
use angel_protocol::time::Timestamp;
use angel_storage::codec::{Cbor, Present};
use angel_storage::spaces::{
    BY_CHANNEL, BY_THREAD, FACTS, Fact, Hidden, MEMBERS, MESSAGES, MessageRow, Place, REACTIONS, RECORDS, SPACES,
    SpaceId, SpaceRow, What, message_record, stage_word,
};

use super::{Change, Step, VERSIONS_KEPT};
use crate::spaces::SpaceError;
use crate::spaces::records::{Address, MessageSaid, ReactionSaid};
use crate::spaces::streams::Stream;
use crate::spaces::told::{channel_uri, notice_of_message};

impl Step<'_> {
    pub(super) fn message(
        &mut self,
        change: &Change<'_>,
        said: &MessageSaid,
        place: Option<Place>,
        value: &Value,
    ) -> Result<(), SpaceError> {
        let Some((id, mut space)) = self.space_at(&said.space)? else { return Ok(()) };
        let Some(stream) = self.stream_at(id, &space, said.channel.as_ref())? else { return Ok(()) };
        if stream.room(&space).as_ref() != change.room {
            return Ok(());
        }
        let Some(speaker) = self.speaker(&space, change, &said.kind)? else { return Ok(()) };
        let allowed = self.may_post(id, &space, change.did, &stream, self.again.then_some(change.at))?;
        if !allowed || check_message(value, speaker).is_err() {
            return Ok(());
        }
        let Some((cid, bytes)) = change.record else { return Ok(()) };
        if let Some(Place::Message(in_space, position)) = place {
            return if in_space == id { self.edited(change, id, position, &stream, said, value) } else { Ok(()) };
        }
        let position = space.next(change.sequence);
        space.messages += 1;
        space.words_waiting += 1;
        space.active_at = space.active_at.max(change.at);
        let root = match &said.root {
            Some(address) => match self.overlay.get(&RECORDS, &address.key())? {
                Some(Cbor(Place::Message(in_space, root))) if in_space == id => Some(root),
                _ => None,
            },
            None => None,
        };
        let own = Address { did: change.did.clone(), path: change.path.to_owned() };
        let row = MessageRow {
            author: change.did.clone(),
            rkey: own.rkey().to_owned(),
            cid,
            channel: stream.number,
            kind: said.kind.clone(),
            priority: said.priority.clone(),
            department: said.context.department.clone().or(stream.department),
            workflow: said.context.workflow.clone(),
            journey: said.context.journey.clone(),
            root,
            indexed_at: change.at,
            edited_at: None,
            version: 0,
            hidden: self.hidden_before(&space, change)?,
            record: vec![],
        };
        self.overlay.put(&SPACES, &id, &space)?;
        self.overlay.put_message(id, position, &row, bytes)?;
        self.overlay.put(&RECORDS, &own.key(), &Cbor(Place::Message(id, position)))?;
        self.overlay.put(&BY_CHANNEL, &(id, row.channel, position), &Present)?;
        if let Some(root) = root {
            self.overlay.put(&BY_THREAD, &(id, root, position), &Present)?;
        }
        self.take_awaited(id, &space, (change.did, change.path), row.channel, position)?;
        self.fresh.entry(id).or_default().push(position);
        if row.hidden.is_none() && self.spaces.0.live.is_followed(id) {
            let channel = channel_uri(&self.overlay, id, row.channel)?;
            self.notices.push(notice_of_message(id, &space, position, &row, value.clone(), channel));
        }
        Ok(())
    }

    fn edited(
        &mut self,
        change: &Change<'_>,
        id: SpaceId,
        position: u64,
        stream: &Stream,
        said: &MessageSaid,
        value: &Value,
    ) -> Result<(), SpaceError> {
        let Some((cid, bytes)) = change.record else { return Ok(()) };
        let Some(row) = self.overlay.get(&MESSAGES, &(id, position))? else { return Ok(()) };
        // A message stays where it was said: who could read it there may not elsewhere.
        if row.cid == cid || row.channel != stream.number {
            return Ok(());
        }
        let before = message_record(&self.overlay, id, position, &row)?;
        self.overlay.put_version(id, position, row.version, &before)?;
        let space = self.overlay.get(&SPACES, &id)?;
        if let Some(space) = &space {
            let address = (change.did, change.path);
            self.overlay.put_superseded(space, address, row.version, change.at, &before)?;
            let gone = (row.version + 1).saturating_sub(VERSIONS_KEPT);
            self.overlay.forget_superseded(space, address, gone.saturating_sub(1)..gone)?;
        }
        let row = MessageRow {
            cid,
            version: row.version + 1,
            edited_at: Some(change.at),
            priority: said.priority.clone(),
            department: said.context.department.clone().or(row.department),
            workflow: said.context.workflow.clone(),
            journey: said.context.journey.clone(),
            ..row
        };
        if let Some(oldest) = row.version.checked_sub(VERSIONS_KEPT) {
            self.overlay.delete_version(id, position, oldest)?;
        }
        self.overlay.put_message(id, position, &row, bytes)?;
        if space.is_some_and(|space| position <= space.words_upto) {
            for word in words(&text_of(value)) {
                stage_word(&mut self.overlay, id, &word, position)?;
            }
        }
        self.happened_at(id, change.at, change.sequence, What::Edited { position })
    }

    /// Whether a message was hidden before it came: in a space that was taken in from elsewhere, its moderators' word is here
    /// before what others said.
    fn hidden_before(&self, space: &SpaceRow, change: &Change<'_>) -> Result<Option<Hidden>, SpaceError> {
        let key = (space.holder.clone(), space.rkey.clone(), Fact::hidden(change.did, change.path));
        Ok(match self.overlay.get(&FACTS, &key)? {
            Some(Cbor(Fact::Hidden(_, _, hidden))) => Some(hidden),
            _ => None,
        })
    }

    pub(super) fn reaction(&mut self, change: &Change<'_>, said: &ReactionSaid) -> Result<(), SpaceError> {
        let Some(Cbor(Place::Message(id, position))) = self.overlay.get(&RECORDS, &said.subject.key())? else {
            return Ok(());
        };
        let Some(space) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
        let Some(message) = self.overlay.get(&MESSAGES, &(id, position))? else { return Ok(()) };
        let Some(stream) = self.stream(id, message.channel)? else { return Ok(()) };
        if stream.room(&space).as_ref() != change.room
            || !self.may_post(id, &space, change.did, &stream, self.again.then_some(change.at))?
        {
            return Ok(());
        }
        // One of a kind by each person: a second record with the same emoji counts for nothing.
        let key = (id, position, said.emoji.clone(), change.did.clone());
        if self.overlay.get(&REACTIONS, &key)?.is_some() {
            return Ok(());
        }
        let own = Address { did: change.did.clone(), path: change.path.to_owned() };
        self.overlay.put(&REACTIONS, &key, &Cbor(own.rkey().to_owned()))?;
        self.overlay.put(&RECORDS, &own.key(), &Cbor(Place::Reaction(id, position, said.emoji.clone())))?;
        let what = What::Reaction {
            channel: message.channel,
            position,
            author: change.did.clone(),
            emoji: said.emoji.clone(),
            added: true,
        };
        self.happened_at(id, change.at, change.sequence, what)
    }

    fn may_post(
        &mut self,
        id: SpaceId,
        space: &SpaceRow,
        did: &Did,
        stream: &Stream,
        again: Option<Timestamp>,
    ) -> Result<bool, SpaceError> {
        let key = (id, did.clone());
        if !self.known.contains_key(&key) {
            let row = self.overlay.get(&MEMBERS, &key)?;
            self.known.insert(key.clone(), row);
        }
        let row = self.known.get(&key).and_then(Option::as_ref);
        let mut membership = row.map(|row| row.membership.clone());
        // What was said by somebody who is no member any more was said while they were one.
        if let (Some(at), Some(row), Some(membership)) = (again, row, &mut membership)
            && row.joined_at.is_some()
            && at <= row.changed_at
        {
            membership.status = Status::Active;
        }
        let membership = membership.as_ref();
        let standing = self.spaces.standing(&space.holder, did);
        Ok(Access { space: space.rules, membership, standing }.may_post(&stream.rules, stream.rkey.as_deref()))
    }
}
