//! `com.atproto.repo.listRecords`: the records of a collection, page by page.

use angel_protocol::ids::{AtIdentifier, Nsid};
use atrium_api::types::LimitedNonZeroU8;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Shared;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::params::Params;

/// Records in a page when the client does not say.
const LIMIT: u8 = 50;

#[derive(Deserialize)]
pub(crate) struct Query {
    repo: AtIdentifier,
    collection: Nsid,
    limit: Option<LimitedNonZeroU8<100>>,
    /// The record key behind which the page begins.
    cursor: Option<String>,
    #[serde(default)]
    reverse: bool,
}

pub(crate) async fn handler(State(host): State<Shared>, Params(query): Params<Query>) -> Result<Response, XrpcError> {
    let Query { repo, collection, limit, cursor, reverse } = query;
    let limit = usize::from(limit.map_or(LIMIT, u8::from));
    let account = super::visible(&host, &repo).await?;
    let account = account.ok_or_else(|| XrpcError::invalid_request(format!("there is no repository {repo} here")))?;
    let repos = host.repos.clone();
    blocking::run(move || {
        let listed = repos.list_blocking(account.id(), &collection, limit, cursor.as_deref(), reverse)?;
        let mut body = Vec::with_capacity(64 * 1024);
        body.extend_from_slice(b"{\"records\":[");
        for (index, (rkey, record)) in listed.records.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            super::write_record(&mut body, account.did(), format_args!("{collection}/{rkey}"), record)?;
        }
        body.push(b']');
        if let Some((last, _)) = listed.records.last() {
            // Record keys hold nothing that JSON would escape.
            body.extend_from_slice(format!(",\"cursor\":\"{last}\"").as_bytes());
        }
        body.push(b'}');
        Ok(super::json(body))
    })
    .await
}
