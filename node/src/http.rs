//! The HTTP server: XRPC, the federation API, health, metrics and the admin API.
//!
//! [`router`] lists every route, [`error`] is the one place where errors take their form on the wire, [`server`] holds
//! the connections. Handlers know handles, never libp2p or the storage engine.

mod accounts;
pub mod admin;
pub(crate) mod audit;
mod backups;
mod claims;
pub mod error;
pub(crate) mod federation;
mod health;
mod home;
mod identity;
pub(crate) mod ledger;
mod ledger_stream;
mod lexicons;
mod linger;
pub(crate) mod live;
mod metrics;
mod migrations;
mod observe;
mod plc;
mod replicas;
pub mod router;
pub mod server;
pub(crate) mod socket;
pub(crate) mod validators;
mod well_known;

pub use self::error::XrpcError;
pub(crate) use self::error::nowhere;
#[cfg(test)]
pub(crate) use self::plc::routes as plc_routes;

#[cfg(test)]
mod tests;
