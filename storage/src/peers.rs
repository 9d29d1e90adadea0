//! What this node knows of the other nodes: one entry each, in the form that membership chooses. An entry carries a
//! signed heartbeat and a record and may be larger than a row.

use angel_protocol::ids::Did;

use crate::batch::Batch;
use crate::chunked::ChunkedTable;
use crate::events::TrimError;
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::tables::TableId;

const PEERS: ChunkedTable<Did> = ChunkedTable::new(TableId::Peers);

/// Sets the entry of a node, in the place of an earlier one. Entries have one writer, who waits for the batch before
/// it builds the next.
///
/// # Errors
///
/// The engine fails, or the entry or the batch is too large.
pub fn put(reader: &Reader, batch: &mut Batch, did: &Did, entry: &[u8]) -> Result<(), TrimError> {
    forget(reader, batch, did)?;
    Ok(PEERS.put(batch, did, entry)?)
}

/// Removes the entry of a node; removing an absent one is fine.
///
/// # Errors
///
/// The engine fails, or the batch is full.
pub fn forget(reader: &Reader, batch: &mut Batch, did: &Did) -> Result<(), TrimError> {
    PEERS.delete(reader, batch, did)
}

/// All entries, by DID. The registry is bounded, so they fit into memory.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn all(reader: &Reader) -> Result<Vec<(Did, Vec<u8>)>, ReadError> {
    let mut entries = Vec::new();
    let mut last: Option<(Did, u16)> = None;
    loop {
        let mut scan = reader.scan(&PEERS.rows());
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        for ((did, part), _) in &page.rows {
            if *part == 0
                && let Some(entry) = PEERS.get(reader, did)?
            {
                entries.push((did.clone(), entry));
            }
        }
        if !page.more {
            return Ok(entries);
        }
        last = page.rows.into_iter().next_back().map(|(key, _)| key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::VALUE_BYTES_MAX;
    use crate::store::Store;

    #[test]
    fn entries_of_any_size_are_replaced_and_forgotten() {
        let store = Store::in_memory().expect("starts");
        let did = |n: u8| format!("did:web:n{n}.example").parse::<Did>().expect("a DID");
        let set = |n: u8, bytes: usize| {
            let mut batch = Batch::new();
            put(store.reader(), &mut batch, &did(n), &vec![n; bytes]).expect("fits");
            store.writer().commit(batch).expect("commits");
        };
        set(1, VALUE_BYTES_MAX * 3);
        set(2, 10);
        set(1, 20);
        let read = || all(store.reader()).expect("reads");
        assert_eq!(read(), [(did(1), vec![1; 20]), (did(2), vec![2; 10])]);
        let mut batch = Batch::new();
        forget(store.reader(), &mut batch, &did(1)).expect("fits");
        store.writer().commit(batch).expect("commits");
        assert_eq!(read(), [(did(2), vec![2; 10])]);
    }
}
