//! `com.atproto.temp.checkHandleAvailability`: whether a handle can be had here, with others if not.

use std::sync::Arc;

use angel_protocol::hosted_handle::{self, HandleKind};
use angel_protocol::ids::Handle;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::http::XrpcError;
use crate::mail::is_email;
use crate::xrpc::com::atproto::server::create_account::checked_handle;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Other handles that are offered.
const SUGGESTIONS_MAX: usize = 3;

/// Other handles that are tried.
const ATTEMPTS: usize = 8;

#[derive(Deserialize)]
pub(crate) struct Query {
    handle: String,
    email: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    handle: Handle,
    result: Availability,
}

#[derive(Serialize)]
#[serde(tag = "$type")]
enum Availability {
    #[serde(rename = "com.atproto.temp.checkHandleAvailability#resultAvailable")]
    Available {},
    #[serde(rename = "com.atproto.temp.checkHandleAvailability#resultUnavailable")]
    Unavailable { suggestions: Vec<Suggestion> },
}

#[derive(Serialize)]
struct Suggestion {
    handle: Handle,
    method: &'static str,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(Query { handle, email }): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    if email.is_some_and(|email| !is_email(&email)) {
        let text = "that is no e-mail address";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "InvalidEmail", text));
    }
    let handle = checked_handle(&handle)?;
    let domains = &host.service.handle_domains;
    let kind = hosted_handle::check(&handle, domains, false);
    let free = matches!(kind, Ok(HandleKind::Hosted)) && host.accounts.by_handle(&handle).await?.is_none();
    let result = if free {
        Availability::Available {}
    } else {
        Availability::Unavailable { suggestions: suggestions(&host, &handle).await? }
    };
    Ok(Json(Output { handle, result }))
}

/// Free handles like the one that cannot be had.
async fn suggestions(host: &Host, handle: &Handle) -> Result<Vec<Suggestion>, XrpcError> {
    let name = handle.as_str().split('.').next().unwrap_or_default();
    let name = &name[..name.len().min(14)];
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let domain = &host.service.handle_domains[0];
        let Ok(other) = format!("{name}{}{domain}", rand::random_range(10..10_000_u16)).parse::<Handle>() else {
            break;
        };
        let fits = matches!(hosted_handle::check(&other, &host.service.handle_domains, false), Ok(HandleKind::Hosted));
        if fits && host.accounts.by_handle(&other).await?.is_none() {
            found.push(Suggestion { handle: other, method: "number" });
        }
        if found.len() == SUGGESTIONS_MAX {
            break;
        }
    }
    Ok(found)
}
