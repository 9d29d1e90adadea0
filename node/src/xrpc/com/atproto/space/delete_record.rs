//! `com.atproto.space.deleteRecord`: takes a record away from the caller's repository in a space, if it is there.

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::tenants::Bill;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::prepare::check_delete;
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
    swap_record: Option<Cid>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let Request { space, repo, collection, rkey, swap_record } = request;
    let account = super::writable(&host, &access, &repo, [&collection]).await?;
    host.limits.writes(account.did(), 1)?;
    check_delete(&collection)?;
    let (path, swap) = (RepoPath::new(collection, rkey), swap_record.map(Swap::Record));
    let write = PermissionedWrite { path, action: Action::Remove, swap };
    super::write(&host, &account, &space, vec![write], &Bill::default()).await?;
    Ok(Json(json!({})))
}
