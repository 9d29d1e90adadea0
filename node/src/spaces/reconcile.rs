//! The index of one account's records made what its repository says, however that came to be: after an import, a pause, a
//! deletion, or when the index is made anew.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use angel_protocol::ids::{Did, Nsid, Tid};
use angel_protocol::spaces::COLLECTIONS;
use angel_storage::AccountId;
use angel_storage::codec::Cbor;
use angel_storage::permissioned::{self, Order};
use angel_storage::spaces::{CHANNELS, MESSAGES, Place, RECORDS, SPACES};

use super::apply::{Change, Step};
use super::rooms::room_of;
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::clock;

/// Records that are gone through per step.
const STEP_RECORDS: usize = 200;

/// Accounts that are read per page.
const PAGE_ACCOUNTS: usize = 500;

impl Spaces {
    /// Goes through every account that has records of spaces: first what spaces and channels there are, then what was
    /// said in them, in the order in which it was written whoever wrote it. Holds a few dozen bytes for each record.
    /// Blocks.
    pub(super) fn reconcile_all(&self) -> Result<(), SpaceError> {
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
            all.sort_unstable();
            for part in all.chunks(STEP_RECORDS) {
                self.take_in(part, &nsid)?;
            }
        }
        self.reconcile_rooms()
    }

    /// The same for rooms: what their members wrote into permissioned repositories here. Blocks.
    fn reconcile_rooms(&self) -> Result<(), SpaceError> {
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
                break;
            }
        }
        for collection in COLLECTIONS {
            let mut all = vec![];
            for (room, did) in &rooms {
                let repo = self.0.permissioned.repo_place_blocking(room, did)?;
                let (first, end) = (format!("{collection}/"), format!("{collection}0"));
                let mut scan = permissioned::records(&self.0.reader, repo, &first, Some(&end), Order::Ascending);
                while let Some((path, record)) = scan.next(STEP_RECORDS)? {
                    all.push((record.rev, path, room, did));
                }
            }
            all.sort_unstable_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
            for part in all.chunks(STEP_RECORDS) {
                let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
                let mut step = Step::new(self);
                for (rev, path, room, did) in part {
                    let repo = self.0.permissioned.repo_place_blocking(room, did)?;
                    let Some(record) = permissioned::record(&self.0.reader, repo, path)? else { continue };
                    let at = rev.timestamp().min(clock::now());
                    if !self.is_known(&step, did, path, record.cid)? {
                        let (record, room) = (Some((record.cid, record.bytes.as_slice())), Some(*room));
                        step.change(&Change { did, path, record, room, at, sequence: 0 })?;
                    }
                }
                self.finish(step, None)?;
            }
        }
        Ok(())
    }

    /// The records of a collection of one account, by the revision that wrote each.
    fn keys_of(
        &self,
        account: AccountId,
        collection: &Nsid,
        out: &mut Vec<(Tid, AccountId, String)>,
    ) -> Result<(), SpaceError> {
        let mut cursor: Option<String> = None;
        loop {
            let page = self.0.repos.list_blocking(account, collection, STEP_RECORDS, cursor.as_deref(), true)?;
            let Some((last, _)) = page.records.last() else { return Ok(()) };
            cursor = Some(last.clone());
            out.extend(page.records.into_iter().map(|(rkey, record)| (record.rev, account, rkey)));
        }
    }

    /// Goes through the records of one account. Blocks.
    pub(super) fn reconcile(&self, did: &Did) -> Result<(), SpaceError> {
        if let Some(account) = self.0.accounts.by_did_blocking(did)? {
            for collection in COLLECTIONS {
                let nsid = collection.parse().expect("collections of ours are NSIDs");
                let mut all = vec![];
                self.keys_of(account.id(), &nsid, &mut all)?;
                all.sort_unstable();
                for part in all.chunks(STEP_RECORDS) {
                    self.take_in(part, &nsid)?;
                }
            }
        }
        self.forget_the_gone(did)
    }

    /// Takes in what is new or other than the index has it, in one step.
    fn take_in(&self, records: &[(Tid, AccountId, String)], collection: &Nsid) -> Result<(), SpaceError> {
        let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Step::new(self);
        for (rev, id, rkey) in records {
            let path = format!("{collection}/{rkey}");
            let Some(account) = self.0.accounts.by_id_blocking(*id)? else { continue };
            let Some(record) = self.0.repos.record_blocking(*id, &path)? else { continue };
            if self.is_known(&step, account.did(), &path, record.cid)? {
                continue;
            }
            // Signed by this node's key, or imported: in either case no moment to come.
            let at = rev.timestamp().min(clock::now());
            let (record, room) = (Some((record.cid, record.bytes.as_slice())), None);
            step.change(&Change { did: account.did(), path: &path, record, room, at, sequence: 0 })?;
        }
        self.finish(step, None)
    }

    /// Takes out of the index what the repository has no longer.
    fn forget_the_gone(&self, did: &Did) -> Result<(), SpaceError> {
        let account = self.0.accounts.by_did_blocking(did)?;
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
                let (Place::Space(id) | Place::Channel(id, _) | Place::Message(id, _) | Place::Reaction(id, ..)) =
                    place;
                let space = self.0.reader.get(&SPACES, &id)?;
                // What lies in a room is told of by that room.
                if space.is_some_and(|space| room_of(&space).is_none()) || account.is_none() {
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
    fn is_known(
        &self,
        step: &Step<'_>,
        did: &Did,
        path: &str,
        cid: angel_protocol::data::Cid,
    ) -> Result<bool, SpaceError> {
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
