//! `co.kendev.spaces.banMember`: somebody is turned out for good, or forgiven.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, sanction};
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::BanMemberInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<BanMemberInput>,
) -> Result<Json<Value>, XrpcError> {
    let change = Change::Ban(!request.lift.unwrap_or_default());
    sanction(&host, &asker, (&request.space, &request.user), change).await
}
