//! `co.kendev.network.dismissRecordVersions`: second versions of records that the owner has looked at are forgotten. Whoever
//! wants one in the place of what is served writes it first, as any record is written and judged.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::blocking;
use crate::http::XrpcError;
use crate::replication::VersionOf;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::owning::Owning;

/// Versions that are dismissed at once.
const VERSIONS_MAX: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Request {
    tenant: String,
    versions: Vec<VersionOf>,
}

pub(crate) async fn handler(
    asker: Owning,
    State(host): State<Arc<Host>>,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let Request { tenant, versions } = request;
    if versions.len() > VERSIONS_MAX {
        return Err(XrpcError::invalid_request(format!("at most {VERSIONS_MAX} versions are dismissed at once")));
    }
    let account = asker.tenant(&host, &tenant).await?;
    let leave = host.replication.placement().may_write(account.id()).await?;
    let replication = host.replication.clone();
    let dismissed = blocking::run(move || replication.dismiss_blocking(account.did(), &versions)).await?;
    leave.replicated(dismissed.sequence).await?;
    Ok(Json(json!({ "dismissed": dismissed.versions })))
}
