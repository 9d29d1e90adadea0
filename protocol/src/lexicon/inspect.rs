//! The two questions a person with a file has: is this a sound lexicon document, and is this a valid record?

use serde_json::Value;

use super::ast::Document;
use super::catalog::Catalog;
use super::check::{CheckError, check};
use super::compile::Schemas;
use super::parse::DocumentError;
use super::violation::Violation;
use crate::limits::LEXICON_RECORD_BYTES_MAX;

/// Why a file holds no valid record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More bytes than a record may have.
    #[error("the record is larger than {LEXICON_RECORD_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes are no JSON.
    #[error("the record is no JSON: {0}")]
    NotJson(String),
    /// The record does not say what it is.
    #[error("the record must name its collection in $type")]
    NoType,
    /// No document of the collection is shipped with this node.
    #[error("the collection {0} is not known here")]
    UnknownCollection(String),
    /// The record breaks a rule of its lexicon.
    #[error(transparent)]
    Violation(#[from] Box<Violation>),
}

/// Reads a lexicon document and says what is wrong with its meaning; nothing, if the list is empty. References are
/// looked up in the document itself and among those this node ships.
pub fn check_document(bytes: &[u8]) -> Result<Vec<CheckError>, DocumentError> {
    Ok(check(&Document::parse(bytes)?, Catalog::builtin()))
}

/// Validates a record in JSON against the lexicon that its `$type` names, among those this node ships.
pub fn validate_record(bytes: &[u8]) -> Result<(), RecordError> {
    if bytes.len() > LEXICON_RECORD_BYTES_MAX {
        return Err(RecordError::TooLarge);
    }
    let record: Value = serde_json::from_slice(bytes).map_err(|error| RecordError::NotJson(error.to_string()))?;
    let collection = record.get("$type").and_then(Value::as_str).ok_or(RecordError::NoType)?;
    let unknown = || RecordError::UnknownCollection(collection.to_owned());
    Ok(Schemas::builtin().record(collection).ok_or_else(unknown)?.validate(&record)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_then_judged() {
        assert!(matches!(check_document(b"{"), Err(DocumentError { .. })));
        let sound = br##"{"lexicon": 1, "id": "a.b.c", "defs": {"x": {"type": "token"}}}"##;
        assert_eq!(check_document(sound), Ok(vec![]));
        let dangling = br##"{"lexicon": 1, "id": "a.b.c", "defs": {"x": {"type": "array", "items": {"type": "ref", "ref": "#y"}}}}"##;
        let problems = check_document(dangling).expect("readable");
        assert_eq!(
            problems.first().map(ToString::to_string).as_deref(),
            Some("/defs/x/items: refers to a.b.c#y, which does not exist")
        );
    }

    #[test]
    fn a_record_is_judged_by_its_own_type() {
        let refusal = |text: &str| validate_record(text.as_bytes()).expect_err("not valid").to_string();
        assert_eq!(refusal("{}"), "the record must name its collection in $type");
        assert_eq!(refusal(r#"{"$type": "a.b.c"}"#), "the collection a.b.c is not known here");
        assert!(refusal("[").starts_with("the record is no JSON"));
        let huge = format!("\"{}\"", "x".repeat(LEXICON_RECORD_BYTES_MAX));
        assert_eq!(validate_record(huge.as_bytes()), Err(RecordError::TooLarge));
    }
}
