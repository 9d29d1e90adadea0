//! Taking an account over: its private rows, kept apart while another node served it, become the rows that are served
//! here.
//!
//! What is here already and the same stays; what is other is replaced, what the copy has not is removed. So it may be
//! broken off anywhere and begun anew, and a node that served the account before needs only what has changed. Nobody
//! else writes rows of the account meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use angel_protocol::ids::Did;
use angel_protocol::permissioned::SetHash;
use angel_protocol::spaces::{CHANNEL, MESSAGE, REACTION, SPACE, Status};

use super::copy::{Position, row_of_copy, stretch_of_copy};
use super::{Found, Nature, NotTheirs, OwnRow, Owned, found, tables};
use crate::accounts::NumbersError;
use crate::batch::{Batch, RowRefused};
use crate::codec::{self, Cbor, Present};
use crate::key::{AccountId, Key};
use crate::limits::BULK_ROWS;
use crate::permissioned::{self, Order, Repo, RepoKey, SpaceDigest, SpaceRow as PermissionedSpace};
use crate::reader::{ReadError, Reader};
use crate::spaces::{CHANNELS, MEMBERS, MESSAGES, Place, REACTIONS, RECORDS, SPACES, SPACES_OF, SpaceId, SpaceRow};
use crate::tables::TableId;
use crate::tenants::{TENANTS, TENANTS_BY_SLUG};
use crate::writer::{CommitError, Writer};

/// Bytes and rows of one batch, reached by its last row.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
const BATCH_ROWS: usize = 8_192;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Rows that were written.
    pub written: usize,
    /// Rows that were removed, as the copy has them not.
    pub removed: usize,
    /// Rows that were passed over: of spaces that are not the account's.
    pub refused: usize,
    /// Permissioned repositories whose set hash did not agree with their records, and records that are not what their
    /// CIDs say.
    pub disagreed: usize,
    /// The tenant's short name, when another tenant here has it: it is not found by it.
    pub slug_taken: Option<String>,
}

/// Why it is not done. What was, stays so; begin anew.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The rows cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is refused.
    #[error(transparent)]
    Row(#[from] NotTheirs),
    /// The batch is full, which the sizes rule out.
    #[error(transparent)]
    Batch(#[from] RowRefused),
    /// There is no number for a space.
    #[error(transparent)]
    Number(#[from] NumbersError),
    /// The store did not write.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

struct Installing<'a> {
    reader: &'a Reader,
    writer: &'a Writer,
    owned: Owned,
    /// Numbers of spaces there and here.
    here: BTreeMap<SpaceId, SpaceId>,
    there: BTreeMap<SpaceId, SpaceId>,
    batch: Batch,
    done: Installed,
}

/// Makes the private rows of the copy those of the account. `number` gives the numbers of spaces. Blocks.
///
/// # Errors
/// [`InstallError`].
pub fn install(
    reader: &Reader,
    writer: &Writer,
    account: AccountId,
    did: &Did,
    number: impl FnMut() -> Result<u64, NumbersError>,
) -> Result<Installed, InstallError> {
    let owned = Owned::with_did(reader, account, did.clone())?;
    let (here, there) = (BTreeMap::new(), BTreeMap::new());
    let mut it = Installing { reader, writer, owned, here, there, batch: Batch::new(), done: Installed::default() };
    it.find_spaces(number)?;
    it.find_permissioned()?;
    for table in tables(Nature::Private) {
        it.remove_others(table)?;
        it.put_rows(table)?;
    }
    it.flush()?;
    it.index_slug()?;
    it.index_spaces()?;
    it.check_repositories()?;
    it.flush()?;
    Ok(it.done)
}

impl Installing<'_> {
    /// Gives every space of the copy a number here: the one that it has, or a new one.
    fn find_spaces(&mut self, mut number: impl FnMut() -> Result<u64, NumbersError>) -> Result<(), InstallError> {
        let mut known = BTreeMap::new();
        for space in self.owned.spaces.clone() {
            if let Some(row) = self.reader.get(&SPACES, &space)?.filter(|row| row.gone_at.is_none()) {
                known.insert(row.rkey, space);
            }
        }
        let mut after = None;
        loop {
            let page = copied(self.reader, self.owned.account, TableId::Spaces, after.as_deref())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for OwnRow { key, value } in page {
                let there = SpaceId::decode(&mut key.as_slice()).map_err(|_| NotTheirs::Space(TableId::Spaces))?;
                let Ok(row) = codec::decode::<SpaceRow>(&value) else { continue };
                if row.holder != self.owned.did {
                    self.done.refused += 1;
                    continue;
                }
                if row.gone_at.is_some() {
                    continue;
                }
                let here = match known.remove(&row.rkey) {
                    Some(space) => space,
                    None => SpaceId(number()?),
                };
                self.owned.add_space(here);
                self.here.insert(there, here);
                self.there.insert(here, there);
            }
        }
    }

    /// Counts the permissioned spaces of the copy as the account's, where they are.
    fn find_permissioned(&mut self) -> Result<(), InstallError> {
        let mut after = None;
        loop {
            let page = copied(self.reader, self.owned.account, TableId::PermissionedSpaces, after.as_deref())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for OwnRow { key, value } in page {
                let row = codec::decode::<PermissionedSpace>(&value).ok();
                match (SpaceDigest::try_from(key.as_slice()), row) {
                    (Ok(digest), Some(row)) if row.uri.authority == self.owned.did && row.uri.digest() == digest => {
                        self.owned.add_permissioned(digest);
                    }
                    _ => self.done.refused += 1,
                }
            }
        }
    }

    fn remove_others(&mut self, table: TableId) -> Result<(), InstallError> {
        let by_space = found(table, Nature::Private) == Some(Found::BySpace);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.owned.page(self.reader, table, after.as_deref(), BULK_ROWS, BATCH_BYTES)?;
            after = page.rows.last().map(|row| row.key.clone());
            for row in page.rows {
                let key =
                    if by_space { Owned::renumber(table, &row.key, &self.there).ok() } else { Some(row.key.clone()) };
                let is_copied = match key {
                    Some(key) => row_of_copy(self.reader, self.owned.account, table.byte(), &key)?.is_some(),
                    None => false,
                };
                if !is_copied {
                    self.owned.delete(&mut self.batch, table, &row.key)?;
                    self.done.removed += 1;
                    self.flush_if_full()?;
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    fn put_rows(&mut self, table: TableId) -> Result<(), InstallError> {
        let by_space = found(table, Nature::Private) == Some(Found::BySpace);
        let mut after = None;
        loop {
            let page = copied(self.reader, self.owned.account, table, after.as_deref())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for OwnRow { key, value } in page {
                let key = if by_space {
                    match Owned::renumber(table, &key, &self.here) {
                        Ok(key) => key,
                        // Of a space that is gone, or was refused.
                        Err(_) => continue,
                    }
                } else {
                    key
                };
                if self.owned.get(self.reader, table, &key)?.as_ref() == Some(&value) {
                    continue;
                }
                match self.owned.put(&mut self.batch, table, &OwnRow { key, value }) {
                    Ok(()) => self.done.written += 1,
                    Err(NotTheirs::Space(_)) => self.done.refused += 1,
                    Err(error) => return Err(error.into()),
                }
                self.flush_if_full()?;
            }
        }
    }

    fn index_slug(&mut self) -> Result<(), InstallError> {
        let Some(row) = self.reader.get(&TENANTS, &self.owned.account)? else { return Ok(()) };
        let slug = row.slug.as_str().to_owned();
        match self.reader.get(&TENANTS_BY_SLUG, &slug)? {
            Some(Cbor(other)) if other != self.owned.account => self.done.slug_taken = Some(slug),
            _ => self.batch.put(&TENANTS_BY_SLUG, &slug, &Cbor(self.owned.account))?,
        }
        Ok(())
    }

    /// Makes anew what leads from records and people to spaces.
    fn index_spaces(&mut self) -> Result<(), InstallError> {
        let spaces: BTreeSet<_> = self.here.values().copied().collect();
        for id in spaces {
            let Some(space) = self.reader.get(&SPACES, &id)? else { continue };
            self.place(&space.holder, SPACE, &space.rkey, Place::Space(id))?;
            let reader = self.reader;
            each(
                reader.scan(&CHANNELS).prefix(&id),
                |after| reader.scan(&CHANNELS).prefix(&id).after(after),
                |key, row| {
                    if row.gone_at.is_some() {
                        return Ok(());
                    }
                    self.place(&row.holder, CHANNEL, &row.rkey, Place::Channel(id, key.1))
                },
            )?;
            each(
                reader.scan(&MESSAGES).prefix(&id),
                |after| reader.scan(&MESSAGES).prefix(&id).after(after),
                |key, row| self.place(&row.author, MESSAGE, &row.rkey, Place::Message(id, key.1)),
            )?;
            each(
                reader.scan(&REACTIONS).prefix(&id),
                |after| reader.scan(&REACTIONS).prefix(&id).after(after),
                |(_, message, emoji, author), Cbor(rkey)| {
                    self.place(&author, REACTION, &rkey, Place::Reaction(id, message, emoji))
                },
            )?;
            each(
                reader.scan(&MEMBERS).prefix(&id),
                |after| reader.scan(&MEMBERS).prefix(&id).after(after),
                |key, row| {
                    if matches!(row.membership.status, Status::Left | Status::Banned) {
                        return Ok(());
                    }
                    self.batch.put(&SPACES_OF, &(key.1, id), &Present)?;
                    self.flush_if_full()
                },
            )?;
        }
        Ok(())
    }

    fn place(&mut self, did: &Did, collection: &str, rkey: &str, place: Place) -> Result<(), InstallError> {
        self.batch.put(&RECORDS, &(did.clone(), format!("{collection}/{rkey}")), &Cbor(place))?;
        self.flush_if_full()
    }

    /// Compares the set hash of each permissioned repository with its records; where they disagree, the records count.
    fn check_repositories(&mut self) -> Result<(), InstallError> {
        let mut after = None;
        loop {
            let repos = permissioned::repos_of(self.reader, self.owned.account, after, BULK_ROWS)?;
            let Some(last) = repos.last() else { return Ok(()) };
            after = Some(last.space.digest());
            for repo in repos {
                let key = RepoKey { account: self.owned.account, space: repo.space.digest() };
                let (hash, records) = self.hash_of(key)?;
                self.check_records(key)?;
                if hash.digest() != repo.head.hash.digest() || records != repo.head.records {
                    self.done.disagreed += 1;
                    let mut head = repo.head.clone();
                    (head.hash, head.records) = (hash, records);
                    permissioned::put_repo(&mut self.batch, key, &Repo { head, ..repo })?;
                }
            }
        }
    }

    fn check_records(&mut self, key: RepoKey) -> Result<(), InstallError> {
        let mut scan = permissioned::records(self.reader, key, "", None, Order::Ascending);
        while let Some((_, record)) = scan.next(BULK_ROWS)? {
            self.done.disagreed += usize::from(!record.cid.matches(&record.bytes));
        }
        Ok(())
    }

    fn hash_of(&self, key: RepoKey) -> Result<(SetHash, u64), InstallError> {
        let (mut hash, mut records) = (SetHash::default(), 0);
        let mut after: Option<String> = None;
        loop {
            let page = permissioned::index(self.reader, key, after.as_deref(), BULK_ROWS)?;
            for entry in &page {
                hash.add(&entry.path, entry.cid);
                records += 1;
            }
            match page.last() {
                Some(last) if page.len() == BULK_ROWS => after = Some(last.path.clone()),
                _ => return Ok((hash, records)),
            }
        }
    }

    fn flush_if_full(&mut self) -> Result<(), InstallError> {
        if self.batch.bytes() >= BATCH_BYTES || self.batch.rows() >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), InstallError> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.writer.commit(batch)?;
        }
        Ok(())
    }
}

/// A page of the rows of one table in a copy.
fn copied(reader: &Reader, account: AccountId, table: TableId, after: Option<&[u8]>) -> Result<Vec<OwnRow>, ReadError> {
    // Behind the last row of every table before: keys of rows are shorter than this.
    let before = Position { table: table.byte() - 1, key: vec![u8::MAX; crate::limits::KEY_BYTES_MAX] };
    let after = after.map(|key| Position { table: table.byte(), key: key.to_vec() });
    let until = Position { table: table.byte(), key: vec![u8::MAX; crate::limits::KEY_BYTES_MAX] };
    let found = stretch_of_copy(reader, account, Some(after.as_ref().unwrap_or(&before)), Some(&until), BULK_ROWS)?;
    Ok(found.rows.into_iter().map(|(_, row)| row).collect())
}

/// Does something with every row of a range, page by page.
fn each<'a, K: Key + Clone, V: codec::StoredValue>(
    first: crate::reader::Scan<'a, K, V>,
    next: impl Fn(&K) -> crate::reader::Scan<'a, K, V>,
    mut act: impl FnMut(K, V) -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let mut page = first.page(BULK_ROWS)?;
    loop {
        let last = page.rows.last().map(|(key, _)| key.clone());
        for (key, row) in page.rows {
            act(key, row)?;
        }
        match last {
            Some(last) if page.more => page = next(&last).page(BULK_ROWS)?,
            _ => return Ok(()),
        }
    }
}
