//! The journal of moves: what is stored of each is enough to go on, or to undo it, after a crash at any point.
//!
//! A row lies at the node that moved the tenant, for as long as the tenant is known there. Nothing secret is in it.

use angel_protocol::ids::Did;
use angel_protocol::limits::{MIGRATION_LINE_BYTES_MAX, MIGRATION_LOG_MAX};
use angel_protocol::migration::Migration;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Row};
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

/// Moves by tenant and id; ids rise with time.
pub const MOVES: Table<(Did, String), MoveRow> = Table::new(TableId::Moves);

/// A move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveRow {
    /// Where it is.
    pub state: Migration,
    /// The node that began it, primary until the switch.
    pub from: Did,
    /// Where to.
    pub to: Did,
    /// Why (`records.md` 6.4): manual, load_balancing and so on.
    pub reason: String,
    /// Whether the node began it of its own accord, because it was full.
    #[serde(default)]
    pub unasked: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The epoch that it began in.
    pub epoch: u64,
    /// Part of the id of the transaction that decides it: asked twice, it is decided once.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// Whether the target became a standby for this move only.
    pub placed: bool,
    /// Since when tokens of this node counted for the account before the switch: clients keep them through the grace.
    pub tokens_from: Timestamp,
    /// The target's signed consent to become primary, once it was asked for.
    pub accepted: Option<serde_bytes::ByteBuf>,
    /// Bytes at the target.
    pub bytes: u64,
    /// Root of the tree at the source and at the target when they were compared.
    pub roots: Option<(String, String)>,
    /// What happened, the oldest first.
    pub log: Vec<Line>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// In which phase.
    pub phase: String,
    /// What, for people.
    pub text: String,
}

impl Row for MoveRow {
    const VERSION: u8 = 2;

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        match version {
            // All of those had been asked for.
            1 => codec::from_cbor(body),
            version => Err(CodecError::UnknownVersion { version }),
        }
    }
}

impl MoveRow {
    /// Adds a line; the oldest goes where there are too many.
    pub fn note(&mut self, at: Timestamp, text: impl Into<String>) {
        let mut text = text.into();
        let mut end = text.len().min(MIGRATION_LINE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        if self.log.len() >= MIGRATION_LOG_MAX {
            self.log.remove(0);
        }
        self.log.push(Line { at, phase: self.state.phase().name().to_owned(), text });
    }
}

/// A move under its tenant and id.
pub type Keyed = ((Did, String), MoveRow);

/// The moves of all tenants that are not over, at most `limit`.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn under_way(reader: &Reader, limit: usize) -> Result<Vec<Keyed>, ReadError> {
    let mut found = Vec::new();
    let mut after: Option<(Did, String)> = None;
    loop {
        let scan = reader.scan(&MOVES);
        let scan = if let Some(after) = &after { scan.after(after) } else { scan };
        let page = scan.page(500)?;
        after = page.rows.last().map(|(key, _)| key.clone());
        found.extend(page.rows.into_iter().filter(|(_, row)| !row.state.is_over()));
        if !page.more || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// When moves began that nobody had asked for, behind `after`.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn unasked_since(reader: &Reader, after: Timestamp) -> Result<Vec<Timestamp>, ReadError> {
    let (mut found, mut last) = (Vec::new(), None::<(Did, String)>);
    loop {
        let scan = reader.scan(&MOVES);
        let scan = if let Some(last) = &last { scan.after(last) } else { scan };
        let page = scan.page(500)?;
        last = page.rows.last().map(|(key, _)| key.clone());
        let wanted = page.rows.into_iter().filter(|(_, row)| row.unasked && row.created_at > after);
        found.extend(wanted.map(|(_, row)| row.created_at));
        if !page.more {
            return Ok(found);
        }
    }
}

/// The move with this id. Ids are unlikely to be shared, and whoever asks with one has it from here.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn by_id(reader: &Reader, id: &str) -> Result<Option<(Did, MoveRow)>, ReadError> {
    let mut after: Option<(Did, String)> = None;
    loop {
        let scan = reader.scan(&MOVES);
        let scan = if let Some(after) = &after { scan.after(after) } else { scan };
        let page = scan.page(500)?;
        after = page.rows.last().map(|(key, _)| key.clone());
        if let Some(((did, _), row)) = page.rows.into_iter().find(|((_, it), _)| it == id) {
            return Ok(Some((did, row)));
        }
        if !page.more {
            return Ok(None);
        }
    }
}

/// The moves of one tenant, the newest first, at most `limit`.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn of(reader: &Reader, tenant: &Did, limit: usize) -> Result<Vec<(String, MoveRow)>, ReadError> {
    let page = reader.scan(&MOVES).prefix(tenant).reverse().page(limit)?;
    Ok(page.rows.into_iter().map(|((_, id), row)| (id, row)).collect())
}

/// How the table of this module is checked by [`crate::verify`].
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::of(&MOVES)]
}

#[cfg(test)]
mod tests {
    use angel_protocol::migration::{Config, Input, Kind, Why};

    use super::*;
    use crate::batch::Batch;
    use crate::store::Store;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    fn row(over: bool) -> MoveRow {
        let mut state = Migration::new(Kind::Move, Timestamp::EPOCH);
        if over {
            let refused = Input::Prechecked(Err(Why::NoRoom));
            state.handle(Timestamp::EPOCH, &Config::default(), refused, &mut Vec::new()).expect("in order");
        }
        MoveRow {
            state,
            from: did("a"),
            to: did("b"),
            reason: "manual".to_owned(),
            unasked: false,
            created_at: Timestamp::EPOCH,
            ended_at: None,
            epoch: 1,
            nonce: [0; 16],
            placed: false,
            tokens_from: Timestamp::EPOCH,
            accepted: None,
            bytes: 0,
            roots: None,
            log: Vec::new(),
        }
    }

    #[test]
    fn what_is_under_way_is_found_and_the_newest_comes_first() {
        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        for (tenant, id, over) in [("x", "1", true), ("x", "2", false), ("y", "1", true)] {
            batch.put(&MOVES, &(did(tenant), id.to_owned()), &row(over)).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
        let open: Vec<_> = under_way(store.reader(), 10).expect("reads").into_iter().map(|(key, _)| key).collect();
        assert_eq!(open, [(did("x"), "2".to_owned())]);
        let ids: Vec<_> = of(store.reader(), &did("x"), 10).expect("reads").into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["2", "1"]);
    }

    #[test]
    fn moves_that_nobody_asked_for_are_counted_whosever_they_are() {
        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        for (tenant, unasked, at) in [("x", true, 5), ("y", true, 9), ("z", false, 9)] {
            let row = MoveRow { unasked, created_at: Timestamp::from_millis(at), ..row(true) };
            batch.put(&MOVES, &(did(tenant), "1".to_owned()), &row).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
        let since = |at| unasked_since(store.reader(), Timestamp::from_millis(at)).expect("reads").len();
        assert_eq!([since(0), since(5), since(9)], [2, 1, 0]);
    }

    #[test]
    fn a_row_from_before_nodes_moved_tenants_by_themselves_is_read() {
        let mut stored = codec::encode(&row(true)).expect("fits");
        let field = b"\x67unasked\xf4";
        let at = stored.windows(field.len()).position(|it| it == field).expect("it is there");
        stored.drain(at..at + field.len());
        // The version, and the head of a map of fewer than 24 entries.
        stored[0] = 1;
        stored[1] -= 1;
        assert_eq!(codec::decode::<MoveRow>(&stored), Ok(row(true)));
    }

    #[test]
    fn a_journal_stays_within_its_bounds() {
        let mut row = row(false);
        for number in 0..MIGRATION_LOG_MAX + 5 {
            row.note(Timestamp::EPOCH, format!("{number} {}", "ä".repeat(MIGRATION_LINE_BYTES_MAX)));
        }
        assert_eq!(row.log.len(), MIGRATION_LOG_MAX);
        assert!(row.log[0].text.starts_with("5 ") && row.log[0].text.len() <= MIGRATION_LINE_BYTES_MAX);
    }
}
