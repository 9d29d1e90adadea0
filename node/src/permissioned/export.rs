//! A whole repository as a CAR file, piece by piece, while its author goes on writing.
//!
//! The index comes ahead of the records, and its CID ahead of everything. So it is made first, under the lock of the
//! repository's writer and into a file without a name when it is not small, and with it the commit. From then on records
//! that are superseded are kept in memory until the last export has ended; there are few, for private records are
//! seldom rewritten, and when there are many the export breaks off. Memory does not depend on the repository's size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::wire::car::{self, IndexWriter};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_storage::Reader;
use angel_storage::permissioned::{self as rows, Order, Record, RecordScan, RepoKey};
use tokio::sync::OwnedSemaphorePermit;

use super::slots::Slot;
use super::{Permissioned, PermissionedError, repo_key};
use crate::accounts::Account;
use crate::blocking;

/// Bytes of one piece.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes of an index that stay in memory.
const MEMORY_BYTES: usize = 1024 * 1024;

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
    index: Index,
    /// How much of the index was sent.
    sent: u64,
    /// How much of it was read again for the records.
    read: u64,
    window: Vec<u8>,
    window_at: usize,
    ahead: Ahead,
    has_skipped_count: bool,
    /// Superseded records are kept as long as this lives.
    _turn: Turn,
    _room: OwnedSemaphorePermit,
}

/// The bytes of an index.
enum Index {
    Memory(Vec<u8>),
    File(File, u64),
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
                index,
                sent: 0,
                read: 0,
                window: Vec::new(),
                window_at: 0,
                ahead: Ahead { reader, key: slot.key, scan: None, next: None, length: 0, skips: 0 },
                has_skipped_count: false,
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
    let mut out = Vec::new();
    let mut file = None;
    let mut writer = IndexWriter::begin(records, &mut out);
    let mut last: Option<String> = None;
    loop {
        let page = rows::index(reader, key, last.as_deref(), INDEX_ROWS)?;
        for entry in &page {
            writer.entry(&entry.path, entry.cid, &mut out);
        }
        if out.len() > MEMORY_BYTES {
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(nameless(dir)?),
            };
            file.write_all(&out)?;
            out.clear();
        }
        match page.into_iter().next_back() {
            Some(entry) => last = Some(entry.path),
            None => break,
        }
    }
    if writer.left() != 0 {
        return Err(PermissionedError::Broken("the index has other records than the repository"));
    }
    let (cid, bytes) = writer.finish();
    let index = match file {
        None => Index::Memory(out),
        Some(mut file) => {
            file.write_all(&out)?;
            Index::File(file, bytes)
        }
    };
    Ok((index, cid))
}

/// A file that the system takes back when it is closed.
fn nameless(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("index-{:032x}", rand::random::<u128>()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

impl Index {
    const fn bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, bytes) => *bytes,
        }
    }

    /// Up to `max` bytes from `at` on.
    fn piece(&self, at: u64, max: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        let left = usize::try_from(self.bytes().saturating_sub(at)).unwrap_or(usize::MAX).min(max);
        match self {
            Self::Memory(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                out.extend_from_slice(&bytes[at..at + left]);
            }
            Self::File(file, _) => {
                let before = out.len();
                out.resize(before + left, 0);
                file.read_exact_at(&mut out[before..], at)?;
            }
        }
        Ok(left)
    }
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
        while out.len() < PIECE_BYTES && self.sent < self.index.bytes() {
            self.sent += self.index.piece(self.sent, PIECE_BYTES, &mut out)? as u64;
        }
        while out.len() < PIECE_BYTES
            && let Some((path, cid)) = self.next_entry()?
        {
            let record = self.record(&path, cid)?;
            car::write_record(&mut out, cid, &record);
        }
        Ok(if out.is_empty() { None } else { Some(out) })
    }

    /// The next entry of the index, read back from where it was put aside.
    fn next_entry(&mut self) -> Result<Option<(String, Cid)>, PermissionedError> {
        const BROKEN: PermissionedError = PermissionedError::Broken("the index put aside cannot be read");
        loop {
            let waiting = &self.window[self.window_at..];
            if !self.has_skipped_count && !waiting.is_empty() {
                let used = car::index_start(waiting).ok_or(BROKEN)?;
                self.window_at += used;
                self.has_skipped_count = true;
                continue;
            }
            if let Some((path, cid, used)) = car::index_entry(waiting).map_err(|_| BROKEN)? {
                self.window_at += used;
                return Ok(Some((path, cid)));
            }
            if self.read == self.index.bytes() {
                return if waiting.is_empty() { Ok(None) } else { Err(BROKEN) };
            }
            self.window.drain(..self.window_at);
            self.window_at = 0;
            self.read += self.index.piece(self.read, PIECE_BYTES, &mut self.window)? as u64;
        }
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
