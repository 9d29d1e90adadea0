//! What belongs to an account: which rows of which tables, how they are found by its number, its DID or its spaces, and
//! how they are read and written page by page without knowing what they say.
//!
//! Whoever copies, restores, moves or counts one account's rows begins here. The `match` in [`of`] names every table, so
//! that a new one does not compile before it is said whose its rows are.
//!
//! A row travels as an [`OwnRow`]: its key without what this store alone knows (the account's number), its value as it is
//! stored. Spaces keep the number that they have here; whoever takes rows in gives them numbers of its own
//! ([`Owned::renumber`]). This module decides nothing about who may read what, and seals nothing.

pub mod copy;
mod install;
mod journal;
mod places;
pub mod restore;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use angel_protocol::ids::Did;

use crate::accounts::ACCOUNTS;
use crate::batch::{Batch, RowRefused};
use crate::engine::{KeyRange, PageLimit};
use crate::key::{AccountId, Key};
use crate::permissioned::{self, SpaceDigest};
use crate::reader::{ReadError, Reader};
use crate::spaces::{SPACES, SpaceId};
use crate::tables::{CATALOGUE, TableId};
use crate::verify::Check;

pub use install::{InstallError, Installed, install};
pub(crate) use journal::Journal;
pub use journal::{CHANGED, Change, Changed, JOURNALED, STATE, changed, decode_changed};
pub use places::{PLACES, copies_with};
pub(crate) use view::CopyView;

/// Whose the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// The node's, or the network's: no one account's.
    Node,
    /// Each row is one account's.
    Account {
        /// How they are found.
        found: Found,
        /// What they are to whoever takes the account over.
        nature: Nature,
    },
}

/// How the rows of an account are found in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The key begins with the account's number.
    ByAccount,
    /// The key begins with its DID.
    ByDid,
    /// The key begins with the number of a space that it holds.
    BySpace,
    /// The key begins with the digest of a permissioned space under it.
    ByPermissionedSpace,
    /// The key begins with something else: other rows of the account lead here.
    Elsewhere,
}

/// What rows of an account are to whoever takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// What the repository's export and its files carry, where it is verified by signatures and digests.
    Public,
    /// What nobody but the hosts may see: copied row by row.
    Private,
    /// What the account is and how its owner logs in. Some of it is bound to this node's secrets or names, so it travels
    /// as a value (`angel_protocol::replication::wire::AccountState`), not as rows.
    State,
    /// An index over other rows: made anew from them.
    Index,
    /// It ends with the node or soon: logins, codes, what is still to be told.
    Passing,
    /// What this node, or its operator, knows or decided about the account.
    Local,
}

/// Whose the rows of a table are.
#[must_use]
pub const fn of(table: TableId) -> Belongs {
    use TableId as T;
    match table {
        T::NodeMeta | T::Events | T::EventParts | T::Cursors | T::Peers | T::Local => Belongs::Node,
        T::ReservedKeys | T::InviteCodes | T::MailOutbox | T::Reports => Belongs::Node,
        T::BlobChecks | T::BlobFiles | T::PlcEntries | T::PlcAccepted => Belongs::Node,
        T::LedgerRows | T::LedgerBatches | T::LedgerDecisions | T::LedgerValidators => Belongs::Node,
        T::LedgerHistory | T::LedgerCheckpoints | T::LedgerEvidence | T::LedgerUndecided => Belongs::Node,
        T::Mempool | T::MempoolGroups | T::LedgerNotes | T::SpaceHosts | T::SpaceAuthors => Belongs::Node,
        T::RoadmapVotes | T::RoadmapVotesOf => Belongs::Node,

        T::Accounts | T::AppPasswords | T::Preferences | T::AccountKeys => account(Found::ByAccount, Nature::State),
        T::ReplicaSettings => account(Found::ByDid, Nature::State),
        T::Takedowns => account(Found::ByAccount, Nature::Local),
        T::Sessions | T::MailCodes | T::RepoRetained | T::RepoLeftovers | T::BlobsMissing => {
            account(Found::ByAccount, Nature::Passing)
        }
        T::ResetCodes | T::PermissionedNotices => account(Found::Elsewhere, Nature::Passing),
        T::PlcPending => account(Found::ByDid, Nature::Passing),
        T::AccountsByDid | T::AccountsByHandle | T::AccountsByEmail | T::CollectionRepos | T::BlobHolders => {
            account(Found::Elsewhere, Nature::Index)
        }
        T::TenantsBySlug | T::SpaceRecords | T::SpacesOfMember | T::ReplicaPlaces => {
            account(Found::Elsewhere, Nature::Index)
        }
        T::InviteCodesByAccount | T::RepoLinks => account(Found::ByAccount, Nature::Index),

        T::Repos | T::RepoNodes | T::RepoFreshNodes | T::RepoRecords | T::RepoPacks | T::RepoCollections => {
            account(Found::ByAccount, Nature::Public)
        }
        T::Blobs | T::BlobRefs => account(Found::ByAccount, Nature::Public),

        T::Tenants | T::TenantMembers | T::TenantInvitations | T::TenantUsage | T::TenantAudit => {
            account(Found::ByAccount, Nature::Private)
        }
        T::FormViews | T::Webhooks => account(Found::ByAccount, Nature::Private),
        T::PermissionedSpaces | T::PermissionedRepos | T::PermissionedRecords => {
            account(Found::ByAccount, Nature::Private)
        }
        T::PermissionedIndex | T::PermissionedOps => account(Found::ByAccount, Nature::Private),
        T::PermissionedMembers | T::PermissionedWriters => account(Found::ByPermissionedSpace, Nature::Private),
        T::Spaces | T::SpaceChannels | T::SpaceMembers | T::SpaceMessages | T::SpaceMessageParts => {
            account(Found::BySpace, Nature::Private)
        }
        T::MessagesByChannel | T::MessagesByThread | T::SpaceReactions | T::SpaceReadMarks => {
            account(Found::BySpace, Nature::Private)
        }
        T::SpaceWords | T::SpaceLog | T::SpaceInvites => account(Found::BySpace, Nature::Private),
        T::SpaceBlocks | T::SpaceFacts => account(Found::ByDid, Nature::Private),
        // They wait for somebody to look at them, at whatever node is primary then.
        T::ReplicaVersions => account(Found::ByDid, Nature::Private),

        T::Replicas | T::ReplicaSealed | T::ReplicaPromises | T::ReplicaOperations => {
            account(Found::ByDid, Nature::Local)
        }
        T::Moves => account(Found::ByDid, Nature::Local),
        T::ReplicaRows | T::ReplicaJournaled => account(Found::ByAccount, Nature::Local),
    }
}

const fn account(found: Found, nature: Nature) -> Belongs {
    Belongs::Account { found, nature }
}

/// How the tables of this room are checked by [`crate::verify`].
pub(crate) fn checks() -> Vec<Check> {
    let mut checks = journal::checks();
    checks.push(Check::of(&PLACES));
    checks
}

/// How the rows of an account are found in `table`, when they are of this nature.
#[must_use]
pub fn found(table: TableId, nature: Nature) -> Option<Found> {
    match of(table) {
        Belongs::Account { found, nature: of } if of == nature => Some(found),
        _ => None,
    }
}

/// The tables whose rows are of this nature, in the order of their bytes.
pub fn tables(nature: Nature) -> impl Iterator<Item = TableId> {
    CATALOGUE.iter().map(|info| info.id).filter(move |id| found(*id, nature).is_some())
}

/// A row of an account, apart from the store in which it lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnRow {
    /// Its key behind the table and, where the key has it, the account's number or DID.
    pub key: Vec<u8>,
    /// Its value as it is stored, the version first.
    pub value: Vec<u8>,
}

/// A page of rows, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPage {
    /// The rows.
    pub rows: Vec<OwnRow>,
    /// Whether the limit ended the page; there may be more.
    pub more: bool,
}

/// An account, with what its rows are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its number here.
    pub account: AccountId,
    /// Its DID.
    pub did: Did,
    spaces: BTreeSet<SpaceId>,
    permissioned: BTreeSet<SpaceDigest>,
}

/// Why a row is not taken in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotTheirs {
    /// No row of this table is any account's, or none is found by what the row says.
    #[error("table {0} has no rows that are found by their account")]
    Table(TableId),
    /// The row is under a space that is not the account's.
    #[error("a row of table {0} is of a space that is not the account's")]
    Space(TableId),
    /// It is not what its table says.
    #[error("a row of table {table} is none: {detail}")]
    Form {
        /// The table.
        table: TableId,
        /// What is wrong. Never says what is in it.
        detail: String,
    },
    /// The batch is full.
    #[error(transparent)]
    Row(#[from] RowRefused),
}

/// Spaces that are looked at per step when those of an account are gathered.
const SPACES_PAGE: usize = 500;

impl Owned {
    /// The account with its spaces as they are now; `None` when there is no such account.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read.
    pub fn of(reader: &Reader, account: AccountId) -> Result<Option<Self>, ReadError> {
        let Some(row) = reader.get(&ACCOUNTS, &account)? else { return Ok(None) };
        Self::with_did(reader, account, row.did).map(Some)
    }

    pub(crate) fn with_did(reader: &Reader, account: AccountId, did: Did) -> Result<Self, ReadError> {
        let mut spaces = BTreeSet::new();
        let mut after = None;
        loop {
            let scan = reader.scan(&SPACES);
            let page = match &after {
                Some(after) => scan.after(after).page(SPACES_PAGE)?,
                None => scan.page(SPACES_PAGE)?,
            };
            spaces.extend(page.rows.iter().filter(|(_, row)| row.holder == did).map(|(id, _)| *id));
            after = page.rows.last().map(|(id, _)| *id);
            if !page.more {
                break;
            }
        }
        let mut permissioned = BTreeSet::new();
        let mut after = None;
        loop {
            let page = permissioned::spaces_of(reader, account, after, SPACES_PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.uri.digest());
            permissioned.extend(page.iter().map(|row| row.uri.digest()));
        }
        Ok(Self { account, did, spaces, permissioned })
    }

    /// An account of which nothing is known yet but its number and DID.
    #[must_use]
    pub const fn new(account: AccountId, did: Did) -> Self {
        Self { account, did, spaces: BTreeSet::new(), permissioned: BTreeSet::new() }
    }

    /// Spaces that it holds, by number.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> + '_ {
        self.spaces.iter().copied()
    }

    /// Counts a space as the account's.
    pub fn add_space(&mut self, space: SpaceId) {
        self.spaces.insert(space);
    }

    /// Counts a permissioned space as the account's.
    pub fn add_permissioned(&mut self, space: SpaceDigest) {
        self.permissioned.insert(space);
    }

    /// Rows of `table` behind `after`, a key of an [`OwnRow`]: at most `limit`, and ending with the row that brings the
    /// page to `bytes`. None for a table in which they are found by other rows alone.
    ///
    /// # Errors
    /// The engine fails.
    pub fn page(
        &self,
        reader: &Reader,
        table: TableId,
        after: Option<&[u8]>,
        limit: usize,
        bytes: usize,
    ) -> Result<OwnPage, ReadError> {
        let mut page = OwnPage::default();
        let mut taken = 0;
        for (prefix, hidden) in self.prefixes(table) {
            let mut range = KeyRange::prefix(&prefix);
            if let Some(after) = after {
                range = range.beyond(&[&prefix[..hidden], after].concat(), false);
            }
            if range.is_empty() {
                continue;
            }
            if page.rows.len() >= limit || taken >= bytes {
                page.more = true;
                break;
            }
            let found =
                reader.rows(&range, false, PageLimit { rows: limit - page.rows.len(), bytes: bytes - taken })?;
            for (key, value) in found.rows() {
                taken += key.len() + value.len();
                page.rows.push(OwnRow { key: key[hidden..].to_vec(), value: value.to_vec() });
            }
            if found.more {
                page.more = true;
                break;
            }
        }
        Ok(page)
    }

    /// One row.
    ///
    /// # Errors
    /// The engine fails, or such a key is none of the account's.
    pub fn get(&self, reader: &Reader, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let Ok(stored) = self.stored_key(table, key) else { return Ok(None) };
        let range = KeyRange { end: Some([stored.as_slice(), &[0]].concat()), start: stored };
        let page = reader.rows(&range, false, PageLimit { rows: 1, bytes: 1 })?;
        Ok(page.row(0).map(|(_, value)| value.to_vec()))
    }

    /// Sets a row that came from elsewhere. It is checked: that it is the account's, and what its table says.
    ///
    /// # Errors
    /// [`NotTheirs`].
    pub fn put(&self, batch: &mut Batch, table: TableId, row: &OwnRow) -> Result<(), NotTheirs> {
        let key = self.stored_key(table, &row.key)?;
        check(table, &key, &row.value)?;
        Ok(batch.put_stored(table, key, row.value.clone())?)
    }

    /// Removes a row.
    ///
    /// # Errors
    /// [`NotTheirs`].
    pub fn delete(&self, batch: &mut Batch, table: TableId, key: &[u8]) -> Result<(), NotTheirs> {
        Ok(batch.delete_stored(table, self.stored_key(table, key)?)?)
    }

    /// The key under which a row of the account lies here.
    pub(crate) fn stored_key(&self, table: TableId, key: &[u8]) -> Result<Vec<u8>, NotTheirs> {
        let Belongs::Account { found, .. } = of(table) else { return Err(NotTheirs::Table(table)) };
        let mut stored = vec![table.byte()];
        match found {
            Found::ByAccount => self.account.encode(&mut stored),
            Found::ByDid => self.did.encode(&mut stored),
            Found::BySpace => {
                let is_own = space_of(key).is_some_and(|(space, _)| self.spaces.contains(&space));
                if !is_own {
                    return Err(NotTheirs::Space(table));
                }
            }
            Found::ByPermissionedSpace => {
                let digest = key.first_chunk::<32>();
                if !digest.is_some_and(|digest| self.permissioned.contains(digest)) {
                    return Err(NotTheirs::Space(table));
                }
            }
            Found::Elsewhere => return Err(NotTheirs::Table(table)),
        }
        stored.extend_from_slice(key);
        Ok(stored)
    }

    /// What the keys of the account's rows begin with, in order, and how many bytes of that do not travel.
    pub(crate) fn prefixes(&self, table: TableId) -> Vec<(Vec<u8>, usize)> {
        let Belongs::Account { found, .. } = of(table) else { return Vec::new() };
        let with = |part: &dyn Fn(&mut Vec<u8>)| {
            let mut prefix = vec![table.byte()];
            part(&mut prefix);
            prefix
        };
        let hidden = |prefix: Vec<u8>| {
            let bytes = prefix.len();
            vec![(prefix, bytes)]
        };
        match found {
            Found::ByAccount => hidden(with(&|out| self.account.encode(out))),
            Found::ByDid => hidden(with(&|out| self.did.encode(out))),
            Found::BySpace => self.spaces.iter().map(|id| (with(&|out| id.encode(out)), 1)).collect(),
            Found::ByPermissionedSpace => {
                self.permissioned.iter().map(|digest| (with(&|out| digest.encode(out)), 1)).collect()
            }
            Found::Elsewhere => Vec::new(),
        }
    }

    /// The key of a row of a space under the number that the space has here.
    ///
    /// # Errors
    /// The space has none.
    pub fn renumber(table: TableId, key: &[u8], numbers: &BTreeMap<SpaceId, SpaceId>) -> Result<Vec<u8>, NotTheirs> {
        let (space, rest) = space_of(key).ok_or(NotTheirs::Space(table))?;
        let here = numbers.get(&space).ok_or(NotTheirs::Space(table))?;
        let mut renumbered = Vec::with_capacity(key.len());
        here.encode(&mut renumbered);
        renumbered.extend_from_slice(rest);
        Ok(renumbered)
    }
}

/// The space that a key of [`Found::BySpace`] begins with, and the rest.
fn space_of(key: &[u8]) -> Option<(SpaceId, &[u8])> {
    let (number, rest) = key.split_first_chunk::<8>()?;
    Some((SpaceId(u64::from_be_bytes(*number)), rest))
}

/// Whether a row is what its table says.
fn check(table: TableId, key: &[u8], value: &[u8]) -> Result<(), NotTheirs> {
    let check = Check::of_table(table).ok_or(NotTheirs::Table(table))?;
    check.accepts(key, value).map_err(|detail| NotTheirs::Form { table, detail })
}
