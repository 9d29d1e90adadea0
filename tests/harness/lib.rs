//! What scenarios are made of.
//!
//! | module | what it offers |
//! |---|---|
//! | [`binary`] | daemons as processes, on real files and real sockets |
//! | [`power_cut`] | a disk that loses power |
//! | [`sim`] | many nodes in one thread, on virtual time and one seed |
//! | [`storage`] | a process that writes to a store until it is killed, and what must be there then |

pub mod binary;
pub mod power_cut;
pub mod sim;
pub mod storage;
