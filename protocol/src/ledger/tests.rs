//! Tests of the ledger as a whole: one test for every outcome, journeys, and random transactions against the auditor.

pub(crate) mod identities;
pub(crate) mod random;
pub(crate) mod world;

mod against_auditor;
mod claims;
mod encoding;
mod money;
pub(crate) mod network;
mod people;
mod prelude;
mod proofs;
