//! Copies of repositories elsewhere, in spaces that this node answers for: of what their authors wrote, the part that is
//! indexed here, and where each repository stands. A copy changes only by what was verified ([`super::puller`]); each
//! change is one batch with the event that tells of it, so an index follows copies as it follows repositories here. A copy
//! that is made as a whole is filled first and told of then, and its head is written last: one that was cut short is made
//! again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use angel_protocol::data::Block;
use angel_protocol::ids::{Did, RepoPath, Tid};
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::{Head, Op, SpaceUri};
use angel_storage::Batch;
use angel_storage::permissioned::{self as rows, Order, Repo, RepoKey, Written};
use tokio::sync::Notify;

use super::aside::Entries;
use super::{Permissioned, PermissionedError, repo_key};
use crate::clock;

/// Operations of one batch, and about how many bytes of records.
pub(super) const STEP_OPS: usize = 1000;
pub(super) const STEP_BYTES: usize = 2 * 1024 * 1024;

/// Repositories that may wait to be looked at; of more, all are looked through.
const WAITING_MAX: usize = 10_000;

/// Spaces and writers that are read at once.
const PAGE: usize = 500;

/// A repository elsewhere: in which space, and whose.
pub(super) type Elsewhere = (SpaceUri, Did);

/// Repositories elsewhere that have advanced. A hint: what is behind, the rows say.
#[derive(Default)]
pub(super) struct News {
    waiting: Mutex<Waiting>,
    told: Notify,
}

#[derive(Default)]
struct Waiting {
    repos: HashSet<Elsewhere>,
    too_many: bool,
}

impl News {
    /// One has advanced.
    pub(super) fn add(&self, space: SpaceUri, author: Did) {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.repos.len() < WAITING_MAX {
                waiting.repos.insert((space, author));
            } else {
                waiting.too_many = true;
            }
        }
        self.told.notify_one();
    }

    /// Those that wait, and whether there were more.
    pub(super) fn take(&self) -> (HashSet<Elsewhere>, bool) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        (waiting.repos, waiting.too_many)
    }

    pub(super) async fn told(&self) {
        self.told.notified().await;
    }
}

/// What is to be done to a copy at one path.
#[derive(Clone, Debug)]
pub(super) struct CopyChange {
    /// Since which revision it is so.
    pub(super) rev: Tid,
    /// What happened.
    pub(super) op: Op,
    /// The record that is there since.
    pub(super) record: Option<Block>,
}

impl Permissioned {
    /// Where the repository of `author` in `space` lies: their own here, or its copy. Blocks.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub(crate) fn repo_place_blocking(&self, space: &SpaceUri, author: &Did) -> Result<RepoKey, PermissionedError> {
        let account = self.shared.accounts.resident_blocking(author)?;
        Ok(account.map_or_else(|| RepoKey::of_copy(space, author), |account| repo_key(account.id(), space)))
    }

    /// How far the copy of a repository elsewhere is. Blocks.
    pub(super) fn copy_blocking(&self, (space, author): &Elsewhere) -> Result<Head, PermissionedError> {
        let repo = rows::repo(&self.shared.reader, RepoKey::of_copy(space, author))?;
        Ok(repo.map_or_else(Head::empty, |repo| repo.head))
    }

    /// Repositories elsewhere that were said to be further than their copies, in the spaces that `wanted` names. Blocks.
    pub(super) fn behind_blocking(
        &self,
        wanted: &dyn Fn(&SpaceUri) -> bool,
    ) -> Result<Vec<Elsewhere>, PermissionedError> {
        let (reader, accounts) = (&self.shared.reader, &self.shared.accounts);
        let (mut behind, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = accounts.page_blocking(after, PAGE)?;
            after = page.last().map(super::Account::id);
            for account in &page {
                let mut last = None;
                loop {
                    let spaces = rows::spaces_of(reader, account.id(), last, PAGE)?;
                    last = spaces.last().map(|row| row.uri.digest());
                    for row in spaces.iter().filter(|row| row.deleted_at.is_none() && wanted(&row.uri)) {
                        self.behind_in_blocking(&row.uri, &mut behind)?;
                    }
                    if spaces.len() < PAGE {
                        break;
                    }
                }
            }
            if !more {
                return Ok(behind);
            }
        }
    }

    fn behind_in_blocking(&self, space: &SpaceUri, behind: &mut Vec<Elsewhere>) -> Result<(), PermissionedError> {
        let mut after = None;
        loop {
            let writers = rows::writers(&self.shared.reader, space.digest(), after, PAGE)?;
            after = writers.last().map(|row| row.space_rev);
            for row in &writers {
                let elsewhere = (space.clone(), row.did.clone());
                if self.shared.accounts.resident_blocking(&row.did)?.is_none()
                    && self.copy_blocking(&elsewhere)?.rev < row.rev
                {
                    behind.push(elsewhere);
                }
            }
            if writers.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// The record of a copy at a path, if it is the one that is wanted. Blocks.
    pub(super) fn copied_blocking(&self, of: &Elsewhere, path: &str) -> Result<Option<Block>, PermissionedError> {
        let record = rows::record(&self.shared.reader, RepoKey::of_copy(&of.0, &of.1), path)?;
        Ok(record.map(|record| Block::new(record.cid.codec(), record.bytes)))
    }

    /// The paths of a copy. Blocks.
    pub(super) fn copied_paths_blocking(&self, of: &Elsewhere) -> Result<Vec<String>, PermissionedError> {
        let key = RepoKey::of_copy(&of.0, &of.1);
        let mut scan = rows::records(&self.shared.reader, key, "", None, Order::Ascending);
        let mut paths = Vec::new();
        while let Some(record) = scan.next_ref(STEP_OPS)? {
            paths.push(record.path.into_owned());
        }
        Ok(paths)
    }

    /// Puts records into a copy that is being made as a whole, which nobody is told of yet: see
    /// [`Self::tell_copy_blocking`]. With `is_new` there was none before. `false` when the author's writes count no longer.
    /// Blocks.
    pub(super) fn fill_copy_blocking(
        &self,
        of: &Elsewhere,
        rev: Tid,
        records: &[(String, Block)],
        is_new: bool,
    ) -> Result<bool, PermissionedError> {
        let (space, author) = of;
        let key = RepoKey::of_copy(space, author);
        let (_, row) = self.hosted_blocking(space)?;
        if self.decide_blocking(&row, Access::Write, author)? == Decision::No {
            return Ok(false);
        }
        let mut batch = if is_new { Batch::filling() } else { Batch::new() };
        for (path, record) in records {
            let before = if is_new { None } else { self.copied_blocking(of, path)? };
            rows::put_record(&mut batch, key, path, rev, record, before.map(|block| block.bytes().len()))?;
        }
        self.shared.writer.commit(batch)?;
        Ok(true)
    }

    /// Tells of everything that is in a copy which was made as a whole: of the entries of the repository's index those that
    /// `wanted` names. Blocks.
    pub(super) fn tell_copy_blocking(
        &self,
        of: &Elsewhere,
        rev: Tid,
        mut entries: Entries,
        wanted: fn(&RepoPath) -> bool,
    ) -> Result<(), PermissionedError> {
        let (space, author) = of;
        let (authority, _) = self.hosted_blocking(space)?;
        let mut batch = Batch::new();
        loop {
            let mut ops = Vec::with_capacity(STEP_OPS);
            let mut is_last = false;
            while ops.len() < STEP_OPS && !is_last {
                match entries.next_blocking()? {
                    // Every path was one when it was put aside.
                    Some((path, cid)) => {
                        let path = path.parse().ok().filter(wanted);
                        ops.extend(path.map(|path| Op { path, cid: Some(cid), prev: None }));
                    }
                    None => is_last = true,
                }
            }
            if !ops.is_empty() {
                let written = Written { space: space.clone(), author: author.clone(), rev, ops };
                batch.append_event(rows::copied_event(authority.id(), &written, clock::now())?)?;
            }
            if is_last || batch.bytes() >= STEP_BYTES {
                self.shared.writer.commit(std::mem::take(&mut batch))?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Changes a copy by what was verified, and with the last changes brings it to `head`, which they lead to. In between
    /// it holds some of the changes and the old head, from which the rest is found again. `false` when the author's
    /// writes count no longer. Blocks.
    pub(super) fn change_copy_blocking(
        &self,
        of: &Elsewhere,
        changes: Vec<CopyChange>,
        head: Option<&Head>,
    ) -> Result<bool, PermissionedError> {
        let (space, author) = of;
        let key = RepoKey::of_copy(space, author);
        let (authority, row) = self.hosted_blocking(space)?;
        if self.decide_blocking(&row, Access::Write, author)? == Decision::No {
            return Ok(false);
        }
        let mut changes = changes.into_iter().peekable();
        loop {
            let (mut batch, mut ops, mut rev) = (Batch::new(), Vec::new(), Tid::MIN);
            while ops.len() < STEP_OPS && batch.bytes() < STEP_BYTES {
                let Some(change) = changes.next() else { break };
                let path = change.op.path.to_string();
                let before = self.copied_blocking(of, &path)?.map(|block| block.bytes().len());
                match (&change.record, before) {
                    (Some(record), before) => rows::put_record(&mut batch, key, &path, change.rev, record, before)?,
                    (None, Some(before)) => rows::delete_record(&mut batch, key, &path, before)?,
                    (None, None) => {}
                }
                rev = rev.max(change.rev);
                ops.push(change.op);
            }
            let now = clock::now();
            if !ops.is_empty() {
                let written = Written { space: space.clone(), author: author.clone(), rev, ops };
                batch.append_event(rows::copied_event(authority.id(), &written, now)?)?;
            }
            let is_last = changes.peek().is_none();
            if is_last && let Some(head) = head {
                let repo = Repo {
                    space: space.clone(),
                    head: head.clone(),
                    log_from: head.rev,
                    log_ops: 0,
                    space_deleted_at: None,
                };
                rows::put_repo(&mut batch, key, &repo)?;
            }
            self.shared.writer.commit(batch)?;
            if is_last {
                return Ok(true);
            }
        }
    }
}
