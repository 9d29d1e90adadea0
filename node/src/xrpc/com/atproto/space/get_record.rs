//! `com.atproto.space.getRecord`: one record of a repository in a space.

use angel_protocol::data::{self, to_json};
use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reading, Shared};
use crate::http::XrpcError;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
    collection: Nsid,
    rkey: RecordKey,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(Query { space, repo, collection, rkey }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    reading.records(&host, &space, &repo, Some(&collection)).await?;
    let path = RepoPath::new(collection, rkey);
    let record = host.permissioned.read(&space, &repo, &path).await?;
    let absent = || XrpcError::new(StatusCode::BAD_REQUEST, "RecordNotFound", "there is no such record");
    let record = record.ok_or_else(absent)?;
    let value = data::cbor::decode(&record.bytes).map_err(|error| XrpcError::unexpected(&error))?;
    Ok(Json(json!({ "uri": space.record(repo, path), "cid": record.cid, "value": to_json(&value) })))
}
