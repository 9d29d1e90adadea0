//! `com.atproto.server.createInviteCodes`: several invite codes for each of several accounts, or for the operator.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::invites::Inviter;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// Accounts that one request makes codes for.
const ACCOUNTS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    #[serde(default = "one")]
    code_count: usize,
    use_count: u16,
    for_accounts: Option<Vec<String>>,
}

const fn one() -> usize {
    1
}

#[derive(Serialize)]
pub(crate) struct Output {
    codes: Vec<CodesOf>,
}

#[derive(Serialize)]
struct CodesOf {
    account: String,
    codes: Vec<String>,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(request): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    let owners = request.for_accounts.unwrap_or_else(|| vec!["admin".to_owned()]);
    if owners.len() > ACCOUNTS_MAX {
        return Err(XrpcError::invalid_request(format!("one request names at most {ACCOUNTS_MAX} accounts")));
    }
    let mut codes = Vec::with_capacity(owners.len());
    for account in owners {
        let made = make(&host, &account, request.code_count, request.use_count).await?;
        codes.push(CodesOf { account, codes: made });
    }
    Ok(Json(Output { codes }))
}

/// Makes codes for an account, or for the operator, whom methods call "admin".
pub(super) async fn make(host: &Host, owner: &str, count: usize, uses: u16) -> Result<Vec<String>, XrpcError> {
    let owner = match owner {
        "admin" => None,
        did => {
            let did: Did = did.parse().map_err(|error| XrpcError::invalid_request(format!("account: {error}")))?;
            let id = host.accounts.by_did(&did).await?.map(|account| account.id());
            Some(Inviter { did, id })
        }
    };
    let invites = host.invites.clone();
    Ok(blocking::run(move || invites.create_blocking(owner.as_ref(), count, uses, clock::now())).await?)
}
