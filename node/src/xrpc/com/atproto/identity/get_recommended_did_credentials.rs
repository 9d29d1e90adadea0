//! `com.atproto.identity.getRecommendedDidCredentials`: what the account's DID document should say while it lives here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;

pub(crate) async fn handler(State(host): State<Arc<Host>>, access: Access) -> Result<Json<Value>, XrpcError> {
    let (account, row) = (&access.account, access.account.row());
    let signing_key = host.accounts.signing_key(account.id()).await?.did();
    let mut answer = json!({
        "rotationKeys": host.identities.rotation_keys(row.recovery_key.clone()),
        "verificationMethods": { "atproto": signing_key },
        "services": {
            "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": host.identities.endpoint() },
        },
    });
    if let Some(handle) = account.handle() {
        answer["alsoKnownAs"] = json!([format!("at://{handle}")]);
    }
    Ok(Json(answer))
}
