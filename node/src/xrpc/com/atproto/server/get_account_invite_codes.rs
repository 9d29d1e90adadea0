//! `com.atproto.server.getAccountInviteCodes`: the codes that an account may give away.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::com::atproto::invite_view::InviteView;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    #[serde(default = "yes")]
    include_used: bool,
    #[serde(default = "yes")]
    create_available: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
pub(crate) struct Output {
    codes: Vec<InviteView>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    Params(query): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    let invites = host.invites.clone();
    let known = move || invites.of_account_blocking(&account, query.create_available, clock::now());
    let known = blocking::run(known).await?;
    let shown = known
        .into_iter()
        .filter(|(_, row)| !row.disabled && (query.include_used || row.uses.len() < usize::from(row.available)));
    Ok(Json(Output { codes: shown.map(InviteView::from).collect() }))
}
