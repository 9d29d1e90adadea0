//! Methods whose name begins with `app`: what the most common application keeps at its users' hosts.

pub(crate) mod bsky;
