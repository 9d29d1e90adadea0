//! Copying a closed store into fresh files beside it, and putting them in its place.
//!
//! Compaction and conversion between engines are the same work. The manifest says which directory is live, and each step
//! of the exchange is one replacement of the manifest: interrupted anywhere, the next opening finds the old store or the
//! new one, and removes the other.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::engine::{self, Engine, EngineError, EngineKind, EngineSettings, Group, KeyRange, Page, PageLimit, Tuning};
use crate::limits::BULK_ROWS;
use crate::manifest::{ManifestError, State};
use crate::node_meta::{CLOSED, MetaRow};
use crate::store::{OpenError, Opened, meta_row, open_existing, remove, write_closed};

/// Bytes that one step of a copy reads.
const STEP_BYTES: usize = 2 * 1024 * 1024;

/// How far a copy has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Rows dealt with in this phase.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Rows there are; unknown while they are first counted.
    pub rows_total: Option<u64>,
}

/// The phases of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Rows are written to fresh files.
    #[default]
    Copying,
    /// The fresh files are read again and compared.
    Verifying,
    /// The fresh files take the place of the old ones.
    Replacing,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Live rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Bytes on disk before.
    pub disk_before: u64,
    /// Bytes on disk after.
    pub disk_after: u64,
}

/// Compacts the closed store in `dir`: gives back the space of rows that were removed or replaced.
///
/// Needs free space for a second copy of the live rows while it runs. The daemon must not be running.
///
/// # Errors
///
/// See [`RebuildError`]. The store is then as it was.
pub fn compact(dir: &Path, tuning: Tuning, progress: &mut dyn FnMut(Progress)) -> Result<Report, RebuildError> {
    let opened = open_existing(dir, tuning)?;
    let kind = opened.manifest.engine;
    rebuild(opened, kind, tuning, progress)
}

/// Moves the closed store in `dir` to another engine. The daemon must not be running; it then needs `storage.engine` set
/// to `kind`.
///
/// # Errors
///
/// See [`RebuildError`]. The store is then as it was.
pub fn convert(
    dir: &Path,
    kind: EngineKind,
    tuning: Tuning,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, RebuildError> {
    let opened = open_existing(dir, tuning)?;
    if opened.manifest.engine == kind {
        return Err(RebuildError::SameEngine { kind });
    }
    rebuild(opened, kind, tuning, progress)
}

fn rebuild(
    mut opened: Opened,
    kind: EngineKind,
    tuning: Tuning,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, RebuildError> {
    let disk_before = opened.engine.stats()?.disk_bytes;
    let fresh = opened.manifest.next_data();
    // From here on the next opening knows that `fresh` is worthless.
    opened.manifest.building = Some(fresh.clone());
    opened.manifest.write(&opened.dir)?;
    // A directory of that name which no manifest ever mentioned is not ours to mix with.
    remove(&opened.dir, &fresh)?;

    let settings = EngineSettings::default();
    let outcome = fill(&opened, kind, settings, &fresh, tuning, progress);
    let (sum, closed_times, disk_after) = match outcome {
        Ok(filled) => filled,
        Err(error) => {
            opened.engine.close()?;
            remove(&opened.dir, &fresh)?;
            opened.manifest.building = None;
            opened.manifest.write(&opened.dir)?;
            return Err(error);
        }
    };
    progress(Progress { phase: Phase::Replacing, rows: sum.rows, bytes: sum.bytes, rows_total: Some(sum.rows) });
    opened.engine.close()?;
    replace(&mut opened, kind, settings, fresh, closed_times)?;
    Ok(Report { rows: sum.rows, bytes: sum.bytes, disk_before, disk_after })
}

/// Fills the fresh directory, compares it with the old one and makes it durable. Answers what was copied, the count of
/// closes that the fresh files hold, and their size.
fn fill(
    opened: &Opened,
    kind: EngineKind,
    settings: EngineSettings,
    fresh: &str,
    tuning: Tuning,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Sum, u64, u64), RebuildError> {
    let path = opened.dir.join(fresh);
    let target = engine::open(kind, &path, settings, tuning)?;
    let copied = walk(opened.engine.as_ref(), Phase::Copying, None, progress, &mut |page| {
        let mut group = Group::default();
        page.rows().for_each(|(key, value)| group.put(key.to_vec(), value.to_vec()));
        target.apply(&[group])
    })?;
    // Read back what is on disk, not what a cache remembers.
    target.close()?;
    drop(target);
    let target = engine::open(kind, &path, settings, tuning)?;
    let found = walk(target.as_ref(), Phase::Verifying, Some(copied.rows), progress, &mut |_| Ok(()))?;
    if found != copied {
        return Err(RebuildError::Different { copied: copied.rows, found: found.rows });
    }
    let times = match meta_row(target.as_ref(), CLOSED)? {
        Some(MetaRow::Closed { times }) => times,
        _ => 0,
    };
    let times = times.max(opened.manifest.closed_times) + 1;
    write_closed(target.as_ref(), times)?;
    target.close()?;
    let disk_after = target_size(&path);
    sync_tree(&path).map_err(|error| OpenError::io("sync", &path, error))?;
    Ok((copied, times, disk_after))
}

/// Makes the fresh directory the live one and removes the old one.
fn replace(
    opened: &mut Opened,
    kind: EngineKind,
    settings: EngineSettings,
    fresh: String,
    closed_times: u64,
) -> Result<(), RebuildError> {
    let manifest = &mut opened.manifest;
    manifest.engine = kind;
    manifest.settings = settings;
    manifest.state = State::Closed;
    manifest.closed_times = closed_times;
    manifest.building = None;
    manifest.retired = Some(std::mem::replace(&mut manifest.data, fresh));
    manifest.write(&opened.dir)?;
    // The fresh files are live; what follows gives back the space.
    if let Some(retired) = manifest.retired.take() {
        remove(&opened.dir, &retired)?;
    }
    Ok(manifest.write(&opened.dir)?)
}

/// Number, size and hash of all rows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    rows: u64,
    bytes: u64,
    hash: [u8; 32],
}

/// Reads every row in order, hands them on in steps, and sums them up.
fn walk(
    engine: &dyn Engine,
    phase: Phase,
    rows_total: Option<u64>,
    progress: &mut dyn FnMut(Progress),
    handle: &mut dyn FnMut(Page) -> Result<(), EngineError>,
) -> Result<Sum, RebuildError> {
    let mut hash = Sha256::new();
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    let mut range = KeyRange::all();
    loop {
        let page = engine.page(&range, false, PageLimit { rows: BULK_ROWS, bytes: STEP_BYTES })?;
        for (key, value) in page.rows() {
            for part in [key, value] {
                let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
                hash.update(len.to_be_bytes());
                hash.update(part);
                bytes += len;
            }
            rows += 1;
        }
        if let Some(last) = page.last_key() {
            range = range.beyond(last, false);
        }
        let more = page.more;
        handle(page)?;
        progress(Progress { phase, rows, bytes, rows_total });
        if !more {
            return Ok(Sum { rows, bytes, hash: hash.finalize().into() });
        }
    }
}

/// Makes every file and directory below `path`, and `path` itself, survive a power cut.
fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

fn target_size(path: &Path) -> u64 {
    engine::disk_usage(path).disk_bytes
}

/// Why a store could not be compacted or converted. The store is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RebuildError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has that engine already.
    #[error("the store is kept by {kind} already")]
    SameEngine {
        /// The engine.
        kind: EngineKind,
    },
    /// A row cannot be read or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The fresh files do not hold what was written to them.
    #[error("the copy differs from the original ({copied} rows written, {found} found): the disk may be failing")]
    Different {
        /// Rows written.
        copied: u64,
        /// Rows found.
        found: u64,
    },
}

#[cfg(test)]
mod tests;
