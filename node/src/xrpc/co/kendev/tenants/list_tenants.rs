//! `co.kendev.tenants.listTenants`: the tenants of this node, or those one belongs to.

use std::sync::Arc;

use angel_protocol::tenants::MembershipStatus;
use angel_storage::AccountId;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::ListTenantsParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListTenantsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let limit = usize::from(query.limit);
    let mine = query.mine.unwrap_or_default();
    let not_ours = || XrpcError::invalid_request("the cursor is none of ours");
    let after = query.cursor.map(|cursor| cursor.parse().map(AccountId).map_err(|_| not_ours())).transpose()?;
    let person = if mine { Some(asker.person()?) } else { asker.did() };
    let all = matches!(asker, Asker::Operator);
    let belongs = |row: Option<&angel_storage::tenants::MembershipRow>| {
        row.is_some_and(|row| row.status == MembershipStatus::Active)
    };
    let found = host.tenants.list(
        after,
        limit,
        |tenant, row| {
            let inside = belongs(row) && asker.is_listed_for(tenant);
            if mine { inside } else { all || tenant.status().is_listed() || inside }
        },
        person,
    );
    let mut tenants = Vec::with_capacity(found.len());
    for tenant in &found {
        tenants.push(view::tenant(&host, tenant, &asker).await?);
    }
    let mut answer = json!({ "tenants": tenants });
    if let Some(last) = found.last().filter(|_| found.len() == limit) {
        answer["cursor"] = last.id().0.to_string().into();
    }
    Ok(Json(answer))
}
