//! What the event log says of private writes and of spaces, for indexes on this node. It names records; what they say
//! is read from their repository. The firehose takes events of other kinds alone.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::{Op, SpaceUri};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::RowRefused;
use crate::codec::{self, Cbor, CodecError};
use crate::events::{Event, EventKind, NewEvent};
use crate::key::AccountId;
use crate::tables::TableId;

/// A hosted account wrote into its repository in a space. The body is a [`Written`].
pub const WRITTEN: EventKind = EventKind(48);

/// A space, or who may do what in it, has changed. The body is a [`Changed`].
pub const CHANGED: EventKind = EventKind(49);

/// A repository elsewhere has advanced in a space that this node answers for. The body is an [`Advanced`].
pub const ADVANCED: EventKind = EventKind(50);

/// What somebody wrote into a repository elsewhere was verified and copied. The body is a [`Written`].
pub const COPIED: EventKind = EventKind(51);

/// What a private write did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The space.
    pub space: SpaceUri,
    /// Whose repository.
    pub author: Did,
    /// The revision that it made.
    pub rev: Tid,
    /// What it did, path by path.
    pub ops: Vec<Op>,
}

/// What became of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The space.
    pub space: SpaceUri,
    /// What happened.
    pub change: Change,
}

/// A change of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It was made, or made anew.
    Created,
    /// Its settings are others.
    Configured,
    /// It was deleted.
    Deleted,
    /// This one may do something else than before, or nothing any more.
    Member(Did),
}

/// That a repository on another host has advanced: whoever indexes the space asks that host for more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advanced {
    /// The space.
    pub space: SpaceUri,
    /// Whose repository.
    pub author: Did,
    /// Its revision.
    pub rev: Tid,
}

/// Tells of a notice from another host, in the batch that takes note of it.
///
/// # Errors
/// None that can happen: the message is small.
pub fn advanced_event(authority: AccountId, advanced: &Advanced, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(ADVANCED, authority, advanced, now)
}

/// The notice that an event tells of; `None` for events of other kinds.
///
/// # Errors
/// The body is not what [`advanced_event`] wrote.
pub fn advanced(event: &Event) -> Result<Option<Advanced>, CodecError> {
    of(event, ADVANCED)
}

/// Tells of a write, in the batch that stores it.
///
/// # Errors
/// The operations are more than an event holds.
pub fn written_event(author: AccountId, written: &Written, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(WRITTEN, author, written, now)
}

/// Tells of a change of a space, in the batch that makes it.
///
/// # Errors
/// None that can happen: the message is small.
pub fn changed_event(authority: AccountId, changed: &Changed, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(CHANGED, authority, changed, now)
}

fn event<T: Serialize + for<'a> Deserialize<'a> + Clone>(
    kind: EventKind,
    account: AccountId,
    body: &T,
    now: Timestamp,
) -> Result<NewEvent, RowRefused> {
    let refused = |source| RowRefused::Value { table: TableId::Events, source };
    let body = codec::encode(&Cbor(body.clone())).map_err(refused)?;
    NewEvent::new(now, Some(account), kind, &body)
}

/// Tells of writes into a repository elsewhere, in the batch that copies them.
///
/// # Errors
/// The operations are more than an event holds.
pub fn copied_event(authority: AccountId, written: &Written, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(COPIED, authority, written, now)
}

/// The write that an event tells of, here or elsewhere; `None` for events of other kinds.
///
/// # Errors
/// The body is not what [`written_event`] or [`copied_event`] wrote.
pub fn written(event: &Event) -> Result<Option<Written>, CodecError> {
    Ok(of(event, WRITTEN)?.or(of(event, COPIED)?))
}

/// The change of a space that an event tells of; `None` for events of other kinds.
///
/// # Errors
/// The body is not what [`changed_event`] wrote.
pub fn changed(event: &Event) -> Result<Option<Changed>, CodecError> {
    of(event, CHANGED)
}

fn of<T: Serialize + for<'a> Deserialize<'a>>(event: &Event, kind: EventKind) -> Result<Option<T>, CodecError> {
    if event.kind == kind { codec::decode::<Cbor<T>>(&event.body).map(|body| Some(body.0)) } else { Ok(None) }
}
