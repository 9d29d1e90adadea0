//! `co.kendev.network.*`, where somebody is logged in: what the ledger and the registry answer to anybody is in
//! `crate::http`.

pub(crate) mod dismiss_record_versions;
pub(crate) mod list_record_versions;
pub(crate) mod open_wallet;
pub(crate) mod send_tokens;
