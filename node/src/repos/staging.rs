//! A commit as rows of one batch: its nodes, records, collections and references to blobs, and the head.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use angel_protocol::data::{BlobRef, Block, Cid};
use angel_protocol::ids::Tid;
use angel_protocol::repo::mst::{Change, Entries};
use angel_protocol::repo::{BlockSource, NewCommit, SourceError};
use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::blobs::{Absent, Naming, stage_refs};
use angel_storage::repos::{self, Contents, Head, PART_BYTES, Place, Totals};

use super::cache::{Collections, Open, SETTLE_AT};
use super::write::{Blobs, Blocks, blobs_of, collection_of};
use super::{RepoError, Repos, subjects};

/// What a record takes in the tree beside its path: its CID, and its part of the node.
const ENTRY_BYTES: usize = 64;

/// What staging a commit came to.
pub(super) struct Staged {
    pub(super) totals: Totals,
    pub(super) collections: Collections,
    /// Nodes that the batch moves among those that stay.
    pub(super) settled: Vec<Cid>,
    /// See [`Open::settle_at`].
    pub(super) settle_at: u64,
    /// By how many bytes the repository grew: its records, and what each takes in the tree.
    pub(super) grew: i64,
}

/// Puts a commit into a batch.
pub(super) struct Staging<'a> {
    pub(super) repos: &'a Repos,
    pub(super) blocks: &'a Blocks<'a>,
    pub(super) contents: Contents,
    pub(super) rev: Tid,
    pub(super) now: Timestamp,
    /// Superseded blocks are kept, for exports.
    pub(super) keeps: bool,
    /// What to do about blobs that are not here.
    pub(super) absent: Absent,
}

impl Staging<'_> {
    pub(super) fn stage(
        &self,
        batch: &mut Batch,
        open: &Open,
        new: &NewCommit,
        blobs: &Blobs,
    ) -> Result<Staged, RepoError> {
        let mut totals = open.totals;
        self.stage_nodes(batch, open, new, &mut totals)?;
        let records: BTreeMap<Cid, &Block> = new.records.iter().map(|block| (block.cid(), block)).collect();
        let mut grew = 0_i64;
        for change in &new.changes {
            grew = grew.saturating_add(self.stage_record(batch, change, &records, blobs, &mut totals)?);
            totals.records = match (change.before, change.after) {
                (None, Some(_)) => totals.records + 1,
                (Some(_), None) => totals.records.saturating_sub(1),
                _ => totals.records,
            };
        }
        let collections = self.stage_collections(batch, open, new)?;
        let (mut settled, mut settle_at) = (Vec::new(), open.settle_at);
        if totals.fresh_nodes >= settle_at {
            settled = self.settle(batch, new)?;
            totals.fresh_nodes = totals.fresh_nodes.saturating_sub(settled.len() as u64);
            settle_at = totals.fresh_nodes + SETTLE_AT;
        }
        let commit = new.repository.head().clone();
        repos::put_head(batch, &Head { commit, contents: self.contents, totals })?;
        Ok(Staged { totals, collections, settled, settle_at, grew })
    }

    /// Moves fresh nodes among the others: those that were stored before this commit and stand after it. What it wrote
    /// itself is likely to be superseded by the next.
    fn settle(&self, batch: &mut Batch, new: &NewCommit) -> Result<Vec<Cid>, RepoError> {
        let mut except: HashSet<Cid> = new.removed.iter().copied().collect();
        except.extend(new.nodes.iter().map(Block::cid));
        for pending in self.blocks.pending {
            except.extend(pending.nodes.iter().map(Block::cid));
            except.extend(pending.removed.iter().chain(&pending.settled));
        }
        Ok(repos::settle(&self.repos.shared.reader, batch, self.contents, &except)?)
    }

    fn stage_nodes(
        &self,
        batch: &mut Batch,
        open: &Open,
        new: &NewCommit,
        totals: &mut Totals,
    ) -> Result<(), RepoError> {
        for node in &new.nodes {
            let in_parts = repos::put_fresh_node(batch, self.contents, self.rev, node)?;
            totals.nodes += 1;
            totals.fresh_nodes += 1;
            totals.nodes_in_parts += u64::from(in_parts);
        }
        let old_head = open.repository.head().cid();
        for cid in new.removed.iter().filter(|cid| **cid != old_head) {
            let mut length = 0;
            if self.keeps || open.totals.nodes_in_parts > 0 {
                let bytes = self.blocks.get(cid).map_err(|error| RepoError::Tree(error.into()))?;
                let bytes = bytes.ok_or(RepoError::Broken("the tree had a node that is not stored"))?;
                length = bytes.len();
                if self.keeps {
                    repos::retain(batch, self.contents, *cid, self.rev, &bytes)?;
                }
            }
            let place = self.place(open, *cid)?;
            repos::delete_node(batch, self.contents, place, *cid, length)?;
            totals.nodes = totals.nodes.saturating_sub(1);
            totals.fresh_nodes = totals.fresh_nodes.saturating_sub(u64::from(place == Place::Fresh));
            totals.nodes_in_parts = totals.nodes_in_parts.saturating_sub(u64::from(length > PART_BYTES));
        }
        Ok(())
    }

    /// Where a node of the tree lies once the batches handed over are written.
    fn place(&self, open: &Open, cid: Cid) -> Result<Place, RepoError> {
        if open.fresh.contains(&cid) {
            return Ok(Place::Fresh);
        }
        // The store does not know yet of what is on its way; of that, `open` remembers all but this.
        if self.blocks.pending.iter().any(|pending| pending.settled.contains(&cid)) {
            return Ok(Place::Settled);
        }
        Ok(repos::place(&self.repos.shared.reader, self.contents, cid)?)
    }

    /// Stages what became of a record; answers by how many bytes the repository grew with it.
    fn stage_record(
        &self,
        batch: &mut Batch,
        change: &Change,
        records: &BTreeMap<Cid, &Block>,
        blobs: &Blobs,
        totals: &mut Totals,
    ) -> Result<i64, RepoError> {
        let path = change.key.as_str();
        let before = change.before.map(|_| self.repos.record_before(self.blocks, path)).transpose()?;
        if let Some(before) = before.as_ref().filter(|_| self.keeps) {
            repos::retain(batch, self.contents, before.cid, self.rev, &before.bytes)?;
        }
        let was_packed = before.is_some() && totals.packed_records > 0 && self.take_out(batch, path)?;
        totals.packed_records = totals.packed_records.saturating_sub(u64::from(was_packed));
        let takes = |bytes: usize| i64::try_from(ENTRY_BYTES + path.len() + bytes).unwrap_or(i64::MAX);
        let mut grew = before.as_ref().map_or(0, |before| -takes(before.bytes.len()));
        let after = change.after.map(|after| records.get(&after).ok_or(RepoError::Broken("a commit lacks its record")));
        let after = after.transpose()?;
        let bytes = (before.as_ref().map(|before| &*before.bytes), after.map(|after| &**after.bytes()));
        subjects::stage(batch, self.contents, path, bytes.0, bytes.1)?;
        match (after, &before) {
            (Some(record), before) => {
                grew = grew.saturating_add(takes(record.bytes().len()));
                repos::put_record(batch, self.contents, path, self.rev, record, before.as_ref())?;
            }
            (None, Some(before)) if !was_packed => repos::delete_record(batch, self.contents, path, before)?,
            (None, _) => {}
        }
        let named = blobs.get(path).map(Vec::as_slice).unwrap_or_default();
        let named_before = before.map(|before| blobs_of(&before.bytes)).unwrap_or_default();
        self.stage_blobs(batch, path, named, &named_before)?;
        Ok(grew)
    }

    /// Takes a record of the tree out of the pack in which an import put it; answers whether it lay in one. What batches
    /// on their way have written or taken away lies in none any more, whatever the store still says.
    fn take_out(&self, batch: &mut Batch, path: &str) -> Result<bool, RepoError> {
        let has_gone = |path: &str| self.blocks.pending.iter().any(|pending| pending.records.contains_key(path));
        if has_gone(path) {
            return Ok(false);
        }
        Ok(repos::take_out(&self.repos.shared.reader, batch, self.contents, path, has_gone)?)
    }

    fn stage_blobs(
        &self,
        batch: &mut Batch,
        path: &str,
        named: &[BlobRef],
        named_before: &[BlobRef],
    ) -> Result<(), RepoError> {
        if named.is_empty() && named_before.is_empty() {
            return Ok(());
        }
        let Ok(path) = path.parse() else { return Ok(()) };
        let account = self.contents.account;
        let naming = Naming { account, path: &path, rev: self.rev, now: self.now, absent: self.absent };
        Ok(stage_refs(&self.repos.shared.reader, batch, naming, named, named_before)?)
    }

    fn stage_collections(&self, batch: &mut Batch, open: &Open, new: &NewCommit) -> Result<Collections, RepoError> {
        let mut collections = Collections::default();
        let of = |change: &Change| collection_of(change.key.as_str()).to_owned();
        let created: BTreeSet<_> = new.changes.iter().filter(|change| change.before.is_none()).map(of).collect();
        let deleted: BTreeSet<_> = new.changes.iter().filter(|change| change.after.is_none()).map(of).collect();
        for collection in &created {
            if !open.knows_collection(collection) {
                repos::put_collection(batch, self.contents, collection, true)?;
                collections.come.push(collection.clone());
            }
        }
        for collection in deleted.difference(&created) {
            let source = With { nodes: &new.nodes, blocks: self.blocks };
            if !holds_any(&source, new.repository.head().data(), collection)? {
                repos::remove_collection(batch, self.contents, collection, true)?;
                collections.gone.push(collection.clone());
            }
        }
        Ok(collections)
    }
}

/// Whether the tree has a record in `collection`.
fn holds_any(source: &dyn BlockSource, root: Cid, collection: &str) -> Result<bool, RepoError> {
    // No record key begins with less than a hyphen.
    let first = format!("{collection}/-");
    let first = first.parse().map_err(|reason| RepoError::Path { path: first, reason })?;
    match Entries::starting_at(source, root, first).next() {
        None => Ok(false),
        Some(entry) => Ok(collection_of(entry?.0.as_str()) == collection),
    }
}

/// New nodes, then those of before.
struct With<'a> {
    nodes: &'a [Block],
    blocks: &'a Blocks<'a>,
}

impl BlockSource for With<'_> {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        match self.nodes.iter().find(|node| node.cid() == *cid) {
            Some(node) => Ok(Some(Arc::clone(node.bytes()))),
            None => self.blocks.get(cid),
        }
    }
}
