//! `com.atproto.admin.*`: what the operator, and in part a moderation service of theirs, does to accounts.

pub(crate) mod delete_account;
pub(crate) mod disable_account_invites;
pub(crate) mod disable_invite_codes;
pub(crate) mod enable_account_invites;
pub(crate) mod get_account_info;
pub(crate) mod get_account_infos;
pub(crate) mod get_invite_codes;
pub(crate) mod get_subject_status;
pub(crate) mod search_accounts;
pub(crate) mod send_email;
pub(crate) mod subject;
pub(crate) mod update_account_email;
pub(crate) mod update_account_handle;
pub(crate) mod update_account_password;
pub(crate) mod update_subject_status;

use angel_protocol::ids::Did;
use serde::Serialize;

use super::invite_view::InviteView;
use crate::accounts::{Account, AccountError};
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::host::Host;

/// An account as the operator sees it (`com.atproto.admin.defs#accountView`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountView {
    did: Did,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_confirmed_at: Option<String>,
    indexed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_by: Option<InviteView>,
    invites: Vec<InviteView>,
    invites_disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated_at: Option<String>,
}

impl AccountView {
    /// What is known of an account, with the codes it came by and may give away.
    pub(super) async fn of(host: &Host, account: &Account) -> Result<Self, XrpcError> {
        let (invites, owner) = (host.invites.clone(), account.clone());
        let read = move || {
            let given = invites.of_account_blocking(&owner, false, clock::now())?;
            let code = owner.row().invite_code.clone();
            let by =
                code.map(|code| Ok::<_, AccountError>((code.clone(), invites.get_blocking(&code)?))).transpose()?;
            Ok::<_, crate::invites::InviteError>((given, by.and_then(|(code, row)| Some((code, row?)))))
        };
        let (given, invited_by) = blocking::run(read).await?;
        let row = account.row();
        Ok(Self {
            did: row.did.clone(),
            handle: account.handle_or_invalid().to_string(),
            email: row.email.clone(),
            email_confirmed_at: row.email_confirmed_at.map(|at| at.to_string()),
            indexed_at: row.created_at.to_string(),
            invited_by: invited_by.map(InviteView::from),
            invites: given.into_iter().map(InviteView::from).collect(),
            invites_disabled: row.invites_disabled,
            invite_note: row.invite_note.clone(),
            deactivated_at: row.deactivated.map(|deactivation| deactivation.at.to_string()),
        })
    }
}

/// The account that an operator names, which has to be here.
pub(super) async fn account(host: &Host, did: &Did) -> Result<Account, XrpcError> {
    host.accounts.by_did(did).await?.ok_or_else(|| not_found("Account"))
}

fn not_found(what: &str) -> XrpcError {
    XrpcError::new(axum::http::StatusCode::BAD_REQUEST, "NotFound", format!("{what} not found"))
}
