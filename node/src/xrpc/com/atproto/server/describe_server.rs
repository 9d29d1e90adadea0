//! `com.atproto.server.describeServer`: what this host is, for whoever wants an account.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::permissioned::wire::DRAFT;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::xrpc::host::Host;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    did: Did,
    available_user_domains: Vec<String>,
    invite_code_required: bool,
    phone_verification_required: bool,
    blob_upload_limit: u64,
    links: Links,
    contact: Contact,
    permissioned_data: PermissionedData,
}

/// Which draft of permissioned data is served (proposal 0016). It moves, so clients go by this and not by trying.
#[derive(Serialize)]
struct PermissionedData {
    proposal: &'static str,
    draft: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_of_service: Option<String>,
}

#[derive(Serialize)]
struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

pub(crate) async fn handler(State(host): State<Arc<Host>>) -> Json<Output> {
    let settings = &host.settings;
    Json(Output {
        did: host.service.did.clone(),
        available_user_domains: host.service.handle_domains.clone(),
        invite_code_required: settings.accounts.invites_required,
        phone_verification_required: false,
        blob_upload_limit: settings.blob_size_max,
        links: Links {
            privacy_policy: settings.accounts.privacy_url.as_ref().map(ToString::to_string),
            terms_of_service: settings.accounts.terms_url.as_ref().map(ToString::to_string),
        },
        contact: Contact { email: settings.contact.clone().filter(|contact| contact.contains('@')) },
        permissioned_data: PermissionedData { proposal: "0016", draft: DRAFT },
    })
}
