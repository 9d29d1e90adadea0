//! `co.kendev.spaces.exportSpaces`: what makes the caller's own spaces, as lines of JSON, for the host that they move to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::import_spaces::Carried;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;
use crate::xrpc::lines;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
) -> Result<Response, XrpcError> {
    if host.tenants.find(account.did()).is_some() {
        let words = "the spaces of a tenant come with its export (co.kendev.tenants.exportTenant)";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "IsTenant", words));
    }
    let spaces = host.spaces.clone();
    Ok(lines::answer(|pieces| async move {
        let mut count = 0;
        let out = spaces.take_out(&account, |page| {
            count += page.len() as u64;
            pieces.clone().send(page.into_iter().map(Carried::Space).flat_map(|line| line.to_line()).collect())
        });
        match out.await {
            Ok(true) => drop(pieces.send(Carried::End { lines: count }.to_line()).await),
            Ok(false) => {}
            // The body ends without its last line, by which the reader sees that it is not whole.
            Err(error) => tracing::error!(%error, "an export of spaces broke off"),
        }
    }))
}
