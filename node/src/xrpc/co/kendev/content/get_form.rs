//! `co.kendev.content.getForm`: the questions of a form, for whoever wants to fill it in. It counts as a view.

use std::sync::Arc;

use angel_protocol::data::{Value as Record, to_json};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::visitor::Visitor;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::content::GetFormParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Visitor(visitor): Visitor,
    Params(query): Params<GetFormParameters>,
) -> Result<Json<Value>, XrpcError> {
    let form = host.business.form(&query.uri).await?;
    // Who looks after a form sees it often, and never sends answers.
    if visitor.is_none_or(|did| host.tenants.role(form.tenant.did(), &did).is_none()) {
        host.business.saw(&form);
    }
    Ok(Json(json!({
        "uri": form.uri(),
        "cid": form.entry.cid.to_string(),
        "value": to_json(&Record::Map(form.entry.record)),
        "indexedAt": form.at.to_string(),
    })))
}
