//! `co.kendev.network.listRecordVersions`: where two nodes wrote one record, both versions, for the account's owner. The
//! operator is told which there are, and never what is in them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::owning::Owning;
use crate::xrpc::params::Params;
use crate::xrpc::types::network::ListRecordVersionsParameters;

pub(crate) async fn handler(
    asker: Owning,
    State(host): State<Arc<Host>>,
    Params(query): Params<ListRecordVersionsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let account = asker.tenant(&host, &query.tenant).await?;
    host.replication.placement().serves(account.id())?;
    let cursor = query.cursor.map(|text| {
        text.parse().map_err(|()| XrpcError::invalid_request("the cursor is none that this method has given"))
    });
    let cursor = cursor.transpose()?;
    let limit = usize::from(query.limit);
    let with_contents = matches!(asker, Owning::Person(_));
    let replication = host.replication.clone();
    let page =
        blocking::run(move || replication.both_versions_blocking(&account, cursor.as_ref(), limit, with_contents));
    let (versions, next) = page.await?;
    let mut answer = json!({ "versions": versions });
    if let Some(next) = next {
        answer["cursor"] = next.to_string().into();
    }
    Ok(Json(answer))
}
