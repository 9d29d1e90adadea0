//! The methods of AT Protocol itself.

pub(crate) mod server;
