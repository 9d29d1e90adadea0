//! `co.kendev.people.listRecognitions`: who recognised whom for what, for those whom it concerns.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::business::{cursor, page, person};
use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::people::ListRecognitionsParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListRecognitionsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.reads(&host, &query.tenant).await?;
    let asking = person(actor)?;
    let limit = usize::from(query.limit);
    let after = cursor(query.cursor.as_deref())?;
    let manages = host.tenants.allows(tenant.did(), &asking, Permission::ManageUsers);
    let concerning: Vec<_> = query.person.iter().chain((!manages).then_some(&asking)).collect();
    let found = host.business.recognitions(&tenant, &concerning, after, limit).await?;
    Ok(Json(page("recognitions", tenant.did(), found)))
}
