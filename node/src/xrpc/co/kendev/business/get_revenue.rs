//! `co.kendev.business.getRevenue`: what a business took in a month or at all, and how it is shared out.

use std::sync::Arc;

use angel_protocol::tenants::{Month, Permission};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::tenants::Asker;
use crate::business::Revenue;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::GetRevenueParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetRevenueParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.acts(&host, &query.tenant, Permission::ViewAnalytics).await?;
    let month = query.month.as_deref().map(month).transpose()?;
    let sums = host.business.revenue(&tenant, month).await?;
    let sums: Vec<_> = sums.iter().map(view).collect();
    Ok(Json(json!({ "tenant": tenant.did(), "revenue": sums })))
}

fn view(sum: &Revenue) -> Value {
    let [ai_partner, human_partner, platform_operations, justice_fund] = sum.parts;
    json!({
        "currency": sum.currency,
        "orders": sum.orders,
        "base": sum.base,
        "aiPartner": ai_partner,
        "humanPartner": human_partner,
        "platformOperations": platform_operations,
        "justiceFund": justice_fund,
        "commission": sum.commission,
    })
}

/// A month as YYYY-MM.
fn month(text: &str) -> Result<Month, XrpcError> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let month = digits.parse().ok().and_then(Month::from_number).filter(|month| month.to_string() == text);
    month.ok_or_else(|| XrpcError::invalid_request("month: a month is written as YYYY-MM"))
}
