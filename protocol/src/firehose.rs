//! What a host tells of its accounts: the messages of `com.atproto.sync.subscribeRepos` and the frames that carry them
//! ("Event Stream"; proposal 0006, "Sync v1.1").
//!
//! A message is encoded once, when what it tells of happens and before it has a number: [`Unnumbered`]. Giving it its
//! number is splicing a few bytes in ([`number`]). What other hosts send is read by [`Frame::decode`]; whether to
//! believe it is decided by [`verify_commit`](crate::repo::verify_commit) and
//! [`verify_sync`](crate::repo::verify_sync). Nothing here knows sockets or cursors.

mod encode;
mod frame;

#[cfg(test)]
mod tests;

pub use encode::{Unnumbered, account, commit, error_frame, identity, info_frame, number, sync};
pub use frame::{CommitBody, Frame, FrameError, Message};

/// Whether a host serves an account, and if not why ("Account Hosting", `com.atproto.sync.subscribeRepos#account`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostingStatus {
    /// It is served.
    Active,
    /// Its owner switched it off for the time being.
    Deactivated,
    /// The host switched it off for the time being.
    Suspended,
    /// The host took it down for good.
    TakenDown,
    /// It is gone from this host.
    Deleted,
}

impl HostingStatus {
    /// The word on the wire for an account that is not active.
    #[must_use]
    pub const fn inactive_word(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Deactivated => Some("deactivated"),
            Self::Suspended => Some("suspended"),
            Self::TakenDown => Some("takendown"),
            Self::Deleted => Some("deleted"),
        }
    }
}
