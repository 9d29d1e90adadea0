//! Why a transaction does not wait here.

use std::time::Duration;

/// Why a transaction does not wait here. What the ledger itself would refuse never comes this far: see
/// [`crate::ledger::Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no room.
    #[error("too many transactions are waiting; try again in {} s", retry_after.as_secs())]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The wallet has as many waiting as it may.
    #[error("the wallet has {waiting} transactions waiting; wait until some are decided")]
    WalletFull {
        /// How many wait.
        waiting: usize,
    },
    /// As many operations on the identity wait as may.
    #[error("the identity has {waiting} operations waiting; wait until some are decided")]
    IdentityFull {
        /// How many wait.
        waiting: usize,
    },
    /// Too many numbers are missing between the wallet's next and this one.
    #[error("the wallet's next sequence number is {next}; this one is too far ahead")]
    TooFarAhead {
        /// The next number.
        next: u64,
    },
    /// The wallet was decided further in the meantime.
    #[error("the wallet has used this sequence number; the next is {next}")]
    SequencePassed {
        /// The next number.
        next: u64,
    },
    /// Another transaction of the wallet waits with this number. The first one stays.
    #[error("another transaction of the wallet waits with this sequence number")]
    SequenceTaken,
    /// Another transaction waits under this id.
    #[error("another transaction waits under this id; choose a new nonce")]
    IdTaken,
    /// Its time has passed.
    #[error("the transaction has expired; sign a new one")]
    Expired,
}
