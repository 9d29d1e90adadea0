//! Taking over a whole repository from a CAR file.
//!
//! The file is read as it comes, each block checked against its CID and put aside ([`super::spool`]). Once it is whole
//! and its commit is the account's, the tree is walked, and what it reaches is stored beside what the account has, in
//! batches that need be neither atomic nor durable by themselves (ADR 034). The last batch switches from one to the other,
//! so readers see the old repository or the new one, and a crash leaves the old one with a leftover that is swept away.
//! The same file can be sent again at any time.
//!
//! The tree keeps its shape and its root; the commit over it is signed anew with the key that this node has for the
//! account, so that what follows continues from a signature that others can check.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use angel_protocol::crypto::{BadSignature, VerifyingKey};
use angel_protocol::data::{BlobRef, Block, CborError, Codec, blob_refs, cbor};
use angel_protocol::ids::{Nsid, Tid};
use angel_protocol::lexicon::flags::Flags;
use angel_protocol::limits::{NSID_BYTES_MAX, RECORD_KEY_BYTES_MAX};
use angel_protocol::repo::car::{CarError, CarLimits, CarReader};
use angel_protocol::repo::mst::MstKey;
use angel_protocol::repo::{Commit, CommitError, Found, ImportError, SignedCommit, UpTo, verify_repository};
use angel_protocol::rules::{Place, Refused, judge_import};
use angel_storage::batch::RowRefused;
use angel_storage::blobs::{Absent, Naming, stage_refs};
use angel_storage::repos::{self, Contents, Head, Packer, Totals};
use angel_storage::{Batch, firehose};
use tokio::sync::OwnedMutexGuard;
use tokio::sync::OwnedSemaphorePermit;

use super::cache::{Open, Pending, Slot};
use super::spool::Spool;
use super::write::{Made, collection_of};
use super::{Owner, RepoError, Repos};
use crate::{blocking, clock};

/// Imports under way at once: each keeps several mebibytes of blocks, and an index of them.
pub(super) const IMPORTS_MAX: usize = 8;

/// Largest file that is read, in bytes: a repository of several million records.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Most blocks of a file: a million records with their tree, and half as many again. Each takes 16 bytes of memory.
const FILE_BLOCKS_MAX: u64 = 2_000_000;

/// Most records that are taken over. What is larger is no account of a person or a business.
const RECORDS_MAX: u64 = 1_500_000;

/// Most collections that are taken over: all of them change hands in one batch.
const COLLECTIONS_MAX: usize = 2_000;

/// Longest path that is taken over, in bytes: what this node writes is no longer.
const PATH_BYTES_MAX: usize = NSID_BYTES_MAX + 1 + RECORD_KEY_BYTES_MAX;

/// Bytes after which a batch is handed to the store. With the largest block on top it stays within the bounds.
const STAGE_BYTES: usize = 1024 * 1024;

/// The same for the first batch, so that the store need not wait long for something to do. Each may be twice the one
/// before.
const FIRST_STAGE_BYTES: usize = STAGE_BYTES / 8;

/// Batches of one import that may be on their way to the disk: while the store writes one, the next is made. More would
/// only fill the memory.
const BATCHES_IN_FLIGHT: usize = 2;

/// Rows after which a batch is handed to the store.
const STAGE_ROWS: usize = 8_000;

/// Why a repository is not taken over. What the account has is as before.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefused {
    /// The file is not of its form.
    #[error(transparent)]
    Car(#[from] CarError),
    /// Not exactly one root.
    #[error("the CAR file has {0} roots; a repository has one")]
    Roots(usize),
    /// The root is not among the blocks.
    #[error("the commit, which is the root of the CAR file, is not among its blocks")]
    NoCommit,
    /// The root is no commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// No key of the account signed the commit.
    #[error("the commit is not signed with the account's key: {0}")]
    Signature(#[from] BadSignature),
    /// The revision lies in the future.
    #[error("the revision {0} lies in the future")]
    FromTheFuture(Tid),
    /// The tree is not sound or not whole, or of another account.
    #[error(transparent)]
    Tree(#[from] ImportError),
    /// A record is none.
    #[error("the record at {path} cannot be read: {reason}")]
    Record {
        /// Where.
        path: MstKey,
        /// What is wrong with it.
        reason: CborError,
    },
    /// A record breaks the rules of its collection.
    #[error("the record at {path}: {refused}")]
    Rules {
        /// Where.
        path: MstKey,
        /// Which rule.
        refused: Refused,
    },
    /// A record is no map.
    #[error("the record at {0} is no object")]
    NotAnObject(MstKey),
    /// A path is longer than `PATH_BYTES_MAX`.
    #[error("a path has {0} bytes; at most {PATH_BYTES_MAX} are taken over")]
    PathTooLong(usize),
    /// More collections than `COLLECTIONS_MAX`.
    #[error("the repository has more than {COLLECTIONS_MAX} collections")]
    TooManyCollections,
    /// Blocks could not be put aside.
    #[error("blocks could not be put aside: {0}")]
    Spool(#[from] io::Error),
    /// The repository could not be stored.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

impl From<RowRefused> for ImportRefused {
    fn from(error: RowRefused) -> Self {
        Self::Repo(error.into())
    }
}

/// An import under way.
pub struct Import {
    repos: Repos,
    owner: Owner,
    /// Keys of which one has signed the commit.
    keys: Vec<VerifyingKey>,
    /// The commit stays as it is: the account is another node's, and this is a copy.
    is_copy: bool,
    slot: Arc<Slot>,
    reader: CarReader,
    spool: Spool,
    /// What was there before, of a copy that was cut off, and what has come behind it.
    has: Option<UpTo>,
    /// The commit, once it has come and was believed.
    commit: Option<SignedCommit>,
    _turn: OwnedMutexGuard<()>,
    _room: OwnedSemaphorePermit,
}

impl Repos {
    /// Begins an import into an account's repository, in the place of what it holds. `keys` are those that the
    /// account's identity names, and this node's own for it. Imports of one account follow one another.
    pub async fn import(&self, owner: &Owner, keys: Vec<VerifyingKey>) -> Import {
        let slot = self.shared.cache.slot(owner.id);
        let turn = Arc::clone(&slot.importing).lock_owned().await;
        let room = Arc::clone(&self.shared.imports).acquire_owned().await.expect("never closed");
        let limits = CarLimits { bytes_max: FILE_BYTES_MAX, blocks_max: FILE_BLOCKS_MAX };
        Import {
            repos: self.clone(),
            owner: owner.clone(),
            keys,
            is_copy: false,
            slot,
            reader: CarReader::new(limits),
            spool: Spool::new(&self.shared.spool_dir),
            has: None,
            commit: None,
            _turn: turn,
            _room: room,
        }
    }
}

impl Import {
    /// Keeps the commit as its host signed it, and what comes in the file `part`, so that another import goes on with it if
    /// this one is cut off. What an earlier one left there counts towards the bounds.
    ///
    /// # Errors
    /// [`ImportRefused::Spool`].
    pub(crate) async fn into_copy(self, part: PathBuf) -> Result<Self, ImportRefused> {
        blocking::run(move || {
            let (spool, has) = Spool::kept(part)?;
            let reader = CarReader::new(CarLimits {
                bytes_max: FILE_BYTES_MAX.saturating_sub(spool.bytes()),
                blocks_max: FILE_BLOCKS_MAX.saturating_sub(spool.blocks()),
            });
            Ok(Self { is_copy: true, spool, has, reader, ..self })
        })
        .await
    }

    /// What is there already, and needs not come again.
    pub(crate) const fn has(&self) -> Option<&UpTo> {
        self.has.as_ref()
    }

    /// Bytes that are put aside.
    pub(crate) const fn bytes(&self) -> u64 {
        self.spool.bytes()
    }

    /// The host says that everything up to the record at `path` has come. It is asked for no more if it does not keep
    /// its word: then the tree is not whole in the end.
    pub(crate) fn reached(
        mut self,
        path: String,
    ) -> impl Future<Output = Result<Self, ImportRefused>> + Send + 'static {
        blocking::begin(move || {
            let reached = self.commit.as_ref().and_then(|it| UpTo::reached(self.has.as_ref(), it.rev(), &path));
            if let Some(up_to) = reached {
                self.spool.mark(&up_to)?;
                self.has = Some(up_to);
            }
            Ok(self)
        })
    }

    /// Takes the next part of the file. Begins at once, whenever the end is waited for.
    ///
    /// # Errors
    /// [`ImportRefused`], as soon as it is certain.
    pub fn take(
        mut self,
        part: impl AsRef<[u8]> + Send + 'static,
    ) -> impl Future<Output = Result<Self, ImportRefused>> + Send + 'static {
        blocking::begin(move || {
            let mut part = part.as_ref();
            let mut root = self.reader.roots().and_then(|roots| roots.first().copied());
            while let Some((cid, bytes)) = self.reader.read_ref(&mut part)? {
                if self.commit.is_some() || root.is_some_and(|root| root != cid) {
                    self.spool.add(cid, bytes)?;
                    continue;
                }
                let block = Block::new(cid.codec(), bytes);
                root = self.reader.roots().and_then(|roots| roots.first().copied());
                if root == Some(cid) {
                    self.commit = Some(self.believed(block)?);
                } else {
                    self.spool.add(cid, block.bytes())?;
                }
            }
            Ok(self)
        })
    }

    /// The commit, if the account's key signed it. What follows costs memory and disk, so this comes first.
    fn believed(&self, block: Block) -> Result<SignedCommit, ImportRefused> {
        let commit = SignedCommit::decode(block)?;
        if *commit.did() != self.owner.did {
            return Err(ImportError::OtherAccount(commit.did().clone()).into());
        }
        if commit.is_from_the_future(clock::now()) {
            return Err(ImportRefused::FromTheFuture(commit.rev()));
        }
        self.signer(&commit)?;
        Ok(commit)
    }

    fn signer(&self, commit: &SignedCommit) -> Result<VerifyingKey, BadSignature> {
        self.keys.iter().find(|key| commit.verify(**key).is_ok()).copied().ok_or(BadSignature)
    }

    /// The file has ended: puts the repository in the place of what the account has, durably. `announce` tells
    /// followers, which is due for an account that is served.
    ///
    /// # Errors
    /// [`ImportRefused`], by what is wrong.
    pub async fn finish(self, announce: bool) -> Result<Made, ImportRefused> {
        let Self { repos, owner, slot, reader, mut spool, commit, keys, is_copy, .. } = self;
        let roots = reader.finish()?;
        if roots.len() != 1 {
            return Err(ImportRefused::Roots(roots.len()));
        }
        let commit = commit.ok_or(ImportRefused::NoCommit)?;
        let mut open = Arc::clone(&slot.open).lock_owned().await;
        slot.settled().await?;
        blocking::run(move || {
            spool.close();
            let key = keys.iter().find(|key| commit.verify(**key).is_ok()).copied().ok_or(BadSignature)?;
            let taking = Taking::begin(&repos, &owner, &commit, is_copy)?;
            let (made, head) = taking.run(&spool, &commit, key, announce)?;
            slot.flight.hand_over(Pending::default());
            slot.flight.land(true);
            *open = Some(Open::at(head));
            if let Err(error) = spool.forget() {
                tracing::warn!(did = %owner.did, %error, "the parts of a copy that is whole cannot be removed");
            }
            Ok(made)
        })
        .await
    }
}

/// Storing a repository beside the one in force, and the switch.
struct Taking<'a> {
    repos: &'a Repos,
    owner: &'a Owner,
    before: Option<Head>,
    contents: Contents,
    rev: Tid,
    /// Nodes and records, which nobody reads before the switch.
    rows: Batch,
    /// Records that wait for others to share a row with them: the walk comes by in the order of their paths.
    packer: Packer,
    /// How many bytes of them are handed over together.
    rows_bytes: usize,
    /// What others may read: collections, and blobs that records name.
    batch: Batch,
    nodes_in_parts: u64,
    collections: Vec<String>,
    /// The newest of them, if its records have rules to keep.
    ruled: Option<Nsid>,
    in_flight: Arc<BatchesInFlight>,
    is_in_force: bool,
    is_copy: bool,
}

impl<'a> Taking<'a> {
    fn begin(repos: &'a Repos, owner: &'a Owner, commit: &SignedCommit, is_copy: bool) -> Result<Self, ImportRefused> {
        let reader = &repos.shared.reader;
        let before = repos.head_blocking(owner.id)?;
        let newest = before.as_ref().map_or(Tid::MIN, |head| head.commit.rev()).max(commit.rev());
        let rev = if is_copy {
            commit.rev()
        } else {
            repos.clock_after(Some(newest)).next(clock::now()).map_err(RepoError::from)?
        };
        let generation = repos::next_generation(reader, owner.id).map_err(RepoError::from)?;
        let contents = Contents { account: owner.id, generation };
        let mut batch = Batch::new();
        repos::put_leftover(&mut batch, contents)?;
        let in_flight = Arc::default();
        let (nodes_in_parts, collections, is_in_force) = (0, Vec::new(), false);
        let mut taking = Self {
            repos,
            owner,
            before,
            contents,
            rev,
            rows: Batch::filling(),
            packer: Packer::new(contents),
            rows_bytes: FIRST_STAGE_BYTES,
            batch,
            nodes_in_parts,
            collections,
            ruled: None,
            in_flight,
            is_in_force,
            is_copy,
        };
        // Ahead of the first row: whatever a crash leaves behind is then known to be a leftover.
        taking.hand_over_batch();
        Ok(taking)
    }

    fn run(
        mut self,
        spool: &Spool,
        commit: &SignedCommit,
        key: VerifyingKey,
        announce: bool,
    ) -> Result<(Made, Head), ImportRefused> {
        let totals = verify_repository(spool, commit, &self.owner.did, key, RECORDS_MAX, |found| self.stage(found))?;
        let packer = std::mem::replace(&mut self.packer, Packer::new(self.contents));
        let packed_records = packer.finish(&mut self.rows)?;
        self.hand_over_rows();
        self.hand_over_batch();
        let totals = Totals {
            records: totals.records,
            nodes: totals.nodes,
            nodes_in_parts: self.nodes_in_parts,
            fresh_nodes: 0,
            packed_records,
        };
        let signed = Commit { did: self.owner.did.clone(), data: commit.data(), rev: self.rev, prev: None };
        let commit = if self.is_copy { commit.clone() } else { signed.sign(&self.owner.key) };
        let head = Head { commit, contents: self.contents, totals };
        self.switch(&head, announce)?;
        Ok((Made { cid: head.commit.cid(), rev: self.rev }, head))
    }

    fn stage(&mut self, found: Found<'_>) -> Result<(), ImportRefused> {
        match found {
            Found::Node(node) => {
                let in_parts = repos::put_node(&mut self.rows, self.contents, self.rev, node)?;
                self.nodes_in_parts += u64::from(in_parts);
            }
            Found::Record(key, record) => self.stage_record(key, record)?,
        }
        if self.rows.bytes() >= self.rows_bytes || self.rows.rows() >= STAGE_ROWS {
            self.hand_over_rows();
        }
        if self.batch.bytes() >= STAGE_BYTES || self.batch.rows() >= STAGE_ROWS {
            self.hand_over_batch();
        }
        if self.in_flight.count().failed {
            return Err(RepoError::Store(angel_storage::CommitError::Closed).into());
        }
        Ok(())
    }

    fn stage_record(&mut self, key: &MstKey, record: &Block) -> Result<(), ImportRefused> {
        let path = key.as_str();
        if path.len() > PATH_BYTES_MAX {
            return Err(ImportRefused::PathTooLong(path.len()));
        }
        let refused = |reason| ImportRefused::Record { path: key.clone(), reason };
        let outline = cbor::outline(record.bytes()).map_err(refused)?;
        if !outline.is_map || record.cid().codec() != Codec::DagCbor {
            return Err(ImportRefused::NotAnObject(key.clone()));
        }
        let collection = collection_of(path);
        if self.collections.last().is_none_or(|last| last != collection) {
            if self.collections.len() >= COLLECTIONS_MAX {
                return Err(ImportRefused::TooManyCollections);
            }
            self.collections.push(collection.to_owned());
            repos::put_collection(&mut self.batch, self.contents, collection, false)?;
            let has_rules = |nsid: &Nsid| Flags::builtin().collection(nsid.as_str()).is_some();
            self.ruled = collection.parse().ok().filter(has_rules);
        }
        // A copy is what its host has, whatever that is.
        if let Some(collection) = self.ruled.as_ref().filter(|_| !self.is_copy) {
            let value = cbor::decode(record.bytes()).map_err(refused)?;
            let judged = judge_import(collection, &value, Place::Public, clock::now());
            judged.map_err(|refused| ImportRefused::Rules { path: key.clone(), refused })?;
        }
        if outline.may_name_blobs {
            let value = cbor::decode(record.bytes()).map_err(refused)?;
            self.stage_blobs(path, &blob_refs(&value))?;
        }
        Ok(self.packer.put(&mut self.rows, path, self.rev, record)?)
    }

    /// Notes the blobs that a record names; those that are not here follow. References by records that are replaced go
    /// when these are swept.
    fn stage_blobs(&mut self, path: &str, blobs: &[BlobRef]) -> Result<(), ImportRefused> {
        if blobs.is_empty() {
            return Ok(());
        }
        // Collections that no present rule allows are kept as they are; they are of a time before blobs.
        let Ok(path) = path.parse() else { return Ok(()) };
        let naming =
            Naming { account: self.owner.id, path: &path, rev: self.rev, now: clock::now(), absent: Absent::Note };
        let staged = stage_refs(&self.repos.shared.reader, &mut self.batch, naming, blobs, &[]);
        Ok(staged.map_err(RepoError::from)?)
    }

    fn hand_over_rows(&mut self) {
        self.rows_bytes = STAGE_BYTES.min(self.rows_bytes * 2);
        let rows = std::mem::replace(&mut self.rows, Batch::filling());
        self.hand_over(rows);
    }

    fn hand_over_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.hand_over(batch);
    }

    /// Hands over what was staged, as soon as few enough batches are on their way; the store keeps their order.
    fn hand_over(&self, batch: Batch) {
        self.in_flight.take_off();
        let in_flight = Arc::clone(&self.in_flight);
        self.repos.shared.writer.submit_blocking(batch, move |outcome| in_flight.land(outcome.is_ok()));
    }

    /// One batch, after which the new contents are in force and the old ones a leftover.
    fn switch(&mut self, head: &Head, announce: bool) -> Result<(), ImportRefused> {
        let mut batch = Batch::new();
        if let Some(before) = &self.before {
            self.repos.stage_end(&mut batch, before.contents)?;
        }
        for collection in &self.collections {
            repos::put_collection(&mut batch, self.contents, collection, true)?;
        }
        repos::put_head(&mut batch, head)?;
        repos::remove_leftover(&mut batch, self.contents)?;
        if announce {
            batch.append_event(firehose::sync(self.owner.id, &head.commit, clock::now())?)?;
        }
        self.repos.shared.writer.commit(batch).map_err(RepoError::from)?;
        self.is_in_force = true;
        if let Some(before) = &self.before {
            self.repos.shared.leftovers.leftover(before.contents);
        }
        Ok(())
    }
}

/// How many batches of an import are on their way, and whether one was not written.
#[derive(Default)]
struct BatchesInFlight {
    count: Mutex<InFlightCount>,
    landed: Condvar,
}

#[derive(Default)]
struct InFlightCount {
    batches: usize,
    failed: bool,
}

impl BatchesInFlight {
    fn count(&self) -> MutexGuard<'_, InFlightCount> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, once there is room for it. Blocks.
    fn take_off(&self) {
        let is_full = |count: &mut InFlightCount| count.batches >= BATCHES_IN_FLIGHT;
        let mut count = self.landed.wait_while(self.count(), is_full).unwrap_or_else(PoisonError::into_inner);
        count.batches += 1;
    }

    fn land(&self, is_durable: bool) {
        let mut count = self.count();
        count.batches -= 1;
        count.failed |= !is_durable;
        drop(count);
        self.landed.notify_one();
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if !self.is_in_force {
            // What is still on its way has to be there before it can be swept. A failure stops the store anyway.
            drop(self.repos.shared.writer.commit(Batch::new()));
            self.repos.shared.leftovers.leftover(self.contents);
        }
    }
}
