//! Where in a space something is said: its own stream, or a channel; and in which repositories that lies. What everybody
//! may read is in public repositories, what the members may read in the room of the space, and what some of them may
//! read in a room of the channel's own, whose list follows who may read the channel.

use angel_protocol::ids::Did;
use angel_protocol::permissioned::{Member, SpaceUri};
use angel_protocol::spaces::{Access, CHANNEL, ChannelRules, Membership, Status};
use angel_storage::codec::Cbor;
use angel_storage::spaces::{
    CHANNELS, ChannelNumber, ChannelRow, MEMBERS, MESSAGES, OWN_STREAM, Place, RECORDS, Reads, SPACES, SpaceId,
    SpaceRow,
};

use super::apply::Step;
use super::find::Found;
use super::records::Address;
use super::rooms::{room, room_of};
use super::{SpaceError, Spaces};
use crate::blocking;

/// Members whose access to a room is set together.
const PAGE: usize = 500;

/// Where something is said.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// The number of the channel, or that of the space's own stream.
    pub(super) number: ChannelNumber,
    /// Who may do what.
    pub(super) rules: ChannelRules,
    /// The key of the channel; none for the space's own stream.
    pub(super) rkey: Option<String>,
    /// The department that messages are of when they do not say.
    pub(super) department: Option<String>,
    own_room: bool,
}

impl Stream {
    /// The space's own.
    pub(super) const fn own() -> Self {
        Self { number: OWN_STREAM, rules: ChannelRules::of_the_space(), rkey: None, department: None, own_room: false }
    }

    /// A channel.
    pub(super) fn of(number: ChannelNumber, row: ChannelRow) -> Self {
        let ChannelRow { rules, rkey, department, own_room, .. } = row;
        Self { number, rules, rkey: Some(rkey), department, own_room }
    }

    /// The room in which it lies; `None` where everybody reads.
    pub(super) fn room(&self, space: &SpaceRow) -> Option<SpaceUri> {
        match &self.rkey {
            Some(rkey) if self.own_room => room(&space.holder, rkey),
            _ => room_of(space),
        }
    }

    /// What somebody may do in the room in which it lies.
    fn member(&self, space: &SpaceRow, membership: Option<&Membership>, access: &Access<'_>) -> Option<Member> {
        let is_out = membership.is_some_and(|membership| membership.status == Status::Banned);
        let reads = !is_out && access.is_member() && access.may_read(&self.rules, self.rkey.as_deref());
        // Who may write is judged message by message; in the room of a space, members react as well.
        let write = (!self.own_room && room_of(space).is_some()) || access.may_post(&self.rules, self.rkey.as_deref());
        reads.then_some(Member { read: true, write })
    }
}

/// The stream with a number, unless the channel is gone.
fn stream(rows: &impl Reads, id: SpaceId, number: ChannelNumber) -> Result<Option<Stream>, SpaceError> {
    if number == OWN_STREAM {
        return Ok(Some(Stream::own()));
    }
    Ok(rows.row(&CHANNELS, &(id, number))?.map(|row| Stream::of(number, row)))
}

/// The room in which a record lies, by what it is to a space; `None` in the outer place when that is not known.
fn room_of_place(rows: &impl Reads, place: &Place) -> Result<Option<Option<SpaceUri>>, SpaceError> {
    let (Place::Space(id) | Place::Channel(id, _) | Place::Message(id, _) | Place::Reaction(id, ..)) = *place;
    let number = match place {
        Place::Space(_) => OWN_STREAM,
        Place::Channel(_, number) => *number,
        Place::Message(_, position) | Place::Reaction(_, position, _) => match rows.row(&MESSAGES, &(id, *position))? {
            Some(message) => message.channel,
            None => return Ok(None),
        },
    };
    let (space, stream) = (rows.row(&SPACES, &id)?, stream(rows, id, number)?);
    Ok(space.zip(stream).map(|(space, stream)| stream.room(&space)))
}

impl Step<'_> {
    /// The stream that a message names.
    pub(super) fn stream_at(
        &self,
        id: SpaceId,
        space: &SpaceRow,
        address: Option<&Address>,
    ) -> Result<Option<Stream>, SpaceError> {
        let Some(address) = address else { return Ok(Some(Stream::own())) };
        if address.did != space.holder || !address.path.starts_with(CHANNEL) {
            return Ok(None);
        }
        let Some(Cbor(Place::Channel(in_space, number))) = self.overlay.get(&RECORDS, &address.key())? else {
            return Ok(None);
        };
        let row = self.overlay.get(&CHANNELS, &(id, number))?.filter(|row| in_space == id && row.gone_at.is_none());
        Ok(row.map(|row| Stream::of(number, row)))
    }

    /// The stream with a number.
    pub(super) fn stream(&self, id: SpaceId, number: ChannelNumber) -> Result<Option<Stream>, SpaceError> {
        stream(&self.overlay, id, number)
    }

    /// Whether what is known of a record was written in this room.
    pub(super) fn lies_in(&self, place: &Place, room: Option<&SpaceUri>) -> Result<bool, SpaceError> {
        Ok(room_of_place(&self.overlay, place)?.is_some_and(|found| found.as_ref() == room))
    }
}

impl Spaces {
    /// The room in which a record lies that the index knows. Blocks.
    pub(super) fn room_of_place(&self, place: &Place) -> Result<Option<Option<SpaceUri>>, SpaceError> {
        room_of_place(&self.0.reader, place)
    }

    /// The room in which a stream lies, by its number. Blocks.
    pub(super) fn room_of_number(&self, found: &Found, number: ChannelNumber) -> Result<Option<SpaceUri>, SpaceError> {
        let stream = stream(&self.0.reader, found.id, number)?.ok_or(SpaceError::ChannelNotFound)?;
        Ok(stream.room(&found.row))
    }

    /// Lets somebody into the rooms of a space, or out of them, as their membership from now on has it. Whoever goes is
    /// out before anything tells of it.
    pub(super) async fn let_in(
        &self,
        id: SpaceId,
        space: &SpaceRow,
        did: &Did,
        membership: Option<&Membership>,
    ) -> Result<(), SpaceError> {
        if space.holder == *did {
            return Ok(());
        }
        let this = self.clone();
        let mut streams = blocking::run(move || this.own_rooms(id)).await?;
        if room_of(space).is_some() {
            streams.push(Stream::own());
        }
        for stream in streams {
            if let Some(room) = stream.room(space) {
                let member = self.member_of(space, did, membership, &stream);
                self.0.permissioned.set_member(&room, did, member).await?;
            }
        }
        Ok(())
    }

    pub(super) fn member_of(
        &self,
        space: &SpaceRow,
        did: &Did,
        membership: Option<&Membership>,
        stream: &Stream,
    ) -> Option<Member> {
        let standing = self.standing(&space.holder, did);
        stream.member(space, membership, &Access { space: space.rules, membership, standing })
    }

    /// The channels of a space that have rooms of their own. Blocks.
    pub(super) fn own_rooms(&self, id: SpaceId) -> Result<Vec<Stream>, SpaceError> {
        let mut streams = vec![];
        let mut after = (id, OWN_STREAM);
        loop {
            let page = self.0.reader.scan(&CHANNELS).prefix(&id).after(&after).page(256)?;
            let last = page.rows.last().map(|(key, _)| *key);
            let own = page.rows.into_iter().filter(|(_, row)| row.own_room && row.gone_at.is_none());
            streams.extend(own.map(|((_, number), row)| Stream::of(number, row)));
            match last {
                Some(last) if page.more => after = last,
                _ => return Ok(streams),
            }
        }
    }

    /// Sets who is in the room of a channel, by everybody's membership, as `rules` have it.
    pub(super) async fn fill_room(
        &self,
        found: &Found,
        number: ChannelNumber,
        rules: ChannelRules,
    ) -> Result<(), SpaceError> {
        let (this, id) = (self.clone(), found.id);
        let row = blocking::run(move || this.0.reader.get(&CHANNELS, &(id, number))).await?;
        let Some(row) = row.filter(|row| row.own_room) else { return Ok(()) };
        let stream = Stream::of(number, ChannelRow { rules, ..row });
        let Some(room) = stream.room(&found.row) else { return Ok(()) };
        let mut last: Option<Did> = None;
        loop {
            let (this, after) = (self.clone(), last.clone());
            let page = blocking::run(move || {
                let scan = this.0.reader.scan(&MEMBERS).prefix(&id);
                let scan = match after {
                    Some(after) => scan.after(&(id, after)),
                    None => scan,
                };
                scan.page(PAGE)
            })
            .await?;
            last = page.rows.last().map(|((_, did), _)| did.clone());
            let people = page.rows.into_iter().filter(|((_, did), _)| *did != found.row.holder);
            let people = people.map(|((_, did), row)| {
                let member = self.member_of(&found.row, &did, Some(&row.membership), &stream);
                (did, member)
            });
            self.0.permissioned.set_members(&room, people.collect()).await?;
            if !page.more {
                return Ok(());
            }
        }
    }
}
