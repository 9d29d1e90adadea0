//! What a record has to be before it is written into a space: a value of the data model, of the type of its collection,
//! as its lexicon has it if that is known here, and within the rules of its collection.

use angel_protocol::data::{self, Value};
use angel_protocol::ids::{Did, Nsid, RecordKey};
use angel_protocol::lexicon::Schemas;
use angel_protocol::limits::BLOCK_BYTES_MAX;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::rules::{self, By, Place};
use angel_protocol::tenants::{Bill, Draft};
use serde::Serialize;
use serde_json::Value as Json;

use crate::accounts::Account;
use crate::clock;
use crate::http::XrpcError;
use crate::permissioned::NewRecord;
use crate::xrpc::host::Host;

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
    /// What it uses of a tenant's plan.
    pub(super) bill: Bill,
}

/// Whose record goes where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) space: &'a SpaceUri,
    pub(super) account: &'a Account,
    /// Who writes: whose account it is, or a member of the tenant.
    pub(super) author: &'a Did,
    pub(super) collection: &'a Nsid,
    pub(super) rkey: &'a RecordKey,
}

/// Checks a record. `validate` as with public records.
pub(super) async fn prepare(
    host: &Host,
    target: Target<'_>,
    record: &Json,
    validate: Option<bool>,
) -> Result<Prepared, XrpcError> {
    let Target { space, account, author, collection, rkey } = target;
    let refused = |text: String| XrpcError::invalid_request(text);
    let mut value = data::record_from_json(record)
        .map_err(|error| refused(format!("the record is not of the AT Protocol data model: {error}")))?;
    set_type(&mut value, collection)?;
    let path = angel_protocol::ids::RepoPath::new(collection.clone(), rkey.clone());
    let before = host.permissioned.read(space, account.did(), &path).await?;
    let before = before.and_then(|record| data::cbor::decode(&record.bytes).ok());
    let place = (Place::Permissioned, By::Client);
    let judged = host.rulebook.judge(account, author, place, collection, value, before.as_ref()).await;
    let judged = judged.map_err(|error| XrpcError::unexpected(&error))?;
    let value = judged.map_err(|error| refused(error.to_string()))?;
    let status = match (validate, Schemas::builtin().record(collection.as_str())) {
        (Some(false), _) => None,
        (_, Some(schema)) => {
            schema.validate_key(rkey.as_str()).map_err(|error| refused(error.to_string()))?;
            schema.validate(&value).map_err(|error| refused(error.to_string()))?;
            Some(ValidationStatus::Valid)
        }
        (Some(true), None) => {
            return Err(refused(format!(
                "the lexicon of {collection} is not known here, so the record cannot be validated"
            )));
        }
        (None, None) => Some(ValidationStatus::Unknown),
    };
    let draft = Draft { collection: collection.as_str(), before: before.as_ref(), after: &value };
    let bill = Bill::of(draft, clock::now());
    let record = NewRecord::new(&value);
    if record.bytes() > BLOCK_BYTES_MAX {
        return Err(refused(format!(
            "the record has {} bytes; at most {BLOCK_BYTES_MAX} can be written",
            record.bytes()
        )));
    }
    match record.blobs().iter().find(|blob| blob.size.is_none()) {
        Some(_) => Err(refused("the record names a blob in the legacy form; use $type: blob".to_owned())),
        None => Ok(Prepared { record, status, bill }),
    }
}

/// Whether records of `collection` may be taken away by clients.
pub(super) fn check_delete(collection: &Nsid) -> Result<(), XrpcError> {
    rules::judge_removal(collection, By::Client).map_err(|error| XrpcError::invalid_request(error.to_string()))
}

/// The type of a record is that of its collection; a record that does not say is given it.
fn set_type(value: &mut Value, collection: &Nsid) -> Result<(), XrpcError> {
    let Value::Map(map) = value else { return Err(XrpcError::invalid_request("a record is an object")) };
    match map.get("$type") {
        Some(Value::String(found)) if found == collection.as_str() => Ok(()),
        None => {
            map.insert("$type".to_owned(), Value::String(collection.to_string()));
            Ok(())
        }
        Some(_) => Err(XrpcError::invalid_request(format!(
            "the record's $type has to be that of its collection, {collection}"
        ))),
    }
}
