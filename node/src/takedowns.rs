//! What the operator took down below the level of accounts: single records and blobs. There are few, and every read asks,
//! so all of them are held in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use angel_protocol::data::Cid;
use angel_protocol::ids::RepoPath;
use angel_storage::accounts::{TAKEDOWNS, TakedownRow, takedown_of_blob, takedown_of_record};
use angel_storage::limits::BULK_ROWS;
use angel_storage::reader::ReadError;
use angel_storage::{AccountId, Batch, Reader, Writer};

use crate::accounts::AccountError;

/// Most takedowns. An operator who needs more takes down the account.
const TAKEDOWNS_MAX: usize = 100_000;

/// The takedowns of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Takedowns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    writer: Writer,
    known: RwLock<BTreeMap<(AccountId, String), TakedownRow>>,
}

/// What is taken down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The record at this path, whatever its content.
    Record(RepoPath),
    /// A blob, whatever names it.
    Blob(Cid),
}

impl Subject {
    fn key(&self) -> String {
        match self {
            Self::Record(path) => takedown_of_record(path),
            Self::Blob(cid) => takedown_of_blob(cid),
        }
    }
}

/// Why a takedown is not kept.
#[derive(Debug, thiserror::Error)]
pub enum TakedownError {
    /// Too many.
    #[error("{TAKEDOWNS_MAX} records and blobs are taken down already; take down the account instead")]
    TooMany,
    /// The store fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Takedowns {
    /// Reads all of them. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(reader: &Reader, writer: Writer) -> Result<Self, ReadError> {
        let mut known = BTreeMap::new();
        let mut last = None;
        loop {
            let scan = reader.scan(&TAKEDOWNS);
            let page = match &last {
                Some(last) => scan.after(last).page(BULK_ROWS)?,
                None => scan.page(BULK_ROWS)?,
            };
            last = page.rows.last().map(|(key, _)| key.clone());
            known.extend(page.rows);
            if !page.more {
                return Ok(Self(Arc::new(Shared { writer, known: RwLock::new(known) })));
            }
        }
    }

    /// The takedown of a record or blob, if there is one.
    #[must_use]
    pub fn find(&self, account: AccountId, subject: &Subject) -> Option<TakedownRow> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        known.get(&(account, subject.key())).cloned()
    }

    /// Whether a record or blob is hidden from everybody.
    #[must_use]
    pub fn hides(&self, account: AccountId, subject: &Subject) -> bool {
        self.find(account, subject).is_some()
    }

    /// Takes something down, or brings it back. Blocks until that is durable.
    ///
    /// # Errors
    /// [`TakedownError`].
    pub fn set_blocking(
        &self,
        account: AccountId,
        subject: &Subject,
        takedown: Option<TakedownRow>,
    ) -> Result<(), TakedownError> {
        // Held over the write, so that memory and store agree on the last word; the operator alone gets here.
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        let key = (account, subject.key());
        let mut batch = Batch::new();
        match &takedown {
            Some(_) if known.len() >= TAKEDOWNS_MAX => return Err(TakedownError::TooMany),
            Some(row) => batch.put(&TAKEDOWNS, &key, row).map_err(AccountError::from)?,
            None => batch.delete(&TAKEDOWNS, &key).map_err(AccountError::from)?,
        }
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        match takedown {
            Some(row) => known.insert(key, row),
            None => known.remove(&key),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::time::Timestamp;
    use angel_storage::Store;

    use super::*;

    #[test]
    fn a_takedown_hides_one_subject_of_one_account_and_survives_a_restart() {
        let store = Store::in_memory().expect("starts");
        let open = || Takedowns::open(store.reader(), store.writer().clone()).expect("opens");
        let takedowns = open();
        let subject = Subject::Record("com.example.note/self".parse().expect("a path"));
        let row = TakedownRow { reference: Some("7".to_owned()), at: Timestamp::EPOCH };
        takedowns.set_blocking(AccountId(1), &subject, Some(row.clone())).expect("set");
        for takedowns in [takedowns, open()] {
            assert_eq!(takedowns.find(AccountId(1), &subject), Some(row.clone()));
            assert!(!takedowns.hides(AccountId(2), &subject));
            let other = Subject::Record("com.example.note/other".parse().expect("a path"));
            assert!(!takedowns.hides(AccountId(1), &other));
        }
        let takedowns = open();
        takedowns.set_blocking(AccountId(1), &subject, None).expect("set");
        assert!(!takedowns.hides(AccountId(1), &subject) && !open().hides(AccountId(1), &subject));
    }
}
