//! What a record has to be before it is written: a value of the data model, of the type of its collection, as its
//! lexicon has it if that is known here, and nothing that must not be public.

use angel_protocol::data::{self, JsonError, Value};
use angel_protocol::ids::{Nsid, RecordKey};
use angel_protocol::lexicon::flags::{Flags, Visibility, Writer};
use angel_protocol::lexicon::{Schemas, Violation};
use angel_protocol::limits::BLOCK_BYTES_MAX;
use serde::Serialize;
use serde_json::Value as Json;

use crate::clock;
use crate::http::XrpcError;
use crate::repos::NewRecord;

/// What is known of a record's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ValidationStatus {
    /// It is as its lexicon has it.
    Valid,
    /// Its lexicon is not known here.
    Unknown,
}

/// A record that may be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) record: NewRecord,
    /// `None` when the client did not want it looked at.
    pub(super) status: Option<ValidationStatus>,
}

/// Why a record is not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordRefused {
    /// No value of the data model.
    #[error("the record is not of the AT Protocol data model: {0}")]
    Data(#[from] JsonError),
    /// Of another type than the collection's.
    #[error("the record's $type is {found}; in this collection it has to be {expected}")]
    Type {
        /// The collection.
        expected: Nsid,
        /// What the record says.
        found: String,
    },
    /// Validation is demanded, and the lexicon is not known.
    #[error("the lexicon of {0} is not known here, so the record cannot be validated")]
    UnknownLexicon(Nsid),
    /// Not as the lexicon has it.
    #[error("the record does not fit its lexicon: {0}")]
    Invalid(#[from] Box<Violation>),
    /// A blob in the form that was given up years ago.
    #[error("the record names the blob {0} in the legacy form; use $type: blob")]
    LegacyBlob(data::Cid),
    /// Longer than a block.
    #[error("the record has {0} bytes; at most {BLOCK_BYTES_MAX} can be written")]
    TooLarge(usize),
    /// Records of this kind are not for a public repository.
    #[error("such a record of {0} is for certain people only, and a repository is public")]
    NotPublic(Nsid),
    /// Records of this collection are written in other ways.
    #[error("records of {0} are written by the node, not by clients")]
    NotByClients(Nsid),
    /// The record has a field that the node computes.
    #[error("the node writes the field {0} itself")]
    Computed(String),
}

impl From<RecordRefused> for XrpcError {
    fn from(error: RecordRefused) -> Self {
        Self::new(axum::http::StatusCode::BAD_REQUEST, "InvalidRequest", error.to_string())
    }
}

/// Checks a record. `validate`: whether its lexicon has to be known (`true`), must not be looked at (`false`), or is
/// looked at if it is known.
pub(super) fn prepare(
    collection: &Nsid,
    rkey: &RecordKey,
    record: &Json,
    validate: Option<bool>,
) -> Result<Prepared, RecordRefused> {
    let mut value = data::record_from_json(record)?;
    set_type(&mut value, collection)?;
    let status = match (validate, Schemas::builtin().record(collection.as_str())) {
        (Some(false), _) => None,
        (_, Some(schema)) => {
            schema.validate_key(rkey.as_str())?;
            schema.validate(&value)?;
            Some(ValidationStatus::Valid)
        }
        (Some(true), None) => return Err(RecordRefused::UnknownLexicon(collection.clone())),
        (None, None) => Some(ValidationStatus::Unknown),
    };
    check_rules(collection, &value)?;
    let record = NewRecord::new(&value);
    if record.bytes() > BLOCK_BYTES_MAX {
        return Err(RecordRefused::TooLarge(record.bytes()));
    }
    match record.blobs().iter().find(|blob| blob.size.is_none()) {
        Some(legacy) => Err(RecordRefused::LegacyBlob(legacy.cid)),
        None => Ok(Prepared { record, status }),
    }
}

/// Whether records of `collection` may be taken away by clients.
pub(super) fn check_delete(collection: &Nsid) -> Result<(), RecordRefused> {
    match Flags::builtin().collection(collection.as_str()) {
        Some(rules) if rules.writer != Writer::Holder => Err(RecordRefused::NotByClients(collection.clone())),
        _ => Ok(()),
    }
}

/// The type of a record is that of its collection; a record that does not say is given it.
fn set_type(value: &mut Value, collection: &Nsid) -> Result<(), RecordRefused> {
    let Value::Map(map) = value else { return Err(JsonError::NotAnObject.into()) };
    match map.get("$type") {
        Some(Value::String(found)) if found == collection.as_str() => {}
        None => drop(map.insert("$type".to_owned(), Value::String(collection.to_string()))),
        Some(found) => {
            let found = found.as_str().unwrap_or("no text").to_owned();
            return Err(RecordRefused::Type { expected: collection.clone(), found });
        }
    }
    Ok(())
}

/// The rules of this network's own collections, which hold whether or not a client wants validation.
fn check_rules(collection: &Nsid, value: &Value) -> Result<(), RecordRefused> {
    let Some(rules) = Flags::builtin().collection(collection.as_str()) else { return Ok(()) };
    if rules.writer != Writer::Holder {
        return Err(RecordRefused::NotByClients(collection.clone()));
    }
    if rules.visibility(value, clock::now()) == Visibility::Permissioned {
        return Err(RecordRefused::NotPublic(collection.clone()));
    }
    match rules.computed_in(value).next() {
        Some(field) => Err(RecordRefused::Computed(field.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prepared(collection: &str, record: &Json, validate: Option<bool>) -> Result<Prepared, RecordRefused> {
        prepare(&collection.parse().expect("valid"), &"self".parse().expect("valid"), record, validate)
    }

    #[test]
    fn a_type_is_added_and_a_wrong_one_refused() {
        let with = prepared("com.example.note", &json!({"$type": "com.example.note", "a": 1}), None).expect("fits");
        let without = prepared("com.example.note", &json!({"a": 1}), None).expect("fits");
        assert_eq!(with.record.cid(), without.record.cid());
        let refused = prepared("com.example.note", &json!({"$type": "com.example.other"}), Some(false));
        assert!(matches!(refused, Err(RecordRefused::Type { .. })));
    }

    #[test]
    fn an_unknown_lexicon_is_said_to_be_unknown_or_refused() {
        let record = json!({"a": 1});
        let status = |validate| prepared("com.example.note", &record, validate).map(|prepared| prepared.status);
        assert_eq!(status(None).expect("taken"), Some(ValidationStatus::Unknown));
        assert_eq!(status(Some(false)).expect("taken"), None);
        assert!(matches!(status(Some(true)), Err(RecordRefused::UnknownLexicon(_))));
    }

    #[test]
    fn what_the_data_model_forbids_is_refused_whatever_validation_says() {
        for validate in [None, Some(true), Some(false)] {
            let refused = prepared("com.example.note", &json!({"a": 1.5}), validate);
            assert!(matches!(refused, Err(RecordRefused::Data(JsonError::Float))));
        }
        let large = json!({"a": "x".repeat(BLOCK_BYTES_MAX)});
        assert!(matches!(prepared("com.example.note", &large, None), Err(RecordRefused::TooLarge(_))));
        let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        let legacy = json!({"a": {"cid": cid, "mimeType": "image/png"}});
        assert!(matches!(prepared("com.example.note", &legacy, None), Err(RecordRefused::LegacyBlob(_))));
    }

    #[test]
    fn private_and_computed_things_stay_out_of_public_repositories() {
        for validate in [None, Some(false)] {
            let account = prepared("co.kendev.people.account", &json!({}), validate);
            assert!(matches!(account, Err(RecordRefused::NotPublic(_) | RecordRefused::Invalid(_))), "{account:?}");
        }
        let space =
            |visibility: &str| prepared("co.kendev.spaces.space", &json!({"visibility": visibility}), Some(false));
        assert!(matches!(space("private"), Err(RecordRefused::NotPublic(_))));
        assert!(space("public").is_ok());
        let node = prepared("co.kendev.network.node", &json!({}), Some(false));
        assert!(matches!(node, Err(RecordRefused::NotByClients(_))), "{node:?}");
    }
}
