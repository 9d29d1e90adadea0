//! `co.kendev.tenants.updateTenant`: what a tenant is called, and, for the operator, what it may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::data::{Value as Data, cbor};
use angel_protocol::lexicon::Schemas;
use angel_protocol::rules::{By, Place};
use angel_protocol::tenants::{Allowance, Permission, Plan};
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Asker, view};
use crate::http::XrpcError;
use crate::repos::{Action, NewRecord, RepoWrite, Swap};
use crate::tenants::{Actor, Tenant, TenantError};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::UpdateTenantInput;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<UpdateTenantInput>,
) -> Result<Json<Value>, XrpcError> {
    let (mut tenant, actor) = asker.acts(&host, &request.tenant, Permission::ManageSettings).await?;
    if request.plan.is_some() || request.limits.is_some() || request.features.is_some() {
        asker.operator()?;
        let allowance = allowance(&tenant, &request)?;
        let (tenants, did, actor) = (host.tenants.clone(), tenant.did().clone(), actor.clone());
        tenant = blocking::run(move || tenants.set_allowance_blocking(&did, &actor, allowance, clock::now())).await?;
        host.business.settings_follow(&tenant).await;
    }
    if request.name.is_some() || request.business_type.is_some() {
        tenant = rename(&host, tenant, actor, request.name, request.business_type).await?;
    }
    Ok(Json(view::tenant(&host, &tenant, &asker).await?))
}

fn allowance(tenant: &Tenant, request: &UpdateTenantInput) -> Result<Allowance, XrpcError> {
    let mut allowance = tenant.row().allowance.clone();
    if let Some(name) = &request.plan {
        let unknown = || XrpcError::invalid_request(format!("there is no plan {name}"));
        allowance.plan = Plan::from_name(name).ok_or_else(unknown)?;
    }
    if let Some(limits) = &request.limits {
        allowance.limits = limits.iter().map(|wish| (wish.resource, wish.limit)).collect::<BTreeMap<_, _>>();
    }
    if let Some(features) = &request.features {
        allowance.features = features.iter().copied().collect();
    }
    Ok(allowance)
}

/// The profile first: it is what everybody reads, and it is validated.
async fn rename(
    host: &Host,
    tenant: Tenant,
    actor: Actor,
    name: Option<String>,
    business_type: Option<String>,
) -> Result<Tenant, XrpcError> {
    if !tenant.status().takes_writes() {
        return Err(TenantError::Closed(tenant.status()).into());
    }
    let account = host.accounts.by_id(tenant.id()).await?.ok_or(TenantError::NotFound)?;
    let (repos, id) = (host.repos.clone(), tenant.id());
    let stored = blocking::run(move || repos.record_blocking(id, PROFILE_PATH)).await?;
    let stored = stored.ok_or_else(|| XrpcError::invalid_request("the tenant has no profile yet"))?;
    let before = cbor::decode(&stored.bytes).map_err(|error| XrpcError::unexpected(&error))?;
    let mut profile = before.clone();
    if let Data::Map(map) = &mut profile {
        map.extend(name.clone().map(|name| ("name".to_owned(), Data::String(name))));
        map.extend(business_type.clone().map(|kind| ("businessType".to_owned(), Data::String(kind))));
    }
    let path: angel_protocol::ids::RepoPath = PROFILE_PATH.parse().expect("a path of ours");
    let author = actor.did().unwrap_or(tenant.did());
    let manner = (Place::Public, By::Procedure);
    let judged = host.rulebook.judge(&account, author, manner, &path.collection, profile, Some(&before)).await;
    let profile = judged
        .map_err(|error| XrpcError::unexpected(&error))?
        .map_err(|refused| XrpcError::invalid_request(refused.to_string()))?;
    if let Some(schema) = Schemas::builtin().record(path.collection.as_str()) {
        schema.validate(&profile).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    }
    let owner = host.lifecycle.owner(&account).await?;
    let action = Action::Put(NewRecord::new(&profile));
    let write = RepoWrite { path, action, swap: Some(Swap::Record(stored.cid)) };
    host.repos.write(&owner, vec![write], None).await?;
    let (tenants, did) = (host.tenants.clone(), tenant.did().clone());
    let change = move || tenants.set_names_blocking(&did, &actor, name, business_type, clock::now());
    Ok(blocking::run(change).await?)
}

const PROFILE_PATH: &str = "co.kendev.tenants.profile/self";
