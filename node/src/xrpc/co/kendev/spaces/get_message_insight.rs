//! `co.kendev.spaces.getMessageInsight`: what a message means for the business that holds the space, as far as it takes no model
//! (MSG-06). For staff who may see figures.

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::blocking;
use crate::http::XrpcError;
use crate::spaces::{Asker, SpaceError};
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::GetMessageInsightParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<GetMessageInsightParameters>,
) -> Result<Json<Value>, XrpcError> {
    let who = asker.somebody()?.clone();
    let (spaces, did, uri) = (host.spaces.clone(), who.clone(), query.uri.clone());
    let finding = blocking::run(move || {
        let (_, found, _, row) = spaces.find_message(&uri, Some(&did))?;
        Ok::<_, SpaceError>((found.row.holder, row))
    });
    let (holder, row) = finding.await?;
    // Whoever may read the message knows that it is there. What it means is for whom the business trusts with figures.
    let tenant = host.tenants.find(&holder);
    let tenant = tenant.filter(|tenant| host.tenants.allows(tenant.did(), &who, Permission::ViewAnalytics));
    let tenant =
        tenant.ok_or(SpaceError::Forbidden("this takes view_analytics in the business that holds the space"))?;
    let mut means = json!({});
    if let Some(department) = row.department {
        means["department"] = department.into();
    }
    if let Some(score) = host.business.score_of(&tenant, &row.author).await? {
        means["leadScore"] = score.into();
    }
    let message = json!({ "uri": query.uri, "cid": row.cid.to_string() });
    Ok(Json(json!({ "message": message, "businessIntelligence": means })))
}
