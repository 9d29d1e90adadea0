//! `co.kendev.spaces.listChannels`: the channels of a space that the caller may read.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ListChannelsParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<ListChannelsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let reading = spaces.reading_of(&query.space)?;
        let found = reading.find(&query.space, asker.did.as_ref())?;
        let channels = reading.channels_of(found.id, asker.did.as_ref())?;
        let views = channels
            .iter()
            .map(|(number, row)| reading.channel_view(&found, *number, row))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(super::aged(json!({ "channels": views }), &reading))
    })
    .await
}
