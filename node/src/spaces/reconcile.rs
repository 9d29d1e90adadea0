//! The index of one account's records made what its repository says, however that came to be: after an import, a pause, a
//! deletion, or when the index is made anew.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use angel_protocol::data::{Cid, Codec};
use angel_protocol::ids::{Did, Nsid, Tid};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::spaces::{CHANNEL, COLLECTIONS, MESSAGE, SPACE, UnheardMessages};
use angel_storage::codec::Cbor;
use angel_storage::permissioned::{self, Order};
use angel_storage::spaces::{AUTHORS, CHANNELS, Heard, MESSAGES, Place, RECORDS, SPACES, all_heard, heard_record};
use angel_storage::{AccountId, Batch};

use super::apply::{Change, Step};
use super::restore::Part;
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::clock;

/// Records that are gone through per step.
const STEP_RECORDS: usize = 200;

/// Accounts that are read per page.
const PAGE_ACCOUNTS: usize = 500;

/// Where a record lies.
#[derive(Clone, Copy)]
enum Source<'r> {
    /// In the public repository of an account.
    Public(AccountId),
    /// In the repository of somebody in a room.
    Room(&'r SpaceUri, &'r Did),
    /// In the repository of an author elsewhere, as it was heard.
    Heard(&'r Heard),
}

/// A record with its author and its room.
type Located<'r> = (Did, Option<&'r SpaceUri>, Cid, Vec<u8>);

impl Spaces {
    /// Goes through everything that is of spaces: first what spaces and channels there are, then what was said in them, in
    /// the order in which it was written whoever wrote it and wherever it lies. Holds about a hundred bytes for each
    /// record. `again` when an index was lost: then it gets back what no record says. Blocks.
    pub(super) fn reconcile_all(&self, again: bool) -> Result<(), SpaceError> {
        let rooms = self.all_rooms()?;
        let heard = if again { all_heard(&self.0.reader)? } else { vec![] };
        for collection in COLLECTIONS {
            let nsid: Nsid = collection.parse().expect("collections of ours are NSIDs");
            let mut all = vec![];
            let mut after = None;
            loop {
                let ids = self.0.repos.accounts_with_blocking(&nsid, after, PAGE_ACCOUNTS)?;
                let Some(last) = ids.last() else { break };
                after = Some(*last);
                for id in &ids {
                    self.keys_of(*id, &nsid, &mut all)?;
                }
            }
            for (room, did) in &rooms {
                self.keys_in(room, did, collection, &mut all)?;
            }
            let heard = heard.iter().filter(|heard| heard.path.starts_with(collection));
            all.extend(heard.map(|heard| {
                (Tid::new(heard.at.as_millis().saturating_mul(1000), 0), heard.path.clone(), Source::Heard(heard))
            }));
            self.take_in(all, again)?;
            if again {
                match collection {
                    SPACE => self.restore(Part::People)?,
                    CHANNEL => self.restore(Part::Channels)?,
                    MESSAGE => self.restore(Part::Messages)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The permissioned repositories in rooms that are here: those of hosted accounts, and copies. Blocks.
    fn all_rooms(&self) -> Result<Vec<(SpaceUri, Did)>, SpaceError> {
        let mut rooms = vec![];
        let mut after = None;
        loop {
            let (accounts, more) = self.0.accounts.page_blocking(after, PAGE_ACCOUNTS)?;
            after = accounts.last().map(Account::id);
            for account in accounts {
                rooms.extend(self.rooms_of(&account)?.into_iter().map(|room| (room, account.did().clone())));
                rooms.extend(self.copies_under(&account)?);
            }
            if !more {
                return Ok(rooms);
            }
        }
    }

    /// Takes in what was written into rooms, by whom. Blocks.
    pub(super) fn take_in_rooms(&self, rooms: &[(SpaceUri, Did)]) -> Result<(), SpaceError> {
        for collection in COLLECTIONS {
            let mut all = vec![];
            for (room, did) in rooms {
                self.keys_in(room, did, collection, &mut all)?;
            }
            self.take_in(all, false)?;
        }
        Ok(())
    }

    /// Takes in what somebody said who was not known when they said it. Blocks.
    pub(super) fn take_in_unheard(&self, did: &Did, said: &UnheardMessages) -> Result<(), SpaceError> {
        let account = self.0.accounts.resident_blocking(did)?;
        let mut all = vec![];
        for ((room, path), sequence) in said {
            let (source, rev) = match (room, &account) {
                (Some(room), _) => {
                    let repo = self.0.permissioned.repo_place_blocking(room, did)?;
                    (Source::Room(room, did), permissioned::record(&self.0.reader, repo, path)?.map(|it| it.rev))
                }
                (None, Some(account)) => {
                    let record = self.0.repos.record_blocking(account.id(), path)?;
                    (Source::Public(account.id()), record.map(|it| it.rev))
                }
                (None, None) => {
                    self.take_in_foreign(did, *sequence)?;
                    continue;
                }
            };
            // What is gone by now was taken back.
            all.extend(rev.map(|rev| (rev, path.clone(), source)));
        }
        self.take_in(all, false)
    }

    /// The public records of a collection of one account, by the revision that wrote each.
    fn keys_of(
        &self,
        account: AccountId,
        collection: &Nsid,
        out: &mut Vec<(Tid, String, Source<'_>)>,
    ) -> Result<(), SpaceError> {
        let mut cursor: Option<String> = None;
        loop {
            let page = self.0.repos.list_blocking(account, collection, STEP_RECORDS, cursor.as_deref(), true)?;
            let Some((last, _)) = page.records.last() else { return Ok(()) };
            cursor = Some(last.clone());
            let of = |(rkey, record): (String, angel_storage::repos::Record)| {
                (record.rev, format!("{collection}/{rkey}"), Source::Public(account))
            };
            out.extend(page.records.into_iter().map(of));
        }
    }

    /// The same for what somebody wrote into a room.
    fn keys_in<'r>(
        &self,
        room: &'r SpaceUri,
        did: &'r Did,
        collection: &str,
        out: &mut Vec<(Tid, String, Source<'r>)>,
    ) -> Result<(), SpaceError> {
        let repo = self.0.permissioned.repo_place_blocking(room, did)?;
        let (first, end) = (format!("{collection}/"), format!("{collection}0"));
        let mut scan = permissioned::records(&self.0.reader, repo, &first, Some(&end), Order::Ascending);
        while let Some((path, record)) = scan.next(STEP_RECORDS)? {
            out.push((record.rev, path, Source::Room(room, did)));
        }
        Ok(())
    }

    /// Goes through the records of one account. Blocks.
    pub(super) fn reconcile(&self, did: &Did) -> Result<(), SpaceError> {
        let is_followed = self.0.reader.get(&AUTHORS, did)?.is_some();
        match self.0.accounts.by_did_blocking(did)? {
            // Whoever serves the account tells what becomes of what it said, also when what it had here is deleted.
            Some(_) if self.0.accounts.resident_blocking(did)?.is_none() => {
                self.0.strangers.send_modify(|count| *count += 1);
                return Ok(());
            }
            None if is_followed => return Ok(()),
            // They have come to live here: this node's own log tells of them from now on.
            Some(_) if is_followed => {
                let mut batch = Batch::new();
                batch.delete(&AUTHORS, did)?;
                self.0.writer.commit(batch)?;
            }
            _ => {}
        }
        if let Some(account) = self.0.accounts.resident_blocking(did)? {
            for collection in COLLECTIONS {
                let nsid = collection.parse().expect("collections of ours are NSIDs");
                let mut all = vec![];
                self.keys_of(account.id(), &nsid, &mut all)?;
                self.take_in(all, false)?;
            }
            self.take_in_rooms(&self.rooms_here(&account)?)?;
        }
        self.forget_the_gone(did)
    }

    /// Takes in what is new or other than the index has it, in the order of the revisions; when an index is made anew, each
    /// record where it first was, as far as its key says.
    fn take_in(&self, mut all: Vec<(Tid, String, Source<'_>)>, again: bool) -> Result<(), SpaceError> {
        all.sort_by_cached_key(|(rev, path, _)| {
            let key = path.rsplit('/').next().and_then(|key| key.parse::<Tid>().ok());
            (key.filter(|key| again && key < rev).unwrap_or(*rev), path.clone())
        });
        for part in all.chunks(STEP_RECORDS) {
            let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
            let mut step = Step::new(self);
            step.again = again;
            for (rev, path, source) in part {
                let Some((did, room, cid, bytes)) = self.found_at(path, *source)? else { continue };
                if !self.is_known(&step, &did, path, cid)? {
                    // Signed by this node's key, verified or imported: in either case no moment to come.
                    let at = rev.timestamp().min(clock::now());
                    let record = Some((cid, bytes.as_slice()));
                    step.change(&Change { did: &did, path, record, room, at, sequence: 0 })?;
                }
            }
            self.finish(step, None)?;
        }
        Ok(())
    }

    /// A record as it is now, with whose it is and in which room.
    fn found_at<'r>(&self, path: &str, source: Source<'r>) -> Result<Option<Located<'r>>, SpaceError> {
        match source {
            Source::Public(id) => {
                let Some(account) = self.0.accounts.by_id_blocking(id)? else { return Ok(None) };
                let record = self.0.repos.record_blocking(id, path)?;
                Ok(record.map(|record| (account.did().clone(), None, record.cid, record.bytes)))
            }
            Source::Room(room, did) => {
                let repo = self.0.permissioned.repo_place_blocking(room, did)?;
                let record = permissioned::record(&self.0.reader, repo, path)?;
                Ok(record.map(|record| (did.clone(), Some(room), record.cid, record.bytes)))
            }
            Source::Heard(heard) => {
                let bytes = heard_record(&self.0.reader, heard)?;
                let cid = Cid::of(Codec::DagCbor, &bytes);
                Ok((!bytes.is_empty()).then(|| (heard.author.clone(), None, cid, bytes)))
            }
        }
    }

    /// Takes out of the index what the repository has no longer.
    fn forget_the_gone(&self, did: &Did) -> Result<(), SpaceError> {
        let account = self.0.accounts.resident_blocking(did)?;
        let mut after: Option<(Did, String)> = None;
        loop {
            let mut scan = self.0.reader.scan(&RECORDS).prefix(did);
            if let Some(after) = &after {
                scan = scan.after(after);
            }
            let page = scan.page(STEP_RECORDS)?;
            after = page.rows.last().map(|(key, _)| key.clone());
            let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
            let mut step = Step::new(self);
            let mut paths = BTreeSet::new();
            for ((_, path), Cbor(place)) in page.rows {
                // What lies in a room is told of by that room.
                if self.room_of_place(&place)?.is_some_and(|room| room.is_none()) || account.is_none() {
                    paths.insert(path);
                }
            }
            for path in &paths {
                let is_there = match &account {
                    Some(account) => self.0.repos.record_blocking(account.id(), path)?.is_some(),
                    None => false,
                };
                if !is_there {
                    step.change(&Change { did, path, record: None, room: None, at: clock::now(), sequence: 0 })?;
                }
            }
            self.finish(step, None)?;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Whether the index has the record just so.
    fn is_known(&self, step: &Step<'_>, did: &Did, path: &str, cid: Cid) -> Result<bool, SpaceError> {
        let Some(Cbor(place)) = step.overlay.get(&RECORDS, &(did.clone(), path.to_owned()))? else { return Ok(false) };
        let found = match place {
            Place::Space(id) => step.overlay.get(&SPACES, &id)?.filter(|row| row.gone_at.is_none()).map(|row| row.cid),
            Place::Channel(id, number) => step.overlay.get(&CHANNELS, &(id, number))?.map(|row| row.cid),
            Place::Message(id, position) => step.overlay.get(&MESSAGES, &(id, position))?.map(|row| row.cid),
            // Neither the emoji nor the message of a reaction ever changes: another one is another record.
            Place::Reaction(..) => Some(cid),
        };
        Ok(found == Some(cid))
    }
}
