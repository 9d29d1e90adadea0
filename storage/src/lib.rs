//! What survives a restart of a node: typed tables over an embedded engine.
//!
//! The crate is synchronous. It keeps rows, changes them in atomic batches that are on disk before they are
//! acknowledged, and keeps the event log that everything else follows. It knows nothing of networks, HTTP or tasks, and
//! the engines are named only in `engine/`.
//!
//! # Map
//!
//! | module | what it answers |
//! |---|---|
//! | [`store`] | how is a store opened, closed, refused? |
//! | [`tables`], [`key`], [`codec`] | which rows are there, and what do they look like on disk? |
//! | [`reader`] | how are rows read? |
//! | [`batch`], [`writer`] | how are rows changed, and when is a change safe? |
//! | [`events`], [`cursors`] | what happened, in which order, and who has dealt with it? |
//! | [`belongings`] | which rows of which tables are an account's, and how are they read and written? |
//! | [`blobs`] | which account has which blob, and which records name it? |
//! | [`firehose`] | which events does the public event stream carry? |
//! | [`accounts`] | the accounts that this node hosts, with all that is theirs but their repositories |
//! | [`ledger`] | the ledger's rows, what was decided, what waits |
//! | [`peers`], [`chunked`] | the registry of nodes; values larger than a row |
//! | [`repos`] | the repositories of accounts: heads, tree nodes, records, collections |
//! | [`permissioned`] | spaces, and what hosted accounts wrote into them |
//! | [`spaces`] | the index of spaces: members, channels, messages, words |
//! | [`roadmap`] | who elsewhere votes for what this node plans? |
//! | [`plc`] | the embedded did:plc directory |
//! | [`tenants`] | businesses: who belongs to them, what they used, what was done |
//! | [`plc`] | identities outside the ledger: not decided yet, or from before it |
//! | [`engine`] | what must an engine do, and which are there? |
//! | [`lock`] | how are two processes kept from using the same files? |
//! | [`manifest`], [`migrate`] | what is this directory, and how do old rows become new ones? |
//! | [`backup`] | what did the store hold at one moment, how is one filled from that, does it come to its roots? |
//! | [`rebuild`], [`verify`] | how does a store get smaller, or another engine; is every row what it should be? |
//! | [`limits`], [`stats`] | every bound with its reason; figures for dashboards |
//!
//! # Example
//!
//! ```
//! use angel_protocol::time::Timestamp;
//! use angel_storage::{Batch, Store, cursors, events};
//!
//! let store = Store::in_memory()?;
//! let mut batch = Batch::new();
//! let event = events::NewEvent::new(Timestamp::EPOCH, None, events::EventKind(1), b"hello")?;
//! batch.append_event(event)?;
//! let committed = store.writer().commit(batch)?;
//! assert_eq!(committed.last_sequence, Some(1));
//!
//! let page = events::after(store.reader(), cursors::get(store.reader(), "index", "handles")?, 100)?;
//! assert_eq!(page.events[0].body, b"hello");
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod accounts;
pub mod backup;
pub mod batch;
pub mod belongings;
pub mod blobs;
pub mod chunked;
pub mod codec;
pub mod cursors;
pub mod engine;
pub mod events;
pub mod firehose;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod lock;
pub mod manifest;
pub mod migrate;
pub mod moves;
pub mod node_meta;
pub mod peers;
pub mod permissioned;
pub mod plc;
pub mod reader;
pub mod rebuild;
mod records;
pub mod replicas;
pub mod repos;
pub mod roadmap;
pub mod spaces;
pub mod stats;
pub mod store;
pub mod tables;
pub mod tenants;
pub mod verify;
pub mod writer;

pub use batch::Batch;
pub use key::AccountId;
pub use reader::Reader;
pub use store::{Options, Store};
pub use tables::{Table, TableId};
pub use writer::{CommitError, Committed, Writer};
