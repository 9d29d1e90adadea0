//! Backups: what one consists of, which bytes of it are believed, and which snapshots are kept.
//!
//! A **snapshot** is the node at one point: every row of its store, its files, its keys. It is cut into **chunks**, each
//! named by what it holds, so that a chunk which two snapshots share lies there once. An **index** says which chunks make
//! up which table and file; the signed **manifest** says which chunks make up the index, and what the whole must come to.
//!
//! | module | what it answers |
//! |---|---|
//! | [`cipher`] | how is a chunk named, sealed and opened? |
//! | [`rows`] | where does one chunk of rows end, and what are its bytes? |
//! | [`index`] | which chunks are what? |
//! | [`manifest`] | who made the snapshot, of what, and what must it come to? |
//! | [`keep`] | which snapshots are kept? |
//!
//! The module never reads or writes a place, and never sees the key that opens a backup for its owner: chunks are
//! sealed with a key of the backups, which lies sealed to the owner's recovery keys in every manifest (ADR 107).

pub mod cipher;
pub mod index;
pub mod keep;
pub mod manifest;
pub mod rows;

#[cfg(test)]
mod tests;

pub use cipher::{BackupKey, ChunkName, NotAChunk};
pub use index::{Entry, FileKind};
pub use keep::{Keep, NoKeepRule};
pub use manifest::{ChunkRef, Manifest, ManifestRefused, SignedManifest, TableSum, Totals};
