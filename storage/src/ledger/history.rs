//! Movements of balances, as each account's history shows them.
//!
//! What one height moves for one account lies in one row, for an account that is paid a hundred times at a height: a new
//! row costs the engine more than its bytes. Before, each movement had a row of its own; those stay as they are, and are
//! read as rows of one.

use std::collections::HashMap;

use angel_protocol::ids::Did;
use angel_protocol::ledger::transfer::Posting;
use angel_protocol::ledger::{Amount, TransactionId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec::{self, CodecError, Row};
use crate::limits::VALUE_BYTES_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

/// Movements of one account at one height, from the number in the key on.
pub(super) const HISTORY: Table<Key, Movements> = Table::new(TableId::LedgerHistory);

/// Whose, at which height, from which movement of the height on.
pub(super) type Key = (Did, u64, u32);

/// What a movement takes in a row beside its scope, at most: numbers, the id, and their lengths.
const MOVEMENT_BYTES: usize = 80;

/// Where a movement stands in an account's history: height, and number among the movements of the height.
pub type Place = (u64, u32);

/// A movement of one balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// The transaction's id, 32 bytes.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 32],
    /// In which scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Did>,
    /// By how much, in micro-tokens.
    pub change: i64,
    /// What was there afterwards.
    pub balance: Amount,
}

/// A movement without the names of its fields, behind its distance from the number in the key.
type Entry = (u32, ByteArray<32>, Option<Did>, i64, Amount);

/// A row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Movements(Vec<Entry>);

impl Movements {
    /// About how many bytes the row has.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |(_, _, tenant, ..): &Entry| MOVEMENT_BYTES + tenant.as_ref().map_or(0, |did| did.as_str().len());
        self.0.iter().map(bytes).sum()
    }
}

impl Row for Movements {
    const VERSION: u8 = 2;

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        if version != 1 {
            return Err(CodecError::UnknownVersion { version });
        }
        let Movement { id, tenant, change, balance } = codec::from_cbor(body)?;
        Ok(Self(vec![(0, ByteArray::new(id), tenant, change, balance)]))
    }
}

/// What a height moved, in rows.
pub(super) fn rows(height: u64, postings: &[Posting]) -> Vec<(Key, Movements)> {
    let mut by_account: HashMap<&Did, Vec<(u32, &Posting)>> = HashMap::new();
    for (number, posting) in (0_u32..).zip(postings) {
        by_account.entry(&posting.account).or_default().push((number, posting));
    }
    let mut rows = Vec::with_capacity(by_account.len());
    for (account, postings) in by_account {
        let mut rest = postings.as_slice();
        while let Some((first, _)) = rest.first() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(_, posting)| {
                bytes += MOVEMENT_BYTES + posting.tenant.as_ref().map_or(0, |tenant| tenant.as_str().len());
                bytes <= VALUE_BYTES_MAX / 2
            });
            // One alone always fits.
            let (row, further) = rest.split_at(fits.count().max(1));
            let entry = |(number, posting): &(u32, &Posting)| {
                let Posting { id: TransactionId(id), tenant, change, balance, .. } = (*posting).clone();
                (number - first, ByteArray::new(id), tenant, change, balance)
            };
            rows.push(((account.clone(), height, *first), Movements(row.iter().map(entry).collect())));
            rest = further;
        }
    }
    rows
}

/// Movements of an account's balances before `before`, the newest first.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn history(
    reader: &Reader,
    account: &Did,
    before: Option<Place>,
    limit: usize,
) -> Result<Vec<(Place, Movement)>, ReadError> {
    // What is not in the table yet is newer than everything that is.
    let (late, late_from) = reader.late().movements(account, before, limit);
    let mut found = Vec::new();
    late.into_iter().for_each(|row| take(row, before, &mut found));
    let mut until = match (before, late_from) {
        // Rows that were written a moment ago may still be held.
        (Some(before), Some(from)) => Some(before.min((from, 0))),
        (before, from) => before.or(from.map(|from| (from, 0))),
    };
    while found.len() < limit {
        let mut scan = reader.scan(&HISTORY).prefix(account).reverse();
        if let Some((height, number)) = until {
            scan = scan.until(&(account.clone(), height, number));
        }
        // Most rows are small, and each holds one movement before `before` at least.
        let page = scan.page(limit - found.len())?;
        until = page.rows.last().map(|((_, height, first), _)| (*height, *first));
        page.rows.into_iter().for_each(|row| take(row, before, &mut found));
        if !page.more || until.is_none() {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Adds the movements of a row that lie before `before`, the newest first.
fn take(row: (Key, Movements), before: Option<Place>, found: &mut Vec<(Place, Movement)>) {
    let ((_, height, first), Movements(entries)) = row;
    for (distance, id, tenant, change, balance) in entries.into_iter().rev() {
        let place = (height, first.saturating_add(distance));
        if before.is_none_or(|before| place < before) {
            found.push((place, Movement { id: id.into_array(), tenant, change, balance }));
        }
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::NodeKey;

    use super::*;
    use crate::batch::Batch;
    use crate::codec::Cbor;
    use crate::store::Store;

    fn did(seed: u8) -> Did {
        NodeKey::from_seed(&[seed; 32]).did()
    }

    fn posting(account: u8, number: u32, tenant: Option<Did>) -> Posting {
        let mut id = [account; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let balance = Amount::new(u64::from(number)).expect("small");
        Posting { id: TransactionId(id), account: did(account), tenant, change: -i64::from(number), balance }
    }

    #[test]
    fn every_page_holds_what_comes_before_it_the_newest_first() {
        let store = Store::in_memory().expect("starts");
        // As an older version wrote it: each movement in a row of its own.
        const OLD: Table<(Did, u64, u32), Cbor<Movement>> = Table::new(TableId::LedgerHistory);
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for number in [0, 3, 4] {
            let Posting { id: TransactionId(id), account, tenant, change, balance } = posting(1, number, None);
            let movement = Movement { id, tenant, change, balance };
            batch.put(&OLD, &(account, 7, number), &Cbor(movement.clone())).expect("fits");
            expected.push(((7, number), movement));
        }
        for height in [8, 9] {
            let postings: Vec<_> = (0..1000)
                .map(|number| posting(1 + u8::from(number % 3 == 0), number, (number % 2 == 0).then(|| did(3))))
                .collect();
            for (key, row) in rows(height, &postings) {
                batch.put(&HISTORY, &key, &row).expect("fits");
            }
            for (number, posting) in (0..).zip(postings).filter(|(_, posting)| posting.account == did(1)) {
                let Posting { id: TransactionId(id), tenant, change, balance, .. } = posting;
                expected.push(((height, number), Movement { id, tenant, change, balance }));
            }
        }
        store.writer().commit(batch).expect("commits");
        expected.reverse();
        for limit in [1, 7, 100, 5000] {
            let mut read: Vec<(Place, Movement)> = Vec::new();
            loop {
                let before = read.last().map(|(place, _)| *place);
                let page = history(store.reader(), &did(1), before, limit).expect("reads");
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            assert_eq!(read, expected, "pages of {limit}");
        }
        assert_eq!(history(store.reader(), &did(2), None, 5000).expect("reads").len(), 2 * 334);
        assert_eq!(history(store.reader(), &did(3), None, 5000).expect("reads"), []);
    }
}
