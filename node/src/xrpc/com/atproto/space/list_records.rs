//! `com.atproto.space.listRecords`: the records of a repository in a space, page by page.

use angel_protocol::data::{self, to_json};
use angel_protocol::ids::{Did, Nsid};
use angel_protocol::permissioned::SpaceUri;
use atrium_api::types::LimitedNonZeroU8;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reading, Shared, parts};
use crate::http::XrpcError;
use crate::permissioned::Listed;
use crate::xrpc::params::Params;

/// Records in a page when the client does not say.
const LIMIT: u8 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
    collection: Option<Nsid>,
    limit: Option<LimitedNonZeroU8<100>>,
    /// The path behind which the page begins.
    cursor: Option<String>,
    #[serde(default)]
    reverse: bool,
    #[serde(default)]
    exclude_values: bool,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let Query { space, repo, collection, limit, cursor, reverse, exclude_values } = query;
    reading.records(&host, &space, &repo, collection.as_ref()).await?;
    let limit = usize::from(limit.map_or(LIMIT, u8::from));
    let page = host.permissioned.list(&space, &repo, collection.as_ref(), cursor, limit, reverse).await?;
    let view = |Listed { path, record }: Listed| {
        let (collection, rkey) = parts(&path);
        let mut view = json!({ "collection": collection, "rkey": rkey, "cid": record.cid });
        if !exclude_values {
            let value = data::cbor::decode(&record.bytes).map_err(|error| XrpcError::unexpected(&error))?;
            view["value"] = to_json(&value);
        }
        Ok::<_, XrpcError>(view)
    };
    let records = page.records.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let mut answer = json!({ "records": records });
    if let Some(cursor) = page.cursor {
        answer["cursor"] = cursor.into();
    }
    Ok(Json(answer))
}
