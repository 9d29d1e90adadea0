//! Where trees and commits find their blocks.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use crate::data::{Block, Cid};

/// Blocks by CID. Whoever fills a source has checked that each CID names its bytes; readers rely on it.
pub trait BlockSource {
    /// The bytes that `cid` names, or `None` when they are not here.
    ///
    /// # Errors
    /// [`SourceError`] when the source could not be asked.
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError>;
}

/// The source failed, for example its disk. It says nothing about the block.
#[derive(Debug, thiserror::Error)]
#[error("blocks could not be read: {0}")]
pub struct SourceError(#[from] pub Box<dyn Error + Send + Sync>);

impl<S: BlockSource + ?Sized> BlockSource for &S {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        (**self).get(cid)
    }
}

/// Blocks in memory: a CAR file that was read, a commit that was just made, a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryBlocks(BTreeMap<Cid, Arc<[u8]>>);

impl MemoryBlocks {
    /// Adds a block.
    pub fn insert(&mut self, block: &Block) {
        self.0.insert(block.cid(), Arc::clone(block.bytes()));
    }

    /// Drops a block.
    pub fn remove(&mut self, cid: &Cid) {
        self.0.remove(cid);
    }

    /// The block named `cid`.
    #[must_use]
    pub fn block(&self, cid: &Cid) -> Option<Block> {
        self.0.get(cid).map(|bytes| Block::from_source(*cid, Arc::clone(bytes)))
    }

    /// The block named `cid`, which is then no longer here.
    pub(super) fn take(&mut self, cid: &Cid) -> Option<Block> {
        self.0.remove(cid).map(|bytes| Block::from_source(*cid, bytes))
    }

    /// Whether the block is here.
    #[must_use]
    pub fn contains(&self, cid: &Cid) -> bool {
        self.0.contains_key(cid)
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The CIDs, in order.
    pub fn cids(&self) -> impl Iterator<Item = Cid> + '_ {
        self.0.keys().copied()
    }
}

impl<'a> Extend<&'a Block> for MemoryBlocks {
    fn extend<I: IntoIterator<Item = &'a Block>>(&mut self, blocks: I) {
        blocks.into_iter().for_each(|block| self.insert(block));
    }
}

impl<'a> FromIterator<&'a Block> for MemoryBlocks {
    fn from_iter<I: IntoIterator<Item = &'a Block>>(blocks: I) -> Self {
        let mut all = Self::default();
        all.extend(blocks);
        all
    }
}

impl BlockSource for MemoryBlocks {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        Ok(self.0.get(cid).cloned())
    }
}
