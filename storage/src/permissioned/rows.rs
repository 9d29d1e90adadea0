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
    pub(crate) space: SpaceUri,
    pub(crate) rev: Tid,
    #[serde(with = "serde_bytes")]
    pub(crate) hash: Vec<u8>,
    pub(crate) records: u64,
    pub(crate) log_from: Tid,
    pub(crate) log_ops: u64,
    pub(crate) space_deleted_at: Option<Timestamp>,
}

impl Row for RepoRow {
    const VERSION: u8 = 1;
}

/// Stored form of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpRow {
    pub(crate) path: RepoPath,
    pub(crate) cid: Option<Cid>,
    pub(crate) prev: Option<Cid>,
}

impl Row for OpRow {
    const VERSION: u8 = 1;
}
