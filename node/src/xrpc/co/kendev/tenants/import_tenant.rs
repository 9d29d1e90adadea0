//! `co.kendev.tenants.importTenant`: takes a tenant in from its export, for an account that is hosted here. For the
//! operator.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Asker, view};
use crate::http::XrpcError;
use crate::tenants::ImportError;
use crate::xrpc::host::Host;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    body: Bytes,
) -> Result<Json<Value>, XrpcError> {
    asker.operator()?;
    let tenant = host.provisioner.import(&body).await.map_err(refused)?;
    Ok(Json(json!({ "tenant": view::tenant(&host, &tenant, &asker).await? })))
}

fn refused(error: ImportError) -> XrpcError {
    let named = |name| XrpcError::new(StatusCode::BAD_REQUEST, name, error.to_string());
    match error {
        ImportError::Provision(error) => error.into(),
        ImportError::NoAccount(_) => named("AccountNotFound"),
        ImportError::InUse(_) => named("InvalidStatus"),
        _ => named("InvalidExport"),
    }
}
