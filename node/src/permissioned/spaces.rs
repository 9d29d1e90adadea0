//! Spaces under hosted accounts: made, set, deleted; who is on the list of their members.

use angel_protocol::ids::{Did, Nsid, RecordKey};
use angel_protocol::limits::SPACE_URI_BYTES_MAX;
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::{AppAccess, Member, Policy, SpaceConfig, SpaceUri};
use angel_storage::permissioned::{self as rows, Change, Changed, MemberRow, SpaceRow};
use angel_storage::{AccountId, Batch};

use super::{Hosting, Permissioned, PermissionedError};
use crate::accounts::Account;
use crate::{blocking, clock};

/// Settings to be replaced; those not given stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Who may read.
    pub read: Option<Policy>,
    /// Whose writes count.
    pub write: Option<Policy>,
    /// With which apps.
    pub apps: Option<AppAccess>,
}

/// A page of members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPage {
    /// In the order of their DIDs.
    pub members: Vec<(Did, MemberRow)>,
    /// What to ask with for the page behind this one; `None` at the end.
    pub cursor: Option<Did>,
}

/// Rows that one step of clearing a space away takes.
const CLEAR_ROWS: usize = 1000;

/// Spaces that one step of clearing an account away takes.
const CLEAR_SPACES: usize = 100;

impl Permissioned {
    /// Makes a space under `owner`, who becomes its authority. Without a key it gets one that no other has. A deleted
    /// space may be made anew; nothing of the old one is in it.
    ///
    /// # Errors
    /// [`PermissionedError::SpaceExists`]; settings that cannot be enforced; the store fails.
    pub async fn create_space(
        &self,
        owner: &Account,
        space_type: Nsid,
        key: Option<RecordKey>,
        config: SpaceConfig,
    ) -> Result<SpaceUri, PermissionedError> {
        config.check()?;
        let key = match key {
            Some(key) => key,
            None => self.clock_after(angel_protocol::ids::Tid::MIN).next(clock::now())?.into(),
        };
        let uri = SpaceUri { authority: owner.did().clone(), space_type, key };
        if uri.to_string().len() > SPACE_URI_BYTES_MAX / 2 {
            return Err(PermissionedError::UriTooLong);
        }
        let _changing = self.shared.changing.write().await;
        let (this, owner) = (self.clone(), owner.clone());
        blocking::run(move || {
            match rows::space(&this.shared.reader, owner.id(), uri.digest())? {
                Some(row) if row.deleted_at.is_none() => return Err(PermissionedError::SpaceExists),
                Some(row) => this.clear_blocking(&owner, &row.uri)?,
                None => {}
            }
            let now = clock::now();
            let row = SpaceRow { uri: uri.clone(), config, created_at: now, deleted_at: None };
            this.put_space_blocking(&owner, &row, Change::Created)?;
            Ok(uri)
        })
        .await
    }

    /// A space that this node answers for; `None` when its authority is elsewhere.
    ///
    /// # Errors
    /// [`PermissionedError::SpaceNotFound`], [`PermissionedError::SpaceDeleted`], or the store cannot be read.
    pub async fn space(&self, space: &SpaceUri) -> Result<Option<SpaceRow>, PermissionedError> {
        let (this, space) = (self.clone(), space.clone());
        blocking::run(move || match this.hosting_blocking(&space)? {
            Hosting::Here { row, .. } => Ok(Some(row)),
            Hosting::Elsewhere => Ok(None),
        })
        .await
    }

    /// Changes the settings of a space that this node answers for.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn update_space(&self, space: &SpaceUri, change: ConfigChange) -> Result<(), PermissionedError> {
        let _changing = self.shared.changing.write().await;
        let (this, space) = (self.clone(), space.clone());
        blocking::run(move || {
            let (authority, mut row) = this.hosted_blocking(&space)?;
            let ConfigChange { read, write, apps } = change;
            row.config.read = read.unwrap_or(row.config.read);
            row.config.write = write.unwrap_or(row.config.write);
            row.config.apps = apps.unwrap_or(row.config.apps);
            row.config.check()?;
            this.put_space_blocking(&authority, &row, Change::Configured)?;
            this.revoke_others_blocking(&row)
        })
        .await?;
        self.shared.outbox.notify_one();
        Ok(())
    }

    /// Deletes a space that this node answers for, with the authority's own repository in it. Repositories of others
    /// stay theirs; nobody else reads them any more.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn delete_space(&self, space: &SpaceUri) -> Result<(), PermissionedError> {
        let _changing = self.shared.changing.write().await;
        let (this, space) = (self.clone(), space.clone());
        blocking::run(move || {
            let (authority, mut row) = this.hosted_blocking(&space)?;
            row.deleted_at = Some(clock::now());
            let mut batch = Batch::new();
            this.stage_farewell(&mut batch, &row)?;
            this.put_space_with_blocking(batch, &authority, &row, Change::Deleted)?;
            this.clear_own_blocking(&authority, &space)
        })
        .await?;
        self.shared.outbox.notify_one();
        Ok(())
    }

    /// Up to `limit` spaces under an account behind `after`, without deleted ones.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn spaces_of(
        &self,
        owner: &Account,
        after: Option<&SpaceUri>,
        limit: usize,
    ) -> Result<Vec<SpaceRow>, PermissionedError> {
        let (reader, id, mut after) = (self.shared.reader.clone(), owner.id(), after.map(SpaceUri::digest));
        blocking::run(move || {
            let mut found = Vec::new();
            loop {
                let page = rows::spaces_of(&reader, id, after, limit)?;
                after = page.last().map(|row| row.uri.digest());
                let is_last = page.len() < limit;
                found.extend(page.into_iter().filter(|row| row.deleted_at.is_none()));
                if is_last || found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        })
        .await
    }

    /// What somebody may do in a space that this node answers for, if they are on its list.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn member(&self, space: &SpaceUri, did: &Did) -> Result<Option<Member>, PermissionedError> {
        let (this, space, did) = (self.clone(), space.clone(), did.clone());
        blocking::run(move || {
            this.hosted_blocking(&space)?;
            Ok(rows::member(&this.shared.reader, space.digest(), &did)?.map(|row| row.member))
        })
        .await
    }

    /// Up to `limit` members of a space that this node answers for, behind `cursor`. The authority is none of them.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn members(
        &self,
        space: &SpaceUri,
        cursor: Option<Did>,
        limit: usize,
    ) -> Result<MemberPage, PermissionedError> {
        let (this, space) = (self.clone(), space.clone());
        blocking::run(move || {
            this.hosted_blocking(&space)?;
            let members = rows::members(&this.shared.reader, space.digest(), cursor.as_ref(), limit)?;
            let cursor = members.last().filter(|_| members.len() == limit).map(|(did, _)| did.clone());
            Ok(MemberPage { members, cursor })
        })
        .await
    }

    /// Sets what somebody may do in a space that this node answers for; `None` takes them off its list. It holds from
    /// the moment this returns.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn set_member(
        &self,
        space: &SpaceUri,
        did: &Did,
        member: Option<Member>,
    ) -> Result<(), PermissionedError> {
        self.set_members(space, vec![(did.clone(), member)]).await
    }

    /// As [`Self::set_member`], for several at once: all of it or nothing.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn set_members(
        &self,
        space: &SpaceUri,
        members: Vec<(Did, Option<Member>)>,
    ) -> Result<(), PermissionedError> {
        let _changing = self.shared.changing.write().await;
        let (this, space) = (self.clone(), space.clone());
        blocking::run(move || {
            let (authority, row) = this.hosted_blocking(&space)?;
            let (digest, now) = (space.digest(), clock::now());
            let mut batch = Batch::new();
            for (did, member) in members {
                let before = rows::member(&this.shared.reader, digest, &did)?;
                if before.map(|row| row.member) == member {
                    continue;
                }
                let since = before.map_or(now, |row| row.since);
                match member {
                    Some(member) => rows::put_member(&mut batch, digest, &did, &MemberRow { member, since })?,
                    None => rows::remove_member(&mut batch, digest, &did)?,
                }
                if row.config.decide(Access::Read, &row.uri.authority, &did, member) == Decision::No {
                    this.stage_revocation(&mut batch, &row, &did)?;
                }
                let changed = Changed { space: space.clone(), change: Change::Member(did) };
                batch.append_event(rows::changed_event(authority.id(), &changed, now)?)?;
            }
            let leave = this.shared.fence.enter_blocking(authority.id())?;
            let committed = this.shared.writer.commit(batch)?;
            leave.replicated_blocking(committed)?;
            Ok::<_, PermissionedError>(())
        })
        .await?;
        self.shared.outbox.notify_one();
        Ok(())
    }

    /// A space that this node answers for, with its authority. Blocks.
    pub(crate) fn hosted_blocking(&self, space: &SpaceUri) -> Result<(Account, SpaceRow), PermissionedError> {
        match self.hosting_blocking(space)? {
            Hosting::Here { authority, row } => Ok((authority, row)),
            Hosting::Elsewhere => Err(PermissionedError::SpaceNotFound),
        }
    }

    fn put_space_blocking(&self, authority: &Account, row: &SpaceRow, change: Change) -> Result<(), PermissionedError> {
        self.put_space_with_blocking(Batch::new(), authority, row, change)
    }

    fn put_space_with_blocking(
        &self,
        mut batch: Batch,
        authority: &Account,
        row: &SpaceRow,
        change: Change,
    ) -> Result<(), PermissionedError> {
        let leave = self.shared.fence.enter_blocking(authority.id())?;
        rows::put_space(&mut batch, authority.id(), row)?;
        let changed = Changed { space: row.uri.clone(), change };
        batch.append_event(rows::changed_event(authority.id(), &changed, clock::now())?)?;
        let committed = self.shared.writer.commit(batch)?;
        Ok(leave.replicated_blocking(committed)?)
    }

    /// Takes away all private data of an account that is gone: its spaces, and its repositories in all spaces. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn delete_all_blocking(&self, id: AccountId) -> Result<(), PermissionedError> {
        let (reader, writer) = (&self.shared.reader, &self.shared.writer);
        loop {
            let page = rows::spaces_of(reader, id, None, CLEAR_SPACES)?;
            let mut batch = Batch::new();
            for row in &page {
                while {
                    let mut batch = Batch::new();
                    let cleared = rows::stage_clear(reader, &mut batch, row.uri.digest(), CLEAR_ROWS)?;
                    writer.commit(batch)?;
                    cleared > 0
                } {}
                rows::remove_space(&mut batch, id, row.uri.digest())?;
            }
            writer.commit(batch)?;
            if page.is_empty() {
                break;
            }
        }
        loop {
            let mut batch = Batch::new();
            let removed = rows::stage_removal(reader, &mut batch, id, CLEAR_ROWS)?;
            writer.commit(batch)?;
            if removed == 0 {
                return Ok(());
            }
        }
    }

    /// Takes away what a deleted space left behind, before it is made anew: its members and its list of writers. Until
    /// then the list says who is told that the space was deleted, and who that there is none.
    fn clear_blocking(&self, authority: &Account, space: &SpaceUri) -> Result<(), PermissionedError> {
        self.revoke_all_blocking(space)?;
        loop {
            let mut batch = Batch::new();
            if rows::stage_clear(&self.shared.reader, &mut batch, space.digest(), CLEAR_ROWS)? == 0 {
                return self.clear_own_blocking(authority, space);
            }
            self.shared.writer.commit(batch)?;
        }
    }

    /// Takes away the authority's own records in a deleted space.
    fn clear_own_blocking(&self, authority: &Account, space: &SpaceUri) -> Result<(), PermissionedError> {
        let own = self.shared.slots.slot(super::repo_key(authority.id(), space));
        let mut open = own.open.blocking_lock();
        // What was handed over before is in the store once this is: nothing comes behind what is removed.
        self.shared.writer.commit(Batch::new())?;
        loop {
            let mut batch = Batch::new();
            if rows::stage_repo_removal(&self.shared.reader, &mut batch, own.key, CLEAR_ROWS)? == 0 {
                // What was held open is of the old space.
                *open = None;
                return Ok(());
            }
            self.shared.writer.commit(batch)?;
        }
    }
}
