//! What was looked up lately. It never tells of an account what was true before a change that was answered.
//!
//! A read of the store takes time, and a change may come in between. So each change moves an epoch on, and what was read
//! in an earlier epoch is not kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::crypto::SigningKey;
use angel_protocol::ids::{Did, Handle};
use angel_storage::AccountId;
use quick_cache::unsync;

use super::Account;

/// Accounts kept: as many as one node is designed for, at about 1 KB each.
const ACCOUNTS_MAX: usize = 10_000;

/// Opened signing keys kept: those of the accounts that write at the moment.
const KEYS_MAX: usize = 1024;

pub(super) struct Cache(Mutex<State>);

struct State {
    epoch: u64,
    accounts: unsync::Cache<AccountId, Account>,
    by_did: unsync::Cache<Did, AccountId>,
    by_handle: unsync::Cache<Handle, AccountId>,
    keys: unsync::Cache<AccountId, Arc<SigningKey>>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            epoch: 0,
            accounts: unsync::Cache::new(ACCOUNTS_MAX),
            by_did: unsync::Cache::new(ACCOUNTS_MAX),
            by_handle: unsync::Cache::new(ACCOUNTS_MAX),
            keys: unsync::Cache::new(KEYS_MAX),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked inside left at worst an entry out: the cache holds nothing that is nowhere else.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be taken before the store is read, and given back with what was read.
    pub(super) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    pub(super) fn by_id(&self, id: AccountId) -> Option<Account> {
        self.state().accounts.get(&id).cloned()
    }

    pub(super) fn by_did(&self, did: &Did) -> Option<Account> {
        let state = self.state();
        let id = state.by_did.get(did)?;
        // A DID keeps its number, and a number is never given out again: this entry cannot be wrong.
        state.accounts.get(id).cloned()
    }

    pub(super) fn by_handle(&self, handle: &Handle) -> Option<Account> {
        let state = self.state();
        let id = state.by_handle.get(handle)?;
        // An index entry may be older than the account's: the account decides.
        state.accounts.get(id).filter(|account| account.handle() == Some(handle)).cloned()
    }

    pub(super) fn key(&self, id: AccountId) -> Option<Arc<SigningKey>> {
        self.state().keys.get(&id).cloned()
    }

    /// An account was read from the store since `epoch`.
    pub(super) fn loaded(&self, account: &Account, epoch: u64) {
        let mut state = self.state();
        if state.epoch == epoch {
            state.insert(account);
        }
    }

    /// A signing key was read from the store since `epoch`.
    pub(super) fn key_loaded(&self, id: AccountId, key: &Arc<SigningKey>, epoch: u64) {
        let mut state = self.state();
        if state.epoch == epoch {
            state.keys.insert(id, Arc::clone(key));
        }
    }

    /// An account was changed or removed, and the change is durable. The next lookup reads it anew.
    pub(super) fn changed(&self, id: AccountId) {
        let mut state = self.state();
        state.epoch += 1;
        state.accounts.remove(&id);
        state.keys.remove(&id);
    }
}

impl State {
    fn insert(&mut self, account: &Account) {
        self.by_did.insert(account.did().clone(), account.id());
        if let Some(handle) = account.handle() {
            self.by_handle.insert(handle.clone(), account.id());
        }
        self.accounts.insert(account.id(), account.clone());
    }
}
