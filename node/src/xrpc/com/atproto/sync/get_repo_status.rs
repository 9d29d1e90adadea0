//! `com.atproto.sync.getRepoStatus`: whether this host serves a repository, and where it is.

use std::sync::Arc;

use angel_protocol::ids::{Did, Tid};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::available;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    did: Did,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<Tid>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(Query { did }): Params<Query>,
) -> Result<Json<Answer>, XrpcError> {
    // That an account is hidden is no secret: the event stream tells it too.
    let account = available(&host, &did, &Caller::Operator).await?;
    let status = account.status();
    let rev = if status.is_active() {
        let (repos, id) = (host.repos.clone(), account.id());
        blocking::run(move || repos.head_blocking(id)).await?.map(|head| head.commit.rev())
    } else {
        None
    };
    Ok(Json(Answer { did, active: status.is_active(), status: status.name(), rev }))
}
