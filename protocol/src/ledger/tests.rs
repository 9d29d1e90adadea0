//! Tests of the ledger as a whole: one test for every outcome, journeys, and random transactions against the auditor.

pub(crate) mod identities;
pub(crate) mod random;
pub(crate) mod world;

mod against_auditor;
mod encoding;
mod money;
mod network;
mod people;
mod prelude;
mod proofs;
