//! `co.kendev.spaces.getMessage`: one message, and for members who has read it.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::GetMessageParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<GetMessageParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let (reading, found, position, row) = spaces.find_message(&query.uri, asker.did.as_ref())?;
        let mut view = reading.message_view(&found, position, &row)?;
        if found.access().is_member() {
            view["readBy"] = json!(reading.readers(&found, row.channel, position)?);
        }
        Ok(super::aged(view, &reading))
    })
    .await
}
