//! The orders and leads of the businesses on this node, the answers to their forms, what is known about their customers, the
//! recognitions of their people, and the figures of their other records. They are for certain people, so they lie in the tenant's own
//! permissioned space, its workspace; the tenant's account is their author, and whoever asks for a change is looked at
//! by the methods that lead here.
//!
//! What step follows which and what is computed, `angel_protocol::business` and the table of rules say. Here it is
//! looked up, taken from the stock, written in one piece, and nothing is told: whoever follows the event log tells of it
//! ([`crate::spaces::announcer`]), but for what no record says by itself.

pub(crate) mod customers;
pub(crate) mod due;
mod error;
mod figures;
mod follow;
mod forms;
mod karma;
mod leads;
mod names;
mod orders;
mod scores;
mod stock;
mod terms;

use std::sync::Arc;

use angel_protocol::data::{Cid, Map, Value, cbor};
use angel_protocol::ids::{AtIdentifier, AtUri, Did, Nsid, RecordKey, RepoPath, Tid};
use angel_protocol::lexicon::Schemas;
use angel_protocol::rules::{By, Place};
use angel_storage::{Reader, Writer};
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::accounts::{Account, Accounts};
use crate::mail::Mail;
use crate::permissioned::{Permissioned, PermissionedWrite};
use crate::repos::{Action, NewRecord, Repos, Swap};
use crate::spaces::Spaces;
use crate::tenants::{Rulebook, Tenant, Tenants, workspace};
use crate::webhooks::Webhooks;

use due::Hints;
pub(crate) use error::BusinessError;
use figures::Remembered;
use terms::Growth;

pub(crate) use figures::Figured;
pub(crate) use forms::NewSubmission;
pub(crate) use karma::NewRecognition;
pub(crate) use leads::{LeadFilter, NewActivity};
pub(crate) use orders::{NewLine, NewOrder, OrderFilter, Revenue};

/// Locks under which what is counted is changed, one for many tenants.
const LOCKS: usize = 64;

/// Orders and leads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Business(Arc<Shared>);

struct Shared {
    accounts: Accounts,
    repos: Repos,
    permissioned: Permissioned,
    tenants: Tenants,
    rulebook: Rulebook,
    spaces: Spaces,
    mail: Mail,
    /// Where answers to forms are sent.
    webhooks: Webhooks,
    /// How often forms were seen.
    views: forms::Views,
    /// To whom letters about answers went.
    mailed: forms::Mailed,
    /// How the revenue of tenants grew.
    growth: Growth,
    /// What was counted for figures.
    counted: Remembered,
    /// What was written that may fall due.
    hints: Hints,
    reader: Reader,
    writer: Writer,
    /// The newest event whose customers are up to date.
    followed: watch::Sender<u64>,
    /// A number, a stock, an address that nobody else has: looked at first and then written, under one of these.
    locks: Vec<Mutex<()>>,
}

/// What they are made of.
pub(crate) struct Parts {
    pub(crate) accounts: Accounts,
    pub(crate) repos: Repos,
    pub(crate) permissioned: Permissioned,
    pub(crate) tenants: Tenants,
    pub(crate) rulebook: Rulebook,
    pub(crate) spaces: Spaces,
    pub(crate) mail: Mail,
    pub(crate) webhooks: Webhooks,
    pub(crate) store: (Reader, Writer),
}

/// A record of a business.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where it is.
    pub(crate) path: RepoPath,
    /// Its hash.
    pub(crate) cid: Cid,
    /// What it says.
    pub(crate) record: Map,
}

/// A record that is to be written, and what it takes the place of.
type Change = (RepoPath, Map, Option<Cid>);

/// A page of such records, the newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    /// What was found.
    pub(crate) entries: Vec<Entry>,
    /// What to ask with for those behind.
    pub(crate) cursor: Option<String>,
}

/// Records that one call looks at to find those that are asked for. Behind them, the cursor leads on.
const LOOKED_AT_MAX: usize = 2000;

/// Records that are read at once.
const PAGE: usize = 100;

impl Business {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { accounts, repos, permissioned, tenants, rulebook, spaces, mail, webhooks, store } = parts;
        let (reader, writer) = store;
        let views = forms::Views::new(reader.clone(), writer.clone());
        Self(Arc::new(Shared {
            accounts,
            repos,
            permissioned,
            tenants,
            rulebook,
            spaces,
            mail,
            webhooks,
            views,
            mailed: forms::Mailed::default(),
            growth: Growth::default(),
            counted: Remembered::default(),
            hints: Hints::new(),
            reader,
            writer,
            followed: watch::Sender::new(0),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
        }))
    }

    async fn turn(&self, tenant: &Tenant) -> MutexGuard<'_, ()> {
        let place = usize::try_from(tenant.id().0 % LOCKS as u64).unwrap_or(0);
        self.0.locks[place].lock().await
    }

    /// The account of a tenant that takes writes.
    async fn account(&self, tenant: &Tenant) -> Result<Account, BusinessError> {
        if !self.0.tenants.takes_writes(tenant.did()) {
            return Err(BusinessError::Closed(tenant.status()));
        }
        let account = self.0.accounts.by_did(tenant.did()).await?;
        account.filter(Account::is_active).ok_or(BusinessError::Closed(tenant.status()))
    }

    /// A record of the workspace.
    async fn entry(&self, tenant: &Did, path: &RepoPath) -> Result<Option<Entry>, BusinessError> {
        let found = self.0.permissioned.read(&workspace(tenant), tenant, path).await?;
        Ok(found.and_then(|record| entry(path.clone(), record.cid, &record.bytes)))
    }

    /// Records of a collection that `wanted` lets through, the newest first, behind the key `cursor`.
    async fn entries(
        &self,
        tenant: &Did,
        collection: &str,
        cursor: Option<RecordKey>,
        limit: usize,
        wanted: impl Fn(&Map) -> bool,
    ) -> Result<Entries, BusinessError> {
        let (space, nsid) = (workspace(tenant), nsid(collection));
        let mut page = Entries::default();
        let mut at = cursor.map(|rkey| format!("{collection}/{rkey}"));
        let mut looked_at = 0;
        loop {
            let found = self.0.permissioned.list(&space, tenant, Some(&nsid), at, PAGE, false).await?;
            looked_at += found.records.len();
            for listed in found.records {
                let rkey = listed.path.rkey.to_string();
                let Some(entry) = entry(listed.path, listed.record.cid, &listed.record.bytes) else { continue };
                if wanted(&entry.record) {
                    page.entries.push(entry);
                }
                if page.entries.len() == limit {
                    page.cursor = Some(rkey);
                    return Ok(page);
                }
            }
            at = found.cursor;
            match &at {
                None => return Ok(page),
                Some(path) if looked_at >= LOOKED_AT_MAX => {
                    page.cursor = path.rsplit('/').next().map(str::to_owned);
                    return Ok(page);
                }
                Some(_) => {}
            }
        }
    }

    /// A record as it is to be written: judged and completed by the rules of its collection, and as its lexicon has it.
    async fn judged(
        &self,
        account: &Account,
        by: &Did,
        collection: &str,
        mut record: Map,
        before: Option<&Map>,
    ) -> Result<Map, BusinessError> {
        record.insert("$type".to_owned(), Value::String(collection.to_owned()));
        let before = before.cloned().map(Value::Map);
        let (how, collection_id) = ((Place::Permissioned, By::Procedure), nsid(collection));
        let record = Value::Map(record);
        let judging = self.0.rulebook.judge(account, by, how, &collection_id, record, before.as_ref());
        let record = judging.await??;
        Schemas::builtin().record(collection).expect("collections of ours have lexicons").validate(&record)?;
        match record {
            Value::Map(record) => Ok(record),
            _ => Err(BusinessError::Malformed("a record is an object".to_owned())),
        }
    }

    /// Writes records of the workspace in one piece, each only if it is still as it was read. Answers with them.
    async fn write(&self, account: &Account, changes: Vec<Change>) -> Result<Vec<Entry>, BusinessError> {
        let mut writes = vec![];
        let mut entries = vec![];
        for (path, record, before) in changes {
            let new = NewRecord::new(&Value::Map(record.clone()));
            entries.push(Entry { path: path.clone(), cid: new.cid(), record });
            let swap = before.map_or(Swap::Absent, Swap::Record);
            writes.push(PermissionedWrite { path, action: Action::Put(new), swap: Some(swap) });
        }
        self.0.permissioned.write(account, &workspace(account.did()), writes).await?;
        self.0.hints.tell(account.did(), entries.iter().map(|entry| &entry.path));
        Ok(entries)
    }

    /// A key for a new record, greater than that of the newest one: records are listed by their keys, and those made on
    /// another node may bear a later time.
    fn next_key(&self, newest: Option<&Entry>) -> Result<RecordKey, BusinessError> {
        let next = self.0.repos.next_tid()?;
        let last = newest.and_then(|entry| entry.path.rkey.as_str().parse::<Tid>().ok());
        Ok(match last {
            Some(last) if last >= next => Tid::new(last.micros().saturating_add(1), next.clock_id()).into(),
            _ => next.into(),
        })
    }
}

fn entry(path: RepoPath, cid: Cid, bytes: &[u8]) -> Option<Entry> {
    match cbor::decode(bytes) {
        Ok(Value::Map(record)) => Some(Entry { path, cid, record }),
        _ => None,
    }
}

fn nsid(collection: &str) -> Nsid {
    collection.parse().expect("collections of ours are NSIDs")
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

/// Where a record of a tenant is: of which tenant, and its path.
pub(crate) fn address(uri: &str, collection: &str) -> Option<(Did, RepoPath)> {
    let uri: AtUri = uri.parse().ok()?;
    let path = uri.path().filter(|path| path.collection.as_str() == collection)?;
    match uri.authority() {
        AtIdentifier::Did(did) => Some((did.clone(), path)),
        AtIdentifier::Handle(_) => None,
    }
}
