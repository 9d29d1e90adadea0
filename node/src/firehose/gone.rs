//! Accounts that were deleted: whoever follows, from whatever cursor, hears of them that they are gone and nothing else. What
//! happened before stays in the log until it is too old for everybody, as it does for all accounts.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use angel_protocol::time::Timestamp;
use angel_storage::batch::RowRefused;
use angel_storage::events::Event;
use angel_storage::reader::ReadError;
use angel_storage::{AccountId, Batch, Reader, firehose};

use super::Entry;

/// Those deleted within the time for which events are told, and when.
#[derive(Debug)]
pub(super) struct Gone(RwLock<HashMap<AccountId, Timestamp>>);

impl Gone {
    /// Those of which the store knows.
    pub(super) fn open(reader: &Reader) -> Result<Self, ReadError> {
        Ok(Self(RwLock::new(firehose::deleted(reader)?.into_iter().collect())))
    }

    /// Learns from events, and answers whose deletion they tell.
    pub(super) fn learn(&self, events: &[Event]) -> Vec<AccountId> {
        let deletions = events.iter().filter(|event| firehose::is_deletion(event));
        let gone: Vec<_> = deletions.filter_map(|event| Some((event.account?, event.at))).collect();
        if !gone.is_empty() {
            self.0.write().unwrap_or_else(PoisonError::into_inner).extend(gone.iter().copied());
        }
        gone.into_iter().map(|(account, _)| account).collect()
    }

    /// The entries of what followers are told of these events.
    pub(super) fn entries(&self, events: &[Event]) -> Vec<Arc<Entry>> {
        let gone = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_told = |event: &&Event| {
            event.account.is_none_or(|account| !gone.contains_key(&account)) || firehose::is_deletion(event)
        };
        events.iter().filter(is_told).filter_map(Entry::of).collect()
    }

    /// Forgets those deleted before `since`: nothing that happened to them before is told any more. In a batch, whose
    /// commit the caller owes.
    pub(super) fn forget(&self, since: Timestamp) -> Result<Option<Batch>, RowRefused> {
        let mut gone = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut batch = None;
        for (account, _) in gone.extract_if(|_, at| *at < since) {
            firehose::forget_deleted(batch.get_or_insert_with(Batch::new), account)?;
        }
        Ok(batch)
    }
}
