//! `co.kendev.spaces.getThread`: a message and the answers to it, the oldest first.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::GetThreadParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<GetThreadParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let (reading, found, position, row) = spaces.find_message(&query.uri, asker.did.as_ref())?;
        // Asked about an answer, the thread is the one that it stands in.
        let position = row.root.unwrap_or(position);
        let (after, limit) = (super::number(query.cursor.as_deref())?, usize::from(query.limit));
        let mut answer = super::page("replies", reading.thread(&found, position, after, limit)?);
        if let Some(root) = reading.message_at(&found, position)? {
            answer["root"] = root;
        }
        Ok(super::aged(answer, &reading))
    })
    .await
}
