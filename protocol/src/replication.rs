//! How a standby keeps a copy of a tenant: what crosses the wire ([`wire`]), and what it does with what its primary
//! tells ([`Standby`]).
//!
//! A standby pulls by cursor from the primary's event log. It believes nothing: a commit counts when it is signed with
//! the account's key, undoes to the tree before, and leads from the tree that the standby has to the one it names
//! (`crate::repo::verify_commit`, `Repository::follow`). The machine here decides the order of things: what to apply,
//! when to copy the whole anew, what is a fork, and how far the copy may be called complete. Private rows come with the
//! events, sealed and signed ([`rows`]); the copy of them is begun, and compared, stretch by stretch.

pub mod rows;
mod standby;
pub mod wire;

#[cfg(test)]
mod tests;

pub use standby::{Effect, Event, Have, Input, Page, Phase, Standby, Stopped};
