//! How a tenant moves from its living primary to another node and, within the grace, back (`network.md` 5).
//!
//! The move is made of what is there anyway: the target becomes a standby and is copied to like any other, the switch is
//! a decided transaction that begins the next epoch, and what is left at the old node is a copy again. [`Migration`]
//! decides the order of these steps, and what is undone when one of them fails. It is the journal, too: what is stored
//! of it is enough to go on or to undo after a crash at any point. What the two nodes say to each other is in [`wire`].
//!
//! | phase | what is true while it lasts | a crash |
//! |---|---|---|
//! | precheck, snapshot | nothing has changed, or the target is becoming a standby | goes on |
//! | copy, catch up | the target is a standby, the source serves | goes on |
//! | freeze, verify | writes wait at the source, reads go on | writes go on, caught up again |
//! | cutover | the decision was asked for: writes wait until the ledger has spoken | writes wait, asked again |
//! | grace | the target serves, the source forwards and is a copy | goes on |
//! | cleanup | the source drops its copy | goes on |

mod machine;
pub mod wire;

#[cfg(test)]
mod tests;

pub use machine::{Config, Effect, End, Input, Kind, Migration, OutOfOrder, Phase, Progress, Status, Why};
