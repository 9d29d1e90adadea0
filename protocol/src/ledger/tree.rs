//! The state root: a Merkle prefix tree over the SHA-256 of every row's key.
//!
//! The tree's shape depends on the set of rows alone, never on the order in which they came. A subtree without rows
//! hashes to zeros, a subtree of one row is that row's leaf, anything larger is the hash of its two halves. Four
//! levels share one `page`, stored as a row of its own beside the rows it covers, so a change reads and writes a
//! handful of pages; a subtree of few rows has none and is kept in its parent's. See ADR 011.

mod page;
mod proof;
mod update;

use sha2::{Digest, Sha256};

pub use proof::{ProofError, RowProof, prove};
pub use update::root;
pub(crate) use update::update;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hash of a subtree without rows.
pub const EMPTY: Hash = [0; 32];

const LEAF: u8 = 0;
const INNER: u8 = 1;

/// Makes the root of a set of rows anew, from the rows alone: what [`root`] must be. Holds two hashes for each row.
#[derive(Debug, Default)]
pub struct RootOf(Vec<page::Leaf>);

impl RootOf {
    /// Adds a row, in any order, each once. Pages of the tree are passed over.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        if !page::is_page(key) {
            self.0.push((path_of(key), Sha256::digest(value).into()));
        }
    }

    /// The root.
    #[must_use]
    pub fn root(mut self) -> Hash {
        self.0.sort_unstable();
        page::subtree_hash(&self.0, 0)
    }
}

/// Where a row hangs in the tree.
#[must_use]
pub(crate) fn path_of(key: &[u8]) -> Hash {
    Sha256::digest(key).into()
}

fn leaf_hash(path: &Hash, value: &Hash) -> Hash {
    Sha256::new().chain_update([LEAF]).chain_update(path).chain_update(value).finalize().into()
}

fn inner_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([INNER]).chain_update(left).chain_update(right).finalize().into()
}

/// Bit `index` of a path, the most significant first.
const fn bit(path: &Hash, index: usize) -> bool {
    path[index / 8] >> (7 - index % 8) & 1 == 1
}

/// Nibble `index` of a path, the most significant first.
const fn nibble(path: &Hash, index: usize) -> usize {
    let byte = path[index / 2];
    (if index.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f }) as usize
}

#[cfg(test)]
mod tests;
