//! The store at one point, read while it is written; a store filled from what was read; and whether what it holds comes
//! to the roots that it names.
//!
//! | where | what |
//! |---|---|
//! | `cut` | all rows as they were at one moment, without stopping the writer |
//! | `account` | which rows of a store are a store of one account alone |
//! | `fill` | a new store that holds given rows, and does not open before it is whole |
//! | `roots` | roots of repositories, set hashes and ledger, made anew from what lies under them |

mod account;
mod cut;
mod fill;
mod roots;

#[cfg(test)]
mod tests;

use angel_protocol::data::Cid;

use crate::key::{AccountId, InvalidKey};
use crate::tables::{Table, TableId};

pub use account::Holders;
pub(crate) use cut::Cuts;
pub use cut::{Cut, CutError};
pub use fill::{FillError, Filling};
pub(crate) use roots::check_repository;
pub use roots::{Roots, RootsError, check_roots};

/// Key and value as they are stored.
pub type StoredRow = (Vec<u8>, Vec<u8>);

/// Whose blob a row of `blob_holders` says is held; `None` for rows of other tables.
///
/// # Errors
///
/// It is a key of that table and cannot be read.
pub fn held_blob(key: &[u8]) -> Result<Option<Cid>, InvalidKey> {
    const HOLDERS: Table<([u8; Cid::BYTES], AccountId), crate::codec::Present> = Table::new(TableId::BlobHolders);
    if key.first() != Some(&TableId::BlobHolders.byte()) {
        return Ok(None);
    }
    let (cid, _) = HOLDERS.decode_key(key)?;
    Cid::from_bytes(&cid).map(Some).map_err(|_| InvalidKey)
}
