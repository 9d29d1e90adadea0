//! `co.kendev.tenants.exportTenant`: a whole tenant as lines of JSON, for whoever may take its data out.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::extract::State;
use axum::response::Response;

use super::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::lines;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::ExportTenantParameters;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ExportTenantParameters>,
) -> Result<Response, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &query.tenant, Permission::ExportData).await?;
    // Whoever takes private data out, the operator too, is seen by the tenant to have done so.
    let (tenants, did) = (host.tenants.clone(), tenant.did().clone());
    let tenant = blocking::run(move || tenants.note_blocking(&did, &actor, "export", clock::now())).await?;
    let provisioner = host.provisioner.clone();
    Ok(lines::answer(|pieces| async move {
        if let Err(error) = provisioner.export(&tenant, |piece| pieces.clone().send(piece)).await {
            // The body ends without its last line, by which the reader sees that it is not whole.
            tracing::error!(tenant = %tenant.did(), %error, "an export broke off");
        }
    }))
}
