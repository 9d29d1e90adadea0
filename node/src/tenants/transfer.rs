//! A whole tenant as lines of JSON: its row, members, counts, audit log, records, its rooms with who may enter them, what is
//! known of its spaces, and a digest at the end that tells whether anything is missing. Files are fetched one by one
//! (`com.atproto.sync.listBlobs`), identities move as accounts do.
//!
//! What others said in its spaces is theirs and not here: whoever takes the tenant in asks their hosts for it, and
//! believes their signatures. Here stands of whom to ask.

mod export;
mod import;
#[cfg(test)]
mod tests;

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::permissioned::{SpaceUri, kinds};
use angel_protocol::rules::Refused;
use angel_protocol::tenants::Usage;
use angel_storage::tenants::{AuditRow, MembershipRow, TenantRow};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{ProvisionError, RulebookError, TenantError};
use crate::accounts::AccountError;
use crate::lifecycle::LifecycleError;
use crate::permissioned::PermissionedError;
use crate::repos::RepoError;
use crate::spaces::{SpaceError, SpaceLine};

/// Records and other rows that are read or written at a time.
const PAGE: usize = 100;

/// A line of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    /// First: whose export it is.
    Tenant { version: u32, row: Box<TenantRow> },
    /// Somebody who belongs to it.
    Member { did: Did, row: MembershipRow },
    /// What it used in this month.
    Usage { row: Usage },
    /// What was done to it.
    Audit { number: u64, row: AuditRow },
    /// A record of its public repository.
    Record { path: RepoPath, cid: Cid, value: Json },
    /// A record of its own in a room; in the workspace when none is named.
    Private {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<SpaceUri>,
        path: RepoPath,
        cid: Cid,
        value: Json,
    },
    /// Last: how many lines came before, and the SHA-256 of their bytes.
    End { lines: u64, sha256: String },
    /// Something of its spaces.
    #[serde(untagged)]
    Space(SpaceLine),
}

/// The form that this release writes; it reads the one before, too, which had of all rooms the workspace alone.
const VERSION: u32 = 2;

/// Why an export is not taken in. Nothing has changed then, unless a record was refused halfway: the same import goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No line of an export, or one out of its place.
    #[error("line {0} is none of a tenant's export: {1}")]
    Line(u64, String),
    /// It ends too early, or was changed.
    #[error("the export is not whole: its digest does not fit what came before it")]
    NotWhole,
    /// Written by a newer release.
    #[error("the export has version {0}; this release reads up to {VERSION}")]
    Version(u32),
    /// A record is not the one that its CID names.
    #[error("the record {0} is not the one that its CID names")]
    OtherRecord(RepoPath),
    /// A record breaks the rules of its collection.
    #[error("the record {0} is refused: {1}")]
    Record(RepoPath, Refused),
    /// The account is not here.
    #[error("{0} has no account here: move the account first, then import its tenant")]
    NoAccount(Did),
    /// The tenant is here and in use.
    #[error("{0} is a tenant here already; archive it first, if the export is to take its place")]
    InUse(Did),
    /// Anything else.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
}

macro_rules! passes_on {
    ($($error:ty),*) => {$(
        impl From<$error> for ImportError {
            fn from(error: $error) -> Self {
                Self::Provision(error.into())
            }
        }
    )*};
}

passes_on!(TenantError, AccountError, LifecycleError, RepoError, PermissionedError, RulebookError, SpaceError);

/// Puts lines together and counts them.
#[derive(Default)]
struct Lines {
    hash: Sha256,
    count: u64,
}

impl Lines {
    fn line(&mut self, line: &Line) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(line).expect("rows and records have a JSON form");
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.count += 1;
        bytes
    }

    fn end(self) -> Vec<u8> {
        let line = Line::End { lines: self.count, sha256: HEXLOWER.encode(&self.hash.finalize()) };
        let mut bytes = serde_json::to_vec(&line).expect("a number and a text have a JSON form");
        bytes.push(b'\n');
        bytes
    }
}

/// The space in which a tenant keeps what is not public.
pub(crate) fn workspace(tenant: &Did) -> SpaceUri {
    kinds::workspace().under(tenant.clone(), "self".parse().expect("a word is a record key"))
}
