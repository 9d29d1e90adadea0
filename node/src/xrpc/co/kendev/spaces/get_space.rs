//! `co.kendev.spaces.getSpace`: one space.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::GetSpaceParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<GetSpaceParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let reading = spaces.reading_of(&query.space)?;
        let found = reading.find(&query.space, asker.did.as_ref())?;
        reading.look_at_engagement(&found)?;
        Ok(super::aged(reading.space_view(&found)?, &reading))
    })
    .await
}
