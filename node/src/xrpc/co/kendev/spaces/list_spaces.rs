//! `co.kendev.spaces.listSpaces`: spaces that the caller may see, or is in.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::{Asker, SpaceError};
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ListSpacesParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<ListSpacesParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    let member = query.member.unwrap_or_default();
    reading(move || {
        if member {
            asker.somebody()?;
        }
        let after = super::number(query.cursor.as_deref())?;
        let limit = usize::from(query.limit);
        let reading = match &query.tenant {
            Some(holder) => match spaces.reading_for(holder) {
                Err(SpaceError::SpaceNotFound) => spaces.here(),
                reading => reading?,
            },
            None => spaces.here(),
        };
        let page = reading.list_spaces(asker.did.as_ref(), member, query.tenant.as_ref(), after, limit)?;
        Ok(super::aged(super::page("spaces", page), &reading))
    })
    .await
}
