//! `com.atproto.server.checkAccountStatus`: what is here of an account, for whoever moves it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::AnyAccess;
use crate::xrpc::host::Host;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    activated: bool,
    valid_did: bool,
    repo_commit: String,
    repo_rev: String,
    repo_blocks: u64,
    indexed_records: u64,
    private_state_values: u64,
    expected_blobs: u64,
    imported_blobs: u64,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    AnyAccess(access): AnyAccess,
) -> Result<Json<Output>, XrpcError> {
    let account = access.account;
    let (repos, id) = (host.repos.clone(), account.id());
    let head = blocking::run(move || repos.head_blocking(id)).await?;
    let preferences = host.preferences.clone();
    let private_state_values = blocking::run(move || preferences.count_blocking(id)).await?;
    let head = head.ok_or_else(|| XrpcError::invalid_request("the account has no repository"))?;
    let blobs = host.blobs.counts(id).await?;
    Ok(Json(Output {
        activated: account.is_active(),
        valid_did: host.lifecycle.check_identity(&account).await.is_ok(),
        repo_commit: head.commit.cid().to_string(),
        repo_rev: head.commit.rev().to_string(),
        // The tree, the records and the commit.
        repo_blocks: head.totals.nodes + head.totals.records + 1,
        indexed_records: head.totals.records,
        private_state_values,
        expected_blobs: blobs.named,
        imported_blobs: blobs.present,
    }))
}
