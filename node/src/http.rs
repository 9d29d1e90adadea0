//! The HTTP server: XRPC, the federation API, health, metrics and the admin API.
//!
//! [`router`] lists every route, [`error`] is the one place where errors take their form on the wire, [`server`] holds
//! the connections. Handlers know handles, never libp2p or the storage engine.

pub mod admin;
pub mod error;
pub(crate) mod federation;
mod health;
mod home;
mod identity;
mod metrics;
mod observe;
pub mod router;
pub mod server;

pub use self::error::XrpcError;

#[cfg(test)]
mod tests;
