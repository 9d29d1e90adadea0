//! The rules of an Angel OS node.
//!
//! Everything a node decides is decided here: which message to believe, which peer is alive, which bytes a signature
//! covers. The crate does no I/O, reads no clock and draws no randomness: time and seeds arrive as arguments, and what
//! should happen in the world leaves as values. `angel-node` performs them; a test can run a thousand simulated hours
//! on one seed.
//!
//! # Map
//!
//! | module | what it answers |
//! |---|---|
//! | [`ids`] | is this string a DID, a handle, an AT URI, a record key, a network id? |
//! | [`time`] | what time is it, as a value |
//! | [`ledger`] | how do the rows of the ledger change, and why was this refused? |
//! | [`backup`] | what a backup consists of, which bytes of it are believed, which snapshots are kept |
//! | [`limits`] | every bound, with its reason |
//! | [`backoff`] | how long to wait before trying again |
//! | [`crypto`] | keys, `did:key`, signatures with domain separation |
//! | [`data`] | what a record says, its canonical bytes, its CID |
//! | [`lexicon`] | is this record, request or answer what its schema says? |
//! | [`wire`] | which bytes cross the wire, and which of them are believed |
//! | [`membership`] | who is on the network, who is alive |
//! | [`did_document`] | what a DID document says |
//! | [`hosted_handle`] | which handles does a host give out? |
//! | [`service_auth`] | which service speaks for which account, and what about |
//! | [`forms`] | which questions does a visitor see, and what do answers have to be? |
//! | [`people`] | what is a recognition worth, and what does a person earn? |
//! | [`permissioned`] | private data: spaces, permissioned repositories, who may read them |
//! | [`plc`] | who may change an identity, and what it is now |
//! | [`mempool`] | which transactions wait, and which go into the next batch |
//! | [`repo`] | an account's records: their tree, its commits, CAR files |
//! | [`rules`] | what holds for a record of ours beyond its schema: who holds it, who sees it, what the node computes |
//! | [`tenants`] | who may do what in a business, how much it may use, and what it begins with |
//! | [`placement`] | which nodes should hold a tenant, and does this one consent? |
//! | [`replication`] | what a standby does with what its primary tells |
//! | [`failover`] | when is a primary gone, and who takes over so that nothing is lost? |
//! | [`migration`] | how a tenant moves to another node, and back |
//! | [`firehose`] | what a host tells of its accounts, and the frames that carry it |
//! | [`spaces`] | who may see, join and write in a space, and what a message has to be |
//! | [`webhooks`] | what a webhook of a business is told, how a call is signed, when it is tried again |

pub mod backoff;
pub mod backup;
pub mod business;
pub mod consensus;
pub mod crypto;
pub mod data;
pub mod did_document;
pub mod failover;
pub mod firehose;
pub mod forms;
#[cfg(test)]
mod fuzz;
pub mod hosted_handle;
pub mod ids;
#[cfg(test)]
mod interop;
pub mod ledger;
pub mod lexicon;
pub mod limits;
pub mod membership;
pub mod mempool;
pub mod migration;
pub mod people;
pub mod permissioned;
pub mod placement;
pub mod plc;
pub mod replication;
pub mod repo;
pub mod rules;
pub mod service_auth;
pub mod spaces;
pub mod tenants;
pub mod time;
pub mod vault;
pub mod webhooks;
pub mod wire;
