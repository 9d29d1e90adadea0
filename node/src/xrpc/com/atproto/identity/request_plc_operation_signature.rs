//! `com.atproto.identity.requestPlcOperationSignature`: sends the code without which no operation is signed.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;

use crate::http::XrpcError;
use crate::xrpc::auth::LeavingAccess;
use crate::xrpc::com::atproto::server::send_code;
use crate::xrpc::host::Host;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    LeavingAccess(account): LeavingAccess,
) -> Result<(), XrpcError> {
    send_code(&host, account, MailPurpose::PlcOperation).await
}
