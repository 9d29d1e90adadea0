//! AT Protocol's JSON form of a message (AT Protocol "Data Model" specification): byte strings as
//! `{"$bytes": base64}`, links as `{"$link": cid}`, no floats, integers within 53 bits.
//!
//! A message is signed as DAG-CBOR. This module only translates; whoever receives JSON gets the canonical bytes and
//! checks those.

use std::collections::BTreeMap;

use cid::Cid;
use ipld_core::ipld::Ipld;
use multibase::Base;
use serde_json::{Map, Value};

use crate::limits::CBOR_DEPTH_MAX;

/// Largest integer, either sign, that every JSON reader keeps exactly.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Why a text is no message in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// Not JSON at all.
    #[error("not valid JSON")]
    Syntax,
    /// A float, or an integer beyond 53 bits.
    #[error("numbers are integers within 53 bits")]
    Number,
    /// `$bytes` or `$link` without its one text, or with company.
    #[error("an object with $bytes or $link holds base64 or a CID, and nothing else")]
    Special,
    /// Nested deeper than [`CBOR_DEPTH_MAX`].
    #[error("nested deeper than {CBOR_DEPTH_MAX} levels")]
    Depth,
}

/// Canonical DAG-CBOR of a message in JSON.
///
/// # Errors
/// [`NotJson`], by what is wrong.
pub fn to_cbor(text: &[u8]) -> Result<Vec<u8>, NotJson> {
    let value: Value = serde_json::from_slice(text).map_err(|_| NotJson::Syntax)?;
    let ipld = to_ipld(value, CBOR_DEPTH_MAX)?;
    Ok(serde_ipld_dagcbor::to_vec(&ipld).expect("the data model without floats encodes"))
}

/// The JSON form of DAG-CBOR bytes; nothing when they do not decode or hold a float.
#[must_use]
pub fn from_cbor(bytes: &[u8]) -> Option<Value> {
    from_ipld(serde_ipld_dagcbor::from_slice(bytes).ok()?)
}

fn to_ipld(value: Value, depth: usize) -> Result<Ipld, NotJson> {
    let inner = depth.checked_sub(1).ok_or(NotJson::Depth)?;
    Ok(match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(int) if (-INTEGER_MAX..=INTEGER_MAX).contains(&int) => Ipld::Integer(int.into()),
            _ => return Err(NotJson::Number),
        },
        Value::String(text) => Ipld::String(text),
        Value::Array(items) => {
            Ipld::List(items.into_iter().map(|item| to_ipld(item, inner)).collect::<Result<_, _>>()?)
        }
        Value::Object(object) if object.contains_key("$bytes") || object.contains_key("$link") => special(&object)?,
        Value::Object(object) => Ipld::Map(
            object
                .into_iter()
                .map(|(key, value)| Ok((key, to_ipld(value, inner)?)))
                .collect::<Result<BTreeMap<_, _>, _>>()?,
        ),
    })
}

fn special(object: &Map<String, Value>) -> Result<Ipld, NotJson> {
    if object.len() != 1 {
        return Err(NotJson::Special);
    }
    let text = |name| object.get(name).and_then(Value::as_str);
    if let Some(cid) = text("$link") {
        return Cid::try_from(cid).map(Ipld::Link).map_err(|_| NotJson::Special);
    }
    // The specification asks readers to take base64 with and without padding.
    let base64 = text("$bytes").ok_or(NotJson::Special)?.trim_end_matches('=');
    Base::Base64.decode(base64).map(Ipld::Bytes).map_err(|_| NotJson::Special)
}

fn from_ipld(ipld: Ipld) -> Option<Value> {
    Some(match ipld {
        Ipld::Null => Value::Null,
        Ipld::Bool(value) => value.into(),
        Ipld::Integer(int) => i64::try_from(int).ok()?.into(),
        Ipld::Float(_) => return None,
        Ipld::String(text) => text.into(),
        Ipld::Bytes(bytes) => wrap("$bytes", Base::Base64.encode(bytes)),
        Ipld::Link(cid) => wrap("$link", cid.to_string()),
        Ipld::List(items) => Value::Array(items.into_iter().map(from_ipld).collect::<Option<_>>()?),
        Ipld::Map(map) => Value::Object(
            map.into_iter().map(|(key, value)| Some((key, from_ipld(value)?))).collect::<Option<Map<_, _>>>()?,
        ),
    })
}

fn wrap(name: &str, text: String) -> Value {
    Value::Object([(name.to_owned(), text.into())].into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_links_survive_the_round_trip() {
        let text = br#"{"a":[1,-2,true,null,"x"],"b":{"$bytes":"AQID"},"c":{"$link":"bafyreibvjvcv745gig4mvqs4hctx4zfkono4rjejm2ta6gtyzkqxfjeily"}}"#;
        let cbor = to_cbor(text).expect("valid");
        assert_eq!(from_cbor(&cbor), serde_json::from_slice(text).ok());
    }

    #[test]
    fn padded_and_bare_base64_are_one() {
        assert_eq!(to_cbor(br#"{"$bytes":"AQ=="}"#), to_cbor(br#"{"$bytes":"AQ"}"#));
    }

    #[test]
    fn refuses_by_reason() {
        assert_eq!(to_cbor(b"{"), Err(NotJson::Syntax));
        assert_eq!(to_cbor(b"1.5"), Err(NotJson::Number));
        assert_eq!(to_cbor(b"1e3"), Err(NotJson::Number));
        assert_eq!(to_cbor(b"9007199254740992"), Err(NotJson::Number));
        assert_eq!(to_cbor(b"-9223372036854775808"), Err(NotJson::Number));
        assert_eq!(to_cbor(br#"{"$bytes":"AQ","x":1}"#), Err(NotJson::Special));
        assert_eq!(to_cbor(br#"{"$bytes":1}"#), Err(NotJson::Special));
        assert_eq!(to_cbor(br#"{"$link":"nonsense"}"#), Err(NotJson::Special));
        let deep = [vec![b'['; CBOR_DEPTH_MAX + 1], vec![b']'; CBOR_DEPTH_MAX + 1]].concat();
        assert_eq!(to_cbor(&deep), Err(NotJson::Depth));
    }
}
