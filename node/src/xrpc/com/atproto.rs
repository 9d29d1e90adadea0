//! The methods of AT Protocol itself.

pub(crate) mod identity;
pub(crate) mod repo;
pub(crate) mod server;
pub(crate) mod sync;
