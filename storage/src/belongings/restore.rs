//! One account of another store, put into this one under a number of its own: what a restore of a single tenant writes.
//!
//! Rows come as they are stored; indexes over them are made anew, private rows go the way that those of a copy go when
//! it is taken over ([`super::install`]), and in the end the repository is walked from its root. What a restore before
//! this one left under the number goes first, so it may be broken off anywhere and begun anew. The account's own row,
//! its names and its keys are not written here: until they are, nothing of this is served.

use std::collections::BTreeSet;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;

use super::copy::{NotTaken, Taking, stage_removal, stretch_of_own};
use super::{InstallError, Installed, Nature, NotTheirs, Owned, install, tables};
use crate::accounts::NumbersError;
use crate::backup::{RootsError, check_repository};
use crate::batch::{Batch, RowRefused};
use crate::blobs;
use crate::events::TrimError;
use crate::key::{AccountId, Key};
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::repos;
use crate::tables::TableId;
use crate::writer::{CommitError, Writer};

/// Bytes and rows of one batch, reached by its last row.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
const BATCH_ROWS: usize = 8_192;

/// What else goes with an account, beyond what is public and what is private: how its owner's apps log in, what they
/// keep, what it asks of its copies, and what the operator has hidden.
const FURTHER: [TableId; 4] =
    [TableId::AppPasswords, TableId::Preferences, TableId::ReplicaSettings, TableId::Takedowns];

/// An account in a store.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The store.
    pub reader: &'a Reader,
    /// The account's number there.
    pub account: AccountId,
}

/// Where an account goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The store.
    pub reader: &'a Reader,
    /// Its writer.
    pub writer: &'a Writer,
    /// The account's number here.
    pub account: AccountId,
}

/// What was put here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Rows that are no private ones.
    pub rows: u64,
    /// Records of its repository.
    pub records: u64,
    /// Root of the repository's tree; `None` for an account without a repository.
    pub root: Option<Cid>,
    /// The private rows.
    pub private: Installed,
}

/// Why it is not done. Nothing of it is served.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    /// A store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is refused.
    #[error(transparent)]
    Row(#[from] NotTheirs),
    /// The batch is full, which the sizes rule out.
    #[error(transparent)]
    Batch(#[from] RowRefused),
    /// A private row is refused.
    #[error(transparent)]
    Private(#[from] NotTaken),
    /// The private rows cannot be put in force.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// What lay under the number cannot be removed.
    #[error(transparent)]
    Trim(#[from] TrimError),
    /// The repository does not come to its root.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The repository is another than the one that was read.
    #[error("the repository came out with another root than it has in the backup")]
    OtherRoot,
    /// The store did not write.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Puts the rows of an account of one store into another. `number` gives the numbers of spaces. Blocks.
///
/// # Errors
/// [`NotRestored`].
pub fn restore(
    from: Source<'_>,
    into: Target<'_>,
    did: &Did,
    now: Timestamp,
    number: impl FnMut() -> Result<u64, NumbersError>,
) -> Result<Restored, NotRestored> {
    let there = Owned::with_did(from.reader, from.account, did.clone())?;
    let here = Owned::new(into.account, did.clone());
    let mut it = Restoring { from, into, there, here, now, batch: Batch::new(), rows: 0 };
    it.clear()?;
    let head = repos::head(from.reader, from.account)?;
    for table in tables(Nature::Public).chain(FURTHER) {
        it.copy(table, head.as_ref().map(|head| head.contents.generation))?;
    }
    it.index(head.as_ref().map(|head| head.contents))?;
    it.flush()?;
    it.copy_private()?;
    let private = install(into.reader, into.writer, into.account, did, number)?;
    it.clear_copy()?;
    let (mut records, mut root) = (0, None);
    if let Some(head) = head {
        let restored = repos::head(into.reader, into.account)?.ok_or(NotRestored::OtherRoot)?;
        if restored.commit != head.commit {
            return Err(NotRestored::OtherRoot);
        }
        records = check_repository(into.reader, &restored)?;
        root = Some(restored.commit.data());
    }
    Ok(Restored { rows: it.rows, records, root, private })
}

struct Restoring<'a> {
    from: Source<'a>,
    into: Target<'a>,
    there: Owned,
    here: Owned,
    now: Timestamp,
    batch: Batch,
    rows: u64,
}

impl Restoring<'_> {
    /// Removes what an earlier attempt left under the number.
    fn clear(&mut self) -> Result<(), NotRestored> {
        let (reader, account) = (self.into.reader, self.into.account);
        while blobs::stage_removal(reader, &mut self.batch, account, self.now, BULK_ROWS)? > 0 {
            self.flush()?;
        }
        if let Some(contents) = repos::contents(reader, account)? {
            for collection in repos::collections(reader, contents)? {
                repos::unlist_collection(&mut self.batch, account, &collection)?;
            }
            self.flush()?;
        }
        self.clear_copy()?;
        let left = Owned::with_did(reader, account, self.here.did.clone())?;
        for table in tables(Nature::Public).chain(tables(Nature::Private)).chain(FURTHER) {
            loop {
                let page = left.page(reader, table, None, BATCH_ROWS, BATCH_BYTES)?;
                for row in &page.rows {
                    left.delete(&mut self.batch, table, &row.key)?;
                }
                self.flush()?;
                if !page.more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Copies the rows of a table; of repositories, those of the contents that are in force.
    fn copy(&mut self, table: TableId, generation: Option<u32>) -> Result<(), NotRestored> {
        use TableId::{RepoCollections, RepoFreshNodes, RepoNodes, RepoPacks, RepoRecords};
        let by_contents = matches!(table, RepoNodes | RepoFreshNodes | RepoRecords | RepoPacks | RepoCollections);
        let mut in_force = Vec::new();
        generation.unwrap_or_default().encode(&mut in_force);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.there.page(self.from.reader, table, after.as_deref(), BATCH_ROWS, BATCH_BYTES)?;
            after = page.rows.last().map(|row| row.key.clone());
            for row in &page.rows {
                if by_contents && !row.key.starts_with(&in_force) {
                    continue;
                }
                self.here.put(&mut self.batch, table, row)?;
                self.rows += 1;
                self.flush_if_full()?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Makes anew what leads from collections and files to the account.
    fn index(&mut self, contents: Option<repos::Contents>) -> Result<(), NotRestored> {
        if let Some(contents) = contents {
            let here = repos::Contents { account: self.into.account, ..contents };
            for collection in repos::collections(self.from.reader, contents)? {
                repos::put_collection(&mut self.batch, here, &collection, true)?;
                self.flush_if_full()?;
            }
        }
        for cid in files(self.from, &self.there.did)? {
            blobs::stage_held(&mut self.batch, self.into.account, cid, self.now)?;
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// Copies the private rows to where those of a copy lie.
    fn copy_private(&mut self) -> Result<(), NotRestored> {
        let mut after = None;
        loop {
            let found = stretch_of_own(self.from.reader, &self.there, after.as_ref(), BULK_ROWS, BATCH_BYTES)?;
            let end = found.end.clone();
            let mut taking = Taking::new(self.into.reader, self.into.account, self.now);
            taking.replace(after.as_ref(), found)?;
            self.batch = taking.done().0;
            self.flush()?;
            match end {
                Some(end) => after = Some(end),
                None => return Ok(()),
            }
        }
    }

    fn clear_copy(&mut self) -> Result<(), NotRestored> {
        while stage_removal(self.into.reader, &mut self.batch, self.into.account, BATCH_ROWS)? > 0 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<(), NotRestored> {
        if self.batch.bytes() >= BATCH_BYTES || self.batch.rows() >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NotRestored> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.into.writer.commit(batch)?;
        }
        Ok(())
    }
}

/// The files that an account has in a store.
///
/// # Errors
/// The store cannot be read.
pub fn files(from: Source<'_>, did: &Did) -> Result<BTreeSet<Cid>, ReadError> {
    let owned = Owned::new(from.account, did.clone());
    let mut found = BTreeSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = owned.page(from.reader, TableId::Blobs, after.as_deref(), BATCH_ROWS, BATCH_BYTES)?;
        found.extend(page.rows.iter().filter_map(|row| Cid::from_bytes(&row.key).ok()));
        after = page.rows.last().map(|row| row.key.clone());
        if !page.more {
            return Ok(found);
        }
    }
}
