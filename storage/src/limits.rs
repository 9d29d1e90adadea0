//! Every bound of the store, each with its reason.

use angel_protocol::limits::FIREHOSE_MESSAGE_BYTES_MAX;

/// Longest encoded key, in bytes, the table byte included.
///
/// sled keeps up to 257 keys in one inner page and spills a page above a quarter of a 2 MiB segment into a file that it
/// never syncs. 257 keys of this length stay below that; so does every key of our tables.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest stored value, in bytes, the version byte included. Larger values are split ([`crate::chunked`]) or are files.
///
/// sled keeps up to 17 rows in one leaf page; 17 rows of this length and [`KEY_BYTES_MAX`] stay below a quarter of a
/// 2 MiB segment, above which the page would spill into a file that it never syncs.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Most rows one batch may change. Bounds the time for which one batch can hold up the others. A full batch of the
/// ledger, 2,000 transactions, changes about 25,000 rows and pages of its tree, and must be written as one.
pub const BATCH_ROWS_MAX: usize = 65_536;

/// Most bytes (keys and values) one batch may carry. A repository commit may be 2 MB on the wire and is stored twice,
/// as rows and as the event that tells of it; as much again leaves room for its indexes.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most preconditions of one batch: each costs a read in the writer, which serves everybody.
pub const BATCH_EXPECTATIONS_MAX: usize = 1024;

/// Most events of one batch.
pub const BATCH_EVENTS_MAX: usize = 256;

/// Largest event, in bytes: a `#commit` of the firehose carries its blocks, so that a frame of any age can be sent again
/// as it was.
pub const EVENT_BYTES_MAX: usize = FIREHOSE_MESSAGE_BYTES_MAX;

/// Largest value split over several rows, in bytes. AT Protocol accepts records, and therefore blocks, up to 1 MB.
pub const CHUNKED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Batches that share one flush. More would make the first of them wait for long without making the disk any faster.
pub const FLUSH_BATCHES_MAX: usize = 512;

/// Bytes that share one flush, unless one batch alone is larger.
pub const FLUSH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Batches that may wait for the writer before a submitter hears `Busy` or has to wait.
pub const QUEUE_BATCHES_MAX: usize = 4096;

/// Bytes that may wait for the writer before a submitter hears `Busy` or has to wait.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most rows of one page.
pub const PAGE_ROWS_MAX: usize = 10_000;

/// Bytes after which a page ends early. At least one row is always returned.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Rows that a migration, a copy or a check handles at a time: large enough to amortise a flush, small enough that
/// progress shows and a crash loses little.
pub const BULK_ROWS: usize = 2_000;

/// Sequence numbers reserved at a time. After an unclean stop the numbers of a started reservation are skipped, so that
/// none is used twice even if the engine lost its last rows. 2^53 numbers (the largest that JSON readers keep exact)
/// would last for 2^37 unclean stops.
pub const SEQUENCE_STRIDE: u64 = 65_536;

/// The largest sequence number ever assigned: the largest integer that every JSON reader keeps exact.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;
