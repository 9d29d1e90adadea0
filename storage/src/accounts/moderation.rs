//! What the operator decided about single records and blobs, and what people complained about.

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::Row;
use crate::key::AccountId;
use crate::tables::{Table, TableId};

/// Takedowns of records and blobs by account and subject ([`takedown_of_record`], [`takedown_of_blob`]).
pub const TAKEDOWNS: Table<(AccountId, String), TakedownRow> = Table::new(TableId::Takedowns);

/// Complaints by their number.
pub const REPORTS: Table<u64, ReportRow> = Table::new(TableId::Reports);

/// That something was taken down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakedownRow {
    /// The operator's reference.
    pub reference: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Row for TakedownRow {
    const VERSION: u8 = 1;
}

/// The subject of a record's takedown.
#[must_use]
pub fn takedown_of_record(path: &RepoPath) -> String {
    format!("record/{path}")
}

/// The subject of a blob's takedown.
#[must_use]
pub fn takedown_of_blob(cid: &Cid) -> String {
    format!("blob/{cid}")
}

/// A complaint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Who complains.
    pub reported_by: Did,
    /// Why, as a token of `com.atproto.moderation.defs`.
    pub reason_type: String,
    /// In their own words.
    pub reason: Option<String>,
    /// The account that it is about.
    pub subject_did: Did,
    /// The record that it is about, as at-uri and CID.
    pub subject_record: Option<(String, String)>,
    /// When.
    pub created_at: Timestamp,
}

impl Row for ReportRow {
    const VERSION: u8 = 1;
}
