//! `co.kendev.spaces.listInvitations`: spaces on other nodes that the caller was asked into.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;

pub(crate) async fn handler(State(host): State<Shared>, asker: Asker) -> Result<Json<Value>, XrpcError> {
    let (spaces, did) = (host.spaces.clone(), asker.somebody()?.clone());
    reading(move || {
        let found = spaces.asked_into(&did)?.into_iter().map(
            |asked| json!({ "space": asked.space, "at": asked.at.to_string(), "heardAt": asked.heard_at.to_string() }),
        );
        Ok(json!({ "invitations": found.collect::<Vec<_>>() }))
    })
    .await
}
