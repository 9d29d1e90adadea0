//! What the machine asks of the world.

use super::refusal::Refusal;
use crate::ids::Did;
use crate::ledger::{Outcome, Signed, TransactionId};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The transaction waits here now, or did already: answer its submitter `pending`.
    Accepted(TransactionId),
    /// It does not wait here: answer its submitter. It is not stored.
    Refused {
        /// Which.
        id: TransactionId,
        /// Why.
        refusal: Refusal,
    },
    /// Spread it. The same may be asked for again while it waits.
    Gossip(Signed),
    /// Store it under its id, so that it survives a restart; durable before its submitter is answered.
    Persist {
        /// The transaction.
        signed: Signed,
        /// Whether it was submitted at this node.
        local: bool,
        /// Its place in the order of arrival; after a restart the stored ones are submitted in this order.
        arrival: u64,
    },
    /// Delete what is stored under this id, if anything is.
    Forget(TransactionId),
    /// It will not change any more: tell whoever waits for it. Comes for every decided transaction, whether it waited
    /// here or not.
    Resolved {
        /// Which.
        id: TransactionId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Its identity has changed while it waits: admit it to the ledger again, and say [`super::Input::Unfit`] where it is
    /// refused.
    Recheck(Signed),
    /// There is something to propose where there was nothing.
    Ready,
    /// A wallet signed two transactions for one sequence number (TOK-13, `double_spend_attempt`).
    DoubleSpend {
        /// The wallet.
        wallet: Did,
        /// The one that waits.
        waiting: Signed,
        /// The one that was refused.
        refused: Signed,
    },
}
