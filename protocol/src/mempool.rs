//! Transactions that wait to be decided: bounded, one per id, in each wallet's order.
//!
//! One state machine, [`State`]: inputs go in with the time, effects come out, and [`State::next_deadline`] says when
//! it wants to be called again. It never judges a transaction: [`crate::ledger::admit`] does, against the ledger as it
//! stands, before the transaction is submitted here. It never gossips, stores or answers; it asks for that.
//!
//! # How a driver feeds it
//!
//! Cheap checks first: [`State::precheck`] costs two look-ups and turns away what is known or has no room, before
//! anybody verifies a signature. What passes goes through [`crate::ledger::admit`], and what passes that is
//! [`Input::Submitted`]. After each decided height comes [`Input::Decided`]. To propose, the driver offers
//! [`State::select`] to [`crate::ledger::assemble`] and returns what that left out as [`Input::Unfit`].
//!
//! # Full
//!
//! A tenth of the room is kept for what the network itself needs: placement, failover, nodes, validators. When the
//! rest is full, a transaction that is next in its wallet's order takes the place of the latest one that is not;
//! otherwise the newcomer is refused with [`Refusal::Full`] and a time to try again. Nothing that could be decided
//! now is ever evicted.
//!
//! # Operations on identities
//!
//! They have no place in a wallet's order: each is next as soon as it is here. Of one identity a few may wait, because
//! an owner's rescue must find room beside a thief's; creations may take a quarter of the room. When one is decided,
//! the others of its identity are to be looked at again ([`Effect::Recheck`]).
//!
//! # Map
//!
//! | module | what it answers |
//! |---|---|
//! | `state` | what happens on each input |
//! | `pool` | the transactions and their indexes |
//! | `input`, `effect`, `refusal`, `config` | the words between machine and driver, and its bounds |

mod config;
mod effect;
mod input;
mod pool;
mod refusal;
mod state;

pub use config::Config;
pub use effect::Effect;
pub use input::{Input, Origin};
pub use refusal::Refusal;
pub use state::{Slot, State};

#[cfg(test)]
mod tests;
