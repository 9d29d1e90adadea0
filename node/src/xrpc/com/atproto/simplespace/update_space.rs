//! `com.atproto.simplespace.updateSpace`: other settings for a space.

use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::policy::{AppAccessView, PolicyView};
use crate::http::XrpcError;
use crate::permissioned::ConfigChange;
use crate::xrpc::auth::{ActiveAccess, FullAccess};
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: SpaceUri,
    read_policy: Option<PolicyView>,
    write_policy: Option<PolicyView>,
    app_access: Option<AppAccessView>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    _active: ActiveAccess,
    FullAccess(account): FullAccess,
    Input(Request { space, read_policy, write_policy, app_access }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    super::own(&host, &account, &space).await?;
    host.limits.writes(account.did(), 2)?;
    let change = ConfigChange {
        read: read_policy.map(Into::into),
        write: write_policy.map(Into::into),
        apps: app_access.map(Into::into),
    };
    host.permissioned.update_space(&space, change).await?;
    Ok(Json(json!({})))
}
