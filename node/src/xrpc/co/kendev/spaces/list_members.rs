//! `co.kendev.spaces.listMembers`: who is in a space, for its members.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ListMembersParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<ListMembersParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let reading = spaces.reading_of(&query.space)?;
        let found = reading.find(&query.space, asker.did.as_ref())?;
        if found.access().is_member() {
            reading.look_at_engagement(&found)?;
        }
        let page = reading.members(&found, query.status, query.cursor, usize::from(query.limit))?;
        Ok(super::aged(super::page("members", page), &reading))
    })
    .await
}
