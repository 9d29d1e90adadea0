//! Why a write is not taken here, and why placements cannot be read.

use angel_protocol::ids::Did;
use angel_storage::CommitError;
use angel_storage::batch::RowRefused;
use angel_storage::reader::ReadError;

use crate::accounts::AccountError;
use crate::ledger::LedgerError;

/// Why a write is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotWritable {
    /// Another node is primary.
    #[error("this node is not the primary of the account; {primary} is")]
    NotPrimary {
        /// Which node is.
        primary: Did,
    },
    /// It is primary as far as it knows, but others may have replaced it without its hearing of it.
    #[error(
        "too few backups of the account have confirmed this node of late, so another may be its primary by now; try again"
    )]
    Unconfirmed,
    /// It was restored from a backup, and others may have become primary of its accounts since.
    #[error("this node was restored from a backup and has not heard yet what was decided since; try again in a moment")]
    CatchingUp,
    /// It has become primary and does not serve yet.
    #[error("this node is taking the account over; try again in a moment")]
    TakingOver,
    /// It is handing the account over.
    #[error("the account is being handed over to another node; try again in a moment")]
    HandingOver,
    /// The write is safe here, but no standby has confirmed it in time.
    #[error(
        "the write is stored on this node, but no standby has confirmed it in time: it may or may not survive the loss of this machine"
    )]
    ReplicationUnavailable,
}

impl NotWritable {
    /// Whether nothing was written, and the same write may be taken in a moment.
    pub(crate) const fn passes(&self) -> bool {
        match self {
            Self::Unconfirmed | Self::CatchingUp | Self::TakingOver | Self::HandingOver => true,
            Self::NotPrimary { .. } | Self::ReplicationUnavailable => false,
        }
    }
}

/// Why placements cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The note of whose changes are told is refused.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// It is not written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}
