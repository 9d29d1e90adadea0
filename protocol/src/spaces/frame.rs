//! What those who follow a space live are told, and its form: frames of DAG-CBOR as AT Protocol's event streams have
//! them ("Event Stream"), or the same as one JSON object with `$type`.

use serde_json::Value as Json;

use crate::data::cbor::Writer;
use crate::data::{Map, Value, cbor, to_json};

/// The subscription whose messages these are.
const SUBSCRIPTION: &str = "co.kendev.spaces.subscribeSpace";

/// A kind of message, as its definition in the lexicon is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// A message was written or changed.
    Message,
    /// A message is gone, by its author or by a moderator.
    Gone,
    /// Somebody reacted to a message, or took it back.
    Reaction,
    /// A membership has changed. For members.
    Member,
    /// A channel was made, changed or taken away.
    Channel,
    /// The space has changed, or is gone.
    Space,
    /// Somebody came or went. Not kept.
    Presence,
    /// Somebody is writing. Not kept.
    Typing,
}

impl Told {
    /// The name of the definition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Gone => "gone",
            Self::Reaction => "reaction",
            Self::Member => "member",
            Self::Channel => "channel",
            Self::Space => "space",
            Self::Presence => "presence",
            Self::Typing => "typing",
        }
    }
}

/// The frame of an event: header and body, one behind the other.
#[must_use]
pub fn event_frame(told: Told, body: &Map) -> Vec<u8> {
    let mut writer = Writer::with_capacity(512);
    writer.map(2);
    writer.text("t");
    writer.text(&format!("#{}", told.name()));
    writer.text("op");
    writer.integer(1);
    let mut frame = writer.into_bytes();
    frame.extend_from_slice(&cbor::encode(&Value::Map(body.clone())));
    frame
}

/// The same as a JSON object that names its type.
#[must_use]
pub fn event_json(told: Told, body: &Map) -> Json {
    let mut json = to_json(&Value::Map(body.clone()));
    json["$type"] = format!("{SUBSCRIPTION}#{}", told.name()).into();
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::cbor::decode_first;

    #[test]
    fn a_frame_is_header_and_body_and_json_says_the_same() {
        let body = Map::from([
            ("seq".to_owned(), Value::Integer(7)),
            ("did".to_owned(), Value::String("did:web:a.example".to_owned())),
        ]);
        let frame = event_frame(Told::Typing, &body);
        let (header, rest) = decode_first(&frame).expect("a header");
        assert_eq!(header.get("t").and_then(Value::as_str), Some("#typing"));
        assert_eq!(header.get("op").and_then(Value::as_integer), Some(1));
        let (read, rest) = decode_first(rest).expect("a body");
        assert_eq!((read, rest.len()), (Value::Map(body.clone()), 0));
        let json = event_json(Told::Typing, &body);
        assert_eq!(json["$type"], "co.kendev.spaces.subscribeSpace#typing");
        assert_eq!(json["seq"], 7);
    }
}
