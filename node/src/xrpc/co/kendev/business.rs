//! `co.kendev.business.*`: the orders, leads and customers of a business, its campaigns, projects and tasks with the figures
//! that are computed of them, for its staff; and for a customer, the orders that are theirs.
//!
//! A request names one tenant, or a record of one, and can reach no other. What somebody may not see is answered as if
//! it did not exist.

pub(crate) mod cancel_order;
pub(crate) mod capture_payment;
pub(crate) mod complete_order;
pub(crate) mod create_lead;
pub(crate) mod create_order;
pub(crate) mod deliver_order;
pub(crate) mod enter_metrics;
pub(crate) mod get_campaign;
pub(crate) mod get_customer;
pub(crate) mod get_lead;
pub(crate) mod get_order;
pub(crate) mod get_project;
pub(crate) mod get_revenue;
pub(crate) mod get_task;
pub(crate) mod list_customers;
pub(crate) mod list_leads;
pub(crate) mod list_orders;
pub(crate) mod log_activity;
pub(crate) mod refund_order;
pub(crate) mod ship_order;

#[cfg(test)]
mod tests;

use angel_protocol::business::order::Step;
use angel_protocol::business::{LEAD, ORDER, customer};
use angel_protocol::data::{Value as Record, to_json};
use angel_protocol::ids::{Did, RecordKey, RepoPath};
use angel_protocol::rules;
use angel_protocol::tenants::Permission;
use axum::Json;
use serde_json::{Value, json};

use super::tenants::Asker;
use crate::business::{BusinessError, Entries, Entry, Figured, address};
use crate::http::XrpcError;
use crate::tenants::{Actor, Tenant};
use crate::xrpc::host::Host;

/// A record as it is answered.
pub(super) fn view(tenant: &Did, entry: Entry) -> Value {
    json!({
        "uri": format!("at://{tenant}/{}", entry.path),
        "cid": entry.cid.to_string(),
        "value": to_json(&Record::Map(entry.record)),
    })
}

/// What is known about a customer, as it is answered; `None` of a record under a key that names nobody.
fn customer_view(tenant: &Did, entry: Entry) -> Option<Value> {
    let person = customer::person(&entry.path.rkey)?;
    let mut answer = view(tenant, entry);
    answer["person"] = person.as_str().into();
    Some(answer)
}

/// A page of them, under the name that the lexicon gives it.
pub(super) fn page(name: &str, tenant: &Did, found: Entries) -> Value {
    let views: Vec<_> = found.entries.into_iter().map(|entry| view(tenant, entry)).collect();
    let mut answer = json!({ name: views });
    if let Some(cursor) = found.cursor {
        answer["cursor"] = cursor.into();
    }
    answer
}

pub(super) fn cursor(text: Option<&str>) -> Result<Option<RecordKey>, XrpcError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| XrpcError::invalid_request("cursor: send what the page before gave"))
}

/// Who acts: by name, for what is done is noted with it.
pub(super) fn person(actor: Actor) -> Result<Did, XrpcError> {
    match actor {
        Actor::Person(did, _) => Ok(did),
        _ => Err(XrpcError::invalid_request("this is done by the tenant's own people, not by the operator")),
    }
}

/// The tenant whose order this is, and whoever asks if they are no staff: they see what is theirs.
async fn order_of(host: &Host, asker: &Asker, uri: &str) -> Result<(Tenant, RepoPath, Option<Did>), XrpcError> {
    let asking = asker.person()?.clone();
    let (did, path) = address(uri, ORDER).ok_or(BusinessError::OrderNotFound)?;
    let tenant = host.tenants.find(&did).ok_or(BusinessError::OrderNotFound)?;
    let is_staff = host.tenants.allows(&did, &asking, Permission::ManageOrders);
    Ok((tenant, path, (!is_staff).then_some(asking)))
}

/// A step with an order, taken by staff.
async fn step(
    host: &Host,
    asker: &Asker,
    uri: &str,
    step: Step,
    changes: &[(&str, &str, String)],
) -> Result<Value, XrpcError> {
    let (tenant, path, stranger) = order_of(host, asker, uri).await?;
    if let Some(customer) = &stranger {
        host.business.order(&tenant, &path, Some(customer)).await?;
        return Err(BusinessError::Forbidden("this is for the staff of the business").into());
    }
    let (tenant, actor) = asker.acts(host, tenant.did().as_str(), Permission::ManageOrders).await?;
    let by = person(actor)?;
    host.limits.writes(&by, 1)?;
    let after = host.business.step(&tenant, &by, &path, step, changes).await?;
    Ok(view(tenant.did(), after))
}

/// The tenant whose lead this is, for somebody who looks after its leads.
async fn lead_of(host: &Host, asker: &Asker, uri: &str) -> Result<(Tenant, RepoPath, Actor), XrpcError> {
    let (did, path) = address(uri, LEAD).ok_or(BusinessError::LeadNotFound)?;
    // Whether there is such a business here, and such a lead in it, is one question to whoever does not belong to it.
    host.tenants.role(&did, asker.person()?).ok_or(BusinessError::LeadNotFound)?;
    let (tenant, actor) = asker.acts(host, did.as_str(), LEADS).await?;
    Ok((tenant, path, actor))
}

/// What it takes to look after leads, as it takes to write them in any other way.
const LEADS: Permission = Permission::ManageContent;

/// The tenant whose record of its workspace this is, for somebody who may write such records and so may read them.
pub(super) async fn record_of(
    host: &Host,
    asker: &Asker,
    uri: &str,
    collection: &str,
) -> Result<(Tenant, RepoPath, Actor), XrpcError> {
    let (did, path) = address(uri, collection).ok_or(BusinessError::RecordNotFound)?;
    host.tenants.role(&did, asker.person()?).ok_or(BusinessError::RecordNotFound)?;
    let permission = rules::permission(collection).ok_or(BusinessError::RecordNotFound)?;
    let (tenant, actor) = asker.acts(host, did.as_str(), permission).await?;
    Ok((tenant, path, actor))
}

/// Answers with a record of a collection and its figures, for staff.
pub(in crate::xrpc::co::kendev) async fn figured(
    host: &Host,
    asker: &Asker,
    uri: &str,
    collection: &str,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, path, _) = record_of(host, asker, uri, collection).await?;
    Ok(Json(figured_view(tenant.did(), host.business.figured(&tenant, &path).await?)))
}

/// A record as it is answered, with its figures.
pub(in crate::xrpc::co::kendev) fn figured_view(tenant: &Did, figured: Figured) -> Value {
    let mut answer = view(tenant, figured.entry);
    answer["indexedAt"] = figured.at.to_string().into();
    for (name, figures) in &figured.figures {
        answer[name] = to_json(figures);
    }
    answer
}
