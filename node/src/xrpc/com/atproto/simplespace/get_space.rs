//! `com.atproto.simplespace.getSpace`: the settings of a space, for whoever may read it.

use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::policy::{AppAccessView, PolicyView};
use crate::http::XrpcError;
use crate::permissioned::PermissionedError;
use crate::xrpc::com::atproto::space::Reading;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    uri: SpaceUri,
    read_policy: PolicyView,
    write_policy: PolicyView,
    app_access: AppAccessView,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(Query { space }): Params<Query>,
) -> Result<Json<Answer>, XrpcError> {
    match &reading {
        Reading::Credential(_) => reading.allow(&host, &space, &space.authority).await?,
        Reading::Session(access) => {
            if !host.permissioned.may_read(&space, access.account.did()).await? {
                return Err(PermissionedError::SpaceNotFound.into());
            }
        }
    }
    let row = host.permissioned.space(&space).await?.ok_or(PermissionedError::SpaceNotFound)?;
    let config = row.config;
    Ok(Json(Answer {
        uri: row.uri,
        read_policy: config.read.into(),
        write_policy: config.write.into(),
        app_access: config.apps.into(),
    }))
}
