//! Reading a snapshot: nothing of it is believed before its seal, its name, its place and its sum hold.

use angel_protocol::backup::rows::{self, StoredRow, TableRoot};
use angel_protocol::backup::{BackupKey, ChunkRef, Entry, FileKind, Manifest, TableSum, Totals, index};
use angel_protocol::data::Cid;
use angel_storage::TableId;
use angel_storage::backup::held_blob;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::depot::Depot;
use super::progress::Progress;
use super::recovery::RecoveryKey;

/// What opens a snapshot.
pub(crate) enum Opener<'a> {
    /// The key of the node's own backups.
    Own(&'a BackupKey),
    /// The owner's recovery key.
    Recovery(&'a RecoveryKey),
}

/// A snapshot that is open.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) manifest: Manifest,
    pub(crate) key: BackupKey,
}

impl Snapshot {
    /// Opens the snapshot with this number, or the newest. Blocks.
    ///
    /// # Errors
    /// [`BackupError`]: there is none, it is not believed, or the key does not open it.
    pub(crate) fn open(depot: &Depot, number: Option<u64>, opener: &Opener<'_>) -> Result<Self, BackupError> {
        let manifest = read_manifest(depot, number)?;
        let key = match opener {
            Opener::Own(key) => (*key).clone(),
            Opener::Recovery(recovery) => {
                let bytes = recovery.open(&manifest.sealed_key, &manifest.recipients)?;
                BackupKey::read(&bytes).ok_or(BackupError::OtherKey)?
            }
        };
        if key.id() == manifest.key_id { Ok(Self { manifest, key }) } else { Err(BackupError::OtherKey) }
    }

    /// The content of a chunk.
    pub(crate) fn chunk(&self, depot: &Depot, chunk: &ChunkRef) -> Result<Vec<u8>, BackupError> {
        open_chunk(depot, &self.key, chunk)
    }

    /// Everything that it lists.
    pub(crate) fn entries(self) -> Entries {
        Entries { index: self.manifest.index.clone().into_iter(), snapshot: self, waiting: vec![].into_iter() }
    }
}

fn open_chunk(depot: &Depot, key: &BackupKey, chunk: &ChunkRef) -> Result<Vec<u8>, BackupError> {
    let damaged = |source| BackupError::Chunk { name: chunk.name, source };
    let content = key.open(chunk.name, &depot.chunk(chunk.name)?).map_err(damaged)?;
    if content.len() == chunk.bytes as usize {
        Ok(content)
    } else {
        Err(damaged(angel_protocol::backup::NotAChunk::Length(content.len())))
    }
}

/// The manifest with this number, or the newest. Blocks.
pub(crate) fn read_manifest(depot: &Depot, number: Option<u64>) -> Result<Manifest, BackupError> {
    let numbers = depot.snapshots()?;
    let number = match number {
        Some(number) if numbers.contains(&number) => number,
        Some(number) => return Err(BackupError::NoSnapshot { place: depot.place().to_string(), number }),
        None => *numbers.last().ok_or_else(|| BackupError::Empty { place: depot.place().to_string() })?,
    };
    let damaged = |source| BackupError::Manifest { number, source };
    let manifest = Manifest::read(&depot.manifest(number)?).map_err(damaged)?;
    if manifest.number == number {
        Ok(manifest)
    } else {
        Err(BackupError::OtherNumber { number, says: manifest.number })
    }
}

/// The entries of a snapshot, one chunk of the index in memory at a time.
pub(crate) struct Entries {
    snapshot: Snapshot,
    index: std::vec::IntoIter<ChunkRef>,
    waiting: std::vec::IntoIter<Entry>,
}

impl Entries {
    pub(crate) fn next(&mut self, depot: &Depot) -> Result<Option<Entry>, BackupError> {
        loop {
            if let Some(entry) = self.waiting.next() {
                return Ok(Some(entry));
            }
            let Some(chunk) = self.index.next() else { return Ok(None) };
            let content = self.snapshot.chunk(depot, &chunk)?;
            let damaged =
                |_| BackupError::Chunk { name: chunk.name, source: angel_protocol::backup::NotAChunk::Content };
            self.waiting = index::read(&content).map_err(damaged)?.into_iter();
        }
    }
}

/// Takes what a snapshot holds, in order.
pub(crate) trait Receiver {
    /// Rows of one table, in the order of keys.
    fn rows(&mut self, rows: Vec<StoredRow>) -> Result<(), BackupError>;
    /// A file begins.
    fn file(&mut self, kind: &FileKind) -> Result<(), BackupError>;
    /// The next piece of the file.
    fn piece(&mut self, piece: &[u8]) -> Result<(), BackupError>;
    /// The file ends; it is what its name says.
    fn file_ends(&mut self) -> Result<(), BackupError>;
}

/// Reads a whole snapshot and hands on what is in it. On return everything was there, and came to what the manifest says.
/// Until then what was handed on is believed piece by piece, and not as a whole. Blocks.
///
/// # Errors
/// [`BackupError`], by what is wrong.
pub(crate) fn receive(
    depot: &Depot,
    snapshot: &Snapshot,
    receiver: &mut dyn Receiver,
    progress: &Progress,
) -> Result<(), BackupError> {
    let mut entries = snapshot.clone().entries();
    let mut receiving = Receiving::default();
    while let Some(entry) = entries.next(depot)? {
        progress.check()?;
        match entry {
            Entry::Rows { table, rows, chunk } => {
                let content = snapshot.chunk(depot, &chunk)?;
                let read = rows::read(&content, table, receiving.last.as_deref());
                let read = read.map_err(|_| BackupError::NotInOrder { name: chunk.name })?;
                if read.len() as u64 != rows {
                    return Err(BackupError::NotInOrder { name: chunk.name });
                }
                receiving.rows(table, &read)?;
                progress.rows(rows);
                progress.bytes(content.len() as u64);
                receiver.rows(read)?;
            }
            Entry::File { kind, bytes, pieces } => {
                receiver.file(&kind)?;
                let mut hash = Sha256::new();
                let mut length = 0;
                for piece in &pieces {
                    progress.check()?;
                    let content = zeroize::Zeroizing::new(snapshot.chunk(depot, piece)?);
                    hash.update(&*content);
                    length += content.len() as u64;
                    progress.bytes(content.len() as u64);
                    receiver.piece(&content)?;
                }
                receiving.file(&kind, length, bytes, hash)?;
                receiver.file_ends()?;
            }
        }
    }
    receiving.finish(&snapshot.manifest)
}

/// What has been read so far comes to what.
#[derive(Default)]
struct Receiving {
    last: Option<Vec<u8>>,
    table: Option<(u8, TableRoot)>,
    sums: Vec<TableSum>,
    totals: Totals,
    /// The blobs that rows say are held, and those whose files came: in the same order.
    held: Sha256,
    files: Sha256,
    last_held: Option<Cid>,
}

impl Receiving {
    fn rows(&mut self, table: u8, rows: &[StoredRow]) -> Result<(), BackupError> {
        if self.table.as_ref().is_none_or(|(current, _)| *current != table) {
            self.end_table();
            self.table = Some((table, TableRoot::default()));
        }
        for (key, value) in rows {
            if let Some((_, root)) = &mut self.table {
                root.push(key, value);
            }
            if let Some(cid) = held_blob(key).map_err(|_| BackupError::Row)?
                && self.last_held != Some(cid)
            {
                self.last_held = Some(cid);
                self.held.update(cid.to_bytes());
            }
        }
        self.last = rows.last().map(|(key, _)| key.clone()).or(self.last.take());
        Ok(())
    }

    fn end_table(&mut self) {
        if let Some((table, root)) = self.table.take() {
            let sum = root.sum(table, TableId::from_byte(table).map_or("unknown", TableId::name));
            self.totals.rows += sum.rows;
            self.totals.row_bytes += sum.bytes;
            self.sums.push(sum);
        }
    }

    fn file(&mut self, kind: &FileKind, length: u64, says: u64, hash: Sha256) -> Result<(), BackupError> {
        let wrong = || BackupError::FileDiffers { kind: kind.clone() };
        if length != says {
            return Err(wrong());
        }
        let FileKind::Blob(name) = kind else {
            self.totals.files += 1;
            return Ok(());
        };
        let cid: Cid = name.parse().map_err(|_| wrong())?;
        if *cid.digest() != <[u8; 32]>::from(hash.finalize()) {
            return Err(wrong());
        }
        self.files.update(cid.to_bytes());
        self.totals.blobs += 1;
        self.totals.blob_bytes += length;
        Ok(())
    }

    fn finish(mut self, manifest: &Manifest) -> Result<(), BackupError> {
        self.end_table();
        compare(&self.sums, &manifest.tables)?;
        if self.totals != manifest.totals || self.held.finalize() != self.files.finalize() {
            return Err(BackupError::Differs { what: "its files".to_owned() });
        }
        Ok(())
    }
}

/// Whether tables come to what the manifest says; names are for people and do not count.
pub(super) fn compare(found: &[TableSum], expected: &[TableSum]) -> Result<(), BackupError> {
    let plain = |sum: &TableSum| (sum.table, sum.rows, sum.bytes, sum.root);
    for sum in expected {
        if !found.iter().any(|other| plain(other) == plain(sum)) {
            return Err(BackupError::Differs { what: format!("the table {}", sum.name) });
        }
    }
    if found.len() == expected.len() { Ok(()) } else { Err(BackupError::Differs { what: "its tables".to_owned() }) }
}
