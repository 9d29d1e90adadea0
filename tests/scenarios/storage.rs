//! The promise of the store: what was acknowledged is there, whole, whatever happened.

mod crash;
mod damage;
mod power_cut;

/// The program that writes until it is killed.
const STORE_WRITER: &str = env!("CARGO_BIN_EXE_store-writer");

/// More batches than any child lives to write.
const ENDLESS: u64 = 1 << 40;
