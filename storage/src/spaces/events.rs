//! What the spaces write into the event log besides commits: what people did that is no record of theirs, and what came
//! from authors elsewhere. The index is made of these and of the commits, in the order of the log.

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Tid};
use angel_protocol::spaces::{ChannelRules, Membership};
use angel_protocol::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ChannelNumber, InviteRow, SpaceId};
use crate::batch::RowRefused;
use crate::codec::CodecError;
use crate::events::{Event, EventKind, NewEvent};
use crate::tables::TableId;

/// A record of an author elsewhere, verified: [`Foreign`].
pub const FOREIGN: EventKind = EventKind(40);

/// A membership was made or changed: [`MemberChange`].
pub const MEMBER: EventKind = EventKind(41);

/// A message was hidden or shown: [`Moderated`].
pub const MODERATED: EventKind = EventKind(42);

/// What a channel's public record does not say: [`ChannelSettings`].
pub const SETTINGS: EventKind = EventKind(43);

/// A member has read: [`ReadChange`].
pub const READ: EventKind = EventKind(44);

/// An invitation was made, taken or withdrawn: [`Invited`].
pub const INVITED: EventKind = EventKind(45);

/// A record of an author elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// Who.
    pub did: Did,
    /// `collection/key`.
    pub path: String,
    /// The revision that wrote it.
    pub rev: Tid,
    /// The record; absent when it is gone.
    pub record: Option<(Cid, serde_bytes::ByteBuf)>,
}

/// A membership as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// In which space.
    pub space: SpaceId,
    /// Whose.
    pub did: Did,
    /// What it is.
    pub membership: Membership,
}

/// What a moderator did to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moderated {
    /// In which space.
    pub space: SpaceId,
    /// The message.
    pub position: u64,
    /// Who.
    pub by: Did,
    /// Whether it is hidden from now on.
    pub hidden: bool,
    /// Why, for the author.
    pub reason: Option<String>,
}

/// A channel's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSettings {
    /// In which space.
    pub space: SpaceId,
    /// Which.
    pub channel: ChannelNumber,
    /// Roles and guests; the visibility is the record's to say.
    pub rules: ChannelRules,
    /// The department of its messages.
    pub department: Option<String>,
}

/// How far a member has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadChange {
    /// In which space.
    pub space: SpaceId,
    /// Where.
    pub channel: ChannelNumber,
    /// Who.
    pub did: Did,
    /// Up to which message.
    pub position: u64,
}

/// An invitation as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// To which space.
    pub space: SpaceId,
    /// SHA-256 of the token.
    pub hash: serde_bytes::ByteArray<32>,
    /// The invitation; absent when it is used up or withdrawn.
    pub invite: Option<InviteRow>,
}

/// An event that the spaces wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpaceEvent {
    /// [`FOREIGN`].
    Foreign(Foreign),
    /// [`MEMBER`].
    Member(MemberChange),
    /// [`MODERATED`].
    Moderated(Moderated),
    /// [`SETTINGS`].
    Settings(ChannelSettings),
    /// [`READ`].
    Read(ReadChange),
    /// [`INVITED`].
    Invited(Invited),
}

/// An event to be appended.
///
/// # Errors
/// [`RowRefused::EventTooLarge`] for a record beyond the bounds of the protocol.
pub fn event(at: Timestamp, event: &SpaceEvent) -> Result<NewEvent, RowRefused> {
    let (kind, body) = match event {
        SpaceEvent::Foreign(body) => (FOREIGN, serde_ipld_dagcbor::to_vec(body)),
        SpaceEvent::Member(body) => (MEMBER, serde_ipld_dagcbor::to_vec(body)),
        SpaceEvent::Moderated(body) => (MODERATED, serde_ipld_dagcbor::to_vec(body)),
        SpaceEvent::Settings(body) => (SETTINGS, serde_ipld_dagcbor::to_vec(body)),
        SpaceEvent::Read(body) => (READ, serde_ipld_dagcbor::to_vec(body)),
        SpaceEvent::Invited(body) => (INVITED, serde_ipld_dagcbor::to_vec(body)),
    };
    let refused = |detail: String| RowRefused::Value { table: TableId::Events, source: CodecError::Encode { detail } };
    NewEvent::new(at, None, kind, &body.map_err(|error| refused(error.to_string()))?)
}

impl SpaceEvent {
    /// Reads an event of the log; `None` when it is of another kind.
    ///
    /// # Errors
    /// The body is not what [`event`] writes.
    pub fn read(event: &Event) -> Result<Option<Self>, CodecError> {
        Ok(Some(match event.kind {
            FOREIGN => Self::Foreign(body(event)?),
            MEMBER => Self::Member(body(event)?),
            MODERATED => Self::Moderated(body(event)?),
            SETTINGS => Self::Settings(body(event)?),
            READ => Self::Read(body(event)?),
            INVITED => Self::Invited(body(event)?),
            _ => return Ok(None),
        }))
    }
}

fn body<T: DeserializeOwned>(event: &Event) -> Result<T, CodecError> {
    crate::codec::from_cbor(&event.body)
}
