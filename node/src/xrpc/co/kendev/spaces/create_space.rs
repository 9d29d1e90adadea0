//! `co.kendev.spaces.createSpace`: a new space of an account that is hosted here.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use angel_protocol::ids::Did;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// Whose it is; the caller's own without one.
    tenant: Option<Did>,
    record: Value,
    /// By which others may join.
    invite_code: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?.clone();
    host.limits.writes(&did, 3)?;
    let written = host.spaces.create(&asker, request.tenant.as_ref(), request.record).await?;
    super::set_code(&host, &written.uri, &did, request.invite_code.as_deref()).await?;
    Ok(super::written(&written))
}
