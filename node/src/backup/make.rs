//! Making a snapshot: the store cut at one moment, its files, its keys, in this order; then the manifest.
//!
//! The daemon goes on serving. At any time one step of rows, one chunk and, for a bucket, a few chunks on their way are in
//! memory, whatever the store holds.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use angel_protocol::backup::rows::{Gather, Gathered, TableRoot};
use angel_protocol::backup::{
    BackupKey, ChunkName, ChunkRef, Entry, FileKind, Manifest, TableSum, Totals, index, manifest,
};
use angel_protocol::crypto::NodeKey;
use angel_protocol::data::Cid;
use angel_protocol::ids::NetworkId;
use angel_protocol::limits::{BACKUP_CHUNK_BYTES_MAX, BACKUP_FILES_MAX};
use angel_storage::backup::{Cut, held_blob};
use angel_storage::{Reader, TableId, Writer};
use sha2::{Digest as _, Sha256};

use super::depot::Depot;
use super::progress::Progress;
use super::read::{Entries, Snapshot};
use super::{BackupError, recovery};
use crate::blobs::Blobs;
use crate::clock;
use crate::data_dir::Layout;
use crate::facts::VERSION;

/// What a backup is made of.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) blobs: Blobs,
    pub(crate) layout: Layout,
    pub(crate) key: Arc<NodeKey>,
    pub(crate) network: NetworkId,
    /// Bytes that the store may put aside while it is read.
    pub(crate) aside_max: usize,
    /// Held while the store is read at one moment: there is one such reader at a time.
    pub(crate) turn: Arc<Mutex<()>>,
}

/// What was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) manifest: Manifest,
    /// Bytes that were put into the place, the manifest included.
    pub(crate) bytes_written: u64,
    pub(crate) chunks_written: u64,
    pub(crate) chunks_there: u64,
}

/// Makes a snapshot. Blocks.
///
/// # Errors
/// [`BackupError`]. There is no snapshot then; chunks that were put are used by the next one.
pub(crate) fn make(
    source: &Source,
    depot: &mut Depot,
    recipients: Vec<String>,
    progress: &Progress,
) -> Result<Made, BackupError> {
    let key = recovery::key(&source.layout)?;
    let sealed_key = recovery::seal(&recipients, &*key.to_bytes())?;
    progress.phase("looking for what is there");
    let number = depot.snapshots()?.last().map_or(1, |last| last + 1);
    let before = match number {
        1 => None,
        number => Some(depot.manifest(number - 1)?),
    };
    let present = depot.chunks()?;
    let known = Known::new(depot, before.as_deref(), &key);

    // Files that are let go of stay until they are copied.
    let _held = source.blobs.hold_files();
    let _turn = source.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cut = Cut::begin(&source.reader, &source.writer, source.aside_max)?;
    let made_at = clock::now();
    let mut making = Making { present, known, ..Making::new(&mut *depot, key, &source.blobs, progress) };
    progress.phase("copying");
    while let Some(rows) = cut.next_rows()? {
        progress.check()?;
        for (row_key, value) in &rows {
            making.row(row_key, value)?;
        }
    }
    making.end_table()?;
    let (sequence, (height, ledger_root)) = (cut.sequence(), cut.ledger());
    drop(cut);
    progress.phase("copying keys");
    making.files(&source.layout)?;
    making.end_index()?;

    let manifest = Manifest {
        format: manifest::FORMAT,
        number,
        made_at,
        node: source.key.did(),
        network: source.network.clone(),
        software: format!("angel {VERSION}"),
        sequence,
        height,
        ledger_root: ChunkName(ledger_root),
        key_id: making.key.id(),
        sealed_key,
        recipients,
        previous: ChunkName(before.map_or([0; 32], |bytes| Sha256::digest(bytes).into())),
        tables: making.tables,
        totals: making.totals,
        index: making.index_chunks,
        account: None,
    };
    let signed = manifest.sign(&source.key);
    let bytes_written = making.written + signed.len() as u64;
    let (chunks_written, chunks_there) = (making.chunks_written, making.chunks_there);
    progress.phase("writing the manifest");
    depot.put_manifest(number, signed)?;
    Ok(Made { manifest, bytes_written, chunks_written, chunks_there })
}

/// A snapshot on its way.
pub(super) struct Making<'a> {
    depot: &'a mut Depot,
    pub(super) key: BackupKey,
    progress: &'a Progress,
    present: HashSet<ChunkName>,
    known: Known,
    blobs: &'a Blobs,
    gather: Gather,
    table: Option<(u8, TableRoot)>,
    index: index::Gather,
    pub(super) index_chunks: Vec<ChunkRef>,
    pub(super) tables: Vec<TableSum>,
    pub(super) totals: Totals,
    last_blob: Option<Cid>,
    written: u64,
    chunks_written: u64,
    chunks_there: u64,
}

impl<'a> Making<'a> {
    /// One that shares nothing with what is there.
    pub(super) fn new(depot: &'a mut Depot, key: BackupKey, blobs: &'a Blobs, progress: &'a Progress) -> Self {
        Self {
            depot,
            key,
            progress,
            present: HashSet::new(),
            known: Known { entries: None, next: None },
            blobs,
            gather: Gather::default(),
            table: None,
            index: index::Gather::default(),
            index_chunks: vec![],
            tables: vec![],
            totals: Totals::default(),
            last_blob: None,
            written: 0,
            chunks_written: 0,
            chunks_there: 0,
        }
    }

    /// The next row, in the order of keys.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        let table = key.first().copied().unwrap_or(0);
        if self.table.as_ref().is_none_or(|(current, _)| *current != table) {
            self.end_table()?;
            self.table = Some((table, TableRoot::default()));
        }
        if let Some((_, root)) = &mut self.table {
            root.push(key, value);
        }
        if let Some(gathered) = self.gather.push(key, value) {
            self.rows(table, gathered)?;
        }
        if let Some(cid) = held_blob(key).map_err(|_| BackupError::Row)?
            && self.last_blob != Some(cid)
        {
            self.last_blob = Some(cid);
            self.blob(cid)?;
        }
        Ok(())
    }

    fn rows(&mut self, table: u8, gathered: Gathered) -> Result<(), BackupError> {
        let chunk = self.chunk(&gathered.content)?;
        self.progress.rows(gathered.rows);
        self.entry(&Entry::Rows { table, rows: gathered.rows, chunk })
    }

    /// The last row of a table was there.
    pub(super) fn end_table(&mut self) -> Result<(), BackupError> {
        let Some((table, root)) = self.table.take() else { return Ok(()) };
        if let Some(gathered) = self.gather.end() {
            self.rows(table, gathered)?;
        }
        let sum = root.sum(table, TableId::from_byte(table).map_or("unknown", TableId::name));
        self.totals.rows += sum.rows;
        self.totals.row_bytes += sum.bytes;
        self.tables.push(sum);
        Ok(())
    }

    /// Puts a chunk, unless it is there.
    fn chunk(&mut self, content: &[u8]) -> Result<ChunkRef, BackupError> {
        self.progress.check()?;
        let name = self.key.name(content);
        let bytes = u32::try_from(content.len()).expect("a chunk is far below 4 GiB");
        self.progress.bytes(u64::from(bytes));
        if self.present.insert(name) {
            let sealed = self.key.seal(name, content);
            self.written += sealed.len() as u64;
            self.chunks_written += 1;
            self.depot.put_chunk(name, sealed)?;
        } else {
            self.chunks_there += 1;
        }
        Ok(ChunkRef { name, bytes })
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), BackupError> {
        match self.index.push(entry) {
            Some(content) => self.index_chunk(&content),
            None => Ok(()),
        }
    }

    fn index_chunk(&mut self, content: &[u8]) -> Result<(), BackupError> {
        let chunk = self.chunk(content)?;
        self.index_chunks.push(chunk);
        Ok(())
    }

    /// Everything was there.
    pub(super) fn end_index(&mut self) -> Result<(), BackupError> {
        match self.index.end() {
            Some(content) => self.index_chunk(&content),
            None => Ok(()),
        }
    }

    /// A file of accounts. One that the snapshot before has is not read again: its name says what is in it.
    fn blob(&mut self, cid: Cid) -> Result<(), BackupError> {
        let known = self.known.find(self.depot, cid)?;
        let known = known.filter(|entry| entry.chunks().iter().all(|chunk| self.present.contains(&chunk.name)));
        let entry = match known {
            Some(entry) => {
                self.chunks_there += entry.chunks().len() as u64;
                entry
            }
            None => {
                let (path, file) = self.blobs.file_of(cid)?;
                let mut hash = Sha256::new();
                let (bytes, pieces) = self.pieces(&path, file, |piece| hash.update(piece))?;
                if *cid.digest() != <[u8; 32]>::from(hash.finalize()) {
                    return Err(BackupError::BlobDamaged { path });
                }
                Entry::File { kind: FileKind::Blob(cid.to_string()), bytes, pieces }
            }
        };
        if let Entry::File { bytes, .. } = &entry {
            self.totals.blobs += 1;
            self.totals.blob_bytes += bytes;
        }
        self.entry(&entry)
    }

    fn pieces(
        &mut self,
        path: &Path,
        mut file: impl Read,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(u64, Vec<ChunkRef>), BackupError> {
        let mut pieces = vec![];
        let mut total = 0;
        let mut piece = zeroize::Zeroizing::new(Vec::new());
        loop {
            piece.clear();
            let read = file.by_ref().take(BACKUP_CHUNK_BYTES_MAX as u64).read_to_end(&mut piece);
            read.map_err(|source| BackupError::File { what: "read", path: path.to_owned(), source })?;
            if piece.is_empty() {
                return Ok((total, pieces));
            }
            total += piece.len() as u64;
            see(&piece);
            if pieces.len() == index::PIECES_MAX {
                return Err(BackupError::FileTooLarge { path: path.to_owned() });
            }
            pieces.push(self.chunk(&piece)?);
        }
    }

    /// A file of `secrets/` that lies nowhere else.
    pub(super) fn secret(&mut self, name: &str, content: &[u8]) -> Result<(), BackupError> {
        let (bytes, pieces) = self.pieces(Path::new(name), content, |_| ())?;
        self.totals.files += 1;
        self.entry(&Entry::File { kind: FileKind::Secret(name.to_owned()), bytes, pieces })
    }

    /// The keys, and what else lies at the top.
    fn files(&mut self, layout: &Layout) -> Result<(), BackupError> {
        let secrets = layout.secrets();
        let mut files: BTreeMap<PathBuf, FileKind> = BTreeMap::new();
        let list = |source: io::Error| BackupError::File { what: "list", path: secrets.clone(), source };
        for entry in fs::read_dir(&secrets).map_err(list)? {
            let entry = entry.map_err(list)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Names with a dot belong to files that are being written.
            if entry.file_type().map_err(list)?.is_file() && !name.starts_with('.') && name != super::RESTORED_FILE {
                files.insert(entry.path(), FileKind::Secret(name));
            }
        }
        for path in [layout.genesis(), layout.node_id()] {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(path, FileKind::Root(name));
        }
        if files.len() > BACKUP_FILES_MAX {
            return Err(BackupError::TooManyFiles { path: secrets });
        }
        for (path, kind) in files {
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(|source| BackupError::File { what: "read", path: path.clone(), source })?,
            };
            let (bytes, pieces) = self.pieces(&path, file, |_| ())?;
            self.totals.files += 1;
            self.entry(&Entry::File { kind, bytes, pieces })?;
        }
        Ok(())
    }
}

/// The files that the snapshot before has, read beside the new list: both are in the order of names.
struct Known {
    entries: Option<Entries>,
    next: Option<(Cid, Entry)>,
}

impl Known {
    /// A snapshot before that cannot be read is none: everything is read anew.
    fn new(depot: &Depot, before: Option<&[u8]>, key: &BackupKey) -> Self {
        let manifest = before.and_then(|bytes| Manifest::read(bytes).ok());
        let manifest = manifest.filter(|manifest| manifest.key_id == key.id());
        let entries = manifest.map(|manifest| Snapshot { manifest, key: key.clone() }.entries());
        let mut known = Self { entries, next: None };
        known.step(depot);
        known
    }

    fn step(&mut self, depot: &Depot) {
        self.next = None;
        while let Some(entries) = &mut self.entries {
            match entries.next(depot) {
                Ok(Some(Entry::File { kind: FileKind::Blob(name), bytes, pieces })) => {
                    let Ok(cid) = name.parse::<Cid>() else { break };
                    self.next = Some((cid, Entry::File { kind: FileKind::Blob(name), bytes, pieces }));
                    return;
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.entries = None;
    }

    fn find(&mut self, depot: &Depot, cid: Cid) -> Result<Option<Entry>, BackupError> {
        while self.next.as_ref().is_some_and(|(next, _)| next.to_bytes() < cid.to_bytes()) {
            self.step(depot);
        }
        Ok(self.next.as_ref().filter(|(next, _)| *next == cid).map(|(_, entry)| entry.clone()))
    }
}
