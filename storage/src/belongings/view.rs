//! A copy of an account that another node serves, read as if it were served here: the same tables and keys, with the
//! private rows of the copy in the place of this node's own. What is no account's, this node's own store says.
//!
//! Spaces have the numbers that they have at the node they come from, and rows that are found by a DID are not shown.

use std::sync::Arc;

use super::copy::prefix;
use super::{Found, Nature, found};
use crate::engine::{Engine, EngineError, EngineStats, Group, KeyRange, Page, PageLimit};
use crate::key::{AccountId, Key};
use crate::tables::TableId;

/// An engine of which the private rows are those of one copy. Nothing is written through it.
#[derive(Debug)]
pub(crate) struct CopyView {
    inner: Arc<dyn Engine>,
    account: AccountId,
}

/// Where the rows of a table lie.
enum Lies {
    /// Where they say.
    Here,
    /// Below the first prefix are those that are asked for below the second.
    Below(Vec<u8>, Vec<u8>),
    /// In the index of records of copies: the account comes last there.
    Indexed,
    /// There are none.
    Nowhere,
}

impl CopyView {
    pub(crate) const fn new(inner: Arc<dyn Engine>, account: AccountId) -> Self {
        Self { inner, account }
    }

    fn lies(&self, first: Option<&u8>) -> Lies {
        let Some(table) = first.copied().and_then(TableId::from_byte) else { return Lies::Nowhere };
        let mut asked = vec![table.byte()];
        match found(table, Nature::Private) {
            Some(Found::ByAccount) => self.account.encode(&mut asked),
            Some(Found::BySpace | Found::ByPermissionedSpace) => {}
            Some(Found::ByDid | Found::Elsewhere) => return Lies::Nowhere,
            None if table == TableId::SpaceRecords => return Lies::Indexed,
            None if table == TableId::SpacesOfMember => return Lies::Nowhere,
            None => return Lies::Here,
        }
        let mut stored = prefix(self.account);
        stored.push(table.byte());
        Lies::Below(stored, asked)
    }
}

impl Engine for CopyView {
    fn apply(&self, _groups: &[Group]) -> Result<(), EngineError> {
        Err(EngineError::Failed { detail: "a copy is read, and written by nobody but replication".to_owned() })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.lies(key.first()) {
            Lies::Here => self.inner.get(key),
            Lies::Below(stored, asked) => match key.strip_prefix(asked.as_slice()) {
                Some(rest) => self.inner.get(&[&stored, rest].concat()),
                None => Ok(None),
            },
            Lies::Indexed => {
                let mut stored = [&[TableId::ReplicaPlaces.byte()], &key[1..]].concat();
                self.account.encode(&mut stored);
                self.inner.get(&stored)
            }
            Lies::Nowhere => Ok(None),
        }
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn page(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError> {
        match self.lies(range.start.first()) {
            Lies::Here => self.inner.page(range, reverse, limit),
            Lies::Below(stored, asked) => {
                let all = KeyRange::prefix(&stored);
                let moved = |key: &[u8]| key.strip_prefix(asked.as_slice()).map(|rest| [&stored, rest].concat());
                // A bound outside what is shown is either before all of it or behind all of it.
                let is_before = |key: &[u8]| key < asked.as_slice();
                let start = match moved(&range.start) {
                    Some(start) => start,
                    None if is_before(&range.start) => all.start,
                    None => return Ok(Page::default()),
                };
                let end = match range.end.as_deref() {
                    None => all.end,
                    Some(end) => match moved(end) {
                        Some(end) => Some(end),
                        None if is_before(end) => return Ok(Page::default()),
                        None => all.end,
                    },
                };
                let range = KeyRange { start, end };
                if range.is_empty() {
                    return Ok(Page::default());
                }
                let page = self.inner.page(&range, reverse, limit)?;
                Ok(page.with_keys(|key| [asked.as_slice(), &key[stored.len()..]].concat()))
            }
            // Records are asked for one by one.
            Lies::Indexed | Lies::Nowhere => Ok(Page::default()),
        }
    }

    fn maintain(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats, EngineError> {
        self.inner.stats()
    }

    /// The store is closed by whoever opened it.
    fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
