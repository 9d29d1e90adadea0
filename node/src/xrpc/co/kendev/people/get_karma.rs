//! `co.kendev.people.getKarma`: what somebody earned by being recognised in a business, for those who belong to it.

use std::sync::Arc;

use angel_protocol::data::to_json;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::business::person;
use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::people::GetKarmaParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetKarmaParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.reads(&host, &query.tenant).await?;
    let asking = person(actor)?;
    let whose = query.person.unwrap_or_else(|| asking.clone());
    let mut answer = json!({ "tenant": tenant.did(), "person": whose, "karma": {} });
    for (name, figures) in &host.business.karma(&tenant, &whose, &asking).await? {
        answer[name] = to_json(figures);
    }
    Ok(Json(answer))
}
