//! `co.kendev.spaces.importRepo`: the caller's whole repository in a space from a CAR file, as it comes from another host.
//! The proposal for permissioned data has a method that gives one out and none that takes one in.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::http::XrpcError;
use crate::permissioned::arriving::ArrivalError;
use crate::permissioned::import::ImportRefused;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::com::atproto::repo::import_repo::{check_media_type, keys};
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ImportRepoParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    Params(ImportRepoParameters { space }): Params<ImportRepoParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, XrpcError> {
    check_media_type(&headers)?;
    let own = host.accounts.signing_key(account.id()).await?;
    let keys = keys(&host, &account, own.public()).await;
    let mut import = host.permissioned.import(&account, &space, keys).await?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let broken_off = |error: axum::Error| XrpcError::invalid_request(format!("the body broke off: {error}"));
        import.take(&chunk.map_err(broken_off)?).await?;
    }
    let imported = import.finish().await?;
    if account.is_active() {
        host.spaces.take_in_writer(&space, account.did()).await?;
    }
    let head = imported.head;
    Ok(Json(json!({ "rev": head.rev, "records": head.records, "wasHere": imported.was_here })))
}

impl From<ImportRefused> for XrpcError {
    fn from(error: ImportRefused) -> Self {
        match error {
            ImportRefused::Store(error) | ImportRefused::Arrival(ArrivalError::Store(error)) => error.into(),
            ImportRefused::Arrival(ArrivalError::TooMany) => Self::payload_too_large(error.to_string()),
            ImportRefused::InUse | ImportRefused::Older(_) => {
                Self::new(StatusCode::CONFLICT, "RepoExists", error.to_string())
            }
            refused => Self::invalid_request(refused.to_string()),
        }
    }
}
