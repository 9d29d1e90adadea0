//! Identifiers, parsed once at the door so that nothing inside checks twice.

mod did;
mod names;

pub use did::{Did, InvalidDid};
pub use names::{InvalidName, NetworkId, NodeName};
