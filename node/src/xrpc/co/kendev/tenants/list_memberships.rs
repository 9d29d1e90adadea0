//! `co.kendev.tenants.listMemberships`: who belongs to a tenant, for those who do.

use std::sync::Arc;

use angel_protocol::ids::Tid;
use atrium_api::types::LimitedNonZeroU8;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asker, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Memberships in a page when the client does not say.
const LIMIT: u8 = 50;

#[derive(Deserialize)]
pub(crate) struct Query {
    tenant: String,
    limit: Option<LimitedNonZeroU8<100>>,
    cursor: Option<Tid>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.reads(&host, &query.tenant).await?;
    let limit = usize::from(query.limit.map_or(LIMIT, u8::from));
    let rows = host.tenants.memberships(tenant.did(), query.cursor, limit);
    let views: Result<Vec<_>, _> = rows.iter().map(|(did, row)| view::membership(&tenant, did, row)).collect();
    let mut answer = json!({ "memberships": views? });
    if let Some((_, last)) = rows.last().filter(|_| rows.len() == limit) {
        answer["cursor"] = last.rkey.to_string().into();
    }
    Ok(Json(answer))
}
