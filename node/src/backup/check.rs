//! A backup is verified by restoring it: into a scratch store, whose tables are read back and summed, whose rows are
//! decoded, and whose roots are made anew. Files are hashed as they come and not kept.

use std::fs;
use std::io;
use std::path::Path;

use angel_protocol::backup::rows::{StoredRow, TableRoot};
use angel_protocol::backup::{FileKind, Manifest, TableSum};
use angel_storage::backup::{Cut, Filling, Roots, check_roots};
use angel_storage::engine::{EngineKind, Tuning};
use angel_storage::{Options, Store, TableId};

use super::BackupError;
use super::depot::Depot;
use super::progress::Progress;
use super::read::{Receiver, Snapshot, compare, receive};
use crate::facts::VERSION;

/// Memory for the scratch store, in bytes: it is written once and read once.
const SCRATCH_MEMORY: u64 = 64 << 20;

/// Restores the snapshot into `scratch`, which is removed before and after, and compares. Blocks.
///
/// # Errors
/// [`BackupError`], by what does not hold.
pub(crate) fn verify(
    depot: &Depot,
    snapshot: &Snapshot,
    scratch: &Path,
    kind: EngineKind,
    progress: &Progress,
) -> Result<Roots, BackupError> {
    let scratch = Scratch::new(scratch)?;
    let tuning = Tuning::with_memory(SCRATCH_MEMORY);
    let filling = Filling::begin(scratch.0, kind, &format!("angel {VERSION}"), tuning)?;
    let mut receiver = Rows(Some(filling));
    progress.phase("restoring into a scratch store");
    receive(depot, snapshot, &mut receiver, progress)?;
    if let Some(filling) = receiver.0 {
        filling.finish(snapshot.manifest.sequence)?;
    }
    compare_store(scratch.0, &snapshot.manifest, kind, tuning, progress)
}

/// Whether the closed store in `dir` is what the manifest says. Blocks.
pub(super) fn compare_store(
    dir: &Path,
    manifest: &Manifest,
    kind: EngineKind,
    tuning: Tuning,
    progress: &Progress,
) -> Result<Roots, BackupError> {
    progress.phase("decoding rows");
    let report = angel_storage::verify::verify(dir, tuning, &[], &mut |_| ())?;
    if let Some(fault) = report.faults.first() {
        let table = fault.table.map_or("unknown", TableId::name);
        return Err(BackupError::Differs { what: format!("row {} of {table} ({})", fault.key, fault.detail) });
    }
    let mut options = Options::new(kind, &format!("angel {VERSION}"));
    options.tuning = tuning;
    let store = Store::open(dir, options)?;
    progress.phase("comparing tables");
    compare_tables(&store, manifest, progress)?;
    progress.phase("making roots anew");
    let roots = check_roots(store.reader(), &mut |_| ())?;
    if roots.ledger_root != manifest.ledger_root.0 || roots.height != manifest.height {
        return Err(BackupError::Differs { what: "the ledger's root".to_owned() });
    }
    store.close()?;
    Ok(roots)
}

fn compare_tables(store: &Store, manifest: &Manifest, progress: &Progress) -> Result<(), BackupError> {
    let mut sums: Vec<TableSum> = vec![];
    let mut table: Option<(u8, TableRoot)> = None;
    let mut end = |table: &mut Option<(u8, TableRoot)>| {
        if let Some((byte, root)) = table.take() {
            sums.push(root.sum(byte, ""));
        }
    };
    let mut cut = Cut::begin(store.reader(), store.writer(), usize::MAX)?;
    while let Some(rows) = cut.next_rows()? {
        progress.check()?;
        progress.rows(rows.len() as u64);
        for (key, value) in &rows {
            let byte = key.first().copied().unwrap_or(0);
            if table.as_ref().is_none_or(|(current, _)| *current != byte) {
                end(&mut table);
                table = Some((byte, TableRoot::default()));
            }
            if let Some((_, root)) = &mut table {
                root.push(key, value);
            }
        }
    }
    end(&mut table);
    // The store's own notes are this store's: how often it was closed, and which numbers it gives next.
    let own = TableId::NodeMeta.byte();
    let others = |sums: &[TableSum]| sums.iter().filter(|sum| sum.table != own).cloned().collect::<Vec<_>>();
    compare(&others(&sums), &others(&manifest.tables))
}

struct Rows(Option<Filling>);

impl Receiver for Rows {
    fn rows(&mut self, rows: Vec<StoredRow>) -> Result<(), BackupError> {
        match &mut self.0 {
            Some(filling) => Ok(filling.put(rows)?),
            None => Ok(()),
        }
    }

    fn file(&mut self, _: &FileKind) -> Result<(), BackupError> {
        Ok(())
    }

    fn piece(&mut self, _: &[u8]) -> Result<(), BackupError> {
        Ok(())
    }

    fn file_ends(&mut self) -> Result<(), BackupError> {
        Ok(())
    }
}

/// Reads everything and keeps nothing: whether the snapshot is whole. Blocks.
pub(super) fn read_through(depot: &Depot, snapshot: &Snapshot, progress: &Progress) -> Result<(), BackupError> {
    progress.phase("reading the backup");
    receive(depot, snapshot, &mut Rows(None), progress)
}

/// A directory that is there for as long as this.
struct Scratch<'a>(&'a Path);

impl<'a> Scratch<'a> {
    fn new(path: &'a Path) -> Result<Self, BackupError> {
        remove(path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove(self.0) {
            tracing::warn!(%error, "a scratch store stays behind; it is removed with the next backup");
        }
    }
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::File { what: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
