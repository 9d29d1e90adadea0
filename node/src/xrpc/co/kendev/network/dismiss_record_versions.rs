//! `co.kendev.network.dismissRecordVersions`: second versions of records that the owner has looked at are forgotten. Whoever
//! wants one in the place of what is served writes it first, as any record is written and judged.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::blocking;
use crate::http::XrpcError;
use crate::replication::VersionOf;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::owning::Owning;
use crate::xrpc::types::network::{DismissRecordVersionsInput, DismissRecordVersionsVersionRef};

pub(crate) async fn handler(
    asker: Owning,
    State(host): State<Arc<Host>>,
    Input(request): Input<DismissRecordVersionsInput>,
) -> Result<Json<Value>, XrpcError> {
    let DismissRecordVersionsInput { tenant, versions } = request;
    let named = |it: DismissRecordVersionsVersionRef| VersionOf { path: it.path, space: it.space, rev: it.rev };
    let versions: Vec<_> = versions.into_iter().map(named).collect();
    let account = asker.tenant(&host, &tenant).await?;
    let leave = host.replication.placement().may_write(account.id()).await?;
    let replication = host.replication.clone();
    let dismissed = blocking::run(move || replication.dismiss_blocking(account.did(), &versions)).await?;
    leave.replicated(dismissed.sequence).await?;
    Ok(Json(json!({ "dismissed": dismissed.versions })))
}
