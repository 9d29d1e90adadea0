//! Invite codes: who may make an account, and who did.

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::{Present, Row};
use crate::key::AccountId;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

/// Invite codes by their text.
pub const INVITE_CODES: Table<String, InviteCodeRow> = Table::new(TableId::InviteCodes);

/// Which codes an account was given.
pub const INVITE_CODES_BY_ACCOUNT: Table<(AccountId, String), Present> = Table::new(TableId::InviteCodesByAccount);

/// Most uses of one code: all of them stand in its row.
pub const INVITE_USES_MAX: u16 = 64;

/// An invite code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCodeRow {
    /// How often it may be used in all, at most [`INVITE_USES_MAX`].
    pub available: u16,
    /// Whether the operator has switched it off.
    pub disabled: bool,
    /// The account that may give it away; `None` when it belongs to the operator.
    pub for_account: Option<Did>,
    /// Who made it.
    pub made_by: MadeBy,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who used it.
    pub uses: Vec<InviteUse>,
}

/// Who made an invite code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MadeBy {
    /// The operator.
    #[serde(rename = "admin")]
    Operator,
    /// The node, for an account that may invite.
    #[serde(rename = "account")]
    Account,
}

/// A use of an invite code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteUse {
    /// The account that was made.
    pub by: Did,
    /// When.
    pub at: Timestamp,
}

impl Row for InviteCodeRow {
    const VERSION: u8 = 1;
}

/// The codes that an account was given.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn invite_codes_of(reader: &Reader, id: AccountId) -> Result<Vec<(String, InviteCodeRow)>, ReadError> {
    let codes: Vec<_> = super::all_of(reader, &INVITE_CODES_BY_ACCOUNT, id)?;
    let codes: Vec<_> = codes.into_iter().map(|(code, _)| code).collect();
    let rows = reader.multi_get(&INVITE_CODES, &codes)?;
    Ok(codes.into_iter().zip(rows).filter_map(|(code, row)| Some((code, row?))).collect())
}
