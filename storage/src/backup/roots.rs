//! Whether a store comes to the roots that it names: everything that a root stands for is hashed anew.
//!
//! A repository's tree is walked from the root that its commit signs, each node hashed against the name it was reached by,
//! beside its records, each hashed against the name the tree has for it. A permissioned repository's set hash and the
//! ledger's root are made from their rows alone. Holds a page of rows at a time, and of the ledger one hash for each row.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::ledger::tree;
use angel_protocol::permissioned::SetHash;
use angel_protocol::repo::mst::{Walk, WalkItem};
use angel_protocol::repo::{BlockSource, SourceError};

use crate::key::AccountId;
use crate::ledger::{self, decided};
use crate::limits::BULK_ROWS;
use crate::permissioned::{self, RepoKey, RepoRow};
use crate::reader::{ReadError, Reader};
use crate::repos::{self, Contents, Head};
use crate::tables::{Table, TableId};

/// What was found to come to its roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Repositories.
    pub repositories: u64,
    /// Their records.
    pub records: u64,
    /// Permissioned repositories.
    pub private_repositories: u64,
    /// Their records.
    pub private_records: u64,
    /// The ledger's newest decided height.
    pub height: u64,
    /// The root of the ledger's state, made from its rows.
    pub ledger_root: [u8; 32],
    /// Root of the tree of each account's repository.
    pub heads: BTreeMap<Did, Cid>,
}

/// Heads that are named in [`Roots::heads`]: beyond that they are checked and not told one by one.
const HEADS_TOLD_MAX: usize = 10_000;

/// What does not come to its root.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RootsError {
    /// A repository.
    #[error("the repository of {did} does not come to its root: {why}")]
    Repository {
        /// Whose.
        did: Did,
        /// What is wrong.
        why: String,
    },
    /// A permissioned repository.
    #[error("a permissioned repository of account {} does not come to its hash", account.0)]
    Permissioned {
        /// The account.
        account: AccountId,
    },
    /// A row.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Makes every root of the store anew. `progress` hears how many records were hashed.
///
/// # Errors
///
/// Something does not come to its root, or cannot be read.
pub fn check_roots(reader: &Reader, progress: &mut dyn FnMut(u64)) -> Result<Roots, RootsError> {
    let mut roots = Roots::default();
    let mut after = None;
    loop {
        let heads = repos::heads(reader, after, BULK_ROWS)?;
        let Some(last) = heads.last() else { break };
        after = Some(last.contents.account);
        for head in &heads {
            roots.records += check_repository(reader, head)?;
            roots.repositories += 1;
            if roots.heads.len() < HEADS_TOLD_MAX {
                roots.heads.insert(head.commit.did().clone(), head.commit.data());
            }
            progress(roots.records);
        }
    }
    check_permissioned(reader, &mut roots)?;
    progress(roots.records + roots.private_records);
    roots.height = decided::newest(reader)?.unwrap_or(0);
    roots.ledger_root = ledger_root(reader)?;
    Ok(roots)
}

struct Nodes<'a> {
    reader: &'a Reader,
    contents: Contents,
}

impl BlockSource for Nodes<'_> {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        let node = repos::node(self.reader, self.contents, *cid).map_err(|error| SourceError(error.into()))?;
        // A source answers for what it gives; here nobody has looked before.
        Ok(node.filter(|node| cid.matches(&node.bytes)).map(|node| node.bytes.into()))
    }
}

/// Walks a repository from its root, and answers how many records it has.
pub(crate) fn check_repository(reader: &Reader, head: &Head) -> Result<u64, RootsError> {
    let wrong = |why: String| RootsError::Repository { did: head.commit.did().clone(), why };
    let source = Nodes { reader, contents: head.contents };
    let mut records = repos::records(reader, head.contents, "", None, repos::Order::Ascending);
    let mut count = 0;
    for item in Walk::new(&source, head.commit.data()) {
        let WalkItem::Record(key, cid) = item.map_err(|error| wrong(error.to_string()))? else { continue };
        let Some((path, record)) = records.next(BULK_ROWS)? else {
            return Err(wrong(format!("the record {} is missing", key.as_str())));
        };
        if path != key.as_str() || record.cid != cid {
            return Err(wrong(format!("the tree has {}, the records have {path}", key.as_str())));
        }
        if !cid.matches(&record.bytes) {
            return Err(wrong(format!("the record {path} is not what its name says")));
        }
        count += 1;
    }
    match records.next(1)? {
        Some((path, _)) => Err(wrong(format!("the record {path} is not in the tree"))),
        None => Ok(count),
    }
}

fn check_permissioned(reader: &Reader, roots: &mut Roots) -> Result<(), RootsError> {
    const REPOS: Table<RepoKey, RepoRow> = Table::new(TableId::PermissionedRepos);
    let mut last: Option<RepoKey> = None;
    loop {
        let mut scan = reader.scan(&REPOS);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        for (key, _) in &page.rows {
            let wrong = || RootsError::Permissioned { account: key.account };
            let repo = permissioned::repo(reader, *key)?.ok_or_else(wrong)?;
            let mut hash = SetHash::default();
            let mut count = 0;
            let mut records = permissioned::records(reader, *key, "", None, permissioned::Order::Ascending);
            while let Some((path, record)) = records.next(BULK_ROWS)? {
                if !record.cid.matches(&record.bytes) {
                    return Err(wrong());
                }
                hash.add(&path, record.cid);
                count += 1;
            }
            if hash != repo.head.hash || count != repo.head.records {
                return Err(wrong());
            }
            roots.private_repositories += 1;
            roots.private_records += count;
        }
        last = page.rows.last().map(|(key, _)| *key);
        if !page.more {
            return Ok(());
        }
    }
}

/// The root of the ledger's state, from its rows.
fn ledger_root(reader: &Reader) -> Result<[u8; 32], ReadError> {
    let mut root = tree::RootOf::default();
    let mut last: Option<(Vec<u8>, u8)> = None;
    loop {
        let mut scan = reader.scan(&ledger::ROWS);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        for ((key, part), _) in &page.rows {
            if *part == 0
                && let Some(value) = ledger::get_row(reader, key)?
            {
                root.push(key, &value);
            }
        }
        last = page.rows.into_iter().next_back().map(|(key, _)| key);
        if !page.more {
            return Ok(root.root());
        }
    }
}
