//! A whole repository as a CAR file, block by block (`com.atproto.sync.getRepo`), and one record with its proof
//! (`com.atproto.sync.getRecord`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::MemoryBlocks;
use super::blocks::BlockSource;
use super::car::{self, CarError, CarLimits};
use super::commit::{CommitError, SignedCommit};
use super::mst::{self, MstError, MstKey, Walk, WalkItem};
use crate::crypto::{BadSignature, VerifyingKey};
use crate::data::{Block, Cid};
use crate::ids::{Did, Tid};
use crate::limits::{BLOCK_BYTES_MAX, COMMIT_CAR_BYTES_MAX, MST_KEY_BYTES_MAX, MST_LAYERS_MAX};

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

/// How much of a repository somebody has: everything, in the order of [`Export`], up to the record at a path, as the
/// repository was at a revision. As text: the revision, a space and the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpTo {
    /// The revision.
    pub rev: Tid,
    /// The path of the last record, of at most [`MST_KEY_BYTES_MAX`] bytes.
    pub path: String,
}

impl UpTo {
    /// Whether the path is no longer than any.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.path.len() <= MST_KEY_BYTES_MAX
    }

    /// Whether all keys before `end` are among what is there; `None` is the end of the tree. What was written there after
    /// the revision is still to come.
    #[must_use]
    pub fn passes(&self, end: Option<&str>) -> bool {
        end.is_some_and(|end| end <= self.path.as_str())
    }

    /// Whether the record at `path` is there, if the revision `rev` wrote it.
    #[must_use]
    pub fn holds(&self, path: &str, rev: Tid) -> bool {
        path <= self.path.as_str() && rev <= self.rev
    }

    /// What is there when, behind `before`, everything up to `path` of the repository at `rev` has come. Only beyond the
    /// path of before is it one revision all through: nothing is said until then.
    #[must_use]
    pub fn reached(before: Option<&Self>, rev: Tid, path: &str) -> Option<Self> {
        let goes_on = before.is_none_or(|before| path > before.path.as_str());
        goes_on.then(|| Self { rev, path: path.to_owned() })
    }
}

impl fmt::Display for UpTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rev, self.path)
    }
}

/// Text that is no [`UpTo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a revision, a space and a path")]
pub struct InvalidUpTo;

impl FromStr for UpTo {
    type Err = InvalidUpTo;

    fn from_str(text: &str) -> Result<Self, InvalidUpTo> {
        let (rev, path) = text.split_once(' ').ok_or(InvalidUpTo)?;
        let up_to = Self { rev: rev.parse().map_err(|_| InvalidUpTo)?, path: path.to_owned() };
        if up_to.is_bounded() { Ok(up_to) } else { Err(InvalidUpTo) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_grows_only_beyond_what_it_was() {
        let rev = |n: u64| Tid::new(1_700_000_000_000_000 + n, 0);
        let first = UpTo::reached(None, rev(1), "com.example.note/k").expect("something");
        assert_eq!(first.to_string().parse(), Ok(first.clone()));
        // A later revision tells again what was written before that path; it counts when it is beyond.
        assert_eq!(UpTo::reached(Some(&first), rev(2), "com.example.note/a"), None);
        assert_eq!(UpTo::reached(Some(&first), rev(2), "com.example.note/k"), None);
        let then = UpTo::reached(Some(&first), rev(2), "com.example.note/l").expect("more");
        assert_eq!((then.rev, then.path.as_str()), (rev(2), "com.example.note/l"));
        assert!(first.holds("com.example.note/k", rev(1)) && first.holds("com.example.aaa/z", rev(0)));
        assert!(!first.holds("com.example.note/k", rev(2)) && !first.holds("com.example.note/ka", rev(1)));
        assert!(first.passes(Some("com.example.note/k")) && !first.passes(Some("com.example.note/l")));
        assert!(!first.passes(None), "the end of the tree");
        for odd in ["", "k", "3jzfcijpj2z2a", "x com.example.note/k", &format!("{} {}", rev(1), "k".repeat(2_000))] {
            assert_eq!(odd.parse::<UpTo>(), Err(InvalidUpTo), "{odd}");
        }
    }
}
