//! The token ledger, and everything else the network decides together: who is primary of which tenant, which nodes
//! there are, who the validators are.
//!
//! A pure function: [`apply()`] takes the rows of one height and a batch and gives the rows of the next. It reads no
//! clock and no storage of its own; it never fails half way; two nodes that apply the same batches hold the same
//! bytes. Consensus decides which batch comes next and knows nothing of what is in it.
//!
//! # Map
//!
//! | where | what |
//! |---|---|
//! | [`transaction`] | what a wallet signs; ids and sequence numbers |
//! | [`action`] | the kinds of transactions; `kinds/` judges each in a file of its own |
//! | [`outcome`] | every way a transaction can end, in order of precedence |
//! | [`mod@apply`] | applying a batch, assembling one, judging one transaction ahead of time |
//! | [`transfer`] | the only place where balances change |
//! | [`rows`] | what is stored, and how to read it |
//! | [`directory`] | the identities (did:plc) that the ledger keeps, and how to read them |
//! | [`tree`], [`proof`] | the state root; proofs for those who hold only the validator set |
//! | [`certificate`], [`validators`], [`checkpoint`] | votes, who may cast them, and published roots |
//! | [`stream`] | decided heights, as followers hear of them |

//!
//! # Promises
//!
//! - No wallet spends more than it has, and of one wallet's sequence number one transaction is decided at most
//!   (CNS-S1, CNS-S2).
//! - What is posted stays; only a reversal compensates it (CNS-S3).
//! - `minted = balances + staked + released + pool` at every height (CNS-S4, TOK-15).
//! - Nodes that applied the same batches have the same root (CNS-S5).

pub mod action;
pub mod amount;
pub mod apply;
#[cfg(test)]
mod audit;
pub mod batch;
pub mod certificate;
pub mod checkpoint;
pub mod directory;
pub mod genesis;
mod kinds;
pub mod outcome;
pub mod parameters;
pub mod proof;
pub mod reputation;
pub mod rows;
pub mod signatures;
mod state;
pub mod statement;
pub mod stream;
pub mod token;
pub mod transaction;
pub mod transfer;
pub mod tree;
pub mod validators;
pub mod view;

pub use action::Action;
pub use amount::Amount;
pub use apply::{Admission, Applied, ApplyError, Entry, admit, admit_each, apply, assemble, signing_key};
pub use batch::{Batch, Header};
pub use certificate::Certificate;
pub use checkpoint::Checkpoint;
pub use genesis::Genesis;
pub use outcome::Outcome;
pub use parameters::{Parameters, Rates};
pub use proof::LedgerProof;
pub use signatures::{Recording, Remembered, Signatures, Strict, transactions_hold};
pub use token::{Balance, TokenType};
pub use transaction::{Signed, Transaction, TransactionId};
pub use validators::ValidatorSet;
pub use view::{Changes, Layered, MemoryView, View, ViewError};

#[cfg(test)]
pub(crate) mod tests;
