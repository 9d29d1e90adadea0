//! `com.atproto.identity.signPlcOperation`: an operation of the account's identity, signed with this host's rotation key
//! for whoever has the code from the mail. Nothing is changed by it before it is brought to the directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::plc::{PlcData, PlcOperation, PlcService, check_bounds};
use angel_storage::accounts::MailPurpose;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::mail::CodeRefused;
use crate::xrpc::auth::LeavingAccess;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    token: Option<String>,
    rotation_keys: Option<Vec<Did>>,
    also_known_as: Option<Vec<String>>,
    verification_methods: Option<BTreeMap<String, Did>>,
    services: Option<BTreeMap<String, Service>>,
}

#[derive(Deserialize)]
struct Service {
    r#type: String,
    endpoint: String,
}

#[derive(Serialize)]
pub(crate) struct Output {
    operation: Value,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    LeavingAccess(account): LeavingAccess,
    Input(mut request): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    let token = request
        .token
        .take()
        .ok_or_else(|| XrpcError::invalid_request("email confirmation token required to sign PLC operations"))?;
    let (mail, id, code) = (host.mail.clone(), account.id(), token.clone());
    let purpose = MailPurpose::PlcOperation;
    blocking::run(move || mail.codes().check_blocking(id, purpose, &code, clock::now())).await?;
    let signed = host.identities.sign(account.did(), |data| request.apply(data)).await?;
    // Read back as a directory will read it: keys that are none are found here, and cost no code.
    let operation = signed.to_json();
    let read = PlcOperation::from_json(&operation).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    check_bounds(&read).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    let mail = host.mail.clone();
    let used = blocking::run(move || mail.codes().use_blocking(id, purpose, &token, clock::now()));
    used.await.map_err(|error: CodeRefused| error)?;
    Ok(Json(Output { operation }))
}

impl Request {
    /// What is left out stays as it is.
    fn apply(self, data: &mut PlcData) {
        let service = |(name, service): (String, Service)| {
            (name, PlcService { kind: service.r#type, endpoint: service.endpoint })
        };
        if let Some(keys) = self.rotation_keys {
            data.rotation_keys = keys;
        }
        if let Some(names) = self.also_known_as {
            data.also_known_as = names;
        }
        if let Some(methods) = self.verification_methods {
            data.verification_methods = methods;
        }
        if let Some(services) = self.services {
            data.services = services.into_iter().map(service).collect();
        }
    }
}
