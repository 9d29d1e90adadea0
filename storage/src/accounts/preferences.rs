//! What apps keep for an account (`app.bsky.actor.getPreferences`): one JSON array of objects, larger than a row at
//! times.

use crate::chunked::ChunkedTable;
use crate::key::AccountId;
use crate::tables::TableId;

/// Preferences by account, as JSON.
pub const PREFERENCES: ChunkedTable<AccountId> = ChunkedTable::new(TableId::Preferences);
