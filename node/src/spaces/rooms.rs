//! Spaces that are not public: each is a permissioned space of type `co.kendev.spaces.room` under its holder (AT Protocol
//! proposal 0016), with the key of the space's record. The record itself, its channels, and what each member writes lie
//! in permissioned repositories of that room, never in a public one; the index takes them from the events of those
//! writes. Whom the list of the room's members lets in follows the memberships of the space.

use angel_protocol::data::{Cid, Map, Value, cbor};
use angel_protocol::ids::{Did, RecordKey, RepoPath};
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::{SpaceConfig, SpaceUri, kinds};
use angel_protocol::spaces::{MESSAGE, REACTION, Visibility};
use angel_storage::events::Event;
use angel_storage::permissioned as rows;
use angel_storage::spaces::SpaceRow;

use super::apply::{Change, Step, order_of};
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::permissioned::puller::Wanted;
use crate::permissioned::{PermissionedError, PermissionedWrite};
use crate::repos::{Action, NewRecord};

/// Records of a repository in a room that are gone through at once.
const PAGE: usize = 200;

/// The room of a space; `None` for a public one.
pub(super) fn room_of(space: &SpaceRow) -> Option<SpaceUri> {
    (space.rules.visibility != Visibility::Public).then(|| room(&space.holder, &space.rkey)).flatten()
}

/// The room under `holder` with this key.
pub(super) fn room(holder: &Did, rkey: &str) -> Option<SpaceUri> {
    Some(kinds::room().under(holder.clone(), rkey.parse().ok()?))
}

impl Step<'_> {
    /// What somebody wrote into a room.
    pub(super) fn room_event(&mut self, event: &Event) -> Result<(), SpaceError> {
        if let Some(written) = rows::written(event)? {
            if !is_room(&written.space) {
                return Ok(());
            }
            let repo = self.spaces().0.permissioned.repo_place_blocking(&written.space, &written.author)?;
            let mut ours: Vec<_> =
                written.ops.iter().filter_map(|op| Some((order_of(op.path.collection.as_str())?, op))).collect();
            ours.sort_by_key(|(order, _)| *order);
            for (_, op) in ours {
                let path = op.path.to_string();
                let record = rows::record(&self.spaces().0.reader, repo, &path)?;
                self.change(&Change {
                    did: &written.author,
                    path: &path,
                    record: record.as_ref().map(|record| (record.cid, record.bytes.as_slice())),
                    room: Some(&written.space),
                    at: event.at,
                    sequence: event.sequence,
                })?;
            }
        }
        Ok(())
    }
}

impl Spaces {
    /// Makes the room of a new space and gives it its key.
    pub(super) async fn open_room(&self, holder: &Account) -> Result<SpaceUri, SpaceError> {
        let key: RecordKey = self.0.repos.next_tid()?.into();
        let config = SpaceConfig::default();
        Ok(self.0.permissioned.create_space(holder, kinds::room().nsid().clone(), Some(key), config).await?)
    }

    /// Writes into a room.
    pub(super) async fn write_room(
        &self,
        author: &Account,
        room: &SpaceUri,
        path: RepoPath,
        record: Option<&Value>,
    ) -> Result<(), SpaceError> {
        let action = match record {
            Some(record) => Action::Put(NewRecord::new(record)),
            None => Action::Remove,
        };
        self.0.permissioned.write(author, room, vec![PermissionedWrite { path, action, swap: None }]).await?;
        Ok(())
    }

    /// A record of a room, its type with it. Blocks.
    pub(super) fn room_record(
        &self,
        room: &SpaceUri,
        author: &Did,
        path: &str,
    ) -> Result<Option<(Cid, Map)>, SpaceError> {
        let record = rows::record(&self.0.reader, self.0.permissioned.repo_place_blocking(room, author)?, path)?;
        Ok(decoded(record))
    }

    /// The rooms in which an account has a repository. Blocks.
    pub(super) fn rooms_of(&self, account: &Account) -> Result<Vec<SpaceUri>, SpaceError> {
        let mut found = vec![];
        let mut after = None;
        loop {
            let repos = rows::repos_of(&self.0.reader, account.id(), after, PAGE)?;
            let Some(last) = repos.last() else { return Ok(found) };
            after = Some(last.space.digest());
            found.extend(repos.into_iter().map(|repo| repo.space).filter(is_room));
        }
    }

    /// Those of them that this node answers for, where what the account writes counts. Blocks.
    pub(super) fn rooms_here(&self, account: &Account) -> Result<Vec<(SpaceUri, Did)>, SpaceError> {
        let permissioned = &self.0.permissioned;
        let mut here = vec![];
        for room in self.rooms_of(account)? {
            let row = match permissioned.row_blocking(&room) {
                Ok((row, false)) => row,
                Ok((_, true)) | Err(PermissionedError::SpaceNotFound) => continue,
                Err(error) => return Err(error.into()),
            };
            if permissioned.decide_blocking(&row, Access::Write, account.did())? != Decision::No {
                here.push((room, account.did().clone()));
            }
        }
        Ok(here)
    }

    /// The copies of repositories elsewhere in the rooms under an account. Blocks.
    pub(super) fn copies_under(&self, account: &Account) -> Result<Vec<(SpaceUri, Did)>, SpaceError> {
        let mut found = vec![];
        let mut after = None;
        loop {
            let rooms = rows::spaces_of(&self.0.reader, account.id(), after, PAGE)?;
            let Some(last) = rooms.last() else { return Ok(found) };
            after = Some(last.uri.digest());
            for room in rooms.iter().filter(|row| row.deleted_at.is_none() && is_room(&row.uri)) {
                let mut last = None;
                loop {
                    let writers = rows::writers(&self.0.reader, room.uri.digest(), last, PAGE)?;
                    let Some(newest) = writers.last() else { break };
                    last = Some(newest.space_rev);
                    for writer in writers {
                        if self.0.accounts.resident_blocking(&writer.did)?.is_none() {
                            found.push((room.uri.clone(), writer.did));
                        }
                    }
                }
            }
        }
    }
}

/// A record of a room with its CID.
pub(super) fn decoded(record: Option<rows::Record>) -> Option<(Cid, Map)> {
    record.and_then(|record| match cbor::decode(&record.bytes) {
        Ok(Value::Map(map)) => Some((record.cid, map)),
        _ => None,
    })
}

/// What of repositories elsewhere is copied to be indexed here.
pub(crate) const WANTED: Wanted = Wanted { space: is_room, path: |path| is_said(path.collection.as_str()) };

pub(super) fn is_room(space: &SpaceUri) -> bool {
    kinds::room().is(space)
}

/// Whether records of a collection are what members say, wherever they live: spaces and channels are held where the
/// space is.
pub(super) fn is_said(collection: &str) -> bool {
    matches!(collection, MESSAGE | REACTION)
}
