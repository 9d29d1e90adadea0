//! `co.kendev.spaces.searchMessages`: messages that hold all words of a query, the newest first.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::{Asker, Filter};
use crate::xrpc::params::Params;
use angel_protocol::ids::Did;
use atrium_api::types::LimitedNonZeroU8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    space: String,
    channel: Option<String>,
    q: String,
    department: Option<String>,
    workflow: Option<String>,
    customer_journey: Option<String>,
    priority: Option<String>,
    message_type: Option<String>,
    author: Option<Did>,
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
        let found = spaces.find(&query.space, asker.did.as_ref())?;
        let channel = match &query.channel {
            Some(uri) => Some(spaces.channel(&found, Some(uri))?.0),
            None => None,
        };
        let filter = Filter {
            department: query.department,
            workflow: query.workflow,
            journey: query.customer_journey,
            priority: query.priority,
            kind: query.message_type,
            author: query.author,
        };
        let (before, limit) = (super::number(query.cursor.as_deref())?, super::limit(query.limit));
        let page = spaces.search(&found, &query.q, channel, &filter, before, limit)?;
        Ok(super::page("messages", page))
    })
    .await
}
