//! What a record has to be before it is written, into a public repository or into a space: a value of the data model, of
//! the type of its collection, as its lexicon has it if that is known here, and as the rules of its collection have it
//! ([`crate::tenants::Court`]). Whether a record of others is held against its lexicon is the client's to say; one of this
//! network's collections always is, since it is indexed and computed with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use angel_protocol::data::{self, JsonError, Misplaced, Value};
use angel_protocol::ids::{Did, Nsid, RecordKey};
use angel_protocol::lexicon::flags::Flags;
use angel_protocol::lexicon::{Schemas, Violation};
use angel_protocol::limits::BLOCK_BYTES_MAX;
use angel_protocol::rules::{By, Place, Refused, judge_removal};
use angel_protocol::tenants::{Bill, Draft};
use angel_storage::AccountId;
use serde::Serialize;
use serde_json::Value as Json;

use crate::accounts::Account;
use crate::clock;
use crate::http::XrpcError;
use crate::repos::{NewRecord, Repos};
use crate::tenants::Court;
use crate::xrpc::host::Host;

/// What is known of a record's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::xrpc::com::atproto) enum ValidationStatus {
    /// It is as its lexicon has it.
    Valid,
    /// Its lexicon is not known here.
    Unknown,
}

/// A record that may be written.
#[derive(Debug)]
pub(in crate::xrpc::com::atproto) struct Prepared {
    pub(in crate::xrpc::com::atproto) record: NewRecord,
    /// `None` when the client did not want it looked at.
    pub(in crate::xrpc::com::atproto) status: Option<ValidationStatus>,
    /// What it uses of a tenant's plan.
    pub(in crate::xrpc::com::atproto) bill: Bill,
}

/// Why a record is not written.
#[derive(Debug, thiserror::Error)]
pub(in crate::xrpc::com::atproto) enum RecordRefused {
    /// No value of the data model.
    #[error("the record is not of the AT Protocol data model: {0}")]
    Data(#[from] Misplaced),
    /// Of another type than the collection's.
    #[error("Invalid $type: expected {expected}, got {found}")]
    Type {
        /// The collection.
        expected: Nsid,
        /// What the record says.
        found: String,
    },
    /// Validation is demanded, and the lexicon is not known.
    #[error("Lexicon not found: lex:{0}. Unknown lexicon type: {0}: not known here, so the record cannot be validated")]
    UnknownLexicon(Nsid),
    /// Not as the lexicon has it.
    #[error("Invalid {0} record: {1}")]
    Invalid(Nsid, Box<Violation>),
    /// A blob in the form that was given up years ago.
    #[error("the record names the blob {0} in the legacy form; use $type: blob")]
    LegacyBlob(data::Cid),
    /// Longer than a block.
    #[error("the record has {0} bytes; at most {BLOCK_BYTES_MAX} can be written")]
    TooLarge(usize),
    /// Not as the rules of its collection have it.
    #[error(transparent)]
    Rules(#[from] Refused),
}

impl From<RecordRefused> for XrpcError {
    fn from(error: RecordRefused) -> Self {
        Self::new(axum::http::StatusCode::BAD_REQUEST, "InvalidRequest", error.to_string())
    }
}

/// What judging records takes.
#[derive(Debug)]
pub(in crate::xrpc::com::atproto) struct Judges {
    /// The rules of this network's collections.
    pub(in crate::xrpc::com::atproto) court: Court,
    /// Schemas of collections of others, as far as a client wants validation and they are published.
    foreign: BTreeMap<Nsid, Arc<Schemas>>,
}

/// Collections of others that one request may have looked up: each may cost a few seconds.
const FOREIGN_MAX: usize = 4;

/// Finds out what judging the records has to know, which `author` is about to write into `account`'s repository together.
/// Records of other networks need nothing, unless their lexicon has to be known.
pub(in crate::xrpc::com::atproto) async fn judges(
    host: &Host,
    account: &Account,
    author: &Did,
    place: Place,
    records: &[(&Nsid, &Json)],
    validate: Option<bool>,
) -> Result<Judges, XrpcError> {
    let mut foreign = BTreeMap::new();
    if validate == Some(true) {
        let unknown =
            records.iter().map(|(nsid, _)| *nsid).filter(|nsid| Schemas::builtin().record(nsid.as_str()).is_none());
        for nsid in unknown.collect::<BTreeSet<_>>().into_iter().take(FOREIGN_MAX) {
            match host.lexicons.schemas(nsid).await {
                Ok(schemas) => drop(foreign.insert(nsid.clone(), schemas)),
                Err(error) => tracing::debug!(%nsid, %error, "the lexicon of a record is not known"),
            }
        }
    }
    Ok(Judges { court: court(host, account, author, place, records).await?, foreign })
}

async fn court(
    host: &Host,
    account: &Account,
    author: &Did,
    place: Place,
    records: &[(&Nsid, &Json)],
) -> Result<Court, XrpcError> {
    let ruled = records.iter().filter(|(collection, _)| has_rules(collection));
    // What is no value of the data model is refused by name when its turn comes.
    let values: Vec<_> =
        ruled.filter_map(|(collection, record)| Some((*collection, data::record_from_json(record).ok()?))).collect();
    let values: Vec<_> = values.iter().map(|(collection, value)| (*collection, value)).collect();
    let court = host.rulebook.court(account, author, place, By::Client, &values).await;
    court.map_err(|error| XrpcError::unexpected(&error))
}

/// Whether the collection is one of this network's.
pub(in crate::xrpc::com::atproto) fn has_rules(collection: &Nsid) -> bool {
    Flags::builtin().collection(collection.as_str()).is_some()
}

/// What is at a path now, where the rules of its collection want to know. Blocks.
pub(in crate::xrpc::com::atproto) fn before_blocking(
    repos: &Repos,
    account: AccountId,
    collection: &Nsid,
    rkey: &RecordKey,
) -> Result<Option<Value>, XrpcError> {
    if !has_rules(collection) {
        return Ok(None);
    }
    let record = repos.record_blocking(account, &format!("{collection}/{rkey}"))?;
    // One that cannot be read says nothing.
    Ok(record.and_then(|record| data::cbor::decode(&record.bytes).ok()))
}

/// Checks a record. `validate`: whether its lexicon has to be known (`true`), is not looked at (`false`, for records of
/// others), or is looked at if it is known. The rules of its collection come first: what they complete is validated too.
pub(in crate::xrpc::com::atproto) fn prepare(
    judges: &Judges,
    collection: &Nsid,
    rkey: &RecordKey,
    record: &Json,
    before: Option<&Value>,
    validate: Option<bool>,
) -> Result<Prepared, RecordRefused> {
    let mut value = data::record_from_json(record)?;
    set_type(&mut value, collection)?;
    judges.court.judge(collection, &mut value, before)?;
    let foreign = judges.foreign.get(collection).and_then(|schemas| schemas.record(collection.as_str()));
    let status = match (validate, Schemas::builtin().record(collection.as_str()).or(foreign)) {
        (Some(false), _) if !has_rules(collection) => None,
        (_, Some(schema)) => {
            let checked = schema.validate_key(rkey.as_str()).and_then(|()| schema.validate(&value));
            checked.map_err(|violation| RecordRefused::Invalid(collection.clone(), violation))?;
            Some(ValidationStatus::Valid)
        }
        (Some(true), None) => return Err(RecordRefused::UnknownLexicon(collection.clone())),
        (_, None) => Some(ValidationStatus::Unknown),
    };
    let bill = Bill::of(Draft { collection: collection.as_str(), before, after: &value }, clock::now());
    let record = NewRecord::new(&value);
    if record.bytes() > BLOCK_BYTES_MAX {
        return Err(RecordRefused::TooLarge(record.bytes()));
    }
    match record.blobs().iter().find(|blob| blob.size.is_none()) {
        Some(legacy) => Err(RecordRefused::LegacyBlob(legacy.cid)),
        None => Ok(Prepared { record, status, bill }),
    }
}

/// Whether records of `collection` may be taken away by clients.
pub(in crate::xrpc::com::atproto) fn check_delete(collection: &Nsid) -> Result<(), RecordRefused> {
    Ok(judge_removal(collection, By::Client)?)
}

/// The type of a record is that of its collection; a record that does not say is given it.
fn set_type(value: &mut Value, collection: &Nsid) -> Result<(), RecordRefused> {
    let Value::Map(map) = value else { return Err(Misplaced::from(JsonError::NotAnObject).into()) };
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

#[cfg(test)]
mod tests {
    use angel_protocol::lexicon::flags::Holder;
    use serde_json::json;

    use super::*;

    fn prepared(collection: &str, record: &Json, validate: Option<bool>) -> Result<Prepared, RecordRefused> {
        let court = Court::for_test("did:web:shop.example".parse().expect("valid"), Holder::Tenant);
        let judges = Judges { court, foreign: BTreeMap::new() };
        prepare(&judges, &collection.parse().expect("valid"), &"self".parse().expect("valid"), record, None, validate)
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
            assert!(
                matches!(refused, Err(RecordRefused::Data(at)) if at.path == "/a" && at.reason == JsonError::Float)
            );
        }
        let large = json!({"a": "x".repeat(BLOCK_BYTES_MAX)});
        assert!(matches!(prepared("com.example.note", &large, None), Err(RecordRefused::TooLarge(_))));
        let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        let legacy = json!({"a": {"cid": cid, "mimeType": "image/png"}});
        assert!(matches!(prepared("com.example.note", &legacy, None), Err(RecordRefused::LegacyBlob(_))));
    }

    #[test]
    fn records_of_this_network_fit_their_lexicon_whatever_a_client_wants() {
        let page = |title: &Json, validate| {
            let record = json!({
                "title": title, "slug": "home", "tenant": "did:web:shop.example", "published": true, "pageType": "about",
                "content": { "text": "Hello." }, "createdAt": "2026-11-21T09:00:00.000Z",
            });
            let court = Court::for_test("did:web:shop.example".parse().expect("valid"), Holder::Tenant);
            let judges = Judges { court, foreign: BTreeMap::new() };
            let (collection, key) = ("co.kendev.content.page", "3l3aaaaaaaaaa");
            prepare(&judges, &collection.parse().expect("valid"), &key.parse().expect("valid"), &record, None, validate)
        };
        for validate in [None, Some(true), Some(false)] {
            let fits = page(&json!("Home"), validate).expect("fits");
            assert_eq!(fits.status, Some(ValidationStatus::Valid));
            assert!(matches!(page(&json!(7), validate), Err(RecordRefused::Invalid(..))), "{validate:?}");
        }
        // Records of others may be as large as a block, those of this network a quarter of that.
        let large = "x".repeat(300 * 1024);
        let refused = page(&json!(large), Some(false));
        assert!(matches!(refused, Err(RecordRefused::Rules(Refused::TooLarge { .. }))), "{refused:?}");
        assert!(prepared("com.example.note", &json!({"a": large}), None).is_ok());
    }

    #[test]
    fn private_and_computed_things_stay_out_of_public_repositories() {
        for validate in [None, Some(false)] {
            let account = prepared("co.kendev.people.account", &json!({}), validate);
            assert!(matches!(account, Err(RecordRefused::Rules(Refused::NotPublic { .. }))), "{account:?}");
        }
        let space = |visibility: &str| {
            let record = json!({
                "name": "Shop", "slug": "shop", "visibility": visibility, "tenant": "did:web:shop.example",
                "businessIdentity": { "type": "retail", "industry": "retail" }, "createdAt": "2026-11-21T09:00:00.000Z",
            });
            prepared("co.kendev.spaces.space", &record, Some(false))
        };
        assert!(matches!(space("private"), Err(RecordRefused::Rules(Refused::NotPublic { .. }))));
        // The key is none that spaces have, which is looked at last.
        assert!(matches!(space("public"), Err(RecordRefused::Invalid(..))));
        let node = prepared("co.kendev.network.node", &json!({}), Some(false));
        assert!(matches!(node, Err(RecordRefused::Rules(Refused::HeldIn { .. }))), "{node:?}");
        let order = prepared("co.kendev.business.order", &json!({}), Some(false));
        assert!(matches!(order, Err(RecordRefused::Rules(Refused::NotByClients(_)))), "{order:?}");
        let message = json!({"space": "at://did:web:shop.example/co.kendev.spaces.space/3k"});
        let message = prepared("co.kendev.spaces.message", &message, Some(false));
        assert!(matches!(message, Err(RecordRefused::Rules(Refused::VisibilityUnknown { .. }))), "{message:?}");
    }
}
