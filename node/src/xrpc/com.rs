//! Methods whose name begins with `com`.

pub(crate) mod atproto;
