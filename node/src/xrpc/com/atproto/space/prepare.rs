//! What a record has to be before it is written into a space: the same as in a public repository ([`repo::prepare`]).

use angel_protocol::data;
use angel_protocol::ids::{Did, Nsid, RepoPath};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::rules::Place;
use serde_json::Value as Json;

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::xrpc::com::atproto::repo::prepare::{self as repo, has_rules};
use crate::xrpc::host::Host;

pub(super) use crate::xrpc::com::atproto::repo::prepare::{Judges, Prepared, ValidationStatus, check_delete};

/// Whose records go where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) space: &'a SpaceUri,
    pub(super) account: &'a Account,
    /// Who writes: whose account it is, or a member of the tenant.
    pub(super) author: &'a Did,
}

/// Finds out what judging the records has to know, which are about to be written together.
pub(super) async fn judges(
    host: &Host,
    target: Target<'_>,
    records: &[(&Nsid, &Json)],
    validate: Option<bool>,
) -> Result<Judges, XrpcError> {
    repo::judges(host, target.account, target.author, Place::Permissioned, records, validate).await
}

/// Checks a record. `validate` as with public records.
pub(super) async fn prepare(
    host: &Host,
    judges: &Judges,
    target: Target<'_>,
    path: &RepoPath,
    record: &Json,
    validate: Option<bool>,
) -> Result<Prepared, XrpcError> {
    let before = match has_rules(&path.collection) {
        true => host.permissioned.read(target.space, target.account.did(), path).await?,
        false => None,
    };
    // One that cannot be read says nothing.
    let before = before.and_then(|record| data::cbor::decode(&record.bytes).ok());
    Ok(repo::prepare(judges, &path.collection, &path.rkey, record, before.as_ref(), validate)?)
}
