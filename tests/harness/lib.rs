//! What scenarios are made of.
//!
//! | module | what it offers |
//! |---|---|
//! | [`binary`] | daemons as processes, on real files and real sockets |
//! | [`sim`] | many nodes in one thread, on virtual time and one seed |

pub mod binary;
pub mod sim;
