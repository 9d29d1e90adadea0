//! Facts about this store that must change together with its rows: row format, sequence reservation, last clean close.

use serde::{Deserialize, Serialize};

use crate::codec::Row;

/// Name of the row that holds [`MetaRow::Format`].
pub(crate) const FORMAT: &str = "format";

/// Name of the row that holds [`MetaRow::Sequence`].
pub(crate) const SEQUENCE: &str = "sequence";

/// Name of the row that holds [`MetaRow::Closed`].
pub(crate) const CLOSED: &str = "closed";

/// One fact. The first form of every variant must be readable for ever: it says which software can read the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetaRow {
    /// The format of the rows.
    Format(FormatRow),
    /// Every sequence number below `next` may have been used.
    Sequence {
        /// The first number that certainly was not.
        next: u64,
    },
    /// How often the store was closed cleanly. The last row written before a close, and compared with the manifest at
    /// the next opening: files that lost their end do not go unnoticed.
    Closed {
        /// The count.
        times: u64,
    },
}

/// The format of the rows and who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatRow {
    /// The row format that all rows have, or had before `migrating`.
    pub format: u32,
    /// The software that wrote last, for example `angel 0.1.0`.
    pub software: String,
    /// A migration that began and has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrating: Option<Migrating>,
}

/// Where a migration was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrating {
    /// The format it leads to.
    pub to: u32,
    /// The last key that it has dealt with.
    #[serde(with = "serde_bytes")]
    pub after: Vec<u8>,
}

impl Row for MetaRow {
    const VERSION: u8 = 1;
}
