//! What this node knows of the other nodes. The entry's type belongs to membership; the table is made for it here.

use angel_protocol::ids::Did;

use crate::codec::StoredValue;
use crate::tables::{Table, TableId};

/// The registry of nodes, by node DID, holding entries of the membership's choice.
#[must_use]
pub const fn table<V: StoredValue>() -> Table<Did, V> {
    Table::new(TableId::Peers)
}
