//! `co.kendev.network.openWallet`: the owner gets a wallet that this node keeps for the account, and can be paid.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::send_tokens::DECISION_LIMIT;
use crate::http::XrpcError;
use crate::ledger::custody::Submitter;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
) -> Result<Json<Value>, XrpcError> {
    open(&host.submitter, account.did()).await
}

/// Opens the wallet and says under which key it is; so does asking again.
pub(crate) async fn open(submitter: &Submitter, account: &Did) -> Result<Json<Value>, XrpcError> {
    let key = if *account == submitter.wallet.did() {
        account.clone()
    } else {
        submitter.open(account, DECISION_LIMIT).await?.did()
    };
    let wallet = submitter.wallet.ledger().wallet(account.clone()).await?;
    let sequence = wallet.map_or(0, |wallet| wallet.sequence);
    Ok(Json(json!({ "account": account, "key": key, "sequence": sequence })))
}
