//! `com.atproto.space.getRepo`: a whole repository in a space as a CAR file.

use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Deserialize;

use super::{Reading, Shared};
use crate::http::XrpcError;
use crate::xrpc::com::atproto::sync::CAR;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
}

/// Streams the repository. The first piece is made before the answer begins, so that what can be refused is refused.
pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(Query { space, repo }): Params<Query>,
) -> Result<Response, XrpcError> {
    let (account, _) = reading.repo(&host, &space, &repo).await?;
    let export = host.permissioned.export(&account, &space).await?;
    let first = export.next().await?;
    let pieces = stream::unfold(Some(Ok(first)), |state| async move {
        match state? {
            Ok(None) => None,
            Ok(Some((piece, export))) => Some((Ok(piece), Some(export.next().await))),
            Err(error) => {
                // The connection is cut, which tells the client that the file is not whole.
                tracing::warn!(%error, "an export of private data broke off");
                Some((Err(error), None))
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, CAR)], Body::from_stream(pieces.fuse())).into_response())
}
