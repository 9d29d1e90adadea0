//! A whole repository as a CAR file, piece by piece, while its author goes on writing.
//!
//! The index comes ahead of the records, and its CID ahead of everything. So it is made first, under the lock of the
//! repository's writer and into a file without a name when it is not small, and with it the commit. From then on records
//! that are superseded are kept in memory until the last export has ended; there are few, for private records are
//! seldom rewritten, and when there are many the export breaks off. Memory does not depend on the repository's size.

use std::path::Path;
use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::wire::car::{self, IndexWriter};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_storage::Reader;
use angel_storage::permissioned::{self as rows, Order, Record, RecordScan, RepoKey};
use tokio::sync::OwnedSemaphorePermit;

use super::aside::{Aside, Entries, Index};
use super::slots::Slot;
use super::{Permissioned, PermissionedError, repo_key};
use crate::accounts::Account;
use crate::blocking;

/// Bytes of one piece.
const PIECE_BYTES: usize = 256 * 1024;

/// Index rows read at a time.
const INDEX_ROWS: usize = 2000;

/// Records read ahead at a time.
const AHEAD_ROWS: usize = 256;

/// Records of other lengths that are passed over before reading one by one is cheaper.
const SKIP_MAX: usize = 64;

/// Exports that may be under way at once: each has a file open, and may have a few mebibytes of records kept.
pub(super) const EXPORTS_MAX: usize = 16;

/// An export under way.
pub(crate) struct Export {
    reader: Reader,
    slot: Arc<Slot>,
    /// What comes ahead of the index.
    start: Vec<u8>,
    /// The index, gone through once more for the records.
    entries: Entries,
    /// How much of the index was sent.
    sent: u64,
    ahead: Ahead,
    /// Superseded records are kept as long as this lives.
    _turn: Turn,
    _room: OwnedSemaphorePermit,
}

struct Turn(Arc<Slot>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.end_export();
    }
}

impl Permissioned {
    /// Begins an export of an account's repository in `space`.
    ///
    /// # Errors
    /// [`PermissionedError::RepoNotFound`]; too many exports are under way; the store or the spool cannot be used.
    pub(crate) async fn export(&self, account: &Account, space: &SpaceUri) -> Result<Export, PermissionedError> {
        let room = Arc::clone(&self.shared.exports).try_acquire_owned().map_err(|_| PermissionedError::Busy)?;
        let slot = self.shared.slots.slot(repo_key(account.id(), space));
        let key = self.key_of(account).await?;
        let open = Arc::clone(&slot.open).lock_owned().await;
        slot.flight.until_durable(slot.flight.handed_over()).await?;
        slot.begin_export();
        let turn = Turn(Arc::clone(&slot));
        let (this, space, author) = (self.clone(), space.clone(), account.did().clone());
        blocking::run(move || {
            let reader = this.shared.reader.clone();
            let repo = rows::repo(&reader, slot.key)?.ok_or(PermissionedError::RepoNotFound)?;
            let commit = Self::sign_for_reader(&space, &author, &repo.head, &key);
            let (index, cid) = write_index(&reader, slot.key, repo.head.records, &this.shared.spool_dir)?;
            // Whatever is written from now on keeps what it supersedes.
            drop(open);
            let start = start(&commit, cid, index.bytes());
            Ok(Export {
                reader: reader.clone(),
                start,
                entries: Entries::of_whole(index),
                sent: 0,
                ahead: Ahead { reader, key: slot.key, scan: None, next: None, length: 0, skips: 0 },
                slot,
                _turn: turn,
                _room: room,
            })
        })
        .await
    }
}

fn start(commit: &SignedCommit, index: Cid, bytes: u64) -> Vec<u8> {
    let mut start = Vec::with_capacity(1024);
    car::write_start(&mut start, &commit.to_block(), index, bytes);
    start
}

/// Makes the index of a repository that nobody writes to meanwhile.
fn write_index(reader: &Reader, key: RepoKey, records: u64, dir: &Path) -> Result<(Index, Cid), PermissionedError> {
    let mut aside = Aside::new(dir);
    let mut writer = IndexWriter::begin(records, aside.end());
    let mut last: Option<String> = None;
    loop {
        let page = rows::index(reader, key, last.as_deref(), INDEX_ROWS)?;
        for entry in &page {
            writer.entry(&entry.path, entry.cid, aside.end());
        }
        if aside.is_full() {
            aside = aside.settle_blocking()?;
        }
        match page.into_iter().next_back() {
            Some(entry) => last = Some(entry.path),
            None => break,
        }
    }
    if writer.left() != 0 {
        return Err(PermissionedError::Broken("the index has other records than the repository"));
    }
    Ok((aside.finish_blocking()?, writer.finish().0))
}

impl Export {
    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// The repository cannot be read, or too much of it was rewritten meanwhile.
    pub(crate) async fn next(mut self) -> Result<Option<(Vec<u8>, Self)>, PermissionedError> {
        blocking::run(move || Ok(self.piece()?.map(|piece| (piece, self)))).await
    }

    fn piece(&mut self) -> Result<Option<Vec<u8>>, PermissionedError> {
        let mut out = std::mem::take(&mut self.start);
        let index = self.entries.index();
        while out.len() < PIECE_BYTES && self.sent < index.bytes() {
            self.sent += index.piece_blocking(self.sent, PIECE_BYTES, &mut out)? as u64;
        }
        while out.len() < PIECE_BYTES
            && let Some((path, cid)) = self.entries.next_blocking()?
        {
            let record = self.record(&path, cid)?;
            car::write_record(&mut out, cid, &record);
        }
        Ok(if out.is_empty() { None } else { Some(out) })
    }

    fn record(&mut self, path: &str, cid: Cid) -> Result<Vec<u8>, PermissionedError> {
        if let Some(record) = self.ahead.at(path)?.filter(|record| record.cid == cid) {
            return Ok(record.bytes);
        }
        // It was rewritten since, or is being: then it is kept, unless it came back.
        if let Some(kept) = self.slot.retained(&cid) {
            return Ok(kept.bytes().to_vec());
        }
        let again = rows::record(&self.reader, self.slot.key, path)?.filter(|record| record.cid == cid);
        again.map(|record| record.bytes).ok_or(PermissionedError::Rewritten)
    }
}

/// Records in the order of the index, which is that of the store among paths of one length.
struct Ahead {
    reader: Reader,
    key: RepoKey,
    scan: Option<RecordScan>,
    next: Option<(String, Record)>,
    length: usize,
    skips: usize,
}

impl Ahead {
    fn at(&mut self, path: &str) -> Result<Option<Record>, PermissionedError> {
        if path.len() != self.length {
            self.length = path.len();
            self.skips = 0;
            self.next = None;
            self.scan = Some(rows::records(&self.reader, self.key, path, None, Order::Ascending));
        }
        while let Some(scan) = &mut self.scan {
            if self.next.is_none() {
                self.next = scan.next(AHEAD_ROWS)?;
            }
            match &self.next {
                Some((found, _)) if found == path => {
                    self.skips = 0;
                    return Ok(self.next.take().map(|(_, record)| record));
                }
                Some((found, _)) if found.as_str() < path && self.skips < SKIP_MAX => {
                    self.skips += 1;
                    self.next = None;
                }
                // Behind it already: it is gone. Or far from it: among records of other lengths, one by one is cheaper.
                Some((found, _)) if found.as_str() > path => return Ok(None),
                _ => self.scan = None,
            }
        }
        Ok(rows::record(&self.reader, self.key, path)?)
    }
}
