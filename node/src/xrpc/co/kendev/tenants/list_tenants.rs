//! `co.kendev.tenants.listTenants`: the tenants of this node, or those one belongs to.

use std::sync::Arc;

use angel_protocol::tenants::MembershipStatus;
use angel_storage::AccountId;
use atrium_api::types::LimitedNonZeroU8;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asker, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Tenants in a page when the client does not say.
const LIMIT: u8 = 50;

#[derive(Deserialize)]
pub(crate) struct Query {
    /// Only those the asker belongs to.
    #[serde(default)]
    mine: bool,
    limit: Option<LimitedNonZeroU8<100>>,
    cursor: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let limit = usize::from(query.limit.map_or(LIMIT, u8::from));
    let not_ours = || XrpcError::invalid_request("the cursor is none of ours");
    let after = query.cursor.map(|cursor| cursor.parse().map(AccountId).map_err(|_| not_ours())).transpose()?;
    let person = if query.mine { Some(asker.person()?) } else { asker.did() };
    let all = matches!(asker, Asker::Operator);
    let belongs = |row: Option<&angel_storage::tenants::MembershipRow>| {
        row.is_some_and(|row| row.status == MembershipStatus::Active)
    };
    let found = host.tenants.list(
        after,
        limit,
        |tenant, row| {
            let inside = belongs(row) && asker.is_listed_for(tenant);
            if query.mine { inside } else { all || tenant.status().is_listed() || inside }
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
