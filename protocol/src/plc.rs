//! did:plc: the operations of an account's identity and the rules of their log (did:plc method specification v0.1, and
//! the reference directory where the two differ).
//!
//! An operation is the same bytes in every directory, so an identity can be published to another one under the same
//! DID. What time it is comes from the caller: in this network's own directory from the ledger, so that every node
//! accepts and refuses alike.

mod admission;
mod data;
mod log;
mod operation;
mod owner;

pub use admission::{Inadmissible, admit, check_bounds};
pub(crate) use admission::{RATES, check_rate};
pub use data::{PlcData, PlcService};
pub(crate) use log::RECOVERY_WINDOW;
pub use log::{AuditEntry, InvalidAuditLog, LogEntry, LogError, PlcLog};
pub use operation::{InvalidOperation, PlcOperation, PlcStatement};
pub use owner::{Counts, NotAdded};

#[cfg(test)]
mod tests;
