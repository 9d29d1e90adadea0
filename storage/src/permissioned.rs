//! Spaces under hosted accounts, and the permissioned repositories of hosted accounts: rows, and events that tell of
//! changes to whoever indexes them on this node.
//!
//! A space is named in keys by the digest of its URI, which has one length. A repository is an account and a space. Its
//! records lie twice: by path, as they are read, and as an index in the order in which a serialised repository has
//! them, so that this order need not be made anew for each reader. What a record says is in the first alone. The copy of a
//! repository elsewhere has no index: whoever wants it whole asks its author's host.
//!
//! Nothing here is public: no table of this module is read by the firehose, an export or a listing of public data.

mod event;
mod notices;
mod read;
mod rows;
mod spaces;
mod stage;

#[cfg(test)]
mod tests;

use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::{Head, SpaceUri};
use angel_protocol::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::codec::Raw;
use crate::key::{AccountId, InvalidKey, Key};
use crate::repos::RecordRow;
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use event::{
    ADVANCED, Advanced, CHANGED, COPIED, Change, Changed, WRITTEN, Written, advanced, advanced_event, changed,
    changed_event, copied_event, written, written_event,
};
pub use notices::{
    Delivery, DeliveryKey, NoticeKey, NoticeRow, Registration, deliveries, delivery_key, is_spent, issued,
    put_delivery, put_issued, put_registration, put_spent, registration, registrations, remove_delivery, remove_issued,
    remove_registration, replace_delivery, sweep_tokens, token_digest,
};
pub use read::{IndexEntry, Order, Record, RecordScan, index, ops, record, records, repo, repos_of};
pub use rows::{OpRow, RepoRow};
pub use spaces::{
    MemberRow, SpaceRow, WriterKey, WriterRow, member, members, newest_space_rev, put_member, put_space, put_writer,
    remove_member, remove_space, space, spaces_of, stage_clear, writer, writers,
};
pub use stage::{
    delete_record, put_op, put_record, put_repo, remove_repo, stage_removal, stage_repo_removal, trim_ops,
};

/// SHA-256 of a space's URI.
pub type SpaceDigest = [u8; 32];

/// Whose repository in which space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoKey {
    /// The author.
    pub account: AccountId,
    /// The space.
    pub space: SpaceDigest,
}

/// The number under which copies lie. No account has it: accounts are numbered from the other end.
const COPIES: AccountId = AccountId(u64::MAX);

impl RepoKey {
    /// Where the copy of a repository lies whose author has no account here. In the place of the space stands a digest
    /// over space and author together.
    #[must_use]
    pub fn of_copy(space: &SpaceUri, author: &Did) -> Self {
        Self { account: COPIES, space: Sha256::digest(format!("{space} {author}")).into() }
    }

    /// Whether it is where a copy lies.
    const fn is_copy(self) -> bool {
        self.account.0 == COPIES.0
    }
}

impl Key for RepoKey {
    fn encode(&self, out: &mut Vec<u8>) {
        self.account.encode(out);
        self.space.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self { account: AccountId::decode(bytes)?, space: SpaceDigest::decode(bytes)? })
    }
}

impl crate::key::PrefixOf<RepoKey> for AccountId {}

/// A permissioned repository as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// The space.
    pub space: SpaceUri,
    /// Where it stands.
    pub head: Head,
    /// Operations after this revision are in the log.
    pub log_from: Tid,
    /// Operations in the log.
    pub log_ops: u64,
    /// When the space's authority deleted the space; the author's records stay until the author is done with them.
    pub space_deleted_at: Option<Timestamp>,
}

const REPOS: Table<RepoKey, RepoRow> = Table::new(TableId::PermissionedRepos);
const RECORDS: Table<(RepoKey, String, u16), RecordRow> = Table::new(TableId::PermissionedRecords);
const INDEX: Table<(RepoKey, u16, String), Raw> = Table::new(TableId::PermissionedIndex);
const OPS: Table<(RepoKey, u64, u16), OpRow> = Table::new(TableId::PermissionedOps);
const SPACES: Table<(AccountId, SpaceDigest), SpaceRow> = Table::new(TableId::PermissionedSpaces);
const MEMBERS: Table<(SpaceDigest, Did), MemberRow> = Table::new(TableId::PermissionedMembers);
const WRITERS: Table<(SpaceDigest, WriterKey), WriterRow> = Table::new(TableId::PermissionedWriters);
const NOTICES: Table<NoticeKey, NoticeRow> = Table::new(TableId::PermissionedNotices);

/// How the rows of these tables are checked.
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![
        Check::of(&REPOS),
        Check::of(&RECORDS),
        Check::of(&INDEX),
        Check::of(&OPS),
        Check::of(&SPACES),
        Check::of(&MEMBERS),
        Check::of(&WRITERS),
        Check::of(&NOTICES),
    ]
}

/// A revision as a number whose order is that of revisions.
pub(crate) fn number(rev: Tid) -> u64 {
    (rev.micros() << 10) | u64::from(rev.clock_id())
}

/// The revision with that number.
fn revision(number: u64) -> Tid {
    Tid::new(number >> 10, (number & 0x3ff) as u16)
}
