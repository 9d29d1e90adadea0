//! Changes of repositories, row by row, into a batch.

use angel_protocol::data::Block;
use angel_protocol::ids::Tid;
use angel_protocol::permissioned::Op;

use super::{INDEX, OPS, OpRow, RECORDS, REPOS, Repo, RepoKey, RepoRow, number, revision};
use crate::batch::{Batch, RowRefused};
use crate::codec::Raw;
use crate::events::TrimError;
use crate::key::AccountId;
use crate::reader::Reader;
use crate::records;

/// Sets where a repository stands.
///
/// # Errors
/// The batch is full.
pub fn put_repo(batch: &mut Batch, key: RepoKey, repo: &Repo) -> Result<(), RowRefused> {
    let row = RepoRow {
        space: repo.space.clone(),
        rev: repo.head.rev,
        hash: repo.head.hash.to_bytes(),
        records: repo.head.records,
        log_from: repo.log_from,
        log_ops: repo.log_ops,
        space_deleted_at: repo.space_deleted_at,
    };
    batch.put(&REPOS, &key, &row)
}

/// Takes away where a repository stands: what is left of it is no repository.
///
/// # Errors
/// The batch is full.
pub fn remove_repo(batch: &mut Batch, key: RepoKey) -> Result<(), RowRefused> {
    batch.delete(&REPOS, &key)
}

/// Sets the record at `path`. `before` is the length in bytes of the record that was there. A copy has no index: nobody asks
/// for it as a whole.
///
/// # Errors
/// The batch is full. It may then hold a part of the record: drop it.
pub fn put_record(
    batch: &mut Batch,
    repo: RepoKey,
    path: &str,
    rev: Tid,
    record: &Block,
    before: Option<usize>,
) -> Result<(), RowRefused> {
    records::stage_put(batch, &RECORDS, repo, path, rev, record, before)?;
    if repo.is_copy() {
        return Ok(());
    }
    batch.put(&INDEX, &(repo, length(path), path.to_owned()), &Raw(record.cid().digest().to_vec()))
}

/// Removes the record at `path`, which has `bytes` bytes.
///
/// # Errors
/// The batch is full. It may then remove a part of the record: drop it.
pub fn delete_record(batch: &mut Batch, repo: RepoKey, path: &str, bytes: usize) -> Result<(), RowRefused> {
    records::stage_delete(batch, &RECORDS, repo, path, bytes)?;
    if repo.is_copy() {
        return Ok(());
    }
    batch.delete(&INDEX, &(repo, length(path), path.to_owned()))
}

/// Adds the `n`th operation of a revision to the log.
///
/// # Errors
/// The batch is full.
pub fn put_op(batch: &mut Batch, repo: RepoKey, rev: Tid, n: u16, op: &Op) -> Result<(), RowRefused> {
    let row = OpRow { path: op.path.clone(), cid: op.cid, prev: op.prev };
    batch.put(&OPS, &(repo, number(rev), n), &row)
}

/// Adds the removal of at least `count` operations from the old end of the log, whole revisions of them. Answers after
/// which revision the log begins then, and how many operations go; `None` when there is nothing.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn trim_ops(
    reader: &Reader,
    batch: &mut Batch,
    repo: RepoKey,
    count: usize,
) -> Result<Option<(Tid, u64)>, TrimError> {
    // A revision has at most some hundred operations, so the page holds the last one whole.
    let rows = reader.scan(&OPS).prefix(&repo).page(count + 1000)?.rows;
    let Some(((_, end, _), _)) = rows.get(count.saturating_sub(1)) else { return Ok(None) };
    let gone: Vec<_> = rows.iter().map(|(key, _)| key).take_while(|(_, rev, _)| rev <= end).collect();
    gone.iter().try_for_each(|key| batch.delete(&OPS, key))?;
    Ok(Some((revision(*end), gone.len() as u64)))
}

/// Adds the removal of up to about `limit` rows of each kind of the private records of an account that is gone; answers
/// how many. Call it until it answers zero.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_removal(reader: &Reader, batch: &mut Batch, account: AccountId, limit: usize) -> Result<usize, TrimError> {
    let first = RepoKey { account, space: [0; 32] };
    let end = RepoKey { account: AccountId(account.0.saturating_add(1)), space: [0; 32] };
    stage_range_removal(reader, batch, first, end, limit)
}

/// As [`stage_removal`], for one repository.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_repo_removal(reader: &Reader, batch: &mut Batch, repo: RepoKey, limit: usize) -> Result<usize, TrimError> {
    let mut end = repo;
    for byte in end.space.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            break;
        }
    }
    if end.space == [0; 32] {
        end.account = AccountId(repo.account.0.saturating_add(1));
    }
    stage_range_removal(reader, batch, repo, end, limit)
}

fn stage_range_removal(
    reader: &Reader,
    batch: &mut Batch,
    first: RepoKey,
    end: RepoKey,
    limit: usize,
) -> Result<usize, TrimError> {
    let records = reader.scan(&RECORDS).from(&(first, String::new(), 0)).until(&(end, String::new(), 0)).page(limit)?;
    records.rows.iter().try_for_each(|(key, _)| batch.delete(&RECORDS, key))?;
    let index = reader.scan(&INDEX).from(&(first, 0, String::new())).until(&(end, 0, String::new())).page(limit)?;
    index.rows.iter().try_for_each(|(key, _)| batch.delete(&INDEX, key))?;
    let ops = reader.scan(&OPS).from(&(first, 0, 0)).until(&(end, 0, 0)).page(limit)?;
    ops.rows.iter().try_for_each(|(key, _)| batch.delete(&OPS, key))?;
    let repos = reader.scan(&REPOS).from(&first).until(&end).page(limit)?;
    repos.rows.iter().try_for_each(|(key, _)| batch.delete(&REPOS, key))?;
    Ok(records.rows.len() + index.rows.len() + ops.rows.len() + repos.rows.len())
}

/// The length of a path, ahead of it in the index.
pub(super) fn length(path: &str) -> u16 {
    u16::try_from(path.len()).unwrap_or(u16::MAX)
}
