//! `com.atproto.space.createRecord`: a new record in the caller's repository in a space.

use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::prepare::{Target, judges, prepare};
use super::{Shared, Written};
use crate::http::XrpcError;
use crate::permissioned::{Action, PermissionedWrite};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    space: SpaceUri,
    repo: Did,
    collection: Nsid,
    rkey: Option<RecordKey>,
    validate: Option<bool>,
    record: Value,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Written>, XrpcError> {
    let Request { space, repo, collection, rkey, validate, record } = request;
    let account = super::writable(&host, &access, &repo, [&collection]).await?;
    host.limits.writes(account.did(), 3)?;
    let rkey = match rkey {
        Some(rkey) => rkey,
        None => host.repos.next_tid()?.into(),
    };
    let target = Target { space: &space, account: &account, author: access.did() };
    let judges = judges(&host, target, &[(&collection, &record)], validate).await?;
    let path = RepoPath::new(collection, rkey);
    let prepared = prepare(&host, &judges, target, &path, &record, validate).await?;
    let cid = prepared.record.cid();
    let write = PermissionedWrite { path: path.clone(), action: Action::Create(prepared.record), swap: None };
    super::write(&host, &account, &space, vec![write], &prepared.bill).await?;
    host.business.follow(&account, access.did(), std::slice::from_ref(&path)).await;
    Ok(Json(Written { uri: space.record(repo, path), cid, validation_status: prepared.status }))
}
