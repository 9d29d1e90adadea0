//! Taking a tenant over from a primary that is gone, so that nothing acknowledged is lost and nobody else goes on
//! writing (architecture, "A failover"; `network.md` 4.5 and 5.6).
//!
//! Who is primary, the ledger decides ([`crate::ledger::Action::Failover`]). Here is what comes before and after: how
//! many observers a failover needs and how many backups have to hold a write for it to be safe from one ([`quorum`]);
//! when a primary has to stop because others may have replaced it ([`Lease`]); when a standby suspects, whom it asks
//! and what it promises ([`Watch`]).
//!
//! Four rules make it safe, and the model in `tests/model.rs` breaks when one of them is taken away:
//!
//! 1. A primary writes only while so many backups have confirmed it of late that those who have not are too few to
//!    replace it. The time it counts is shorter than the silence that observers wait for.
//! 2. Whoever signs that a primary is silent confirms and follows it no more until that word has lost its force, not
//!    even after a restart. So what it signed about its copy stays true.
//! 3. A write counts as replicated once so many standbys have it that every set of observers has one of them; and the
//!    most advanced of the observers is the one that takes over.
//! 4. Only a standby whose copy was whole in the present epoch takes over: what it held of an earlier one may lack what
//!    the primary of this one began with.
//!
//! Nothing here signs, sends or looks at a clock. Durations come from a clock that never goes back.

mod lease;
pub mod quorum;
mod watch;

#[cfg(test)]
mod tests;

pub use lease::Lease;
pub use watch::{Config, Effect, Hosts, Input, Poll, Promise, Suspicion, Watch};
