//! The runtime of an Angel OS node: sockets, clocks, files and tasks around the rules of `angel-protocol` and the
//! tables of `angel-storage`. What is decided is decided there; this crate asks, performs and reports.
//!
//! # Map
//!
//! | module | what it answers |
//! |---|---|
//! | [`node`] | what is started, in which order, and how it stops |
//! | [`facts`], [`control`] | what a running node is; the wish that it should end |
//! | [`config`] | what can be set, and where a value came from |
//! | [`data_dir`] | where things lie on disk, and who may use it |
//! | [`accounts`] | the accounts that this node hosts, and their signing keys |
//! | [`sessions`], [`passwords`], [`rate_limits`] | who is logged in; how passwords are kept; how often is too often |
//! | `firehose`, `jetstream` | the event stream: frames, and lines of JSON |
//! | `crawlers` | relays that are asked to follow |
//! | [`blobs`] | pictures and other files of the accounts |
//! | [`mail`] | mail to the owners of accounts, and the codes in it |
//! | [`lifecycle`], [`invites`] | how accounts come, go, are switched off and on; who may sign up |
//! | [`preferences`], [`reports`], [`takedowns`] | what apps keep; what people complain about; what the operator hides |
//! | `storage` | the store: opened, watched, closed |
//! | [`handles`], `proxy` | which handle an account may have; methods of other services |
//! | [`resolver`], `dns` | from handles to DIDs and from DIDs to documents |
//! | [`directory`], [`identities`] | where did:plc identities are kept; those of hosted accounts |
//! | [`keys`], [`secrets`] | the node's key, the admin password |
//! | [`tasks`] | what runs, and what happens when it ends |
//! | [`network`], [`membership`] | peers and bytes; who is on the network and who is alive |
//! | `federation`, `fetch` | other nodes over HTTP; requests to addresses that others named |
//! | [`http`] | the HTTP server, its routes and its errors |
//! | `xrpc` | the AT Protocol methods, one file each |
//! | `blocking` | work that blocks, off the async workers |
//! | [`network`] | peers and bytes: gossip, questions, discovery, relays |
//! | `roadmap` | votes for features of the operator's roadmap |
//! | `spaces` | spaces: their index, their members, who follows them live |
//! | [`repos`] | the repositories of accounts: written, read, exported, imported |
//! | [`permissioned`] | private data: spaces, and what hosted accounts write into them |
//! | [`placement`], `replication`, `failover` | which node is primary for whom; copies; who takes over |
//! | [`health`], [`events`], [`machine`] | how it goes: services, counters, load |
//! | [`telemetry`] | the log |
//! | [`cli`] | the command line |

pub mod accounts;
pub mod backup;
pub mod blobs;
mod blocking;
mod business;
mod checkpoints;
pub mod cli;
pub mod clock;
pub mod config;
mod consensus;
pub mod control;
mod crawlers;
pub mod data_dir;
pub mod directory;
mod dns;
mod drill;
pub mod events;
pub mod facts;
mod failover;
mod federation;
pub mod fetch;
mod firehose;
pub mod handles;
pub mod health;
pub mod http;
pub mod identities;
pub mod invites;
mod jetstream;
pub mod keys;
pub mod ledger;
pub mod lexicons;
pub mod lifecycle;
mod losses;
pub mod machine;
pub mod mail;
pub mod membership;
pub mod mempool;
pub(crate) mod migration;
pub mod network;
pub mod node;
pub mod passwords;
mod pending;
pub mod permissioned;
pub mod placement;
pub mod preferences;
mod proxy;
pub mod rate_limits;
mod replication;
pub mod reports;
pub mod repos;
pub mod resolver;
mod roadmap;
mod room;
pub mod secrets;
pub mod service_account;
pub mod sessions;
mod slots;
mod spaces;
mod storage;
pub mod takedowns;
pub mod tasks;
pub mod telemetry;
pub mod tenants;
mod webhooks;
mod xrpc;
