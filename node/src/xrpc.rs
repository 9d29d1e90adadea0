//! The AT Protocol surface: XRPC methods, one file each, named as the method is.
//!
//! A handler is short: it authenticates, checks, acts through one handle of [`host::Host`] and answers. It never
//! names libp2p or the storage engine, and it writes to the store only through the handles. Parameters are read by
//! [`params::Params`], bodies by [`input::Input`], both as the method's lexicon document has them (`documents`), and those
//! of our own methods into types that are written from the documents ([`types`]); who asks is told by the extractors of
//! [`auth`], which stand before them in a handler's arguments, and errors take their form in [`crate::http::XrpcError`].

pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod co;
pub(crate) mod com;
mod documents;
pub(crate) mod host;
pub(crate) mod input;
mod jetstream;
mod lines;
pub(crate) mod owning;
pub(crate) mod params;
pub(crate) mod plans;
mod proxied;
mod refusals;
pub(crate) mod router;
pub(crate) mod types;
pub(crate) mod who;

#[cfg(test)]
mod tests;
