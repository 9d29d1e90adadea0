//! How far each reader of the event log has got: indexes, replication to each standby, outgoing notices.

use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::codec::Row;
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::tables::CURSORS;

/// Kind of reader (`index`, `standby`, …) and which one of that kind, for example a node's DID.
pub type CursorName = (String, String);

/// A cursor as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorRow {
    /// The sequence of the last event dealt with; zero before the first.
    pub sequence: u64,
    /// When that was.
    pub at: Timestamp,
}

impl Row for CursorRow {
    const VERSION: u8 = 1;
}

/// The sequence of the last event that this reader dealt with; zero when it never did.
///
/// # Errors
///
/// The engine fails, or the row cannot be read.
pub fn get(reader: &Reader, kind: &str, name: &str) -> Result<u64, ReadError> {
    Ok(reader.get(&CURSORS, &(kind.to_owned(), name.to_owned()))?.map_or(0, |row| row.sequence))
}

/// Moves a cursor. In the same batch as what the reader made of the events, so that neither is done twice or left out.
///
/// # Errors
///
/// The name is too long or the batch full.
pub fn set(batch: &mut Batch, kind: &str, name: &str, row: CursorRow) -> Result<(), RowRefused> {
    batch.put(&CURSORS, &(kind.to_owned(), name.to_owned()), &row)
}

/// Forgets a cursor: its reader is gone for good and holds back trimming no longer.
///
/// # Errors
///
/// The name is too long or the batch full.
pub fn remove(batch: &mut Batch, kind: &str, name: &str) -> Result<(), RowRefused> {
    batch.delete(&CURSORS, &(kind.to_owned(), name.to_owned()))
}

/// Up to `limit` cursors of a kind, by name.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn of_kind(reader: &Reader, kind: &str, limit: usize) -> Result<Vec<(String, CursorRow)>, ReadError> {
    let page = reader.scan(&CURSORS).prefix(&kind.to_owned()).page(limit)?;
    Ok(page.rows.into_iter().map(|((_, name), row)| (name, row)).collect())
}

/// The least sequence among all cursors but those of the kind `except`: what no reader of the log needs any more lies
/// up to there. `None` without any cursor.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn least(reader: &Reader, except: &str) -> Result<Option<u64>, ReadError> {
    let mut least = None;
    let mut last: Option<CursorName> = None;
    loop {
        let mut scan = reader.scan(&CURSORS);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        let counted = page.rows.iter().filter(|((kind, _), _)| kind != except).map(|(_, row)| row.sequence);
        least = least.into_iter().chain(counted).min();
        if !page.more {
            return Ok(least);
        }
        last = page.rows.into_iter().next_back().map(|(name, _)| name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn cursors_are_kept_by_kind_and_name() {
        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        for (kind, name, sequence) in [("standby", "did:key:b", 5), ("standby", "did:key:a", 9), ("standby2", "x", 1)] {
            set(&mut batch, kind, name, CursorRow { sequence, at: Timestamp::EPOCH }).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
        assert_eq!(get(store.reader(), "standby", "did:key:a").expect("reads"), 9);
        assert_eq!(least(store.reader(), "none").expect("reads"), Some(1));
        assert_eq!(least(store.reader(), "standby2").expect("reads"), Some(5));
        assert_eq!(get(store.reader(), "standby", "nobody").expect("reads"), 0);
        let listed = of_kind(store.reader(), "standby", 10).expect("reads");
        assert_eq!(listed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["did:key:a", "did:key:b"]);
        let mut batch = Batch::new();
        remove(&mut batch, "standby", "did:key:b").expect("fits");
        store.writer().commit(batch).expect("commits");
        assert_eq!(of_kind(store.reader(), "standby", 10).expect("reads").len(), 1);
    }
}
