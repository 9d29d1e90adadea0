//! One event of the log, as it changes the index. Pure in effect: rows are changed in an overlay, and what is to be
//! told to those who follow is collected; both happen when the whole step is durable.

mod said;

use std::collections::{BTreeMap, HashMap};

use angel_protocol::data::{Cid, Value, cbor};
use angel_protocol::firehose::{CommitBody, Frame, Message};
use angel_protocol::ids::Did;
use angel_protocol::limits::{COMMIT_CAR_BLOCKS_MAX, COMMIT_CAR_BYTES_MAX, SPACE_CHANNELS_MAX};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::repo::MemoryBlocks;
use angel_protocol::repo::car::{self, CarLimits};
use angel_protocol::spaces::{
    COLLECTIONS, ChannelRules, ChannelVisibility, Membership, REACTION, Role, Status, Visibility,
};
use angel_protocol::time::Timestamp;
use angel_storage::codec::{Cbor, Present};
use angel_storage::events::Event;
use angel_storage::spaces::{
    CHANNELS, ChannelRow, FACTS, Fact, Happening, LOG, MEMBERS, MESSAGES, MemberChange, MemberRow, MessageRow, Overlay,
    Place, REACTIONS, RECORDS, SPACES, SPACES_OF, SpaceEvent, SpaceId, SpaceRow, What,
};
use angel_storage::{firehose as stored, permissioned};

use super::records::{Address, ChannelSaid, Said, SpaceSaid, new_rules, read};
use super::rooms::{room, room_of};
use super::told::{Notice, notice_of_what};
use super::{SpaceError, Spaces};

/// Earlier versions of one message that are kept; of more, the oldest go.
const VERSIONS_KEPT: u32 = 50;

/// Reactions of one message that go with it; those beyond are found by nobody.
const REACTIONS_DROPPED_MAX: usize = 1000;

/// One step of the index: the rows as some events leave them.
pub(super) struct Step<'r> {
    pub(super) overlay: Overlay<'r>,
    pub(super) notices: Vec<Notice>,
    /// New messages by space, whose words are not indexed yet.
    pub(super) fresh: BTreeMap<SpaceId, Vec<u64>>,
    /// Whose memberships have changed: live access is judged anew.
    pub(super) members: Vec<(SpaceId, Did)>,
    /// Spaces that are gone or whose rules have changed.
    pub(super) changed: Vec<SpaceId>,
    /// Whether somebody who lives elsewhere may have come or gone.
    pub(super) strangers: bool,
    /// Accounts whose records have to be gone through.
    pub(super) reconcile: Vec<Did>,
    /// Whether it deals with what happened, one event after the other, and not with what lies there now: a space whose
    /// record is gone was deleted then, and has not merely left this node.
    pub(super) is_of_the_log: bool,
    /// Holder and key of spaces that were deleted.
    pub(super) deleted: Vec<(Did, String)>,
    spaces: &'r Spaces,
    /// Memberships as they are needed again and again within one step.
    known: HashMap<(SpaceId, Did), Option<MemberRow>>,
    /// Whether the index is being made anew.
    pub(super) again: bool,
}

/// Where records of a collection come among those that are written together: what others refer to before them, however
/// their paths are sorted. `None` for those that no space is made of.
pub(super) fn order_of(collection: &str) -> Option<usize> {
    COLLECTIONS.iter().position(|name| *name == collection)
}

/// A record that came, changed or went.
pub(super) struct Change<'a> {
    pub(super) did: &'a Did,
    pub(super) path: &'a str,
    /// What is there now.
    pub(super) record: Option<(Cid, &'a [u8])>,
    /// The room in which it is; `None` for a public repository.
    pub(super) room: Option<&'a SpaceUri>,
    /// When it was learned of.
    pub(super) at: Timestamp,
    /// The event by which it was.
    pub(super) sequence: u64,
}

impl<'r> Step<'r> {
    pub(super) fn new(spaces: &'r Spaces) -> Self {
        Self {
            overlay: Overlay::new(&spaces.0.reader),
            notices: vec![],
            fresh: BTreeMap::new(),
            members: vec![],
            changed: vec![],
            strangers: false,
            reconcile: vec![],
            is_of_the_log: false,
            deleted: vec![],
            spaces,
            known: HashMap::new(),
            again: false,
        }
    }

    /// What an event of the log changes.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), SpaceError> {
        match event.kind {
            stored::COMMIT => self.commit(event),
            // However the records came to be what they are, they are gone through.
            stored::SYNC | stored::ACCOUNT => {
                let frame = stored::frame(event).and_then(|frame| Frame::decode(&frame).ok());
                if let Some(Frame::Message {
                    message: Message::Sync { did, .. } | Message::Account { did, .. }, ..
                }) = frame
                {
                    self.reconcile.push(did);
                }
                Ok(())
            }
            permissioned::WRITTEN | permissioned::COPIED => self.room_event(event),
            _ => match SpaceEvent::read(event)? {
                None => Ok(()),
                Some(SpaceEvent::Foreign(foreign)) => self.foreign(&foreign, event),
                Some(SpaceEvent::Member(change)) => self.member(change, event),
                Some(SpaceEvent::Moderated(moderated)) => self.moderated(moderated, event),
                Some(SpaceEvent::Read(read)) => self.read(read, event),
                Some(SpaceEvent::Invited(invited)) => self.invited(invited),
                Some(SpaceEvent::Settings(settings)) => self.settings(settings, event),
            },
        }
    }

    fn commit(&mut self, event: &Event) -> Result<(), SpaceError> {
        // Most commits are of other apps: looking at the paths is enough to know.
        let Some(Frame::Message { message: Message::Commit(body), .. }) =
            stored::frame(event).and_then(|frame| Frame::decode(&frame).ok())
        else {
            return Ok(());
        };
        let CommitBody { repo, changes, car, .. } = &body;
        let place = |path: &str| path.split_once('/').and_then(|(name, _)| order_of(name));
        let ours = changes.iter().filter_map(|change| Some((place(change.key.as_str())?, change)));
        let mut ours: Vec<_> = ours.collect();
        if ours.is_empty() {
            return Ok(());
        }
        ours.sort_by_key(|(order, _)| *order);
        let limits = CarLimits { bytes_max: COMMIT_CAR_BYTES_MAX as u64, blocks_max: COMMIT_CAR_BLOCKS_MAX };
        // Made here, and in the log: what cannot be read is passed over rather than holding up everybody.
        let Ok((_, blocks)) = car::decode(car, limits) else { return Ok(()) };
        let blocks: MemoryBlocks = blocks.iter().collect();
        for (_, change) in ours {
            let block = change.after.and_then(|cid| blocks.block(&cid));
            if change.after.is_some() && block.is_none() {
                continue;
            }
            let record = block.as_ref().map(|block| (block.cid(), &**block.bytes()));
            let path = change.key.as_str();
            self.change(&Change { did: repo, path, record, room: None, at: event.at, sequence: event.sequence })?;
        }
        Ok(())
    }

    /// A record came, changed or went.
    pub(super) fn change(&mut self, change: &Change<'_>) -> Result<(), SpaceError> {
        let key = (change.did.clone(), change.path.to_owned());
        let place = self.overlay.get(&RECORDS, &key)?.map(|Cbor(place)| place);
        let collection = change.path.split_once('/').map_or(change.path, |(name, _)| name);
        let value = change.record.and_then(|(cid, bytes)| Some((cid, bytes, cbor::decode(bytes).ok()?)));
        let said = value.as_ref().and_then(|(_, _, value)| read(collection, value));
        match (said, place) {
            (Some(Said::Space(said)), place) => self.space(change, said, place),
            (Some(Said::Channel(said)), place) => self.channel(change, said, place),
            (Some(Said::Message(said)), place) => {
                let value = value.as_ref().map(|(_, _, value)| value);
                self.message(change, &said, place, value.unwrap_or(&Value::Null))
            }
            (Some(Said::Reaction(said)), None) => self.reaction(change, &said),
            // Neither the emoji nor the message of a reaction ever changes: it is there already.
            (Some(Said::Reaction(_)), Some(_)) => Ok(()),
            (None, Some(place)) => self.gone(change, place),
            (None, None) => Ok(()),
        }
    }

    fn space(&mut self, change: &Change<'_>, said: SpaceSaid, place: Option<Place>) -> Result<(), SpaceError> {
        let Some((cid, _)) = change.record else { return Ok(()) };
        if let Some(Place::Space(id)) = place {
            let Some(row) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
            // What was private stays so, and what was public was seen.
            let stays = (row.rules.visibility == Visibility::Public) == (said.rules.visibility == Visibility::Public);
            if !stays || room_of(&row).as_ref() != change.room {
                return Ok(());
            }
            let row = SpaceRow { cid, name: said.name, slug: said.slug, rules: said.rules, gone_at: None, ..row };
            self.overlay.put(&SPACES, &id, &row)?;
            self.changed.push(id);
            return self.happened_at(id, change.at, change.sequence, What::Space { gone: false });
        }
        // Only what everybody may see lies in a public repository, and what not everybody may see in a room of its own.
        let key = change.path.rsplit('/').next().unwrap_or_default();
        let in_place = match change.room {
            None => said.rules.visibility == Visibility::Public,
            Some(room) => {
                said.rules.visibility != Visibility::Public && room.authority == *change.did && room.key.as_str() == key
            }
        };
        if !in_place {
            return Ok(());
        }
        let id = SpaceId(self.spaces.0.numbers.next(&self.spaces.0.writer)?);
        let address = Address { did: change.did.clone(), path: change.path.to_owned() };
        let row = SpaceRow {
            holder: change.did.clone(),
            rkey: address.rkey().to_owned(),
            cid,
            name: said.name,
            slug: said.slug,
            rules: said.rules,
            indexed_at: change.at,
            gone_at: None,
            last: 0,
            messages: 0,
            members: 0,
            active_at: change.at,
            words_upto: 0,
            words_waiting: 0,
            channels: 0,
        };
        self.overlay.put(&SPACES, &id, &row)?;
        self.overlay.put(&RECORDS, &address.key(), &Cbor(Place::Space(id)))?;
        // Exactly one owner: whoever holds the space.
        let membership = Membership::new(Role::Owner, Status::Active);
        self.put_member(MemberChange { space: id, did: change.did.clone(), membership }, change.at, change.sequence)
    }

    fn channel(&mut self, change: &Change<'_>, said: ChannelSaid, place: Option<Place>) -> Result<(), SpaceError> {
        let Some((cid, _)) = change.record else { return Ok(()) };
        if let Some(Place::Channel(id, number)) = place {
            let Some(row) = self.overlay.get(&CHANNELS, &(id, number))? else { return Ok(()) };
            // What some could read is not for all of a sudden.
            let opens = row.own_room && said.visibility == ChannelVisibility::Public;
            let hides = change.room.is_none() && said.visibility != ChannelVisibility::Public;
            if opens || hides || !self.lies_in(&Place::Channel(id, number), change.room)? {
                return Ok(());
            }
            let rules = ChannelRules { visibility: said.visibility, ..row.rules.clone() };
            let row = ChannelRow { cid, name: said.name, kind: said.kind, rules, gone_at: None, ..row };
            self.overlay.put(&CHANNELS, &(id, number), &row)?;
            self.changed.push(id);
            return self.happened_at(id, change.at, change.sequence, What::Channel { channel: number, gone: false });
        }
        let Some(address) = said.space else { return Ok(()) };
        let Some((id, mut space)) = self.space_at(&address)? else { return Ok(()) };
        // A channel is held by whoever holds its space, and what others may not see is not in a public repository.
        let is_full = space.channels as usize >= SPACE_CHANNELS_MAX;
        let own = room(&space.holder, change.path.rsplit('/').next().unwrap_or_default());
        let own_room = said.visibility != ChannelVisibility::Public && own.is_some() && own.as_ref() == change.room;
        let beside = room_of(&space).as_ref() == change.room
            && (said.visibility == ChannelVisibility::Public || change.room.is_some());
        if space.holder != *change.did || is_full || !(own_room || beside) {
            return Ok(());
        }
        space.channels += 1;
        let number = space.channels;
        let own = Address { did: change.did.clone(), path: change.path.to_owned() };
        let row = ChannelRow {
            holder: change.did.clone(),
            rkey: own.rkey().to_owned(),
            cid,
            name: said.name,
            kind: said.kind,
            rules: new_rules(said.visibility),
            department: None,
            indexed_at: change.at,
            gone_at: None,
            own_room,
        };
        self.overlay.put(&SPACES, &id, &space)?;
        self.overlay.put(&CHANNELS, &(id, number), &row)?;
        self.overlay.put(&RECORDS, &own.key(), &Cbor(Place::Channel(id, number)))?;
        self.happened_at(id, change.at, change.sequence, What::Channel { channel: number, gone: false })
    }

    /// A record that was indexed is gone.
    fn gone(&mut self, change: &Change<'_>, place: Place) -> Result<(), SpaceError> {
        // A record of the same name elsewhere is another record.
        if !self.lies_in(&place, change.room)? {
            return Ok(());
        }
        self.overlay.delete(&RECORDS, &(change.did.clone(), change.path.to_owned()));
        match place {
            Place::Space(id) => {
                let Some(row) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
                if self.is_of_the_log {
                    // What no record says of it goes with it; a space that comes to lie there later begins with nothing.
                    let under = (row.holder.clone(), row.rkey.clone());
                    self.overlay.forget_under(&FACTS, &under);
                    self.deleted.push(under);
                }
                self.overlay.put(&SPACES, &id, &SpaceRow { gone_at: Some(change.at), ..row })?;
                self.changed.push(id);
                self.strangers = true;
                self.happened_at(id, change.at, change.sequence, What::Space { gone: true })
            }
            Place::Channel(id, channel) => {
                let Some(row) = self.overlay.get(&CHANNELS, &(id, channel))? else { return Ok(()) };
                self.overlay.put(&CHANNELS, &(id, channel), &ChannelRow { gone_at: Some(change.at), ..row })?;
                self.changed.push(id);
                self.happened_at(id, change.at, change.sequence, What::Channel { channel, gone: true })
            }
            Place::Message(id, position) => {
                let Some(row) = self.overlay.get(&MESSAGES, &(id, position))? else { return Ok(()) };
                let space = self.overlay.get(&SPACES, &id)?;
                let reactions = self.overlay.reader().scan(&REACTIONS).prefix(&(id, position));
                for ((id, position, emoji, did), Cbor(rkey)) in reactions.page(REACTIONS_DROPPED_MAX)?.rows {
                    let path = format!("{REACTION}/{rkey}");
                    if let Some(space) = &space {
                        self.overlay.forget_heard(space, (&did, &path))?;
                    }
                    self.overlay.delete(&RECORDS, &(did.clone(), path));
                    self.overlay.delete(&REACTIONS, &(id, position, emoji, did));
                }
                self.overlay.delete_message(id, position, &row)?;
                if let Some(mut space) = space {
                    space.messages = space.messages.saturating_sub(1);
                    self.overlay.put(&SPACES, &id, &space)?;
                    let address = (change.did, change.path);
                    self.overlay.put_fact(&space, Fact::hidden(change.did, change.path), None)?;
                    self.overlay.forget_heard(&space, address)?;
                    let oldest = row.version.saturating_sub(VERSIONS_KEPT);
                    self.overlay.forget_superseded(&space, address, oldest..row.version)?;
                }
                let MessageRow { channel, author, rkey, .. } = row;
                let what = What::Gone { channel, author, rkey, hidden: false };
                self.happened_at(id, change.at, change.sequence, what)
            }
            Place::Reaction(id, position, emoji) => {
                self.overlay.delete(&REACTIONS, &(id, position, emoji.clone(), change.did.clone()));
                if let Some(space) = self.overlay.get(&SPACES, &id)? {
                    self.overlay.forget_heard(&space, (change.did, change.path))?;
                }
                let Some(message) = self.overlay.get(&MESSAGES, &(id, position))? else { return Ok(()) };
                let (channel, author) = (message.channel, change.did.clone());
                let what = What::Reaction { channel, position, author, emoji, added: false };
                self.happened_at(id, change.at, change.sequence, what)
            }
        }
    }

    fn member(&mut self, change: MemberChange, event: &Event) -> Result<(), SpaceError> {
        self.put_member(change, event.at, event.sequence)
    }

    fn put_member(&mut self, change: MemberChange, at: Timestamp, sequence: u64) -> Result<(), SpaceError> {
        let MemberChange { space: id, did, membership } = change;
        let Some(mut space) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
        let key = (id, did.clone());
        let before = self.overlay.get(&MEMBERS, &key)?;
        let was_active = before.as_ref().is_some_and(|row| row.membership.is_active());
        match (was_active, membership.is_active()) {
            (false, true) => space.members += 1,
            (true, false) => space.members = space.members.saturating_sub(1),
            _ => {}
        }
        space.active_at = space.active_at.max(at);
        let (role, status) = (membership.role, membership.status);
        let joined_at = before.as_ref().and_then(|row| row.joined_at).or(membership.is_active().then_some(at));
        let created_at = before.as_ref().map_or(at, |row| row.created_at);
        let row = MemberRow { membership, joined_at, created_at, changed_at: at };
        self.overlay.put(&SPACES, &id, &space)?;
        self.overlay.put(&MEMBERS, &key, &row)?;
        if !self.again && space.gone_at.is_none() {
            // What an index that is made anew finds out is less than what was known.
            self.overlay.put_fact(&space, Fact::member(&did), Some(Fact::Member(did.clone(), row)))?;
        }
        match status {
            Status::Left | Status::Banned => self.overlay.delete(&SPACES_OF, &(did.clone(), id)),
            _ => self.overlay.put(&SPACES_OF, &(did.clone(), id), &Present)?,
        }
        self.known.remove(&key);
        // Who lives elsewhere is looked through among all members: not for everybody who comes and goes here.
        self.strangers |= self.spaces.0.accounts.resident_blocking(&did)?.is_none();
        self.members.push(key);
        self.happened_at(id, at, sequence, What::Member { did, role, status })
    }

    pub(super) fn happened(&mut self, id: SpaceId, event: &Event, what: What) -> Result<(), SpaceError> {
        self.happened_at(id, event.at, event.sequence, what)
    }

    /// Gives what happened its number and keeps it for those who come back.
    fn happened_at(&mut self, id: SpaceId, at: Timestamp, sequence: u64, what: What) -> Result<(), SpaceError> {
        let Some(mut space) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
        let number = space.next(sequence);
        self.overlay.put(&SPACES, &id, &space)?;
        let happening = Happening { at, what };
        if self.spaces.0.live.is_followed(id) {
            let notice = notice_of_what(&self.overlay, id, &space, number, &happening)?;
            self.notices.extend(notice);
        }
        Ok(self.overlay.put(&LOG, &(id, number), &Cbor(happening))?)
    }

    pub(super) fn spaces(&self) -> &'r Spaces {
        self.spaces
    }

    pub(super) fn space_at(&self, address: &Address) -> Result<Option<(SpaceId, SpaceRow)>, SpaceError> {
        let Some(Cbor(Place::Space(id))) = self.overlay.get(&RECORDS, &address.key())? else { return Ok(None) };
        Ok(self.overlay.get(&SPACES, &id)?.filter(|row| row.gone_at.is_none()).map(|row| (id, row)))
    }
}
