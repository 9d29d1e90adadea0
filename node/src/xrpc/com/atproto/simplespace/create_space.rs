//! `com.atproto.simplespace.createSpace`: a space under the caller's account.

use angel_protocol::ids::{Nsid, RecordKey};
use angel_protocol::permissioned::SpaceConfig;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::policy::{AppAccessView, PolicyView};
use crate::http::XrpcError;
use crate::xrpc::auth::{ActiveAccess, FullAccess};
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space_type: Nsid,
    skey: Option<RecordKey>,
    read_policy: PolicyView,
    write_policy: PolicyView,
    app_access: AppAccessView,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    _active: ActiveAccess,
    FullAccess(account): FullAccess,
    Input(Request { space_type, skey, read_policy, write_policy, app_access }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(account.did(), 3)?;
    let config = SpaceConfig { read: read_policy.into(), write: write_policy.into(), apps: app_access.into() };
    let uri = host.permissioned.create_space(&account, space_type, skey, config).await?;
    Ok(Json(json!({ "uri": uri })))
}
