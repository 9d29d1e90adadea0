//! The changes of private rows, told in the event log: for every account of which other nodes hold a copy.
//!
//! The writer itself tells of them, whoever wrote the batch and why, so that nothing which is written can be forgotten:
//! whatever a batch changes of [`Nature::Private`] rows of such an account is appended to the batch as events of kind
//! [`CHANGED`], with the values, and a change of [`Nature::State`] as one of kind [`STATE`], without. Both are durable
//! with the batch or not at all, and the number of the last of them is the batch's own.
//!
//! Which accounts these are stands in rows of [`JOURNALED`]: putting one begins it, within that batch; deleting it ends it.

use std::collections::{BTreeMap, HashMap};

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Found, Nature, Owned, found, space_of};
use crate::codec::{self, Cbor, CodecError};
use crate::engine::{EngineError, Group};
use crate::events::{Event, EventKind, NewEvent};
use crate::key::{AccountId, Key};
use crate::limits::{BULK_ROWS, PAGE_BYTES_MAX};
use crate::permissioned::SpaceDigest;
use crate::reader::{ReadError, Reader};
use crate::spaces::{SPACES, SpaceId, SpaceRow};
use crate::tables::{Table, TableId};
use crate::verify::Check;

/// Private rows of an account have changed. The body is a [`Changed`].
pub const CHANGED: EventKind = EventKind(64);

/// What an account is, or how its owner logs in, has changed; how is not said.
pub const STATE: EventKind = EventKind(65);

/// Accounts whose changes are told.
pub const JOURNALED: Table<AccountId, Cbor<Did>> = Table::new(TableId::ReplicaJournaled);

/// Bytes of rows in one event, reached by the last of them.
const EVENT_ROWS_BYTES: usize = 512 * 1024;

/// What one event tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The rows, in the order of their tables and keys.
    pub rows: Vec<Change>,
    /// Whether these are all that the batch changed; else more events of it came before or follow.
    pub whole: bool,
}

/// A row as a batch left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The byte of the table.
    pub table: u8,
    /// The key of the [`super::OwnRow`].
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// Its value; nothing where it was taken away.
    pub value: Option<ByteBuf>,
}

/// The rows that an event tells of; `None` for events of other kinds.
///
/// # Errors
/// The body is not what the writer wrote.
pub fn changed(event: &Event) -> Result<Option<Changed>, CodecError> {
    if event.kind == CHANGED { decode_changed(&event.body).map(Some) } else { Ok(None) }
}

/// The rows that the body of an event of kind [`CHANGED`] tells of.
///
/// # Errors
/// The body is not what a writer writes.
pub fn decode_changed(body: &[u8]) -> Result<Changed, CodecError> {
    codec::decode::<Cbor<Changed>>(body).map(|body| body.0)
}

/// What the writer knows of the accounts whose changes it tells.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    accounts: HashMap<AccountId, Did>,
    by_did: HashMap<Did, AccountId>,
    spaces: HashMap<SpaceId, AccountId>,
    permissioned: HashMap<SpaceDigest, AccountId>,
}

#[derive(Default)]
struct Told {
    rows: Vec<Change>,
    state: bool,
}

impl Journal {
    /// As the store has it.
    pub(crate) fn load(reader: &Reader) -> Result<Self, ReadError> {
        let mut journal = Self::default();
        let mut after = None;
        loop {
            let scan = reader.scan(&JOURNALED);
            let page = match &after {
                Some(after) => scan.after(after).page(BULK_ROWS)?,
                None => scan.page(BULK_ROWS)?,
            };
            after = page.rows.last().map(|(account, _)| *account);
            for (account, Cbor(did)) in page.rows {
                journal.begin(reader, account, did)?;
            }
            if !page.more {
                return Ok(journal);
            }
        }
    }

    /// The events by which a batch tells of what it changes; `before` are the groups that are written ahead of it and
    /// cannot be read yet.
    pub(crate) fn tell(
        &mut self,
        reader: &Reader,
        before: &[Group],
        group: &Group,
    ) -> Result<Vec<NewEvent>, EngineError> {
        self.follow(reader, before, group)?;
        if self.accounts.is_empty() {
            return Ok(Vec::new());
        }
        let mut told: BTreeMap<AccountId, Told> = BTreeMap::new();
        for (key, value) in group.iter() {
            let Some((&byte, rest)) = key.split_first() else { continue };
            let Some(table) = TableId::from_byte(byte) else { continue };
            if let Some(found) = found(table, Nature::Private) {
                if let Some((account, key)) = self.owner(found, rest) {
                    let value = value.map(|value| ByteBuf::from(value.to_vec()));
                    told.entry(account).or_default().rows.push(Change { table: byte, key: key.to_vec(), value });
                }
            } else if found(table, Nature::State) == Some(Found::ByAccount)
                && let Some((account, _)) = self.owner(Found::ByAccount, rest)
            {
                told.entry(account).or_default().state = true;
            }
        }
        let mut events = Vec::new();
        let now = now();
        for (account, Told { rows, state }) in told {
            let parts = split(rows);
            let whole = parts.len() == 1;
            for rows in parts {
                events.push(event(now, account, CHANGED, &Changed { rows, whole })?);
            }
            if state {
                events.push(event(now, account, STATE, &())?);
            }
        }
        Ok(events)
    }

    fn owner<'a>(&self, found: Found, key: &'a [u8]) -> Option<(AccountId, &'a [u8])> {
        match found {
            Found::ByAccount => {
                let (account, rest) = key.split_first_chunk::<8>()?;
                let account = AccountId(u64::from_be_bytes(*account));
                self.accounts.contains_key(&account).then_some((account, rest))
            }
            Found::BySpace => space_of(key).and_then(|(space, _)| Some((*self.spaces.get(&space)?, key))),
            Found::ByPermissionedSpace => {
                key.first_chunk::<32>().and_then(|digest| Some((*self.permissioned.get(digest)?, key)))
            }
            Found::ByDid => {
                let mut rest = key;
                let did = Did::decode(&mut rest).ok()?;
                Some((*self.by_did.get(&did)?, rest))
            }
            Found::Elsewhere => None,
        }
    }

    /// Takes in which accounts and spaces a batch makes known.
    fn follow(&mut self, reader: &Reader, before: &[Group], group: &Group) -> Result<(), EngineError> {
        for (key, value) in group.iter() {
            if key.first() != Some(&TableId::ReplicaJournaled.byte()) {
                continue;
            }
            let Ok(account) = JOURNALED.decode_key(key) else { continue };
            let did = value.and_then(|value| JOURNALED.decode_value(value).ok());
            match did {
                Some(Cbor(did)) => {
                    let began = self.begin(reader, account, did);
                    began.map_err(|error| EngineError::Failed { detail: error.to_string() })?;
                    before.iter().for_each(|group| self.note_spaces(group));
                }
                None => self.end(account),
            }
        }
        if !self.accounts.is_empty() {
            self.note_spaces(group);
        }
        Ok(())
    }

    fn begin(&mut self, reader: &Reader, account: AccountId, did: Did) -> Result<(), ReadError> {
        let owned = Owned::with_did(reader, account, did)?;
        self.spaces.extend(owned.spaces.iter().map(|space| (*space, account)));
        self.permissioned.extend(owned.permissioned.iter().map(|space| (*space, account)));
        self.by_did.insert(owned.did.clone(), account);
        self.accounts.insert(account, owned.did);
        Ok(())
    }

    fn end(&mut self, account: AccountId) {
        self.accounts.remove(&account);
        self.by_did.retain(|_, owner| *owner != account);
        self.spaces.retain(|_, owner| *owner != account);
        self.permissioned.retain(|_, owner| *owner != account);
    }

    fn note_spaces(&mut self, group: &Group) {
        for (key, value) in group.iter() {
            let Some(value) = value else { continue };
            if key.first() == Some(&TableId::Spaces.byte()) {
                let Ok(space) = SPACES.decode_key(key) else { continue };
                if self.spaces.contains_key(&space) {
                    continue;
                }
                // A space of somebody else is looked at each time: it is one small row, and its holder may come later.
                let Ok(SpaceRow { holder, .. }) = SPACES.decode_value(value) else { continue };
                if let Some(account) = self.by_did.get(&holder) {
                    self.spaces.insert(space, *account);
                }
            } else if key.first() == Some(&TableId::PermissionedSpaces.byte())
                && let Some((account, rest)) = key[1..].split_first_chunk::<8>()
                && let Ok(digest) = SpaceDigest::try_from(rest)
                && self.accounts.contains_key(&AccountId(u64::from_be_bytes(*account)))
            {
                self.permissioned.insert(digest, AccountId(u64::from_be_bytes(*account)));
            }
        }
    }
}

/// Rows in parts that fit an event each; none for none.
fn split(rows: Vec<Change>) -> Vec<Vec<Change>> {
    let mut parts = Vec::new();
    let mut bytes = PAGE_BYTES_MAX;
    for row in rows {
        if bytes >= EVENT_ROWS_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += row.key.len() + row.value.as_ref().map_or(0, |value| value.len()) + 16;
        if let Some(part) = parts.last_mut() {
            part.push(row);
        }
    }
    parts
}

fn event<T: Serialize + for<'a> Deserialize<'a> + Clone>(
    now: Timestamp,
    account: AccountId,
    kind: EventKind,
    body: &T,
) -> Result<NewEvent, EngineError> {
    let failed = |detail: String| EngineError::Failed { detail };
    let body = codec::encode(&Cbor(body.clone())).map_err(|error| failed(error.to_string()))?;
    NewEvent::new(now, Some(account), kind, &body).map_err(|error| failed(error.to_string()))
}

/// The wall clock: when an event was made says how long the log keeps it.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How the rows of this module's table are checked.
pub(super) fn checks() -> Vec<Check> {
    vec![Check::of(&JOURNALED)]
}
