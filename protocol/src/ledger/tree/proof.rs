//! Proof that a row is there with a value, or is not there, to somebody who knows the root alone.

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest, Sha256};

use super::super::view::{View, ViewError};
use super::page::{Leaf, Slot, halves, subtree_hash};
use super::update::load;
use super::{EMPTY, Hash, bit, inner_hash, leaf_hash, nibble, path_of};
use crate::limits::TREE_DEPTH_MAX;

/// What hangs at the end of a row's path, and the hashes beside the path from the root down.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RowProof {
    end: End,
    siblings: Vec<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum End {
    /// Nothing: the row is absent.
    Nothing,
    /// The row itself; its value travels beside the proof.
    Row,
    /// Another row that stands alone where this one would be: the row is absent.
    Other { path: Hash, value: Hash },
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More siblings than a path has bits.
    #[error("the proof is longer than a path")]
    TooLong,
    /// It says the row is absent and a value was shown, or the other way round.
    #[error("the proof does not speak of the value shown")]
    WrongClaim,
    /// The other row it names does not hang on this row's path.
    #[error("the proof names a row elsewhere in the tree")]
    Elsewhere,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// Proves the row under `key`, present or absent, against the current root of `view`.
///
/// # Errors
/// [`ViewError`] when a page cannot be read.
pub fn prove(view: &impl View, key: &[u8]) -> Result<RowProof, ViewError> {
    let path = path_of(key);
    let mut siblings = Vec::new();
    for depth in 0..64 {
        let (beside, slot) = load(view, &path, depth)?.siblings(nibble(&path, depth));
        siblings.extend(beside);
        if let Slot::Rows(rows) = slot {
            let end = match alone(&rows, &path, 4 * (depth + 1), &mut siblings) {
                None => End::Nothing,
                Some((found, _)) if *found == path => End::Row,
                Some((found, value)) => End::Other { path: *found, value: *value },
            };
            return Ok(RowProof { end, siblings });
        }
    }
    Err(ViewError::Damaged { table: super::page::PAGES })
}

/// The row at the end of `path` among a few from bit `depth` on, or the one that stands alone there.
fn alone<'r>(mut rows: &'r [Leaf], path: &Hash, mut depth: usize, siblings: &mut Vec<Hash>) -> Option<&'r Leaf> {
    while rows.len() > 1 {
        let (left, right) = halves(rows, depth);
        let (inside, beside) = if bit(path, depth) { (right, left) } else { (left, right) };
        depth += 1;
        siblings.push(subtree_hash(beside, depth));
        rows = inside;
    }
    rows.first()
}

impl RowProof {
    /// Checks that under `root` the row `key` has `value`, or is absent where `value` is.
    ///
    /// # Errors
    /// [`ProofError`], by what is wrong.
    pub fn verify(&self, root: &Hash, key: &[u8], value: Option<&[u8]>) -> Result<(), ProofError> {
        if self.siblings.len() > TREE_DEPTH_MAX {
            return Err(ProofError::TooLong);
        }
        let path = path_of(key);
        let mut hash = match (&self.end, value) {
            (End::Nothing, None) => EMPTY,
            (End::Row, Some(value)) => leaf_hash(&path, &Sha256::digest(value).into()),
            (End::Other { path: other, value }, None) => {
                let on_path = (0..self.siblings.len()).all(|index| bit(other, index) == bit(&path, index));
                if *other == path || !on_path {
                    return Err(ProofError::Elsewhere);
                }
                leaf_hash(other, value)
            }
            _ => return Err(ProofError::WrongClaim),
        };
        for (index, sibling) in self.siblings.iter().enumerate().rev() {
            hash = if bit(&path, index) { inner_hash(sibling, &hash) } else { inner_hash(&hash, sibling) };
        }
        if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
    }

    /// Size on the wire, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        borsh::object_length(self).unwrap_or(usize::MAX)
    }
}
