//! Every bound of the protocol in one place, each with its reason.
//!
//! A bound that depends on the machine (connections, memory, disk) is configuration and lives in the node.

/// Longest DID accepted, in bytes. AT Protocol's DID syntax section sets 2 KiB.
pub const DID_BYTES_MAX: usize = 2048;

/// Longest network id, in bytes: it appears in every topic name and every signed message.
pub const NETWORK_ID_BYTES_MAX: usize = 63;

/// Longest node name (`nodeId`), in bytes (`records.md` 6.1).
pub const NODE_NAME_BYTES_MAX: usize = 64;
