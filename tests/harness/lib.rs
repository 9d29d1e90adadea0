//! What scenarios are made of.
//!
//! | module | what it offers |
//! |---|---|
//! | [`binary`] | daemons as processes, on real files and real sockets |
//! | [`crowd`] | many followers of a WebSocket, read by one thread |
//! | [`disks`] | a disk of its own under a directory, to be filled |
//! | [`hosts`] | several hosts on this machine, some behind routers |
//! | [`impostor`] | a peer with the key of a node that has ended |
//! | [`machine`] | a machine as busy as a scenario says |
//! | [`peers`] | what a daemon says of its peers |
//! | [`power_cut`] | a disk that loses power |
//! | [`processor`] | time on the processor |
//! | [`sim`] | many nodes on virtual time and one seed |
//! | [`storage`] | a process that writes to a store until it is killed, and what must be there then |
//! | [`tenancy`] | a tenant on three of four nodes that are killed, paused and cut off |
//! | [`village`] | whole nodes in this process |
//! | [`wait`] | waiting for what has no event of its own |

pub mod binary;
pub mod crowd;
pub mod disks;
pub mod hosts;
pub mod impostor;
pub mod machine;
pub mod peers;
pub mod power_cut;
pub mod processor;
pub mod sim;
pub mod storage;
pub mod tenancy;
pub mod validators;
pub mod village;
pub mod wait;
