//! What the world tells the machine.

use std::sync::Arc;

use crate::ids::Did;
use crate::ledger::{Admission, Batch, Entry, Outcome, Signed, TransactionId};

/// Where a transaction came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Submitted at this node: it is gossiped until it is decided.
    Local,
    /// As `Local`, and whoever submitted it keeps it through a restart: it is not stored here.
    Kept,
    /// Gossiped by a peer: gossip has spread it already.
    Peer(Did),
    /// Found in storage after a restart. `local` is what [`super::Effect::Persist`] said.
    Stored {
        /// Whether it was submitted at this node.
        local: bool,
    },
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has passed. Harmless at any other time.
    Tick,
    /// A transaction that [`crate::ledger::admit`] found good.
    Submitted {
        /// The transaction.
        signed: Signed,
        /// What `admit` said.
        admission: Admission,
        /// Where it came from.
        origin: Origin,
    },
    /// A height was decided, and is durable.
    Decided {
        /// Its batch.
        batch: Arc<Batch>,
        /// What became of each transaction, in the batch's order.
        entries: Vec<Entry>,
    },
    /// Assembling a batch, or admitting it again, found that a transaction cannot be decided any more.
    Unfit {
        /// Which.
        id: TransactionId,
        /// Why.
        outcome: Outcome,
    },
}
