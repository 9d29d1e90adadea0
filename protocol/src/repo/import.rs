//! Taking over a whole repository: its CAR file has been read and its blocks put aside; here they are found to be whole
//! or not.

use super::blocks::BlockSource;
use super::commit::SignedCommit;
use super::mst::{MstError, MstKey, Walk, WalkItem};
use crate::crypto::{BadSignature, VerifyingKey};
use crate::data::{Block, Cid};
use crate::ids::Did;

/// How much a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Nodes of the tree.
    pub nodes: u64,
    /// Records, each path counted.
    pub records: u64,
    /// Bytes of nodes and records, a record counted at each of its paths.
    pub bytes: u64,
}

/// Why a repository is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The commit is of another account.
    #[error("the commit is of {0}, another account")]
    OtherAccount(Did),
    /// The signature does not fit.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// More records than the caller allows.
    #[error("the repository has more than {0} records")]
    TooManyRecords(u64),
    /// A record of the tree is not among the blocks.
    #[error("the record {cid} at {key} is not among the blocks")]
    MissingRecord {
        /// Where.
        key: MstKey,
        /// Which.
        cid: Cid,
    },
    /// The tree is not sound, or not whole.
    #[error(transparent)]
    Tree(#[from] MstError),
}

/// A block of a repository that is being checked.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A tree node, ahead of everything under it.
    Node(&'a Block),
    /// A record, in the order of keys.
    Record(&'a MstKey, &'a Block),
}

/// Checks that `head` is the account's and that every node and record under it is in `source`, and shows each to
/// `visit` in the order of keys. Blocks that the tree does not reach are not seen: they are not part of the repository.
///
/// Reads one block at a time. What a record says is for `visit` to judge, and whether the revision lies in the future
/// for the caller.
///
/// # Errors
/// [`ImportError`], by what is wrong, or what `visit` found wrong; what it has seen by then is not to be believed.
pub fn verify_repository<E: From<ImportError>>(
    source: &dyn BlockSource,
    head: &SignedCommit,
    did: &Did,
    key: VerifyingKey,
    records_max: u64,
    mut visit: impl FnMut(Found<'_>) -> Result<(), E>,
) -> Result<Totals, E> {
    if head.did() != did {
        return Err(ImportError::OtherAccount(head.did().clone()).into());
    }
    head.verify(key).map_err(ImportError::from)?;
    let mut totals = Totals::default();
    for item in Walk::new(source, head.data()) {
        match item.map_err(ImportError::from)? {
            WalkItem::Node(node) => {
                totals.nodes += 1;
                totals.bytes += node.bytes().len() as u64;
                visit(Found::Node(&node))?;
            }
            WalkItem::Record(key, cid) => {
                totals.records += 1;
                if totals.records > records_max {
                    return Err(ImportError::TooManyRecords(records_max).into());
                }
                let bytes = source.get(&cid).map_err(|error| ImportError::Tree(error.into()))?;
                let bytes = bytes.ok_or_else(|| ImportError::MissingRecord { key: key.clone(), cid })?;
                totals.bytes += bytes.len() as u64;
                visit(Found::Record(&key, &Block::from_source(cid, bytes)))?;
            }
        }
    }
    Ok(totals)
}
