//! Reading: without a lock, from what the store holds at that moment. Every function here blocks.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use angel_protocol::data::Cid;
use angel_protocol::ids::{Nsid, RecordKey};
use angel_protocol::repo::car;
use angel_protocol::repo::mst::{self, MstError, MstKey};
use angel_storage::AccountId;
use angel_storage::accounts::{TAKEDOWNS, takedown_of_record};
use angel_storage::repos::{self, Head, Order, Record, RecordRef};

use super::write::Blocks;
use super::{RepoError, Repos};

/// How often a proof is begun anew because the tree moved on under it. Each round is far shorter than a write.
const PROOF_ATTEMPTS: usize = 16;

/// Records that are read at a time for counting them.
const COUNT_PAGE: usize = 100;

/// A page of records.
pub struct Listed {
    /// Record keys and records.
    pub records: Vec<(String, Record)>,
}

/// What a repository holds.
pub struct Description {
    /// In order.
    pub collections: Vec<String>,
}

impl Repos {
    /// The head of a repository, with figures about it; `None` when the account has none.
    pub fn head_blocking(&self, account: AccountId) -> Result<Option<Head>, RepoError> {
        Ok(repos::head(&self.shared.reader, account)?)
    }

    /// Up to `limit` heads of accounts behind `after`.
    pub fn heads_blocking(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<Head>, RepoError> {
        Ok(repos::heads(&self.shared.reader, after, limit)?)
    }

    /// A record; `None` when there is none at that path, or the operator took it down.
    pub fn record_blocking(&self, account: AccountId, path: &str) -> Result<Option<Record>, RepoError> {
        let record = self.record_even_taken_down_blocking(account, path)?;
        if record.is_some() && self.is_taken_down(account, path)? {
            return Ok(None);
        }
        Ok(record)
    }

    /// A record, for the operator, who decides what others see.
    pub fn record_even_taken_down_blocking(&self, account: AccountId, path: &str) -> Result<Option<Record>, RepoError> {
        let Some(contents) = repos::contents(&self.shared.reader, account)? else { return Ok(None) };
        Ok(repos::record(&self.shared.reader, contents, path)?)
    }

    fn is_taken_down(&self, account: AccountId, path: &str) -> Result<bool, RepoError> {
        let Ok(path) = path.parse() else { return Ok(false) };
        Ok(self.shared.reader.contains(&TAKEDOWNS, &(account, takedown_of_record(&path)))?)
    }

    /// Up to `limit` records of a collection, from the greatest key down, or from the least up with `reverse`, behind
    /// the key `cursor`.
    pub fn list_blocking(
        &self,
        account: AccountId,
        collection: &Nsid,
        limit: usize,
        cursor: Option<&str>,
        reverse: bool,
    ) -> Result<Listed, RepoError> {
        let mut records = Vec::with_capacity(limit);
        self.visit_blocking(account, collection, limit, cursor, reverse, |rkey, record| {
            let RecordRef { cid, rev, bytes, .. } = record;
            records.push((rkey.to_owned(), Record { cid: *cid, rev: *rev, bytes: bytes.to_vec() }));
            Ok::<_, RepoError>(())
        })?;
        Ok(Listed { records })
    }

    /// The same for whoever looks at the records where they were read to: `visit` sees record keys and records.
    pub fn visit_blocking<E: From<RepoError>>(
        &self,
        account: AccountId,
        collection: &Nsid,
        limit: usize,
        cursor: Option<&str>,
        reverse: bool,
        mut visit: impl FnMut(&str, &RecordRef<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = &self.shared.reader;
        let Some(contents) = repos::contents(reader, account).map_err(RepoError::from)? else { return Ok(()) };
        let prefix = format!("{collection}/");
        // The character behind the slash: every path of the collection is less.
        let behind = format!("{collection}0");
        let mut scan = match (cursor, reverse) {
            (None, true) => repos::records(reader, contents, &prefix, Some(&behind), Order::Ascending),
            (None, false) => repos::records(reader, contents, &prefix, Some(&behind), Order::Descending),
            (Some(cursor), true) => {
                // No key lies between a key and itself with the least character behind it.
                let first = format!("{prefix}{cursor}-");
                repos::records(reader, contents, &first, Some(&behind), Order::Ascending)
            }
            (Some(cursor), false) => {
                let end = format!("{prefix}{cursor}");
                repos::records(reader, contents, &prefix, Some(&end), Order::Descending)
            }
        };
        let taken_down = reader.scan(&TAKEDOWNS).prefix(&account).page(1).map_err(RepoError::from)?;
        let mut seen = 0;
        while seen < limit
            && let Some(record) = scan.next_ref(limit).map_err(RepoError::from)?
        {
            if !taken_down.rows.is_empty() && self.is_taken_down(account, &record.path)? {
                continue;
            }
            visit(record.path.get(prefix.len()..).unwrap_or_default(), &record)?;
            seen += 1;
        }
        Ok(())
    }

    /// How many records a collection has, counting no further than `enough`.
    pub fn count_blocking(&self, account: AccountId, collection: &Nsid, enough: usize) -> Result<usize, RepoError> {
        let reader = &self.shared.reader;
        let Some(contents) = repos::contents(reader, account)? else { return Ok(0) };
        let (prefix, behind) = (format!("{collection}/"), format!("{collection}0"));
        let mut scan = repos::records(reader, contents, &prefix, Some(&behind), Order::Ascending);
        let mut count = 0;
        while count < enough && scan.next(COUNT_PAGE)?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// What a repository holds; `None` when the account has none.
    pub fn describe_blocking(&self, account: AccountId) -> Result<Option<Description>, RepoError> {
        let Some(contents) = repos::contents(&self.shared.reader, account)? else { return Ok(None) };
        Ok(Some(Description { collections: repos::collections(&self.shared.reader, contents)? }))
    }

    /// Up to `limit` accounts behind `after` that have a record in `collection`.
    pub fn accounts_with_blocking(
        &self,
        collection: &Nsid,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, RepoError> {
        Ok(repos::accounts_with(&self.shared.reader, collection.as_str(), after, limit)?)
    }

    /// A CAR file with the commit, the nodes on the way to the record and the record, or the proof that there is none.
    pub fn proof_blocking(
        &self,
        account: AccountId,
        collection: &Nsid,
        rkey: &RecordKey,
    ) -> Result<Vec<u8>, RepoError> {
        let path = format!("{collection}/{rkey}");
        let key: MstKey = path.parse().map_err(|reason| RepoError::Path { path: path.clone(), reason })?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let head = self.head_blocking(account)?.ok_or(RepoError::NoRepository)?;
            match self.proof_at(&head, &key) {
                // A write came in between: what was there a moment ago is gone.
                Err(RepoError::Tree(MstError::MissingBlock(_))) if attempt < PROOF_ATTEMPTS => {}
                proof => return proof,
            }
        }
    }

    fn proof_at(&self, head: &Head, key: &MstKey) -> Result<Vec<u8>, RepoError> {
        let reader = &self.shared.reader;
        let source = Blocks::new(reader, head.contents, &[]);
        let (value, nodes) = mst::prove(&source, head.commit.data(), key)?;
        let mut out = car::encode(head.commit.cid(), std::iter::once(head.commit.block()).chain(&nodes));
        if let Some(cid) = value {
            let record = repos::record(reader, head.contents, key.as_str())?.filter(|record| record.cid == cid);
            let record = record.ok_or(MstError::MissingBlock(cid))?;
            car::write_stored_block(&mut out, cid, &record.bytes);
        }
        Ok(out)
    }

    /// A CAR file with the blocks named: commits, nodes, records.
    ///
    /// # Errors
    /// [`RepoError::BlockNotFound`] when one of them is not part of the repository.
    pub fn blocks_blocking(&self, account: AccountId, cids: &[Cid]) -> Result<Vec<u8>, RepoError> {
        let reader = &self.shared.reader;
        let head = self.head_blocking(account)?.ok_or(RepoError::NoRepository)?;
        let mut out = Vec::new();
        let mut records = BTreeSet::new();
        car::write_rootless_header(&mut out);
        for cid in cids {
            if *cid == head.commit.cid() {
                car::write_block(&mut out, head.commit.block());
            } else if let Some(node) = repos::node(reader, head.contents, *cid)? {
                car::write_stored_block(&mut out, *cid, &node.bytes);
            } else {
                records.insert(*cid);
            }
        }
        self.write_records(&mut out, &head, records)?;
        Ok(out)
    }

    /// Finds records by their CIDs, which the tree alone can tell. It is gone through whole, so few do so at a time.
    fn write_records(&self, out: &mut Vec<u8>, head: &Head, mut wanted: BTreeSet<Cid>) -> Result<(), RepoError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let reader = &self.shared.reader;
        let mut found = Vec::new();
        {
            let _turn = self.shared.searches.lock().unwrap_or_else(PoisonError::into_inner);
            repos::nodes::<RepoError>(reader, head.contents, |cid, node| {
                let records = mst::records_of(node.bytes).map_err(|reason| MstError::Node { cid, reason })?;
                found.extend(records.into_iter().filter(|(_, value)| wanted.remove(value)));
                Ok(())
            })?;
        }
        for (path, cid) in found {
            let record = repos::record(reader, head.contents, path.as_str())?;
            match record.filter(|record| record.cid == cid) {
                Some(record) => car::write_stored_block(out, cid, &record.bytes),
                None => drop(wanted.insert(cid)),
            }
        }
        wanted.first().map_or(Ok(()), |missing| Err(RepoError::BlockNotFound(*missing)))
    }
}
