//! The AT Protocol surface: XRPC methods, one file each, named as the method is.
//!
//! A handler is short: it authenticates, checks, acts through one handle of [`host::Host`] and answers. It never
//! names libp2p or the storage engine, and it writes to the store only through the handles. Parameters are read by
//! [`params::Params`], bodies by [`input::Input`], and errors take their form in [`crate::http::XrpcError`].

pub(crate) mod host;
pub(crate) mod input;
pub(crate) mod params;
pub(crate) mod router;
