//! Spaces that are not public: each is a permissioned space of type `co.kendev.spaces.room` under its holder (AT Protocol
//! proposal 0016), with the key of the space's record. The record itself, its channels, and what each member writes lie
//! in permissioned repositories of that room, never in a public one; the index takes them from the events of those
//! writes. Whom the list of the room's members lets in follows the memberships of the space.

use angel_protocol::data::{Cid, Map, Value, cbor};
use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::permissioned::{Member, SpaceConfig, SpaceUri};
use angel_protocol::spaces::{COLLECTIONS, Visibility};
use angel_storage::events::Event;
use angel_storage::permissioned::{self as rows, RepoKey};
use angel_storage::spaces::SpaceRow;

use super::apply::{Change, Step};
use super::{SpaceError, Spaces};
use crate::accounts::Account;
use crate::permissioned::PermissionedWrite;
use crate::repos::{Action, NewRecord};

/// The type of a space's room.
pub(super) const ROOM: &str = "co.kendev.spaces.room";

/// Records of a repository in a room that are gone through at once.
const PAGE: usize = 200;

/// The room of a space; `None` for a public one.
pub(super) fn room_of(space: &SpaceRow) -> Option<SpaceUri> {
    (space.rules.visibility != Visibility::Public).then(|| room(&space.holder, &space.rkey)).flatten()
}

/// The room under `holder` with this key.
pub(super) fn room(holder: &Did, rkey: &str) -> Option<SpaceUri> {
    Some(SpaceUri { authority: holder.clone(), space_type: kind(), key: rkey.parse().ok()? })
}

fn kind() -> Nsid {
    ROOM.parse().expect("a type of ours is an NSID")
}

impl Step<'_> {
    /// What somebody wrote into a room.
    pub(super) fn room_event(&mut self, event: &Event) -> Result<(), SpaceError> {
        if let Some(written) = rows::written(event)? {
            if written.space.space_type.as_str() != ROOM {
                return Ok(());
            }
            let Some(account) = self.spaces().0.accounts.by_did_blocking(&written.author)? else { return Ok(()) };
            let repo = RepoKey { account: account.id(), space: written.space.digest() };
            for op in &written.ops {
                if !COLLECTIONS.contains(&op.path.collection.as_str()) {
                    continue;
                }
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
        Ok(self.0.permissioned.create_space(holder, kind(), Some(key), config).await?)
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

    /// Lets somebody into a room, or out of it: out first, before anything tells of it.
    pub(super) async fn let_in(&self, space: &SpaceRow, did: &Did, is_in: bool) -> Result<(), SpaceError> {
        let Some(room) = room_of(space).filter(|room| room.authority != *did) else { return Ok(()) };
        let member = is_in.then_some(Member { read: true, write: true });
        Ok(self.0.permissioned.set_member(&room, did, member).await?)
    }

    /// A record of a room, its type with it. Blocks.
    pub(super) fn room_record(
        &self,
        room: &SpaceUri,
        author: &Did,
        path: &str,
    ) -> Result<Option<(Cid, Map)>, SpaceError> {
        let Some(account) = self.0.accounts.by_did_blocking(author)? else { return Ok(None) };
        let record = rows::record(&self.0.reader, RepoKey { account: account.id(), space: room.digest() }, path)?;
        Ok(record.and_then(|record| match cbor::decode(&record.bytes) {
            Ok(Value::Map(map)) => Some((record.cid, map)),
            _ => None,
        }))
    }

    /// Takes the rooms of an account into the index: as the permissioned repositories have them. Blocks.
    pub(super) fn rooms_of(&self, account: &Account) -> Result<Vec<SpaceUri>, SpaceError> {
        let mut found = vec![];
        let mut after = None;
        loop {
            let repos = rows::repos_of(&self.0.reader, account.id(), after, PAGE)?;
            let Some(last) = repos.last() else { return Ok(found) };
            after = Some(last.space.digest());
            found.extend(repos.into_iter().map(|repo| repo.space).filter(|space| space.space_type.as_str() == ROOM));
        }
    }
}
