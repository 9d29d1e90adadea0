//! `co.kendev.tenants.provision`: makes a tenant from a template, or goes on with one that was cut short. For the
//! operator.

use std::sync::Arc;

use angel_protocol::tenants::Slug;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, get_provisioning, view};
use crate::clock;
use crate::http::XrpcError;
use crate::tenants::{Actor, Blueprint, NewTenant};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::ProvisionInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<ProvisionInput>,
) -> Result<Json<Value>, XrpcError> {
    asker.operator()?;
    let template = request.template;
    let slug: Slug = request
        .slug
        .parse()
        .map_err(|error: angel_protocol::tenants::slug::InvalidSlug| XrpcError::invalid_request(error.to_string()))?;
    if host.tenants.find(&request.owner).is_some() {
        return Err(XrpcError::invalid_request("a tenant is owned by a person, not by a tenant"));
    }
    let wish = NewTenant {
        template,
        name: request.name.unwrap_or_else(|| named(request.blueprint.as_ref()).unwrap_or_else(|| slug.to_string())),
        slug,
        owner: request.owner,
        business_type: request.business_type,
        plan: request.plan.unwrap_or_else(|| template.plan()),
        recovery_key: request.recovery_key,
        blueprint: request.blueprint.map(|json| Blueprint::read(&json, template)).transpose()?,
    };
    let tenant = host.provisioner.provision(wish, &Actor::Operator, clock::now()).await?;
    if tenant.row().provisioned_at.is_some() {
        host.spaces.announce_once(tenant.did(), "tenant.provisioned").await?;
    }
    Ok(Json(json!({
        "tenant": view::tenant(&host, &tenant, &asker).await?,
        "log": get_provisioning::log(&tenant),
    })))
}

/// What a blueprint calls the tenant.
fn named(blueprint: Option<&Value>) -> Option<String> {
    Some(blueprint?.get("identity")?.get("name")?.as_str()?.to_owned())
}
