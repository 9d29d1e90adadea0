//! A whole repository as a CAR file, block by block (`com.atproto.sync.getRepo`), and one record with its proof
//! (`com.atproto.sync.getRecord`).

use super::MemoryBlocks;
use super::blocks::BlockSource;
use super::car::{self, CarError, CarLimits};
use super::commit::{CommitError, SignedCommit};
use super::mst::{self, MstError, MstKey, Walk, WalkItem};
use crate::crypto::{BadSignature, VerifyingKey};
use crate::data::{Block, Cid};
use crate::ids::Did;
use crate::limits::{BLOCK_BYTES_MAX, COMMIT_CAR_BYTES_MAX, MST_LAYERS_MAX};

/// The bytes of a repository's CAR file in pieces, each a header or a block: the commit, then the tree in order, each
/// node ahead of what is under it. A reader can check it as it comes, and so can one who holds only part of it.
///
/// Holds one block and one node per layer in memory. Ends after the first error.
pub struct Export<'a> {
    source: &'a dyn BlockSource,
    walk: Walk<'a>,
    head: Option<&'a SignedCommit>,
}

impl<'a> Export<'a> {
    /// The repository at `head`.
    #[must_use]
    pub fn new(source: &'a dyn BlockSource, head: &'a SignedCommit) -> Self {
        Self { source, walk: Walk::new(source, head.data()), head: Some(head) }
    }

    fn record(&self, cid: Cid) -> Result<Block, MstError> {
        let bytes = self.source.get(&cid)?.ok_or(MstError::MissingBlock(cid))?;
        Ok(Block::from_source(cid, bytes))
    }
}

impl Iterator for Export<'_> {
    type Item = Result<Vec<u8>, MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut out = Vec::new();
        if let Some(head) = self.head.take() {
            car::write_header(&mut out, head.cid());
            car::write_block(&mut out, head.block());
            return Some(Ok(out));
        }
        let block = match self.walk.next()? {
            Ok(WalkItem::Node(node)) => Ok(node),
            Ok(WalkItem::Record(_, cid)) => self.record(cid),
            Err(error) => Err(error),
        };
        Some(block.map(|block| {
            out.reserve_exact(car::block_bytes(&block));
            car::write_block(&mut out, &block);
            out
        }))
    }
}

/// A CAR file with the commit, the record at `key`, and the nodes between; without a record, the proof that there is
/// none.
///
/// # Errors
/// [`MstError`] when the tree or the record cannot be read.
pub fn export_record(source: &dyn BlockSource, head: &SignedCommit, key: &MstKey) -> Result<Vec<u8>, MstError> {
    let (value, nodes) = mst::prove(source, head.data(), key)?;
    let mut out = car::encode(head.cid(), std::iter::once(head.block()).chain(&nodes));
    if let Some(cid) = value {
        let bytes = source.get(&cid)?.ok_or(MstError::MissingBlock(cid))?;
        car::write_block(&mut out, &Block::from_source(cid, bytes));
    }
    Ok(out)
}

/// Why the proof of a record is not believed.
#[derive(Debug, thiserror::Error)]
pub enum RecordProofError {
    /// The blocks cannot be read.
    #[error(transparent)]
    Car(#[from] CarError),
    /// The blocks lack a commit as their root.
    #[error("the blocks do not lead to a commit")]
    NoCommit,
    /// The commit cannot be read.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The commit is of another account.
    #[error("the commit is of {0}, another account")]
    OtherAccount(Did),
    /// The signature does not fit.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The nodes prove nothing about the key.
    #[error(transparent)]
    Tree(#[from] MstError),
    /// The record is not among the blocks.
    #[error("the record {0} is not among the blocks")]
    MissingRecord(Cid),
}

/// Checks what [`export_record`] makes: the commit, and the record at `key`, or that there is none.
///
/// # Errors
/// [`RecordProofError`], by what is wrong.
pub fn verify_record(
    file: &[u8],
    did: &Did,
    key: &MstKey,
    account_key: VerifyingKey,
) -> Result<(SignedCommit, Option<Block>), RecordProofError> {
    // A commit, a record, and a node for each layer; others may send more nodes than that.
    let bytes_max = (BLOCK_BYTES_MAX + COMMIT_CAR_BYTES_MAX) as u64;
    let limits = CarLimits { bytes_max, blocks_max: 8 * (2 + u64::from(MST_LAYERS_MAX)) };
    let (roots, blocks) = car::decode(file, limits)?;
    let blocks: MemoryBlocks = blocks.iter().collect();
    let root = roots.first().and_then(|root| blocks.block(root)).ok_or(RecordProofError::NoCommit)?;
    let commit = SignedCommit::decode(root)?;
    if commit.did() != did {
        return Err(RecordProofError::OtherAccount(commit.did().clone()));
    }
    commit.verify(account_key)?;
    let Some(cid) = mst::get(&blocks, commit.data(), key)? else { return Ok((commit, None)) };
    let record = blocks.block(&cid).ok_or(RecordProofError::MissingRecord(cid))?;
    Ok((commit, Some(record)))
}
