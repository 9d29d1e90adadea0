//! Fuzz targets: what comes from outside, bent at random, and what must hold whatever it is.
//!
//! As tests they run for a second each. With `BOLERO_RANDOM_TEST_TIME_MS` they run as long as one likes
//! (`scripts/soak fuzz`), and under `cargo bolero test` an engine that sees coverage guides them. A failure prints the
//! seed that repeats it.
//!
//! Random bytes alone rarely come past the first check, so most targets bend something valid: the input is a list of
//! changes to it.

mod bend;
mod lexicons;
mod permissioned;
mod repositories;
mod values;
