//! What happened, in the words in which those who follow a space are told. The same words whether it happens now or is
//! read again for somebody who comes back.

use angel_protocol::data::{Map, Value, cbor};
use angel_protocol::spaces::{CHANNEL, MESSAGE, SPACE, Told};
use angel_protocol::time::Timestamp;
use angel_storage::reader::ReadError;
use angel_storage::spaces::{
    CHANNELS, ChannelNumber, Happening, MESSAGES, MessageRow, OWN_STREAM, Reads, SpaceId, SpaceRow, What,
    message_record,
};

/// Something to be told.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// Where it happened.
    pub(crate) space: SpaceId,
    /// Its number there; 0 for what is not kept.
    pub(crate) number: u64,
    /// Who may hear of it.
    pub(crate) audience: Audience,
    /// What kind of thing it is.
    pub(crate) told: Told,
    /// What it says.
    pub(crate) body: Map,
}

/// Who may hear of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever may read the channel.
    Channel(ChannelNumber),
    /// Members.
    Members,
}

/// The fields of a body.
pub(super) struct Body(Map);

impl Body {
    /// Begins with what every body has.
    pub(super) fn new(number: u64, at: Timestamp) -> Self {
        let mut body = Self(Map::new());
        if number > 0 {
            body.integer("seq", number);
        }
        body.text("time", at.to_string());
        body
    }

    pub(super) fn text(&mut self, name: &str, text: impl Into<String>) -> &mut Self {
        self.0.insert(name.to_owned(), Value::String(text.into()));
        self
    }

    fn optional(&mut self, name: &str, text: Option<String>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    fn integer(&mut self, name: &str, number: u64) -> &mut Self {
        // Numbers of the log end far below.
        self.0.insert(name.to_owned(), Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        self
    }

    fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.0.insert(name.to_owned(), Value::Bool(value));
        self
    }

    pub(super) fn finish(self) -> Map {
        self.0
    }
}

/// The URI of a space.
pub(super) fn space_uri(space: &SpaceRow) -> String {
    format!("at://{}/{SPACE}/{}", space.holder, space.rkey)
}

/// The URI of a message.
pub(super) fn message_uri(author: &impl std::fmt::Display, rkey: &str) -> String {
    format!("at://{author}/{MESSAGE}/{rkey}")
}

/// The URI of a channel; `None` for the space's own stream.
pub(super) fn channel_uri(
    rows: &impl Reads,
    space: SpaceId,
    channel: ChannelNumber,
) -> Result<Option<String>, ReadError> {
    if channel == OWN_STREAM {
        return Ok(None);
    }
    let row = rows.row(&CHANNELS, &(space, channel))?;
    Ok(row.map(|row| format!("at://{}/{CHANNEL}/{}", row.holder, row.rkey)))
}

/// A message, new under `number` or changed under a later one.
pub(super) fn notice_of_message(
    id: SpaceId,
    space: &SpaceRow,
    number: u64,
    row: &MessageRow,
    value: Value,
    channel: Option<String>,
) -> Notice {
    let mut body = Body::new(number, row.edited_at.unwrap_or(row.indexed_at));
    body.text("space", space_uri(space))
        .optional("channel", channel)
        .text("uri", message_uri(&row.author, &row.rkey))
        .text("cid", row.cid.to_string())
        .text("author", row.author.to_string())
        .text("indexedAt", row.indexed_at.to_string())
        .optional("department", row.department.clone())
        .bool("edited", row.version > 0);
    body.0.insert("value".to_owned(), value);
    Notice { space: id, number, audience: Audience::Channel(row.channel), told: Told::Message, body: body.finish() }
}

/// Anything else; `None` when what it is about is gone since, which a later notice tells.
pub(super) fn notice_of_what(
    rows: &impl Reads,
    id: SpaceId,
    space: &SpaceRow,
    number: u64,
    happening: &Happening,
) -> Result<Option<Notice>, ReadError> {
    let mut body = Body::new(number, happening.at);
    body.text("space", space_uri(space));
    let (told, audience) = match &happening.what {
        What::Edited { position } => {
            let Some(row) = rows.row(&MESSAGES, &(id, *position))? else { return Ok(None) };
            if row.hidden.is_some() {
                return Ok(None);
            }
            let record = message_record(rows, id, *position, &row)?;
            let Ok(value) = cbor::decode(&record) else { return Ok(None) };
            let channel = channel_uri(rows, id, row.channel)?;
            return Ok(Some(notice_of_message(id, space, number, &row, value, channel)));
        }
        What::Gone { channel, author, rkey, hidden } => {
            body.optional("channel", channel_uri(rows, id, *channel)?)
                .text("uri", message_uri(author, rkey))
                .bool("hidden", *hidden);
            (Told::Gone, Audience::Channel(*channel))
        }
        What::Reaction { channel, position, author, emoji, added } => {
            let Some(row) = rows.row(&MESSAGES, &(id, *position))? else { return Ok(None) };
            body.optional("channel", channel_uri(rows, id, *channel)?)
                .text("subject", message_uri(&row.author, &row.rkey))
                .text("author", author.to_string())
                .text("emoji", emoji.clone())
                .bool("added", *added);
            (Told::Reaction, Audience::Channel(*channel))
        }
        What::Member { did, role, status } => {
            body.text("did", did.to_string()).text("role", role.as_str()).text("status", status.as_str());
            (Told::Member, Audience::Members)
        }
        What::Channel { channel, gone } => {
            body.optional("channel", channel_uri(rows, id, *channel)?).bool("gone", *gone);
            (Told::Channel, Audience::Channel(*channel))
        }
        What::Space { gone } => {
            body.bool("gone", *gone);
            (Told::Space, Audience::Channel(OWN_STREAM))
        }
    };
    Ok(Some(Notice { space: id, number, audience, told, body: body.finish() }))
}

/// A new message as it is read again.
pub(super) fn notice_again(
    rows: &impl Reads,
    id: SpaceId,
    space: &SpaceRow,
    position: u64,
    row: &MessageRow,
) -> Result<Option<Notice>, ReadError> {
    if row.hidden.is_some() {
        return Ok(None);
    }
    let record = message_record(rows, id, position, row)?;
    let Ok(value) = cbor::decode(&record) else { return Ok(None) };
    let channel = channel_uri(rows, id, row.channel)?;
    Ok(Some(notice_of_message(id, space, position, row, value, channel)))
}
