//! One way to look at a value, whether it arrived as JSON or as DAG-CBOR.
//!
//! The AT Protocol data model has two encodings. A validator written against [`DataModel`] sees the model: in JSON the
//! maps `{"$link": …}` and `{"$bytes": …}` are a link and bytes, in DAG-CBOR links and bytes have types of their own.

use crate::data::{Cid, Value};
use serde_json::Map;

/// A value of the AT Protocol data model.
pub trait DataModel: Sized + 'static {
    /// The fields of a map in this encoding.
    type Fields;

    /// What the value is, one level deep.
    fn view(&self) -> View<'_, Self>;

    /// The entry of a map under `key`.
    fn get<'a>(map: &'a Self::Fields, key: &str) -> Option<&'a Self>;

    /// All entries of a map, each key once.
    fn entries(map: &Self::Fields) -> impl Iterator<Item = (&str, &Self)>;
}

/// One level of a value.
#[derive(Debug)]
pub enum View<'a, V: DataModel> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// Text.
    String(&'a str),
    /// Bytes, by their number.
    Bytes(usize),
    /// A link by content hash.
    Link,
    /// A list.
    List(&'a [V]),
    /// A map that is neither link nor bytes.
    Map(&'a V::Fields),
    /// Something the data model does not allow.
    Malformed(Malformed),
}

/// Why something is no value of the data model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number with a fraction.
    #[error("must be an integer: fractions are not allowed anywhere in a record")]
    Float,
    /// An integer beyond 64 bits.
    #[error("must be an integer of 64 bits")]
    IntegerRange,
    /// A link that holds no content identifier of version 1.
    #[error("must be a link: a map with the one key $link that holds a CID of version 1")]
    Link,
    /// Bytes that are no base64.
    #[error("must be bytes: a map with the one key $bytes that holds base64")]
    Bytes,
    /// A map in DAG-CBOR that would be read as a link or as bytes in JSON.
    #[error("must not use the keys $link and $bytes, which are reserved")]
    ReservedKey,
    /// `$type` that is no text, or an empty one.
    #[error("must have a text in $type")]
    TypeTag,
    /// A blob that lacks a part or has a wrong one.
    #[error("must be a blob: $type, ref, mimeType and a size above 0")]
    Blob,
}

impl<V: DataModel> View<'_, V> {
    /// The value's type in words.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::String(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Link => "a link",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Malformed(_) => "a malformed value",
        }
    }
}

impl DataModel for serde_json::Value {
    type Fields = Map<String, Self>;

    fn view(&self) -> View<'_, Self> {
        match self {
            Self::Null => View::Null,
            Self::Bool(value) => View::Boolean(*value),
            Self::Number(number) => number_view(number),
            Self::String(text) => View::String(text),
            Self::Array(items) => View::List(items),
            Self::Object(map) => map_view(map),
        }
    }

    fn get<'a>(map: &'a Self::Fields, key: &str) -> Option<&'a Self> {
        map.get(key)
    }

    fn entries(map: &Self::Fields) -> impl Iterator<Item = (&str, &Self)> {
        map.iter().map(|(key, value)| (key.as_str(), value))
    }
}

/// `123.0` is the integer 123: JSON has one kind of number, and JavaScript writes integers so at times.
fn number_view<V: DataModel>(number: &serde_json::Number) -> View<'_, V> {
    /// The largest integer below which every integer has a float of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    if let Some(integer) = number.as_i64() {
        return View::Integer(integer);
    }
    match number.as_f64() {
        _ if number.is_u64() => View::Malformed(Malformed::IntegerRange),
        Some(float) if float.fract() == 0.0 && float.abs() <= EXACT_MAX =>
        {
            #[allow(clippy::cast_possible_truncation, reason = "a whole number within ±2^53 is an i64 exactly")]
            View::Integer(float as i64)
        }
        _ => View::Malformed(Malformed::Float),
    }
}

fn map_view(map: &Map<String, serde_json::Value>) -> View<'_, serde_json::Value> {
    // Both keys are looked for in every map: the order of a JSON map says nothing.
    if let Some(link) = map.get("$link") {
        let link = link.as_str().filter(|text| map.len() == 1 && text.parse::<Cid>().is_ok());
        return link.map_or(View::Malformed(Malformed::Link), |_| View::Link);
    }
    if let Some(bytes) = map.get("$bytes") {
        let length = bytes.as_str().filter(|_| map.len() == 1).and_then(base64_length);
        return length.map_or(View::Malformed(Malformed::Bytes), View::Bytes);
    }
    View::Map(map)
}

/// How many bytes a base64 text stands for (RFC 4648 section 4; padding is optional, as the data model says).
fn base64_length(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let complete = padding == 0 || (padding <= 2 && text.len().is_multiple_of(4));
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    if !complete || digits.len() % 4 == 1 || !digits.bytes().all(alphabet) {
        return None;
    }
    Some(digits.len() / 4 * 3 + (digits.len() % 4).saturating_sub(1))
}

impl DataModel for Value {
    type Fields = crate::data::Map;

    fn view(&self) -> View<'_, Self> {
        match self {
            Self::Null => View::Null,
            Self::Bool(value) => View::Boolean(*value),
            Self::Integer(value) => View::Integer(*value),
            Self::String(text) => View::String(text),
            Self::Bytes(bytes) => View::Bytes(bytes.len()),
            Self::Link(_) => View::Link,
            Self::List(items) => View::List(items),
            Self::Map(map) if map.contains_key("$link") || map.contains_key("$bytes") => {
                View::Malformed(Malformed::ReservedKey)
            }
            Self::Map(map) => View::Map(map),
        }
    }

    fn get<'a>(map: &'a Self::Fields, key: &str) -> Option<&'a Self> {
        map.get(key)
    }

    fn entries(map: &Self::Fields) -> impl Iterator<Item = (&str, &Self)> {
        map.iter().map(|(key, value)| (key.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(value: &serde_json::Value) -> String {
        match value.view() {
            View::Bytes(length) => format!("{length} bytes"),
            View::Integer(value) => value.to_string(),
            View::Malformed(reason) => format!("{reason:?}"),
            other => other.describe().to_owned(),
        }
    }

    #[test]
    fn links_and_bytes_in_json() {
        let cid = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq";
        assert_eq!(view(&json!({ "$link": cid })), "a link");
        for broken in [json!({ "$link": cid, "a": 1 }), json!({ "$link": "." }), json!({ "$link": 1 })] {
            assert_eq!(view(&broken), "Link", "{broken}");
        }
        for (text, length) in [("", 0), ("YQ", 1), ("YQ==", 1), ("YWI", 2), ("YWI=", 2), ("YWJj", 3), ("YWJjZA", 4)] {
            assert_eq!(view(&json!({ "$bytes": text })), format!("{length} bytes"), "{text}");
        }
        for broken in ["Y", "YQ=", "YWI==", "YWJj=", "Y-==", "YWJjZ", "===="] {
            assert_eq!(view(&json!({ "$bytes": broken })), "Bytes", "{broken}");
        }
        assert_eq!(view(&json!({ "$bytes": "YQ", "a": 1 })), "Bytes");
    }

    #[test]
    fn numbers_in_json() {
        assert_eq!(view(&json!(123.0)), "123");
        assert_eq!(view(&json!(i64::MIN)), i64::MIN.to_string());
        assert_eq!(view(&json!(u64::MAX)), "IntegerRange");
        assert_eq!(view(&json!(0.5)), "Float");
        assert_eq!(view(&json!(1e300)), "Float");
    }

    #[test]
    fn a_map_in_dag_cbor_does_not_pose_as_a_link() {
        let reserved = |key: &str| {
            let map = Value::Map([(key.to_owned(), Value::Null)].into());
            matches!(map.view(), View::Malformed(Malformed::ReservedKey))
        };
        assert!(reserved("$link") && reserved("$bytes"));
        assert!(!reserved("link") && !reserved("$type"));
    }
}
