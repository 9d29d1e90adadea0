//! `com.atproto.repo.createRecord`: a new record.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, AtUri, Nsid, RecordKey, RepoPath};
use angel_protocol::rules::Place;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prepare::{ValidationStatus, judges, prepare};
use super::{CommitView, Shared};
use crate::http::XrpcError;
use crate::repos::{Action, RepoWrite};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;
use crate::xrpc::plans;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: Option<RecordKey>,
    validate: Option<bool>,
    record: Value,
    swap_commit: Option<Cid>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    uri: AtUri,
    cid: Cid,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_status: Option<ValidationStatus>,
}

impl Answer {
    pub(super) fn new(
        uri: AtUri,
        cid: Cid,
        commit: Option<CommitView>,
        validation_status: Option<ValidationStatus>,
    ) -> Self {
        Self { uri, cid, commit, validation_status }
    }
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Answer>, XrpcError> {
    let account = super::writable(&host, &access, &request.repo, [&request.collection]).await?;
    host.limits.writes(account.did(), 3)?;
    let rkey = match request.rkey {
        Some(rkey) => rkey,
        None => host.repos.next_tid()?.into(),
    };
    let records = [(&request.collection, &request.record)];
    let judges = judges(&host, &account, access.did(), Place::Public, &records, request.validate).await?;
    let prepared = prepare(&judges, &request.collection, &rkey, &request.record, None, request.validate)?;
    let (cid, path) = (prepared.record.cid(), RepoPath::new(request.collection, rkey));
    let names = host.business.hold_names(&account, [(&path, Some(&prepared.record))]).await?;
    let admitted = plans::admit(&host, &account, &prepared.bill).await?;
    let action = match request.validate {
        Some(false) => Action::Create(prepared.record),
        Some(true) | None => Action::CreateInPlace(prepared.record),
    };
    let write = RepoWrite { path: path.clone(), action, swap: None };
    let owner = super::owner(&host, &account).await?;
    let made = host.repos.write(&owner, vec![write], request.swap_commit).await?;
    admitted.written();
    drop(names);
    host.business.follow(&account, access.did(), std::slice::from_ref(&path)).await;
    let uri = AtUri::record(owner.did, path);
    Ok(Json(Answer::new(uri, cid, made.map(CommitView::from), prepared.status)))
}
