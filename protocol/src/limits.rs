//! Every bound of the protocol in one place, each with its reason.
//!
//! A bound that depends on the machine (connections, memory, disk) is configuration and lives in the node.

/// Longest DID accepted, in bytes. AT Protocol's DID syntax section sets 2 KiB.
pub const DID_BYTES_MAX: usize = 2048;

/// Longest network id, in bytes: it appears in every topic name and every signed message.
pub const NETWORK_ID_BYTES_MAX: usize = 63;

/// Longest node name (`nodeId`), in bytes (`records.md` 6.1).
pub const NODE_NAME_BYTES_MAX: usize = 64;

/// Longest handle, in bytes: the longest domain name that DNS carries as text.
pub const HANDLE_BYTES_MAX: usize = 253;

/// Longest NSID, in bytes: a domain name of 253, a dot and a name of 63 (AT Protocol "NSID").
pub const NSID_BYTES_MAX: usize = 317;

/// Longest record key, in bytes (AT Protocol "Record Key").
pub const RECORD_KEY_BYTES_MAX: usize = 512;

/// Longest AT URI, in bytes (AT Protocol "AT URI Scheme").
pub const AT_URI_BYTES_MAX: usize = 8192;

/// Longest URI of any scheme in a record, in bytes (AT Protocol "Lexicon", string formats).
pub const URI_BYTES_MAX: usize = 8192;

/// Longest datetime, in bytes (AT Protocol "Lexicon", string formats): the form needs 35 at nanoseconds.
pub const DATETIME_BYTES_MAX: usize = 64;

/// Longest language tag, in bytes. RFC 5646 section 4.4.1 asks for at least 35; tags in use have far fewer.
pub const LANGUAGE_BYTES_MAX: usize = 128;

/// Largest block, in bytes: the largest record that the firehose carries (AT Protocol "Repository").
pub const BLOCK_BYTES_MAX: usize = 1_000_000;

/// Deepest nesting of lists and maps in a record. Widely used relays read no deeper, so a deeper record would not
/// travel; and it bounds recursion.
pub const DATA_DEPTH_MAX: usize = 32;

/// Most elements in one list or map of a record, the bound of widely used relays.
pub const DATA_ELEMENTS_MAX: usize = 128 * 1024;

/// Largest lexicon document, in bytes. The largest published one has about 100 KB.
pub const LEXICON_DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// Most levels of types within types in a lexicon document. Published documents use three; it bounds recursion.
pub const LEXICON_NESTING_MAX: u32 = 16;

/// Largest record that a lexicon of this network describes, in bytes (`records.md` 1.5): a quarter of what a block may
/// have, so that a commit with a few of them still travels.
pub const LEXICON_RECORD_BYTES_MAX: usize = 256 * 1024;

/// Most URL parameters of one request that are read. The largest list in a published method has 100 values.
pub const XRPC_PARAMETERS_MAX: usize = 1024;
