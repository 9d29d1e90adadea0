//! Which rows of a store make a store of one account alone, from which it is restored like from any other backup.
//!
//! What others can make anew, what ends with the node, and what this node alone decided is not among them, takedowns
//! apart. That the account holds its files is told by its own rows: nobody else's are looked at.

use std::collections::BTreeSet;

use angel_protocol::data::Cid;

use super::StoredRow;
use crate::accounts::ACCOUNTS_BY_DID;
use crate::belongings::{Nature, Owned, tables};
use crate::blobs;
use crate::engine::KeyRange;
use crate::key::{AccountId, Key};
use crate::node_meta::{FORMAT, SEQUENCE};
use crate::tables::{NODE_META, TableId};

/// The account's rows, and the two that say what kind of store it is: ranges that do not meet, in the order of keys.
pub(super) fn ranges(owned: &Owned) -> Vec<KeyRange> {
    let one = |key: Vec<u8>| KeyRange { end: Some([key.as_slice(), &[0]].concat()), start: key };
    let mut ranges = vec![
        one(NODE_META.key(&FORMAT.to_owned())),
        one(NODE_META.key(&SEQUENCE.to_owned())),
        one(ACCOUNTS_BY_DID.key(&owned.did)),
    ];
    let kinds = [Nature::State, Nature::Public, Nature::Private];
    for table in kinds.into_iter().flat_map(tables).chain([TableId::Takedowns]) {
        ranges.extend(owned.prefixes(table).into_iter().map(|(prefix, _)| KeyRange::prefix(&prefix)));
    }
    ranges.sort_unstable_by(|a, b| a.start.cmp(&b.start));
    ranges
}

/// The rows that say who holds a file, made of those that say which files an account has. A store has them by file, so that
/// an account's cannot be found without reading everybody's.
#[derive(Debug, Default)]
pub struct Holders {
    found: BTreeSet<Cid>,
}

impl Holders {
    /// Looks at the next row of the account, in the order of keys; answers the rows that come before it.
    pub fn before(&mut self, key: &[u8], account: AccountId) -> Vec<StoredRow> {
        let Some((table, rest)) = key.split_first() else { return Vec::new() };
        if *table == TableId::Blobs.byte() {
            let mut prefix = Vec::new();
            account.encode(&mut prefix);
            self.found.extend(rest.strip_prefix(prefix.as_slice()).and_then(|cid| Cid::from_bytes(cid).ok()));
        }
        if *table > TableId::BlobHolders.byte() { self.rest(account) } else { Vec::new() }
    }

    /// Those that are left behind the last row.
    pub fn rest(&mut self, account: AccountId) -> Vec<StoredRow> {
        let mut rows: Vec<_> =
            std::mem::take(&mut self.found).into_iter().map(|cid| blobs::holder_row(account, cid)).collect();
        rows.sort_unstable();
        rows
    }
}
