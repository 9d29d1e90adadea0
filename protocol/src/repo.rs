//! The AT Protocol repository: a signed commit over a tree of records ("Repository"; proposal 0006, "Sync v1.1").
//!
//! Everything here is a function of its arguments: blocks come from a [`BlockSource`], new ones go back to the caller,
//! who writes them. What came from elsewhere is verified before it is believed, and kept in the bytes it came in.
//!
//! A host makes a commit and stores what is new; a follower believes and repeats it:
//!
//! ```
//! use angel_protocol::crypto::{Secp256k1Key, SigningKey};
//! use angel_protocol::data::{Block, Codec, cbor, record_from_json};
//! use angel_protocol::ids::TidClock;
//! use angel_protocol::repo::{CommitMessage, MemoryBlocks, Repository, Write, verify_commit};
//! use angel_protocol::time::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = SigningKey::from(Secp256k1Key::from_bytes(&[7; 32]).ok_or("no scalar")?);
//! let (mut clock, now) = (TidClock::new(1), Timestamp::from_millis(1_763_715_600_000));
//! let first = Repository::create("did:plc:yk4dd2qkboz2yv6tpubpc6co".parse()?, clock.next(now)?, &key);
//! let mut stored: MemoryBlocks = first.blocks().collect();
//!
//! let record = record_from_json(&serde_json::json!({"$type": "com.example.note", "text": "hello"}))?;
//! let record = Block::new(Codec::DagCbor, cbor::encode(&record));
//! let write = Write::Create { path: "com.example.note/self".parse()?, record };
//! let next = first.repository.write(&stored, vec![write], clock.next(now)?, &key)?;
//! let (head, car) = (next.repository.head(), next.car());
//! let message = CommitMessage {
//!     repo: head.did(),
//!     commit: head.cid(),
//!     rev: head.rev(),
//!     since: next.since,
//!     prev_data: next.prev_data,
//!     changes: &next.changes,
//!     car: &car,
//! };
//! let followed = first.repository.follow(&stored, verify_commit(message, key.public())?)?;
//! assert_eq!(followed.repository.head(), next.repository.head());
//!
//! stored.extend(next.blocks());
//! next.removed.iter().for_each(|cid| stored.remove(cid));
//! # Ok(())
//! # }
//! ```

mod blocks;
pub mod car;
mod commit;
mod export;
mod import;
pub mod mst;
pub mod subject;
mod verify;
mod write;

pub use blocks::{BlockSource, MemoryBlocks, SourceError};
pub use commit::{Commit, CommitError, SignedCommit};
pub use export::{Export, InvalidUpTo, RecordProofError, UpTo, export_record, verify_record};
pub use import::{Found, ImportError, Totals, verify_repository};
pub use verify::{CommitMessage, FollowError, VerifiedCommit, VerifyError, verify_commit, verify_sync};
pub use write::{NewCommit, Repository, Write, WriteError};

#[cfg(test)]
mod tests;
