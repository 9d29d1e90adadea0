//! `co.kendev.tenants.exportTenant`: a whole tenant as lines of JSON, for whoever may take its data out.

use std::convert::Infallible;
use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::{blocking, clock};

/// The media type of lines of JSON.
pub(super) const LINES: &str = "application/jsonl";

/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 4;

#[derive(Deserialize)]
pub(crate) struct Query {
    tenant: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Response, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &query.tenant, Permission::ExportData).await?;
    // Whoever takes private data out, the operator too, is seen by the tenant to have done so.
    let (tenants, did) = (host.tenants.clone(), tenant.did().clone());
    let tenant = blocking::run(move || tenants.note_blocking(&did, &actor, "export", clock::now())).await?;
    let (pieces, body) = mpsc::channel::<Bytes>(PIECES_MAX);
    let provisioner = host.provisioner.clone();
    let work = async move {
        let sink = |piece: Vec<u8>| {
            let pieces = pieces.clone();
            // A client that has gone away takes no more.
            async move { piece.is_empty() || pieces.send(piece.into()).await.is_ok() }
        };
        if let Err(error) = provisioner.export(&tenant, sink).await {
            // The body ends without its last line, by which the reader sees that it is not whole.
            tracing::error!(tenant = %tenant.did(), %error, "an export broke off");
        }
    };
    // Ends with the client: a body that is dropped closes the channel.
    drop(tokio::spawn(work.in_current_span()));
    let body =
        stream::unfold(body, |mut body| async { body.recv().await.map(|piece| (Ok::<_, Infallible>(piece), body)) });
    let body = Body::from_stream(body);
    Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
}
