//! An invite code as methods show it (`com.atproto.server.defs#inviteCode`).

use angel_storage::accounts::{InviteUse, MadeBy};
use serde::Serialize;

use crate::invites::Invite;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InviteView {
    code: String,
    available: u16,
    disabled: bool,
    for_account: String,
    created_by: String,
    created_at: String,
    uses: Vec<UseView>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UseView {
    used_by: String,
    used_at: String,
}

impl From<Invite> for InviteView {
    fn from((code, row): Invite) -> Self {
        let for_account = row.for_account.map_or_else(|| "admin".to_owned(), String::from);
        let view = |used: InviteUse| UseView { used_by: used.by.into(), used_at: used.at.to_string() };
        Self {
            code,
            available: row.available,
            disabled: row.disabled,
            created_by: match row.made_by {
                MadeBy::Operator => "admin".to_owned(),
                MadeBy::Account => for_account.clone(),
            },
            for_account,
            created_at: row.created_at.to_string(),
            uses: row.uses.into_iter().rev().map(view).collect(),
        }
    }
}
