//! Where a tree node lies: apart, if a recent commit wrote it, or among all the others.
//!
//! Each commit writes the nodes from the root down to what it changes, and supersedes those that the commit before it
//! wrote there. Digests are in no order, so among the nodes of a large repository each of these rows would be on a page of
//! its own that no cache holds. The few that recent commits wrote lie on a few pages that are always at hand. Most go again
//! before they are ever moved; [`settle`] moves those that stay, many at a time.

use std::collections::HashSet;

use angel_protocol::data::{Cid, Codec};

use super::rows::{NodeRow, NodeView};
use super::{Contents, FRESH_NODES, NODES};
use crate::batch::Batch;
use crate::codec::CodecError;
use crate::engine::PageLimit;
use crate::events::TrimError;
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX};
use crate::reader::{ReadError, Reader, hex};

/// Most nodes that one batch moves.
pub const SETTLED_NODES_MAX: usize = 1024;

/// Bytes of nodes after which a batch moves no more.
const SETTLED_BYTES_MAX: usize = 1024 * 1024;

/// Rows read at a time.
const PAGE_ROWS: usize = 512;

/// Where a node lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Apart: a recent commit wrote it.
    Fresh,
    /// Among the others.
    Settled,
}

/// Where a node lies that is stored.
///
/// # Errors
/// The engine fails.
pub fn place(reader: &Reader, contents: Contents, cid: Cid) -> Result<Place, ReadError> {
    let is_fresh = reader.contains(&FRESH_NODES, &(contents, *cid.digest(), 0))?;
    Ok(if is_fresh { Place::Fresh } else { Place::Settled })
}

/// Adds to `batch` that fresh nodes are moved among the others, all but those in `except`: what is about to go, and what
/// other batches change that are on their way. Answers which. Moves at most [`SETTLED_NODES_MAX`], none if the batch is half
/// full, and none that has more than one row, of which honest trees have none.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn settle(
    reader: &Reader,
    batch: &mut Batch,
    contents: Contents,
    except: &HashSet<Cid>,
) -> Result<Vec<Cid>, TrimError> {
    let mut settled = Vec::new();
    if batch.bytes() > BATCH_BYTES_MAX / 2 || batch.rows() > BATCH_ROWS_MAX / 2 {
        return Ok(settled);
    }
    let mut bytes = 0;
    let mut range = FRESH_NODES.prefix(&contents);
    loop {
        let page = reader.rows(&range, false, PageLimit::rows(PAGE_ROWS)).map_err(ReadError::from)?;
        for (key, stored) in page.rows() {
            let failed = |source| ReadError::Row { table: FRESH_NODES.id(), key: hex(key), source };
            let place = FRESH_NODES.decode_key(key).map_err(|error| CodecError::Decode { detail: error.to_string() });
            let place = place.map_err(failed)?;
            let cid = Cid::from_digest(Codec::DagCbor, place.1);
            let is_whole = matches!(NodeRow::view(stored).map_err(failed)?, NodeView::First { parts: 1, .. });
            if !is_whole || except.contains(&cid) {
                continue;
            }
            if settled.len() >= SETTLED_NODES_MAX || bytes + stored.len() > SETTLED_BYTES_MAX {
                return Ok(settled);
            }
            bytes += stored.len();
            batch.put_stored(NODES.id(), NODES.key(&place), stored.to_vec())?;
            batch.delete(&FRESH_NODES, &place)?;
            settled.push(cid);
        }
        match page.last_key() {
            Some(last) if page.more => range = range.beyond(last, false),
            _ => return Ok(settled),
        }
    }
}
