//! `com.atproto.repo.getRecord`: one record.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, Nsid, RecordKey};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::Shared;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    cid: Option<Cid>,
}

pub(crate) async fn handler(State(host): State<Shared>, Params(query): Params<Query>) -> Result<Response, XrpcError> {
    let Query { repo, collection, rkey, cid } = query;
    let not_found = || {
        let text = format!("there is no record at://{repo}/{collection}/{rkey} here");
        XrpcError::new(StatusCode::BAD_REQUEST, "RecordNotFound", text)
    };
    let account = super::visible(&host, &repo).await?.ok_or_else(not_found)?;
    let (repos, did, path) = (host.repos.clone(), account.did().clone(), format!("{collection}/{rkey}"));
    let found = blocking::run(move || {
        let record = repos.record_blocking(account.id(), &path)?;
        let Some(record) = record.filter(|record| cid.is_none_or(|cid| cid == record.cid)) else { return Ok(None) };
        let mut body = Vec::with_capacity(256 + record.bytes.len() * 2);
        super::write_record(&mut body, &did, &path, record.cid, &record.bytes)?;
        Ok::<_, XrpcError>(Some(body))
    })
    .await?;
    found.map(super::json).ok_or_else(not_found)
}
