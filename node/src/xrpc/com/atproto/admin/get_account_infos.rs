//! `com.atproto.admin.getAccountInfos`: what is known of several accounts. Those that are not here are left out.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::AccountView;
use crate::http::XrpcError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Accounts that one request names.
const DIDS_MAX: usize = 100;

#[derive(Deserialize)]
pub(crate) struct Query {
    dids: Vec<Did>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    infos: Vec<AccountView>,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Params(Query { dids }): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    if dids.len() > DIDS_MAX {
        return Err(XrpcError::invalid_request(format!("one request names at most {DIDS_MAX} accounts")));
    }
    let mut infos = Vec::with_capacity(dids.len());
    for did in dids {
        if let Some(account) = host.accounts.by_did(&did).await? {
            infos.push(AccountView::of(&host, &account).await?);
        }
    }
    Ok(Json(Output { infos }))
}
