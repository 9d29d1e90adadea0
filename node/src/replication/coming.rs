//! How much all copies together may still grow by (ADR 140).
//!
//! What is whole is counted by the rows of the copies, in the store. What is on its way, and what lies here in part, is
//! counted here, for all tenants that are copied at the same time: each takes room before it takes bytes, and whatever the
//! others have taken is not there any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_storage::AccountId;

use super::ReplicationError;

/// What is coming, of all copies. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Coming(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held while rows are read or written by which room is counted, so that nothing is in both counts, or in neither. Never
    /// where requests are answered.
    counting: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that no row counts yet, by whose they are.
    coming: BTreeMap<AccountId, u64>,
    /// By how much rows have grown since the process began.
    counted: u64,
}

/// Room for one copy, as long as it takes something at a stretch.
#[derive(Clone, Debug)]
pub(super) struct Room {
    coming: Coming,
    account: AccountId,
    /// Bytes that there were for everything that is coming, when this began.
    free: u64,
    /// What rows had grown by then.
    counted: u64,
}

impl Coming {
    /// At the start: what lies here in part.
    pub(super) fn found(&self, parts: BTreeMap<AccountId, u64>) {
        self.state().coming = parts;
    }

    /// Room for the copy of `account`; `free` answers how many bytes of what is set aside no row counts, and who has a copy
    /// here. Blocks.
    pub(super) fn room_blocking<E>(
        &self,
        account: AccountId,
        free: impl FnOnce() -> Result<(u64, BTreeSet<AccountId>), E>,
    ) -> Result<Room, E> {
        let _counting = self.counting();
        let (free, copies) = free()?;
        let mut state = self.state();
        // Of a copy that was dropped nothing is coming.
        state.coming.retain(|coming, _| copies.contains(coming));
        Ok(Room { coming: self.clone(), account, free, counted: state.counted })
    }

    /// Of the copy of `account` so many bytes lie here in part, and nothing is on its way.
    pub(super) fn lies(&self, account: AccountId, parts: u64) {
        self.state().coming.insert(account, parts);
    }

    /// Bytes that are coming, but for those of one account.
    pub(super) fn except(&self, account: Option<AccountId>) -> u64 {
        let state = self.state();
        let others = state.coming.iter().filter(|(coming, _)| Some(**coming) != account);
        others.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Has rows count `bytes` that came for an account: `write` writes them, durably. Blocks.
    pub(super) fn count_blocking<T, E>(
        &self,
        account: AccountId,
        bytes: u64,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _counting = self.counting();
        let written = write()?;
        let mut state = self.state();
        state.counted = state.counted.saturating_add(bytes);
        if let Some(coming) = state.coming.get_mut(&account) {
            *coming = coming.saturating_sub(bytes);
        }
        Ok(written)
    }

    fn counting(&self) -> MutexGuard<'_, ()> {
        self.0.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Of this copy so many bytes lie here in part, and nothing is on its way.
    pub(super) fn begin(&self, parts: u64) {
        self.coming.lies(self.account, parts);
    }

    /// Bytes that could be taken now.
    pub(super) fn left(&self) -> u64 {
        self.free.saturating_sub(self.taken(&self.coming.state()))
    }

    /// What all copies have taken, of what was free.
    fn taken(&self, state: &State) -> u64 {
        let since = state.counted.saturating_sub(self.counted);
        state.coming.values().fold(since, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Takes room for what is about to come.
    pub(super) fn take(&self, bytes: u64) -> Result<(), ReplicationError> {
        let mut state = self.coming.state();
        if self.taken(&state).checked_add(bytes).is_none_or(|taken| taken > self.free) {
            return Err(ReplicationError::Quota);
        }
        let coming = state.coming.entry(self.account).or_default();
        *coming = coming.saturating_add(bytes);
        Ok(())
    }

    /// Nothing is left of so many bytes.
    pub(super) fn give_back(&self, bytes: u64) {
        if let Some(coming) = self.coming.state().coming.get_mut(&self.account) {
            *coming = coming.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);
    const EVE: AccountId = AccountId(3);

    fn room(coming: &Coming, account: AccountId, free: u64) -> Room {
        coming
            .room_blocking(account, || Ok::<_, ReplicationError>((free, BTreeSet::from([ADA, BOB]))))
            .expect("rows are read")
    }

    fn refused(taken: Result<(), ReplicationError>) -> bool {
        matches!(taken, Err(ReplicationError::Quota))
    }

    #[test]
    fn what_one_copy_takes_is_not_there_for_another() {
        let coming = Coming::default();
        // Left behind in part by an earlier process, and by a copy that is no more.
        coming.found(BTreeMap::from([(BOB, 30), (EVE, 1_000)]));
        let (ada, bob) = (room(&coming, ADA, 100), room(&coming, BOB, 100));
        ada.take(60).expect("there is room");
        assert!(refused(ada.take(11)) && refused(bob.take(11)), "70 are left less what Bob has in part");
        bob.take(10).expect("there is room");
        assert_eq!((coming.except(None), coming.except(Some(ADA))), (100, 40));
        ada.give_back(20);
        bob.take(20).expect("given back");
        assert!(refused(ada.take(1)));
        // Bob begins anew: half of what was coming lies here.
        bob.begin(30);
        ada.take(30).expect("there is room");
        assert!(refused(ada.take(u64::MAX)) && refused(bob.take(1)));
    }

    #[test]
    fn what_rows_count_is_counted_once_whoever_looks_when() {
        let coming = Coming::default();
        let early = room(&coming, BOB, 100);
        let ada = room(&coming, ADA, 100);
        ada.take(60).expect("there is room");
        coming.count_blocking(ADA, 60, || Ok::<_, ReplicationError>(())).expect("written");
        assert_eq!(coming.except(None), 0);
        assert!(refused(early.take(41)), "rows have grown since it looked");
        early.take(40).expect("there is room");
        // Who looks now finds rows that say so.
        let late = room(&coming, ADA, 40);
        assert!(refused(late.take(1)));
        early.give_back(40);
        late.take(40).expect("there is room");
    }
}
