//! `com.atproto.repo.getRecord`: one record. Clients ask their own host for records of people elsewhere too; the app view
//! that the operator chose knows those.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, Nsid, RecordKey};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
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

pub(crate) async fn handler(
    State(host): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    Params(query): Params<Query>,
) -> Result<Response, XrpcError> {
    let Query { repo, collection, rkey, cid } = query;
    let not_found = || {
        let text = format!("Could not locate record: at://{repo}/{collection}/{rkey}");
        XrpcError::new(StatusCode::BAD_REQUEST, "RecordNotFound", text)
    };
    let Some(account) = host.accounts.find(&repo).await? else {
        let Some(app_view) = host.proxy.app_view() else { return Err(not_found()) };
        return host.proxy.pass_on(&app_view, None, (Method::GET, &uri, &headers), Body::empty()).await;
    };
    if !account.is_active() {
        return Err(not_found());
    }
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
