//! Keeping records of spaces where they belong: judged by the rules of their collection and the plan of whoever holds the
//! space, and then written into a public repository or a room.

use angel_protocol::data::{Map, Value, cbor, record_from_json};
use angel_protocol::ids::{Did, RecordKey, RepoPath};
use angel_protocol::lexicon::Schemas;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::rules::{By, Place, Refused};
use angel_protocol::spaces::SPACE;
use angel_protocol::tenants::{Bill, Draft, Resource};
use serde_json::Value as Json;

use super::find::{Asker, Found};
use super::write::Written;
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::repos::{Action, NewRecord, Owner, RepoWrite};
use crate::tenants::Use;

impl Spaces {
    /// A record as it is to be stored: judged and completed by the rules of its collection, and as its lexicon has it.
    /// `before` is what is there now.
    pub(super) async fn judged(
        &self,
        room: Option<&SpaceUri>,
        author: &Account,
        collection: &str,
        record: Value,
        before: Option<&Map>,
    ) -> Result<Value, SpaceError> {
        let place = if room.is_some() { Place::Permissioned } else { Place::Public };
        let nsid = collection.parse().expect("collections of ours are NSIDs");
        let before = before.cloned().map(Value::Map);
        let judging = self.0.rulebook.judge(author, author.did(), (place, By::Client), &nsid, record, before.as_ref());
        let record = judging.await??;
        Schemas::builtin().record(collection).expect("collections of ours have lexicons").validate(&record)?;
        Ok(record)
    }

    /// Stores a judged record for its author where records of that space lie: in its room, or in their public repository.
    pub(super) async fn store(
        &self,
        room: Option<&SpaceUri>,
        author: &Account,
        collection: &str,
        rkey: Option<&str>,
        record: &Value,
    ) -> Result<Written, SpaceError> {
        let rkey: RecordKey = match rkey {
            Some(rkey) => rkey.parse().map_err(|_| SpaceError::Malformed("the record key is none".to_owned()))?,
            None => self.0.repos.next_tid()?.into(),
        };
        let path = RepoPath::new(collection.parse().expect("collections of ours are NSIDs"), rkey);
        let uri = format!("at://{}/{path}", author.did());
        let new = NewRecord::new(record);
        let cid = new.cid();
        match room {
            Some(room) => self.write_room(author, room, path, Some(record)).await?,
            None => {
                let owner = self.owner(author).await?;
                let write = RepoWrite { path, action: Action::Put(new), swap: None };
                self.0.repos.write(&owner, vec![write], None).await?;
            }
        }
        Ok(Written { uri, cid })
    }

    /// Whether the plan of a tenant has room for one more space, of whatever kind; its system space does not count.
    pub(super) async fn room_for_a_space(&self, holder: &Did) -> Result<(), SpaceError> {
        let Some(tenant) = self.0.tenants.find(holder) else { return Ok(()) };
        let (this, did) = (self.clone(), holder.clone());
        let held = blocking::run(move || this.spaces_held(&did)).await?;
        self.0.tenants.check_limit(tenant.did(), Use::beside(Resource::Spaces, held))?;
        self.count_call(holder)
    }

    /// Whether the plan of a tenant has the features of what is about to be written for it.
    /// Whether no other space of a tenant, of whatever kind, has the slug of `record`, which is at the key `rkey` or new
    /// (`records.md` 4.1).
    pub(super) async fn check_slug(&self, holder: &Did, rkey: Option<&str>, record: &Value) -> Result<(), SpaceError> {
        let Some(slug) = record.get("slug").and_then(Value::as_str).map(str::to_owned) else { return Ok(()) };
        if self.0.tenants.find(holder).is_none() {
            return Ok(());
        }
        let (this, did, own) = (self.clone(), holder.clone(), rkey.map(str::to_owned));
        let other = blocking::run(move || {
            let held = this.spaces_of_holder(&did)?.into_iter().map(|(_, row)| row);
            let mut others = held.filter(|row| Some(&row.rkey) != own.as_ref());
            Ok::<_, SpaceError>(others.find(|row| row.slug.eq_ignore_ascii_case(&slug)))
        });
        match other.await? {
            Some(row) => {
                Err(Refused::Taken { path: "/slug".to_owned(), other: format!("{SPACE}/{}", row.rkey) }.into())
            }
            None => Ok(()),
        }
    }

    pub(super) fn check_features(
        &self,
        holder: &Did,
        collection: &str,
        before: Option<&Map>,
        after: &Value,
    ) -> Result<(), SpaceError> {
        let Some(tenant) = self.0.tenants.find(holder) else { return Ok(()) };
        let before = before.cloned().map(Value::Map);
        let bill = Bill::of(Draft { collection, before: before.as_ref(), after }, clock::now());
        Ok(bill.check_features(&tenant.row().allowance)?)
    }

    /// Counts a call that everything else lets through towards the plan of the tenant that holds the space (USE-03).
    pub(super) fn count_call(&self, holder: &Did) -> Result<(), SpaceError> {
        Ok(self.0.tenants.check_limit(holder, Use::one(Resource::ApiCalls))?)
    }

    /// Takes a record away, wherever it lies.
    pub(super) async fn take_away(
        &self,
        room: Option<&SpaceUri>,
        author: &Account,
        path: &str,
    ) -> Result<(), SpaceError> {
        let write = removal(path)?;
        match room {
            Some(room) => self.write_room(author, room, write.path, None).await,
            None => {
                let owner = self.owner(author).await?;
                self.0.repos.write(&owner, vec![write], None).await?;
                Ok(())
            }
        }
    }

    async fn owner(&self, account: &Account) -> Result<Owner, SpaceError> {
        let key = self.0.accounts.signing_key(account.id()).await?;
        Ok(Owner { id: account.id(), did: account.did().clone(), key })
    }

    /// The account that holds spaces, if it lives here and may write.
    pub(super) async fn holder(&self, did: &Did) -> Result<Account, SpaceError> {
        let account = self.0.accounts.by_did(did).await?;
        if !self.0.tenants.takes_writes(did) {
            return Err(SpaceError::Forbidden("the tenant is not active: nothing is written for it"));
        }
        account.filter(Account::is_active).ok_or(SpaceError::HolderElsewhere)
    }

    pub(super) async fn found_by(&self, asker: &Asker, uri: &str) -> Result<Found, SpaceError> {
        let (this, uri, did) = (self.clone(), uri.to_owned(), asker.somebody()?.clone());
        blocking::run(move || this.here().find(&uri, Some(&did))).await
    }

    /// A record as it is where it lies.
    pub(super) async fn record_of(
        &self,
        room: Option<&SpaceUri>,
        account: &Account,
        collection: &str,
        rkey: &str,
    ) -> Result<Option<Map>, SpaceError> {
        let (this, account, path) = (self.clone(), account.clone(), format!("{collection}/{rkey}"));
        let room = room.cloned();
        blocking::run(move || {
            if let Some(room) = room {
                return Ok(this.room_record(&room, account.did(), &path)?.map(|(_, map)| map));
            }
            let record = this.0.repos.record_blocking(account.id(), &path)?;
            Ok(match record.and_then(|record| cbor::decode(&record.bytes).ok()) {
                Some(Value::Map(map)) => Some(map),
                _ => None,
            })
        })
        .await
    }

    /// The record of a space, complete and checked.
    pub(super) fn space_record(
        &self,
        holder: &Account,
        record: Json,
        before: Option<&Map>,
    ) -> Result<Value, SpaceError> {
        let mut record = as_map(record)?;
        if let Some(before) = before {
            let mut merged = before.clone();
            merged.extend(record);
            record = merged;
        }
        record.insert("tenant".to_owned(), Value::String(holder.did().to_string()));
        finished(SPACE, record)
    }
}

/// A record as a client sent it.
pub(super) fn as_map(record: Json) -> Result<Map, SpaceError> {
    match record_from_json(&record).map_err(|error| SpaceError::Malformed(error.to_string()))? {
        Value::Map(map) => Ok(map),
        _ => Err(SpaceError::Malformed("the record is no object".to_owned())),
    }
}

/// A record with its type and the time it was made, as its lexicon has it.
pub(super) fn finished(collection: &str, mut record: Map) -> Result<Value, SpaceError> {
    record.insert("$type".to_owned(), Value::String(collection.to_owned()));
    let now = clock::now().to_string();
    record.entry("createdAt".to_owned()).or_insert(Value::String(now));
    let record = Value::Map(record);
    Schemas::builtin().record(collection).expect("collections of ours have lexicons").validate(&record)?;
    Ok(record)
}

fn removal(path: &str) -> Result<RepoWrite, SpaceError> {
    let path = path.parse().map_err(|_| SpaceError::Malformed("the path is none".to_owned()))?;
    Ok(RepoWrite { path, action: Action::Remove, swap: None })
}
