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
    let account = account.ok_or_else(|| XrpcError::invalid_request(format!("Could not find repo: {repo}")))?;
    let repos = host.repos.clone();
    blocking::run(move || {
        let mut body = Vec::with_capacity(64 * 1024);
        let mut last = String::new();
        body.extend_from_slice(b"{\"records\":[");
        repos.visit_blocking(account.id(), &collection, limit, cursor.as_deref(), reverse, |rkey, record| {
            if !last.is_empty() {
                body.push(b',');
            }
            rkey.clone_into(&mut last);
            super::write_record(&mut body, account.did(), &record.path, record.cid, &record.bytes)
        })?;
        body.push(b']');
        if !last.is_empty() {
            // Record keys hold nothing that JSON would escape.
            body.extend_from_slice(b",\"cursor\":\"");
            body.extend_from_slice(last.as_bytes());
            body.push(b'"');
        }
        body.push(b'}');
        Ok(super::json(body))
    })
    .await
}
