//! `com.atproto.admin.getSubjectStatus`: whether an account, a record or a blob is taken down.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_storage::accounts::TakedownRow;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::subject::{Attribute, Subject, blob, record};
use crate::blocking;
use crate::http::XrpcError;
use crate::takedowns::Subject as Part;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Option<Did>,
    uri: Option<String>,
    blob: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    subject: Subject,
    takedown: Attribute,
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated: Option<Attribute>,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Params(query): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    let output = match query {
        Query { blob: Some(cid), did: Some(did), .. } => of_blob(&host, did, cid).await?,
        Query { blob: Some(_), did: None, .. } => {
            return Err(XrpcError::invalid_request("a blob is named with the did of its account"));
        }
        Query { uri: Some(uri), .. } => of_record(&host, uri).await?,
        Query { did: Some(did), .. } => of_account(&host, did).await?,
        Query { .. } => return Err(XrpcError::invalid_request("name a subject with did, uri or blob")),
    };
    Ok(Json(output))
}

async fn of_account(host: &Host, did: Did) -> Result<Output, XrpcError> {
    let account = super::account(host, &did).await?;
    let deactivated = Attribute { applied: account.row().deactivated.is_some(), reference: None };
    let takedown = attribute(account.row().takedown.clone());
    Ok(Output { subject: Subject::Account { did }, takedown, deactivated: Some(deactivated) })
}

async fn of_record(host: &Host, uri: String) -> Result<Output, XrpcError> {
    let (did, path) = record(&uri)?;
    let id = super::account(host, &did).await?.id();
    let (repos, at) = (host.repos.clone(), path.clone());
    let found = blocking::run(move || repos.record_even_taken_down_blocking(id, &at.to_string())).await?;
    let found = found.ok_or_else(|| super::not_found("Record"))?;
    let takedown = attribute(host.takedowns.find(id, &Part::Record(path)));
    Ok(Output { subject: Subject::Record { uri, cid: found.cid.to_string() }, takedown, deactivated: None })
}

async fn of_blob(host: &Host, did: Did, cid: String) -> Result<Output, XrpcError> {
    let id = super::account(host, &did).await?.id();
    let takedown = attribute(host.takedowns.find(id, &Part::Blob(blob(&cid)?)));
    Ok(Output { subject: Subject::Blob { did, cid, record_uri: None }, takedown, deactivated: None })
}

fn attribute(takedown: Option<TakedownRow>) -> Attribute {
    // Whoever gave no reference is told when it was, so that there is always something to go by.
    let reference = takedown.map(|row| row.reference.unwrap_or_else(|| row.at.to_string()));
    Attribute { applied: reference.is_some(), reference }
}
