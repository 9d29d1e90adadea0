//! What people do in a space that is no record of theirs, as it changes the index: hiding, reading, invitations, settings
//! of channels. Each is kept as a fact besides, from which the index is made anew.

use angel_protocol::ids::Did;
use angel_protocol::spaces::{CHANNEL, ChannelRules, MESSAGE};
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::events::Event;
use angel_storage::spaces::{
    CHANNELS, ChannelNumber, ChannelRow, ChannelSettings, Fact, Hidden, INVITES, Invited, MESSAGES, MessageRow,
    Moderated, OWN_STREAM, READ_MARKS, ReadChange, ReadMark, SPACES, SpaceId, SpaceRow, What, message_record,
};

use super::SpaceError;
use super::apply::Step;

impl Step<'_> {
    pub(super) fn moderated(&mut self, moderated: Moderated, event: &Event) -> Result<(), SpaceError> {
        let Moderated { space: id, position, by, hidden, reason } = moderated;
        let Some(row) = self.overlay.get(&MESSAGES, &(id, position))? else { return Ok(()) };
        let record = message_record(&self.overlay, id, position, &row)?;
        let row = MessageRow { hidden: hidden.then_some(Hidden { by, reason, at: event.at }), ..row };
        if let Some(space) = self.overlay.get(&SPACES, &id)? {
            let path = format!("{MESSAGE}/{}", row.rkey);
            let name = Fact::hidden(&row.author, &path);
            let fact = row.hidden.clone().map(|hidden| Fact::Hidden(row.author.clone(), path, hidden));
            self.overlay.put_fact(&space, name, fact)?;
        }
        self.overlay.put_message(id, position, &row, &record)?;
        let MessageRow { channel, author, rkey, .. } = row;
        let what = if hidden { What::Gone { channel, author, rkey, hidden: true } } else { What::Edited { position } };
        self.happened(id, event, what)
    }

    pub(super) fn read(&mut self, read: ReadChange, event: &Event) -> Result<(), SpaceError> {
        let ReadChange { space: id, channel, did, position } = read;
        let before = self.overlay.get(&READ_MARKS, &(id, channel, did.clone()))?.map_or(0, |Cbor(mark)| mark.position);
        // Marks only move forward.
        if position <= before {
            return Ok(());
        }
        self.put_mark(id, channel, did, ReadMark { position, at: event.at })
    }

    /// How far somebody had read where the space was before: up to a message, for which the mark waits until it is here.
    pub(super) fn take_mark(
        &mut self,
        id: SpaceId,
        space: &SpaceRow,
        (author, path): (&Did, &str),
        did: Did,
        at: Timestamp,
    ) -> Result<(), SpaceError> {
        match self.message_named(id, author, path)? {
            Some((position, row)) => self.move_mark(id, row.channel, did, ReadMark { position, at }),
            None => Ok(self.overlay.put_awaited(space, (author, path), did, at)?),
        }
    }

    /// Marks that waited for a message that is here now.
    pub(super) fn take_awaited(
        &mut self,
        id: SpaceId,
        space: &SpaceRow,
        (author, path): (&Did, &str),
        channel: ChannelNumber,
        position: u64,
    ) -> Result<(), SpaceError> {
        for (did, at) in self.overlay.take_awaited(space, (author, path))? {
            self.move_mark(id, channel, did, ReadMark { position, at })?;
        }
        Ok(())
    }

    /// Moves a mark that was set elsewhere: forward only, and what somebody said here since counts.
    fn move_mark(&mut self, id: SpaceId, channel: ChannelNumber, did: Did, mark: ReadMark) -> Result<(), SpaceError> {
        let before = self.overlay.get(&READ_MARKS, &(id, channel, did.clone()))?;
        if before.is_some_and(|Cbor(before)| mark.position <= before.position || mark.at <= before.at) {
            return Ok(());
        }
        self.put_mark(id, channel, did, mark)
    }

    fn put_mark(&mut self, id: SpaceId, channel: ChannelNumber, did: Did, mark: ReadMark) -> Result<(), SpaceError> {
        let ReadMark { position, at } = mark;
        self.overlay.put(&READ_MARKS, &(id, channel, did.clone()), &Cbor(mark))?;
        let (space, message) = (self.overlay.get(&SPACES, &id)?, self.overlay.get(&MESSAGES, &(id, position))?);
        if let Some((space, message)) = space.zip(message) {
            let row = match channel {
                OWN_STREAM => None,
                channel => self.overlay.get(&CHANNELS, &(id, channel))?,
            };
            let name = Fact::read(&did, row.as_ref().map(|row| row.rkey.as_str()));
            let path = format!("{MESSAGE}/{}", message.rkey);
            let fact = Fact::Read { did, author: message.author, path, at };
            self.overlay.put_fact(&space, name, Some(fact))?;
        }
        Ok(())
    }

    pub(super) fn invited(&mut self, invited: Invited) -> Result<(), SpaceError> {
        let Invited { space: id, hash, invite } = invited;
        let hash = hash.into_array();
        match &invite {
            Some(invite) => self.overlay.put(&INVITES, &(id, hash), &Cbor(invite.clone()))?,
            None => self.overlay.delete(&INVITES, &(id, hash)),
        }
        if let Some(space) = self.overlay.get(&SPACES, &id)? {
            let fact = invite.map(|invite| Fact::Invite(hash.to_vec().into(), invite));
            self.overlay.put_fact(&space, Fact::invite(&hash), fact)?;
        }
        Ok(())
    }

    pub(super) fn settings(&mut self, settings: ChannelSettings, event: &Event) -> Result<(), SpaceError> {
        let ChannelSettings { space: id, channel, rules, department } = settings;
        let Some(row) = self.overlay.get(&CHANNELS, &(id, channel))? else { return Ok(()) };
        let rules = ChannelRules { visibility: row.rules.visibility, ..rules };
        let row = ChannelRow { rules, department, ..row };
        self.overlay.put(&CHANNELS, &(id, channel), &row)?;
        if let Some(space) = self.overlay.get(&SPACES, &id)? {
            let path = format!("{CHANNEL}/{}", row.rkey);
            let fact = Fact::Settings(path.clone(), row.rules, row.department);
            self.overlay.put_fact(&space, Fact::settings(&path), Some(fact))?;
        }
        self.changed.push(id);
        self.happened(id, event, What::Channel { channel, gone: false })
    }
}
