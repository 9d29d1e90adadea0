//! Records of spaces, written into the repositories of those whose records they are: spaces and channels of their
//! holder, messages and reactions of their authors. The index learns of them from the log, as of everybody's.

use std::collections::BTreeSet;

use angel_protocol::data::{Cid, Map, Value, cbor};
use angel_protocol::ids::Did;
use angel_protocol::limits::SPACE_CHANNELS_MAX;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::spaces::{
    CHANNEL, ChannelRules, MESSAGE, Permission, REACTION, Role, SPACE, Standing, Visibility, check_message,
};
use angel_storage::codec::Cbor;
use angel_storage::permissioned::{self as rows, Order};
use angel_storage::spaces::{CHANNELS, ChannelSettings, Place, REACTIONS, RECORDS, SpaceEvent};
use serde_json::Value as Json;

use super::find::{Asker, Found};
use super::keep::{as_map, finished};
use super::records::{self, Address};
use super::rooms::{room as room_at, room_of};
use super::streams::Stream;
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::blocking;
use crate::repos::NewRecord;

/// A record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Where.
    pub(crate) uri: String,
    /// What.
    pub(crate) cid: Cid,
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NewMessage {
    /// Where to.
    pub(crate) space: String,
    /// The record, without its type and time.
    pub(crate) record: Json,
}

/// A message that somebody reacts to. Of one in a space elsewhere, whoever reacts says more than its URI.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// Where it is.
    pub(crate) uri: String,
    /// Which version.
    pub(crate) cid: Option<String>,
    /// In which space.
    pub(crate) space: Option<String>,
    /// In which channel.
    pub(crate) channel: Option<String>,
}

/// Own reactions among which one is looked for, the newest first.
const REACTIONS_LOOKED_AT_MAX: usize = 1000;

impl Spaces {
    /// Makes a space of an account that is hosted here.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn create(
        &self,
        asker: &Asker,
        holder: Option<&Did>,
        record: Json,
    ) -> Result<Written, SpaceError> {
        let did = asker.somebody()?;
        let account = self.holder(holder.unwrap_or(did)).await?;
        if self.standing(account.did(), did) < Standing::Manager {
            return Err(SpaceError::Forbidden("you may not make spaces for this account"));
        }
        let record = self.space_record(&account, record, None)?;
        self.check_slug(account.did(), None, &record).await?;
        self.check_features(account.did(), SPACE, None, &record)?;
        let written = if visibility_of(&record)? == Visibility::Public {
            let record = self.judged(None, &account, SPACE, record, None).await?;
            self.room_for_a_space(account.did()).await?;
            self.store(None, &account, SPACE, None, &record).await?
        } else {
            // Judged before there is a room to put it into.
            let somewhere = room_at(account.did(), "new").ok_or(SpaceError::SpaceNotFound)?;
            let record = self.judged(Some(&somewhere), &account, SPACE, record, None).await?;
            self.room_for_a_space(account.did()).await?;
            let room = self.open_room(&account).await?;
            self.store(Some(&room), &account, SPACE, Some(room.key.as_str()), &record).await?
        };
        self.caught_up().await;
        Ok(written)
    }

    /// Changes a space.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn update(&self, asker: &Asker, uri: &str, record: Json) -> Result<Written, SpaceError> {
        let found = self.found_by(asker, uri).await?;
        if !found.access().allows(Permission::ManageSpace) {
            return Err(SpaceError::Forbidden("you may not change this space"));
        }
        let account = self.holder(&found.row.holder).await?;
        let room = room_of(&found.row);
        let before = self.record_of(room.as_ref(), &account, SPACE, &found.row.rkey).await?;
        let record = self.space_record(&account, record, before.as_ref())?;
        if (visibility_of(&record)? == Visibility::Public) != room.is_none() {
            return Err(SpaceError::Forbidden("a space does not change between public and private; make another one"));
        }
        if before.as_ref().and_then(|before| before.get("slug")) != record.get("slug") {
            self.check_slug(account.did(), Some(&found.row.rkey), &record).await?;
        }
        let record = self.judged(room.as_ref(), &account, SPACE, record, before.as_ref()).await?;
        self.check_features(account.did(), SPACE, before.as_ref(), &record)?;
        self.count_call(&found.row.holder)?;
        let written = self.store(room.as_ref(), &account, SPACE, Some(&found.row.rkey), &record).await?;
        self.caught_up().await;
        Ok(written)
    }

    /// Takes a space away, with its channels. What people wrote in it is theirs and stays in their repositories.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn delete(&self, asker: &Asker, uri: &str) -> Result<(), SpaceError> {
        let found = self.found_by(asker, uri).await?;
        if found.access().acting().is_none_or(|acting| acting.role != Role::Owner) {
            return Err(SpaceError::Forbidden("only its owner takes a space away"));
        }
        let account = self.holder(&found.row.holder).await?;
        let this = self.clone();
        let (id, asking) = (found.id, found.did.clone());
        let channels = blocking::run(move || this.here().channels_of(id, asking.as_ref())).await?;
        let mut rooms = vec![];
        for (number, row) in channels {
            let path = format!("{CHANNEL}/{}", row.rkey);
            let (own, room) = (row.own_room, Stream::of(number, row).room(&found.row));
            self.take_away(room.as_ref(), &account, &path).await?;
            rooms.extend(room.filter(|_| own));
        }
        let room = room_of(&found.row);
        self.take_away(room.as_ref(), &account, &format!("{SPACE}/{}", found.row.rkey)).await?;
        self.caught_up().await;
        for room in rooms.into_iter().chain(room) {
            self.0.permissioned.delete_space(&room).await?;
        }
        Ok(())
    }

    /// Makes a channel.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn create_channel(
        &self,
        asker: &Asker,
        uri: &str,
        record: Json,
        settings: NewSettings,
    ) -> Result<Written, SpaceError> {
        let found = self.found_by(asker, uri).await?;
        if !found.access().allows(Permission::CreateChannels) {
            return Err(SpaceError::Forbidden("you may not make channels in this space"));
        }
        if found.row.channels as usize >= SPACE_CHANNELS_MAX {
            return Err(SpaceError::TooMany("the space has as many channels as it takes"));
        }
        if found.row.rules.direct {
            return Err(SpaceError::Forbidden("a direct conversation has no channels"));
        }
        let account = self.holder(&found.row.holder).await?;
        let mut record = as_map(record)?;
        record.insert("tenant".to_owned(), Value::String(found.row.holder.to_string()));
        record.insert("space".to_owned(), Value::String(uri.to_owned()));
        let record = finished(CHANNEL, record)?;
        let room = if is_public(&record) { room_of(&found.row) } else { room_at(account.did(), "new") };
        let record = self.judged(room.as_ref(), &account, CHANNEL, record, None).await?;
        self.count_call(&found.row.holder)?;
        let written = if is_public(&record) {
            self.store(room.as_ref(), &account, CHANNEL, None, &record).await?
        } else {
            let room = self.open_room(&account).await?;
            self.store(Some(&room), &account, CHANNEL, Some(room.key.as_str()), &record).await?
        };
        self.caught_up().await;
        self.set_settings(&found, &written.uri, settings).await?;
        Ok(written)
    }

    /// Changes a channel.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn update_channel(
        &self,
        asker: &Asker,
        uri: &str,
        changes: Json,
        settings: NewSettings,
    ) -> Result<Written, SpaceError> {
        let (this, at, did) = (self.clone(), uri.to_owned(), asker.somebody()?.clone());
        let (found, number, row) = blocking::run(move || this.here().channel_alone(&at, &did)).await?;
        let explicit = found.membership.as_ref().and_then(|membership| membership.channels.get(&row.rkey));
        let is_admin = explicit == Some(&angel_protocol::spaces::ChannelAccess::Admin);
        if !is_admin && !found.access().allows(Permission::CreateChannels) {
            return Err(SpaceError::Forbidden("you may not change this channel"));
        }
        let account = self.holder(&found.row.holder).await?;
        let room = Stream::of(number, row.clone()).room(&found.row);
        let mut record =
            self.record_of(room.as_ref(), &account, CHANNEL, &row.rkey).await?.ok_or(SpaceError::ChannelNotFound)?;
        let before = record.clone();
        let was_public = is_public(&Value::Map(record.clone()));
        record.extend(as_map(changes)?);
        let record = finished(CHANNEL, record)?;
        if is_public(&record) != was_public {
            return Err(SpaceError::Forbidden("a channel does not change between public and not; make another one"));
        }
        let record = self.judged(room.as_ref(), &account, CHANNEL, record, Some(&before)).await?;
        self.count_call(&found.row.holder)?;
        let written = self.store(room.as_ref(), &account, CHANNEL, Some(&row.rkey), &record).await?;
        self.caught_up().await;
        let settings = NewSettings {
            department: settings.department.or(row.department),
            allowed_roles: settings.allowed_roles.or(Some(row.rules.allowed_roles)),
            guest_access: settings.guest_access.or(Some(row.rules.guest_access)),
        };
        self.set_settings(&found, uri, settings).await?;
        Ok(written)
    }

    async fn set_settings(&self, found: &Found, uri: &str, settings: NewSettings) -> Result<(), SpaceError> {
        let (this, uri, id) = (self.clone(), uri.to_owned(), found.id);
        let (number, row) = blocking::run(move || {
            let address = Address::of(&uri, CHANNEL).ok_or(SpaceError::ChannelNotFound)?;
            let place = this.0.reader.get(&RECORDS, &address.key())?;
            let Some(Cbor(Place::Channel(_, number))) = place else { return Err(SpaceError::ChannelNotFound) };
            let row = this.0.reader.get(&CHANNELS, &(id, number))?.ok_or(SpaceError::ChannelNotFound)?;
            Ok((number, row))
        })
        .await?;
        let rules = ChannelRules {
            // The record's to say; ignored.
            visibility: row.rules.visibility,
            allowed_roles: settings.allowed_roles.clone().unwrap_or_default(),
            guest_access: settings.guest_access.unwrap_or_default(),
        };
        // Whoever has to go is out before anything tells of it.
        self.fill_room(found, number, rules.clone()).await?;
        if settings == NewSettings::default() {
            return Ok(());
        }
        let settings = ChannelSettings { space: id, channel: number, rules, department: settings.department };
        self.say(settings.space, vec![SpaceEvent::Settings(settings)]).await
    }

    /// Sends a message into a space that is hosted here.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn send(&self, asker: &Asker, message: NewMessage) -> Result<Written, SpaceError> {
        let did = asker.somebody()?.clone();
        let mut record = as_map(message.record)?;
        record.insert("space".to_owned(), Value::String(message.space.clone()));
        if !record.contains_key("messageType") {
            record.insert("messageType".to_owned(), Value::String("user".to_owned()));
        }
        let record = finished(MESSAGE, record)?;
        let kind = record.get("messageType").and_then(Value::as_str).unwrap_or_default();
        let holder = Address::of(&message.space, SPACE).ok_or(SpaceError::SpaceNotFound)?.did;
        check_message(&record, self.speaker(&holder, &did, kind).await?)?;
        let (this, uri, checked) = (self.clone(), message.space, record.clone());
        let (asking, at) = (did.clone(), uri.clone());
        let (found, stream) = match blocking::run(move || this.check_posting(&at, &asking, &checked)).await {
            Err(SpaceError::HolderElsewhere) => return self.send_elsewhere(asker, &uri, &record).await,
            found => found?,
        };
        let account = asker.account.as_ref().ok_or(SpaceError::AuthorElsewhere)?;
        let room = stream.room(&found.row);
        if room.is_some() && found.membership.is_none() {
            // Staff of the tenant may write without being members; the room has to know them.
            self.let_in(found.id, &found.row, &did, None).await?;
        }
        let record = self.judged(room.as_ref(), account, MESSAGE, record, None).await?;
        self.count_call(&found.row.holder)?;
        let written = self.store(room.as_ref(), account, MESSAGE, None, &record).await?;
        if found.row.rules.direct && found.row.holder == did {
            self.tell_the_other(&found).await;
        }
        Ok(written)
    }

    /// Writes a message for a space of another host into the author's repository here: the public one when the space is
    /// known to be public, else the one in its room. The host of the space hears of it, and judges who may write there.
    async fn send_elsewhere(&self, asker: &Asker, space: &str, record: &Value) -> Result<Written, SpaceError> {
        let account = asker.account.as_ref().ok_or(SpaceError::AuthorElsewhere)?;
        let room = self.room_elsewhere(space, record.get("channel").and_then(Value::as_str)).await?;
        let record = self.judged(room.as_ref(), account, MESSAGE, record.clone(), None).await?;
        self.store(room.as_ref(), account, MESSAGE, None, &record).await
    }

    /// The room of a space of another host, or of a channel of it; `None` for a public one.
    async fn room_elsewhere(&self, space: &str, channel: Option<&str>) -> Result<Option<SpaceUri>, SpaceError> {
        let holder = Address::of(space, SPACE).ok_or(SpaceError::SpaceNotFound)?;
        let mut places = vec![(space, holder)];
        if let Some(uri) = channel {
            places.push((uri, Address::of(uri, CHANNEL).ok_or(SpaceError::ChannelNotFound)?));
        }
        let mut room = None;
        for (uri, address) in places {
            if !self.0.rulebook.is_public(uri).await?.ok_or(SpaceError::HolderSilent)? {
                room = Some(room_at(&address.did, address.rkey()).ok_or(SpaceError::SpaceNotFound)?);
            }
        }
        Ok(room)
    }

    /// One's own reaction to a message of a space elsewhere, which no index here knows: among the newest of one's own.
    async fn own_reaction(
        &self,
        account: &Account,
        room: Option<&SpaceUri>,
        uri: &str,
        emoji: &str,
    ) -> Result<Option<String>, SpaceError> {
        let (this, id, did) = (self.clone(), account.id(), account.did().clone());
        let (room, uri, emoji) = (room.cloned(), uri.to_owned(), emoji.to_owned());
        blocking::run(move || {
            let is_it = |bytes: &[u8]| {
                let Ok(record) = cbor::decode(bytes) else { return false };
                let subject = record.get("subject").and_then(|subject| subject.get("uri")).and_then(Value::as_str);
                subject == Some(uri.as_str()) && record.get("emoji").and_then(Value::as_str) == Some(emoji.as_str())
            };
            let Some(room) = room else {
                let collection = REACTION.parse().expect("a collection of ours");
                let page = this.0.repos.list_blocking(id, &collection, REACTIONS_LOOKED_AT_MAX, None, false)?;
                let found = page.records.into_iter().find(|(_, record)| is_it(&record.bytes));
                return Ok(found.map(|(rkey, _)| rkey));
            };
            let repo = this.0.permissioned.repo_place_blocking(&room, &did)?;
            let (first, end) = (format!("{REACTION}/"), format!("{REACTION}0"));
            let mut scan = rows::records(&this.0.reader, repo, &first, Some(&end), Order::Descending);
            let mut looked_at = 0;
            while looked_at < REACTIONS_LOOKED_AT_MAX
                && let Some((path, record)) = scan.next(REACTIONS_LOOKED_AT_MAX)?
            {
                if is_it(&record.bytes) {
                    return Ok(path.rsplit('/').next().map(str::to_owned));
                }
                looked_at += 1;
            }
            Ok(None)
        })
        .await
    }

    /// Whether somebody may write a message there. Blocks.
    fn check_posting(&self, space: &str, did: &Did, record: &Value) -> Result<(Found, Stream), SpaceError> {
        let address = Address::of(space, SPACE).ok_or(SpaceError::SpaceNotFound)?;
        let found = match self.here().find(space, Some(did)) {
            // Whether it is public, and a message in it may be, another host would have to be asked.
            Err(SpaceError::SpaceNotFound) if self.0.accounts.resident_blocking(&address.did)?.is_none() => {
                return Err(SpaceError::HolderElsewhere);
            }
            found => found?,
        };
        let channel = record.get("channel").and_then(Value::as_str);
        let (number, row) = self.here().channel(&found, channel)?;
        let stream = row.map_or_else(Stream::own, |row| Stream::of(number, row));
        if found.access().may_post(&stream.rules, stream.rkey.as_deref()) {
            Ok((found, stream))
        } else {
            Err(SpaceError::Forbidden("you may not write there; join the space first"))
        }
    }

    /// Changes the content of one's own message; the version before is kept.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn edit(&self, asker: &Asker, uri: &str, content: Json) -> Result<Written, SpaceError> {
        let (account, rkey) = own_message(asker, uri)?;
        let room = self.room_of_message(uri, account).await?;
        let before = self.record_of(room.as_ref(), account, MESSAGE, &rkey).await?;
        let before = before.ok_or(SpaceError::MessageNotFound)?;
        let mut record = before.clone();
        record.insert("content".to_owned(), Value::Map(as_map(content)?));
        let record = finished(MESSAGE, record)?;
        let said = |field: &str| record.get(field).and_then(Value::as_str).unwrap_or_default();
        let holder = Address::of(said("space"), SPACE).ok_or(SpaceError::MessageNotFound)?.did;
        check_message(&record, self.speaker(&holder, account.did(), said("messageType")).await?)?;
        let record = self.judged(room.as_ref(), account, MESSAGE, record, Some(&before)).await?;
        self.store(room.as_ref(), account, MESSAGE, Some(&rkey), &record).await
    }

    /// Takes one's own message away.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn remove(&self, asker: &Asker, uri: &str) -> Result<(), SpaceError> {
        let (account, rkey) = own_message(asker, uri)?;
        let room = self.room_of_message(uri, account).await?;
        self.take_away(room.as_ref(), account, &format!("{MESSAGE}/{rkey}")).await?;
        self.caught_up().await;
        Ok(())
    }

    /// The room in which one's own message lies, `None` for a public one. That of a space elsewhere no index here knows;
    /// it is looked for.
    async fn room_of_message(&self, uri: &str, account: &Account) -> Result<Option<SpaceUri>, SpaceError> {
        let (this, uri, account) = (self.clone(), uri.to_owned(), account.clone());
        blocking::run(move || {
            let address = Address::of(&uri, MESSAGE).ok_or(SpaceError::MessageNotFound)?;
            match this.here().message(&uri, Some(account.did())) {
                Ok((found, _, message)) => return this.room_of_number(&found, message.channel),
                Err(SpaceError::MessageNotFound) => {}
                Err(error) => return Err(error),
            }
            if this.0.repos.record_blocking(account.id(), &address.path)?.is_some() {
                return Ok(None);
            }
            for room in this.rooms_of(&account)? {
                if this.room_record(&room, account.did(), &address.path)?.is_some() {
                    return Ok(Some(room));
                }
            }
            Err(SpaceError::MessageNotFound)
        })
        .await
    }

    /// Reacts to a message, or takes the reaction back.
    ///
    /// # Errors
    /// [`SpaceError`], by what stands in the way.
    pub(crate) async fn react(
        &self,
        asker: &Asker,
        subject: Subject,
        emoji: &str,
        add: bool,
    ) -> Result<Option<Written>, SpaceError> {
        let did = asker.somebody()?.clone();
        let (this, at, asking, word) = (self.clone(), subject.uri.clone(), did.clone(), emoji.to_owned());
        let found = blocking::run(move || {
            let (found, position, message) = this.here().message(&at, Some(&asking))?;
            let before = this.0.reader.get(&REACTIONS, &(found.id, position, word, asking))?;
            let room = this.room_of_number(&found, message.channel)?;
            Ok::<_, SpaceError>((room, Some(message.cid.to_string()), before.map(|Cbor(rkey)| rkey)))
        })
        .await;
        let account = asker.account.as_ref().ok_or(SpaceError::AuthorElsewhere);
        let (room, cid, before) = match (found, &subject.space) {
            (Err(SpaceError::MessageNotFound), Some(space)) => {
                let room = self.room_elsewhere(space, subject.channel.as_deref()).await?;
                let before = self.own_reaction(account?, room.as_ref(), &subject.uri, emoji).await?;
                (room, subject.cid.clone(), before)
            }
            (found, _) => found?,
        };
        let account = asker.account.as_ref().ok_or(SpaceError::AuthorElsewhere)?;
        match (add, before) {
            (true, Some(rkey)) => {
                let record = self
                    .record_of(room.as_ref(), account, REACTION, &rkey)
                    .await?
                    .ok_or(SpaceError::MessageNotFound)?;
                let cid = NewRecord::new(&Value::Map(record)).cid();
                Ok(Some(Written { uri: format!("at://{did}/{REACTION}/{rkey}"), cid }))
            }
            (true, None) => {
                // Which version of a message elsewhere is meant, whoever read it there knows.
                let cid = cid.ok_or(SpaceError::MessageNotFound)?;
                let subject =
                    Map::from([("uri".to_owned(), Value::String(subject.uri)), ("cid".to_owned(), Value::String(cid))]);
                let record = Map::from([
                    ("subject".to_owned(), Value::Map(subject)),
                    ("emoji".to_owned(), Value::String(emoji.to_owned())),
                ]);
                let record = finished(REACTION, record)?;
                let record = self.judged(room.as_ref(), account, REACTION, record, None).await?;
                let written = self.store(room.as_ref(), account, REACTION, None, &record).await?;
                self.caught_up().await;
                Ok(Some(written))
            }
            (false, Some(rkey)) => {
                self.take_away(room.as_ref(), account, &format!("{REACTION}/{rkey}")).await?;
                self.caught_up().await;
                Ok(None)
            }
            (false, None) => Ok(None),
        }
    }
}

/// Who may know of a space, as its record says.
fn visibility_of(record: &Value) -> Result<Visibility, SpaceError> {
    let said = records::space(record).map(|said| said.rules.visibility);
    said.ok_or_else(|| SpaceError::Malformed("the space says too little of itself".to_owned()))
}

/// What a channel's public record does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewSettings {
    /// The department of its messages.
    pub(crate) department: Option<String>,
    /// The roles that a restricted channel lets in.
    pub(crate) allowed_roles: Option<BTreeSet<Role>>,
    /// Whether guests may read and write.
    pub(crate) guest_access: Option<bool>,
}

/// Whether a channel is for whoever may see its space.
fn is_public(channel: &Value) -> bool {
    let access = channel.get("accessControl").and_then(|access| access.get("visibility"));
    access.and_then(Value::as_str) == Some("public")
}

/// One's own message: the account and the key of the record.
fn own_message<'a>(asker: &'a Asker, uri: &str) -> Result<(&'a Account, String), SpaceError> {
    let did = asker.somebody()?;
    let address = Address::of(uri, MESSAGE).ok_or(SpaceError::MessageNotFound)?;
    if address.did != *did {
        return Err(SpaceError::Forbidden("the message is somebody else's"));
    }
    let account = asker.account.as_ref().ok_or(SpaceError::AuthorElsewhere)?;
    Ok((account, address.rkey().to_owned()))
}
