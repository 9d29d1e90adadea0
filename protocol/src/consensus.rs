//! The ledger's words in the consensus engine's terms: heights, values, votes, validators and who proposes.
//!
//! The engine (Malachite, Tendermint BFT) is generic over a [`Context`](malachitebft_core_types::Context); this is
//! ours. What is voted on is a header's hash ([`ValueId`]); the batch behind it travels in [`Part`]s and is judged by
//! [`crate::ledger::apply()`]. Votes are the ledger's own ([`crate::ledger::certificate::Vote`]), so that the
//! precommits that the engine counts are the signatures of a [`Certificate`](crate::ledger::Certificate), bit by bit.
//!
//! Pure: it decides nothing and sends nothing. Counting votes, timers, the write-ahead log and value sync are the
//! engine's; driving it is the node's.
//!
//! # Map
//!
//! | where | what |
//! |---|---|
//! | [`context`] | the engine's context: [`LedgerContext`] |
//! | [`height`], [`value`], [`validators`] | what is decided, and by whom |
//! | [`vote`], [`proposal`] | what validators sign |
//! | [`part`], [`assembly`] | a batch on its way: signed head, bounded body |
//! | [`timeouts`] | how long a round waits, and for whom it does not |

pub mod assembly;
pub mod context;
pub mod height;
pub mod part;
pub mod proposal;
pub mod timeouts;
pub mod validators;
pub mod value;
pub mod vote;

pub use assembly::{Assembled, Assemblies, StreamKey};
pub use context::{Ed25519, LedgerContext};
pub use height::Height;
pub use part::{Part, PartHead, split};
pub use proposal::Proposal;
pub use timeouts::Timeouts;
pub use validators::{Address, Validator, ValidatorSet};
pub use value::ValueId;
pub use vote::Vote;

#[cfg(test)]
mod tests;
