//! `co.kendev.spaces.listSpaces`: spaces that the caller may see, or is in.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::{Asker, SpaceError};
use crate::xrpc::params::Params;
use angel_protocol::ids::Did;
use atrium_api::types::LimitedNonZeroU8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    /// Only those of this account.
    tenant: Option<Did>,
    /// Only those that the caller is in.
    #[serde(default)]
    member: bool,
    limit: Option<LimitedNonZeroU8<100>>,
    cursor: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        if query.member {
            asker.somebody()?;
        }
        let after = super::number(query.cursor.as_deref())?;
        let limit = super::limit(query.limit);
        let reading = match &query.tenant {
            Some(holder) => match spaces.reading_for(holder) {
                Err(SpaceError::SpaceNotFound) => spaces.here(),
                reading => reading?,
            },
            None => spaces.here(),
        };
        let page = reading.list_spaces(asker.did.as_ref(), query.member, query.tenant.as_ref(), after, limit)?;
        Ok(super::aged(super::page("spaces", page), &reading))
    })
    .await
}
