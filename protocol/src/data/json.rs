//! The JSON form of the data model ("Data Model", section "JSON Representation").

use std::sync::LazyLock;

use data_encoding::{BASE64_NOPAD, Encoding};
use serde_json::Value as Json;

use super::blob::BlobRef;
use super::cid::{Cid, InvalidCid};
use super::value::{Map, Value};
use crate::limits::{DATA_DEPTH_MAX, DATA_ELEMENTS_MAX};

/// Why JSON is no value of the data model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The outermost value of a record is no object.
    #[error("a record is an object")]
    NotAnObject,
    /// Nested deeper than [`DATA_DEPTH_MAX`].
    #[error("the value is nested deeper than {DATA_DEPTH_MAX}")]
    Depth,
    /// More elements in one array or object than [`DATA_ELEMENTS_MAX`].
    #[error("an array or object has more than {DATA_ELEMENTS_MAX} elements")]
    Elements,
    /// A fraction.
    #[error("the value holds a fraction; the data model has integers only")]
    Float,
    /// An integer beyond 64 bits with sign, or one in the form of a float beyond what floats count exactly.
    #[error("an integer does not fit into 64 bits with a sign")]
    IntegerRange,
    /// `$link` that is no string, or with other fields beside it.
    #[error("$link holds a CID as a string and stands alone in its object")]
    LinkForm,
    /// `$link` that is no CID of the kind in use.
    #[error("$link: {0}")]
    LinkCid(#[from] InvalidCid),
    /// `$bytes` that is no string of base 64, or with other fields beside it.
    #[error("$bytes holds base 64 as a string and stands alone in its object")]
    Bytes,
    /// `$type` that is no string, or an empty one.
    #[error("$type holds the name of a type as a string")]
    Type,
    /// `$type: blob` without link, media type and size as they have to be.
    #[error("a blob has a ref to raw bytes, a mimeType and a size of 0 or more, and no other field")]
    Blob,
}

/// What is not of the data model, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{reason}", .path, if .path.is_empty() { "" } else { ": " })]
pub struct Misplaced {
    /// Names and places from the outermost value inwards, each behind a `/`; empty for the outermost value itself.
    pub path: String,
    /// What is wrong there.
    pub reason: JsonError,
}

impl Misplaced {
    fn within(self, step: impl std::fmt::Display) -> Self {
        Self { path: format!("/{step}{}", self.path), reason: self.reason }
    }
}

impl From<JsonError> for Misplaced {
    fn from(reason: JsonError) -> Self {
        Self { path: String::new(), reason }
    }
}

/// Base 64 as others write it: the bits after the last byte need not be zero. Padding is taken off before.
static BASE64_LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.encoding().expect("a known alphabet, one check fewer")
});

/// Reads the JSON form of a record, whose outermost value is an object.
///
/// # Errors
/// [`Misplaced`], by what is wrong and where.
pub fn record_from_json(json: &Json) -> Result<Value, Misplaced> {
    match read(json, DATA_DEPTH_MAX)? {
        value @ Value::Map(_) => Ok(value),
        _ => Err(JsonError::NotAnObject.into()),
    }
}

/// Reads the JSON form of any value.
///
/// # Errors
/// [`JsonError`], by what is wrong.
pub fn from_json(json: &Json) -> Result<Value, JsonError> {
    read(json, DATA_DEPTH_MAX).map_err(|misplaced| misplaced.reason)
}

/// Recursion is bounded by `depth`, the levels still allowed.
fn read(json: &Json, depth: usize) -> Result<Value, Misplaced> {
    let inner = |count: usize| match depth.checked_sub(1) {
        Some(_) if count > DATA_ELEMENTS_MAX => Err(JsonError::Elements),
        Some(inner) => Ok(inner),
        None => Err(JsonError::Depth),
    };
    match json {
        Json::Null => Ok(Value::Null),
        Json::Bool(bool) => Ok(Value::Bool(*bool)),
        Json::Number(number) => Ok(Value::Integer(integer(number)?)),
        Json::String(text) => Ok(Value::String(text.clone())),
        Json::Array(items) => {
            let inner = inner(items.len())?;
            let item = |(place, item)| read(item, inner).map_err(|misplaced| misplaced.within(place));
            items.iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::List)
        }
        Json::Object(fields) => {
            if let Some(link) = fields.get("$link") {
                return Ok(link_only(fields, link)?);
            }
            if let Some(bytes) = fields.get("$bytes") {
                return Ok(bytes_only(fields, bytes)?);
            }
            let inner = inner(fields.len())?;
            let field = |(name, item): (&String, &Json)| {
                let value = read(item, inner).map_err(|misplaced| misplaced.within(name))?;
                Ok((name.clone(), value))
            };
            let map = fields.iter().map(field).collect::<Result<Map, Misplaced>>()?;
            check_type(&map)?;
            Ok(Value::Map(map))
        }
    }
}

/// Largest magnitude up to which every integer is a float of its own: 2^53.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// `123.0` is the integer 123, as JavaScript has it.
fn integer(number: &serde_json::Number) -> Result<i64, JsonError> {
    if let Some(integer) = number.as_i64() {
        return Ok(integer);
    }
    match number.as_f64() {
        _ if number.is_u64() => Err(JsonError::IntegerRange),
        Some(float) if float.fract() != 0.0 => Err(JsonError::Float),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        Some(float) if float.abs() <= EXACT_FLOAT_MAX => Ok(float as i64),
        _ => Err(JsonError::IntegerRange),
    }
}

fn link_only(fields: &serde_json::Map<String, Json>, link: &Json) -> Result<Value, JsonError> {
    match link {
        Json::String(text) if fields.len() == 1 => Ok(Value::Link(text.parse::<Cid>()?)),
        _ => Err(JsonError::LinkForm),
    }
}

fn bytes_only(fields: &serde_json::Map<String, Json>, bytes: &Json) -> Result<Value, JsonError> {
    let Json::String(text) = bytes else { return Err(JsonError::Bytes) };
    let unpadded = match text.len() % 4 {
        0 => text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text),
        _ => text,
    };
    let bytes = BASE64_LENIENT.decode(unpadded.as_bytes()).map_err(|_| JsonError::Bytes)?;
    if fields.len() == 1 { Ok(Value::Bytes(bytes)) } else { Err(JsonError::Bytes) }
}

fn check_type(map: &Map) -> Result<(), JsonError> {
    match map.get("$type") {
        None => Ok(()),
        Some(Value::String(name)) if name == "blob" => {
            if map.len() == 4 && BlobRef::from_map(map).is_some() {
                Ok(())
            } else {
                Err(JsonError::Blob)
            }
        }
        Some(Value::String(name)) if !name.is_empty() => Ok(()),
        Some(_) => Err(JsonError::Type),
    }
}

/// The JSON form of a value.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::Bool(*bool),
        Value::Integer(integer) => Json::from(*integer),
        Value::String(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => serde_json::json!({"$bytes": BASE64_NOPAD.encode(bytes)}),
        Value::Link(cid) => serde_json::json!({"$link": cid.to_string()}),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => map.iter().map(|(name, item)| (name.clone(), to_json(item))).collect(),
    }
}

/// An answer of ours as AT Protocol JSON: links and bytes in their JSON forms, which plain serde would not give them.
///
/// # Panics
/// When the value holds what the data model has not, such as a float: answers are made of our own types.
#[must_use]
pub fn json_of<T: serde::Serialize>(answer: &T) -> serde_json::Value {
    let bytes = serde_ipld_dagcbor::to_vec(answer).expect("our answers hold what the data model has");
    to_json(&super::cbor::decode(&bytes).expect("what was just encoded is canonical"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::data::Codec;
    use crate::interop;

    const CID: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn follows_the_published_vectors() {
        for case in interop::json("data-model/data-model-valid.json") {
            assert!(record_from_json(&case["json"]).is_ok(), "{}", case["note"]);
        }
        for case in interop::json("data-model/data-model-invalid.json") {
            assert!(record_from_json(&case["json"]).is_err(), "{}", case["note"]);
        }
    }

    #[test]
    fn refuses_by_reason() {
        let error = |json: Json| record_from_json(&json).expect_err("invalid").reason;
        assert_eq!(error(json!([1])), JsonError::NotAnObject);
        assert_eq!(error(json!({"$link": CID})), JsonError::NotAnObject);
        assert_eq!(error(json!({"a": 1.5})), JsonError::Float);
        assert_eq!(error(json!({"a": u64::MAX})), JsonError::IntegerRange);
        assert_eq!(error(json!({"a": 1e300})), JsonError::IntegerRange);
        assert_eq!(error(json!({"a": {"$link": 1}})), JsonError::LinkForm);
        assert_eq!(error(json!({"a": {"$link": CID, "b": 1}})), JsonError::LinkForm);
        assert_eq!(error(json!({"a": {"$link": "."}})), JsonError::LinkCid(InvalidCid::Text));
        assert_eq!(error(json!({"a": {"$bytes": [1]}})), JsonError::Bytes);
        assert_eq!(error(json!({"a": {"$bytes": "AQ", "b": 1}})), JsonError::Bytes);
        assert_eq!(error(json!({"a": {"$bytes": "A"}})), JsonError::Bytes);
        assert_eq!(error(json!({"a": {"$bytes": "A==="}})), JsonError::Bytes);
        assert_eq!(error(json!({"a": {"$bytes": "_-"}})), JsonError::Bytes);
        assert_eq!(error(json!({"$type": null})), JsonError::Type);
        assert_eq!(error(json!({"$type": ""})), JsonError::Type);
        let blob = json!({"$type": "blob", "ref": {"$link": CID}, "mimeType": "image/png", "size": 0});
        assert!(record_from_json(&json!({"a": blob})).is_ok());
        for (field, wrong) in
            [("size", json!("1")), ("size", json!(-1)), ("mimeType", json!(null)), ("ref", json!(CID))]
        {
            let mut blob = blob.clone();
            blob[field] = wrong;
            assert_eq!(error(json!({"a": blob})), JsonError::Blob, "{field}");
        }
    }

    #[test]
    fn says_where() {
        let told = |json: Json| record_from_json(&json).expect_err("invalid").to_string();
        assert_eq!(told(json!([])), "a record is an object");
        let fraction = "the value holds a fraction; the data model has integers only";
        assert_eq!(told(json!({"a": [{"b": 1}, {"b": 1.5}]})), format!("/a/1/b: {fraction}"));
        assert_eq!(told(json!({"a": {"$type": 1}})), "/a: $type holds the name of a type as a string");
    }

    #[test]
    fn base_64_comes_with_or_without_padding_and_with_loose_bits() {
        let bytes = |text: &str| from_json(&json!({"$bytes": text}));
        for text in ["AQ", "AQ==", "AR", "Af=="] {
            assert_eq!(bytes(text), Ok(Value::Bytes(vec![1])), "{text}");
        }
        assert_eq!(bytes(""), Ok(Value::Bytes(vec![])));
        assert_eq!(to_json(&Value::Bytes(vec![1])), json!({"$bytes": "AQ"}));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| (0..levels).fold(json!(0), |inner, _| json!([inner]));
        assert!(from_json(&nested(DATA_DEPTH_MAX)).is_ok());
        assert_eq!(from_json(&nested(DATA_DEPTH_MAX + 1)), Err(JsonError::Depth));
    }

    #[test]
    fn links_of_both_codecs_pass() {
        for codec in [Codec::Raw, Codec::DagCbor] {
            let cid = Cid::of(codec, b"");
            assert_eq!(from_json(&json!({"$link": cid.to_string()})), Ok(Value::Link(cid)));
        }
    }

    proptest! {
        #[test]
        fn every_value_survives(value in crate::data::cbor::tests::any_value()) {
            prop_assert_eq!(from_json(&to_json(&value)), Ok(value));
        }
    }
}
