//! The AT Protocol repository: a signed commit over a tree of records ("Repository"; proposal 0006, "Sync v1.1").
//!
//! Everything here is a function of its arguments: blocks come from a [`BlockSource`], new ones go back to the caller,
//! who writes them. What came from elsewhere is verified before it is believed, and kept in the bytes it came in.

mod blocks;
pub mod car;
mod commit;
mod export;
mod import;
pub mod mst;
mod verify;
mod write;

pub use blocks::{BlockSource, MemoryBlocks, SourceError};
pub use commit::{Commit, CommitError, SignedCommit};
pub use export::{Export, RecordProofError, export_record, verify_record};
pub use import::{ImportError, Totals, verify_repository};
pub use verify::{CommitMessage, FollowError, VerifiedCommit, VerifyError, verify_commit};
pub use write::{NewCommit, Repository, Write, WriteError};

#[cfg(test)]
mod tests;
