//! `com.atproto.sync.getRepo`: a whole repository as a CAR file, or what was written after a revision.

use std::sync::Arc;

use angel_protocol::ids::{Did, Tid};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::future::{Either, ready};
use futures::{StreamExt, stream};
use serde::Deserialize;

use super::{CAR, available};
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
    since: Option<Tid>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Query { did, since }): Params<Query>,
) -> Result<Response, XrpcError> {
    export(&host, &did, &caller, since).await
}

/// Streams the repository. The first piece is made before the answer begins, so that what can be refused is refused.
pub(super) async fn export(host: &Host, did: &Did, caller: &Caller, since: Option<Tid>) -> Result<Response, XrpcError> {
    let account = available(host, did, caller).await?;
    let export = host.repos.export(account.id(), since).await?;
    let first = export.next().await?;
    let pieces = stream::unfold(Some(Either::Left(ready(Ok(first)))), |making| async move {
        match making?.await {
            Ok(None) => None,
            // The next one is made while this one is on its way.
            Ok(Some((piece, export))) => Some((Ok(piece), Some(Either::Right(export.next())))),
            Err(error) => {
                // The connection is cut, which tells the client that the file is not whole.
                tracing::error!(%error, "an export broke off");
                Some((Err(error), None))
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, CAR)], Body::from_stream(pieces.fuse())).into_response())
}
