//! `com.atproto.identity.submitPlcOperation`: a signed operation of the account, on its way to the directory. It has to
//! leave the account in a state in which this host can serve it.

use std::sync::Arc;

use angel_protocol::did_document::{ATPROTO_KEY, ATPROTO_PDS, ATPROTO_PDS_TYPE};
use angel_protocol::plc::{PlcData, PlcOperation, PlcStatement};
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    operation: Value,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    access: Access,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    let account = access.account;
    let operation = PlcOperation::from_json(&request.operation)
        .map_err(|error| XrpcError::invalid_request(format!("Invalid operation: {error}")))?;
    let PlcStatement::State { data, .. } = operation.statement() else {
        return Err(XrpcError::invalid_request("Invalid operation"));
    };
    check(&host, &account, data).await?;
    host.identities.directory().submit(account.did(), operation).await?;
    Ok(host.lifecycle.tell_identity(&account).await?)
}

/// Whether this host can serve an account of which the directory says `data`.
async fn check(host: &Host, account: &Account, data: &PlcData) -> Result<(), XrpcError> {
    let pds = data.services.get(ATPROTO_PDS);
    let signing_key = host.accounts.signing_key(account.id()).await?.did();
    let name = account.handle().map(|handle| format!("at://{handle}"));
    let wrong = if !data.rotation_keys.contains(&host.identities.rotation_key()) {
        "Rotation keys do not include server's rotation key"
    } else if pds.map(|pds| pds.kind.as_str()) != Some(ATPROTO_PDS_TYPE) {
        "Incorrect type on atproto_pds service"
    } else if pds.map(|pds| pds.endpoint.as_str()) != Some(host.identities.endpoint()) {
        "Incorrect endpoint on atproto_pds service"
    } else if data.verification_methods.get(ATPROTO_KEY) != Some(&signing_key) {
        "Incorrect signing key"
    } else if name.is_some() && data.also_known_as.first() != name.as_ref() {
        "Incorrect handle in alsoKnownAs"
    } else {
        return Ok(());
    };
    Err(XrpcError::invalid_request(wrong))
}
