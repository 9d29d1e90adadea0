//! `com.atproto.temp.checkSignupQueue`: whether somebody who signed up has to wait. Nobody has to here.

use axum::Json;
use serde::Serialize;

use crate::xrpc::auth::Access;

#[derive(Serialize)]
pub(crate) struct Output {
    activated: bool,
}

pub(crate) async fn handler(_: Access) -> Json<Output> {
    Json(Output { activated: true })
}
