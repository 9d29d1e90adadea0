//! Who asks, and what there is for them: a space or a message that they may not know of is not found.

use angel_protocol::ids::Did;
use angel_protocol::spaces::{Access, CHANNEL, ChannelRules, MESSAGE, Membership, SPACE, Standing};
use angel_protocol::tenants;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{
    CHANNELS, ChannelNumber, ChannelRow, MEMBERS, MESSAGES, MessageRow, OWN_STREAM, Place, RECORDS, SPACES, SpaceId,
    SpaceRow,
};

use super::reading::Reading;
use super::records::Address;
use super::{SpaceError, Spaces};
use crate::accounts::Account;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// Who; `None` for somebody who does not say.
    pub(crate) did: Option<Did>,
    /// Their account, if it is hosted here.
    pub(crate) account: Option<Account>,
}

impl Asker {
    /// Who asks, for what strangers may not do.
    ///
    /// # Errors
    /// They do not say.
    pub(crate) fn somebody(&self) -> Result<&Did, SpaceError> {
        self.did.as_ref().ok_or(SpaceError::Anonymous)
    }
}

/// A space as somebody finds it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its number here.
    pub(crate) id: SpaceId,
    /// What is known of it.
    pub(crate) row: SpaceRow,
    /// What whoever asks is in it.
    pub(crate) membership: Option<Membership>,
    /// Who asks.
    pub(crate) did: Option<Did>,
    /// Who they are to whoever holds it.
    pub(super) standing: Standing,
}

impl Found {
    /// What whoever asks may do.
    pub(crate) fn access(&self) -> Access<'_> {
        Access { space: self.row.rules, membership: self.membership.as_ref(), standing: self.standing }
    }
}

/// A channel as somebody finds it: its number, and its row unless it is the space's own stream.
pub(crate) type FoundChannel = (ChannelNumber, Option<ChannelRow>);

impl Reading {
    /// The space at `uri`, if whoever asks may know of it. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::SpaceNotFound`], for whatever reason.
    pub(crate) fn find(&self, uri: &str, asker: Option<&Did>) -> Result<Found, SpaceError> {
        let found = self.find_hidden(uri, asker)?;
        if found.access().may_see() { Ok(found) } else { Err(SpaceError::SpaceNotFound) }
    }

    /// The space at `uri`, whether or not whoever asks may know of it: for joining, which judges by itself. Blocks.
    pub(super) fn find_hidden(&self, uri: &str, asker: Option<&Did>) -> Result<Found, SpaceError> {
        let address = Address::of(uri, SPACE).ok_or(SpaceError::SpaceNotFound)?;
        let Some(Cbor(Place::Space(id))) = self.reader.get(&RECORDS, &address.key())? else {
            return Err(SpaceError::SpaceNotFound);
        };
        self.found(id, asker)
    }

    /// A space by its number. Blocks.
    pub(super) fn found(&self, id: SpaceId, asker: Option<&Did>) -> Result<Found, SpaceError> {
        let row = self.reader.get(&SPACES, &id)?.filter(|row| row.gone_at.is_none() && self.speaks_for(&row.holder));
        let row = row.ok_or(SpaceError::SpaceNotFound)?;
        let membership = match asker {
            Some(did) => self.reader.get(&MEMBERS, &(id, did.clone()))?.map(|row| row.membership),
            None => None,
        };
        let standing = match asker {
            Some(did) => self.standing(&row.holder, did)?,
            None => Standing::Stranger,
        };
        Ok(Found { id, row, membership, did: asker.cloned(), standing })
    }

    /// A channel of a space, if whoever asks may read it. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::ChannelNotFound`], for whatever reason.
    pub(crate) fn channel(&self, found: &Found, uri: Option<&str>) -> Result<FoundChannel, SpaceError> {
        let Some(uri) = uri else { return Ok((OWN_STREAM, None)) };
        let address = Address::of(uri, CHANNEL).ok_or(SpaceError::ChannelNotFound)?;
        let place = self.reader.get(&RECORDS, &address.key())?;
        let Some(Cbor(Place::Channel(id, number))) = place else { return Err(SpaceError::ChannelNotFound) };
        let row = self.reader.get(&CHANNELS, &(id, number))?;
        let row = row.filter(|row| id == found.id && row.gone_at.is_none()).ok_or(SpaceError::ChannelNotFound)?;
        if !found.access().may_read(&row.rules, Some(&row.rkey)) {
            return Err(SpaceError::ChannelNotFound);
        }
        Ok((number, Some(row)))
    }

    /// The channel with the address `uri`, and its space. Blocks.
    pub(crate) fn channel_alone(
        &self,
        uri: &str,
        asker: &Did,
    ) -> Result<(Found, ChannelNumber, ChannelRow), SpaceError> {
        let address = Address::of(uri, CHANNEL).ok_or(SpaceError::ChannelNotFound)?;
        let place = self.reader.get(&RECORDS, &address.key())?;
        let Some(Cbor(Place::Channel(id, _))) = place else { return Err(SpaceError::ChannelNotFound) };
        let found = self.found(id, Some(asker)).map_err(|_| SpaceError::ChannelNotFound)?;
        if !found.access().may_see() {
            return Err(SpaceError::ChannelNotFound);
        }
        match self.channel(&found, Some(uri))? {
            (number, Some(row)) => Ok((found, number, row)),
            (_, None) => Err(SpaceError::ChannelNotFound),
        }
    }

    /// The message at `uri`, if whoever asks may read it. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::MessageNotFound`], for whatever reason.
    pub(crate) fn message(&self, uri: &str, asker: Option<&Did>) -> Result<(Found, u64, MessageRow), SpaceError> {
        let address = Address::of(uri, MESSAGE).ok_or(SpaceError::MessageNotFound)?;
        let place = self.reader.get(&RECORDS, &address.key())?;
        let Some(Cbor(Place::Message(id, position))) = place else { return Err(SpaceError::MessageNotFound) };
        let found = match self.found(id, asker) {
            Err(SpaceError::SpaceNotFound) => return Err(SpaceError::MessageNotFound),
            other => other?,
        };
        let message = self.reader.get(&MESSAGES, &(id, position))?.ok_or(SpaceError::MessageNotFound)?;
        if self.may_read_number(&found, message.channel)? && may_see_message(&found, &message) {
            Ok((found, position, message))
        } else {
            Err(SpaceError::MessageNotFound)
        }
    }

    /// Whether whoever asks may read a channel by its number. Blocks.
    pub(super) fn may_read_number(&self, found: &Found, channel: ChannelNumber) -> Result<bool, SpaceError> {
        let access = found.access();
        if channel == OWN_STREAM {
            return Ok(access.may_read(&ChannelRules::of_the_space(), None));
        }
        let row = self.reader.get(&CHANNELS, &(found.id, channel))?;
        Ok(row.is_some_and(|row| row.gone_at.is_none() && access.may_read(&row.rules, Some(&row.rkey))))
    }
}

impl Spaces {
    /// Who somebody is to the account that holds a space: its tenant's roles come before any space's (RBC-01).
    pub(super) fn standing(&self, holder: &Did, did: &Did) -> Standing {
        if holder == did || self.0.tenants.role(holder, did) == Some(tenants::Role::Owner) {
            Standing::Holder
        } else if self.0.tenants.allows(holder, did, tenants::Permission::ManageSpaces) {
            Standing::Manager
        } else {
            Standing::Stranger
        }
    }

    /// The number of a channel that somebody may write to. Blocks.
    pub(super) fn may_type(
        &self,
        id: SpaceId,
        did: &Did,
        channel: Option<&str>,
    ) -> Result<Option<ChannelNumber>, SpaceError> {
        let found = self.here().found(id, Some(did))?;
        let (number, row) = self.here().channel(&found, channel)?;
        let (rules, rkey) = match &row {
            Some(row) => (row.rules.clone(), Some(row.rkey.as_str())),
            None => (ChannelRules::of_the_space(), None),
        };
        Ok(found.access().may_post(&rules, rkey).then_some(number))
    }
}

/// Whether a hidden message is shown: to its author, and to those who may hide.
pub(super) fn may_see_message(found: &Found, message: &MessageRow) -> bool {
    message.hidden.is_none()
        || found.did.as_ref() == Some(&message.author)
        || found.access().allows(angel_protocol::spaces::Permission::ModerateContent)
}
