//! `co.kendev.tenants.getProvisioning`: how setting up a tenant went, for its owner and the operator.

use std::sync::Arc;

use angel_protocol::tenants::Role;
use angel_storage::tenants::StepStatus;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Asker;
use crate::http::XrpcError;
use crate::tenants::{Actor, Tenant};
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::GetProvisioningParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetProvisioningParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.reads(&host, &query.tenant).await?;
    if !matches!(actor, Actor::Operator | Actor::Person(_, Role::Owner | Role::Admin)) {
        let text = "this is for the tenant's owner and admins";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
    }
    let row = tenant.row();
    let mut answer = json!({
        "tenant": row.did,
        "template": row.template.name(),
        "isProvisioned": row.provisioned_at.is_some(),
        "log": log(&tenant),
    });
    if let Some(at) = row.provisioned_at {
        answer["provisionedAt"] = at.to_string().into();
    }
    Ok(Json(answer))
}

/// The log as the operator's file has it.
pub(super) fn log(tenant: &Tenant) -> Vec<Value> {
    let status = |status: StepStatus| match status {
        StepStatus::Success => "success",
        StepStatus::Failed => "failed",
        StepStatus::Pending => "pending",
    };
    let steps = tenant.row().log.iter().map(|step| {
        json!({
            "action": step.action,
            "status": status(step.status),
            "details": step.details,
            "timestamp": step.at.to_string(),
        })
    });
    steps.collect()
}
