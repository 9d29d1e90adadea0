//! `co.kendev.tenants.uploadBlob`: takes a file on a tenant's behalf, from whoever may write some of its records.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::Asker;
use crate::http::XrpcError;
use crate::tenants::{Actor, TenantError};
use crate::xrpc::com::atproto::repo::upload_blob::upload;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::UploadBlobParameters;

/// What opens records that may name files.
const OPENS: [Permission; 5] = [
    Permission::ManageContent,
    Permission::ManageProducts,
    Permission::ManageOrders,
    Permission::ManageSpaces,
    Permission::ManageSettings,
];

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<UploadBlobParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.reads(&host, &query.tenant).await?;
    if !host.tenants.takes_writes(tenant.did()) {
        return Err(TenantError::Closed(tenant.status()).into());
    }
    if let Actor::Person(did, _) = &actor
        && !OPENS.into_iter().any(|needed| host.tenants.allows(tenant.did(), did, needed))
    {
        let text = "this takes a permission to write some of the tenant's records";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
    }
    let account = host.accounts.by_did(tenant.did()).await?.ok_or(TenantError::NotFound)?;
    upload(&host, &account, &headers, body).await
}
