//! `com.atproto.space.putRecord`: a record in the caller's repository in a space, whatever was there.

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::prepare::{Target, judges, prepare};
use super::{Shared, Written};
use crate::http::XrpcError;
use crate::permissioned::{Action, PermissionedWrite, Swap};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: SpaceUri,
    repo: Did,
    collection: Nsid,
    rkey: RecordKey,
    validate: Option<bool>,
    record: Value,
    /// `null`: there must be none yet.
    #[serde(default, deserialize_with = "nullable")]
    swap_record: Option<Option<Cid>>,
}

/// Tells a field that is `null` from one that is absent.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Cid>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Written>, XrpcError> {
    let Request { space, repo, collection, rkey, validate, record, swap_record } = request;
    let account = super::writable(&host, &access, &repo, [&collection]).await?;
    host.limits.writes(account.did(), 2)?;
    let target = Target { space: &space, account: &account, author: access.did() };
    let judges = judges(&host, target, &[(&collection, &record)], validate).await?;
    let path = RepoPath::new(collection, rkey);
    let prepared = prepare(&host, &judges, target, &path, &record, validate).await?;
    let cid = prepared.record.cid();
    let swap = swap_record.map(|cid| cid.map_or(Swap::Absent, Swap::Record));
    let write = PermissionedWrite { path: path.clone(), action: Action::Put(prepared.record), swap };
    super::write(&host, &account, &space, vec![write], &prepared.bill).await?;
    host.business.follow(&account, access.did(), std::slice::from_ref(&path)).await;
    Ok(Json(Written { uri: space.record(repo, path), cid, validation_status: prepared.status }))
}
