//! `GET /lexicons/{nsid}`: the lexicon documents that this node ships, as they lie in its source. Those of others are
//! resolved by `com.atproto.lexicon.resolveLexicon`.

use std::sync::Arc;

use angel_protocol::ids::Nsid;
use angel_protocol::lexicon::Catalog;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::clock;
use crate::service_account::ServiceAccountError;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;

/// How long a copy is as good as the original, in seconds: a document changes with a release.
const FRESH: &str = "public, max-age=3600";

/// What the operator's command line asks for.
pub(super) fn admin_routes(host: Arc<Host>) -> Router {
    Router::new().route("/admin/lexicons/publish", post(publish)).with_state(host)
}

/// Publishes this network's documents in the node's own repository.
async fn publish(_: Operator, State(host): State<Arc<Host>>) -> Result<Json<Value>, XrpcError> {
    let published = host.service_account.publish_lexicons(clock::now()).await;
    let published = published.map_err(|error| match error {
        ServiceAccountError::Lifecycle(error) => error.into(),
        error => XrpcError::unexpected(&error),
    })?;
    Ok(Json(json!({ "did": published.did, "documents": published.documents, "changed": published.changed })))
}

/// One document.
pub(super) async fn document(Path(name): Path<String>) -> Result<Response, XrpcError> {
    let nsid: Nsid = name
        .parse()
        .map_err(|_| XrpcError::invalid_request("a lexicon is named by an NSID, such as co.kendev.spaces.message"))?;
    let text = Catalog::builtin_text(nsid.as_str());
    let text = text.ok_or_else(|| XrpcError::not_found(format!("this node ships no lexicon {nsid}")))?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, FRESH)];
    Ok((headers, text).into_response())
}

/// The names of all documents.
pub(super) async fn list() -> Response {
    let names: Vec<_> = Catalog::builtin().iter().map(|document| &*document.id).collect();
    ([(header::CACHE_CONTROL, FRESH)], Json(json!({ "lexicons": names }))).into_response()
}
