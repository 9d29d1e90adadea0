//! The stored forms of repositories.

use angel_protocol::data::Cid;
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::Row;

/// Stored form of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoRow {
    pub(super) space: SpaceUri,
    pub(super) rev: Tid,
    #[serde(with = "serde_bytes")]
    pub(super) hash: Vec<u8>,
    pub(super) records: u64,
    pub(super) log_from: Tid,
    pub(super) log_ops: u64,
    pub(super) space_deleted_at: Option<Timestamp>,
}

impl Row for RepoRow {
    const VERSION: u8 = 1;
}

/// Stored form of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpRow {
    pub(super) path: RepoPath,
    pub(super) cid: Option<Cid>,
    pub(super) prev: Option<Cid>,
}

impl Row for OpRow {
    const VERSION: u8 = 1;
}
