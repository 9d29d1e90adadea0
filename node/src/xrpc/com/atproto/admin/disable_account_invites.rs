//! `com.atproto.admin.disableAccountInvites`: an account gets no more invite codes that can be used.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::accounts::AccountError;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    account: Did,
    note: Option<String>,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    set(&host, request, true).await
}

pub(super) async fn set(host: &Host, Request { account, note }: Request, disabled: bool) -> Result<(), XrpcError> {
    let id = super::account(host, &account).await?.id();
    let accounts = host.accounts.clone();
    let change = move || {
        accounts.change_blocking(id, |row, _| {
            row.invites_disabled = disabled;
            row.invite_note.clone_from(&note);
            Ok::<_, AccountError>(())
        })
    };
    blocking::run(change).await?;
    Ok(())
}
