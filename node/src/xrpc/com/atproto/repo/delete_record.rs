//! `com.atproto.repo.deleteRecord`: no record at this key from now on. When there is none, that is well.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, Nsid, RecordKey, RepoPath};
use angel_protocol::tenants::Bill;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::prepare::check_delete;
use super::{CommitView, Shared};
use crate::http::XrpcError;
use crate::repos::{Action, RepoWrite, Swap};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;
use crate::xrpc::plans;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    swap_record: Option<Cid>,
    swap_commit: Option<Cid>,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitView>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Answer>, XrpcError> {
    let account = super::writable(&host, &access, &request.repo, [&request.collection]).await?;
    host.limits.writes(account.did(), 1)?;
    check_delete(&request.collection)?;
    let admitted = plans::admit(&host, &account, &Bill::default()).await?;
    let path = RepoPath::new(request.collection, request.rkey);
    let write = RepoWrite { path, action: Action::Remove, swap: request.swap_record.map(Swap::Record) };
    let owner = super::owner(&host, &account).await?;
    let made = host.repos.write(&owner, vec![write], request.swap_commit).await?;
    admitted.written();
    Ok(Json(Answer { commit: made.map(CommitView::from) }))
}
