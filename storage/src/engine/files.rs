//! Files and directories of an engine: made and renamed so that a power cut does not undo it, and counted.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{EngineError, EngineStats};

/// Makes the entries of `dir` (creations, renames, removals) survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), EngineError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error| EngineError::io("sync directory", dir, error))
}

/// [`sync_dir`] for `dir` and every directory below it.
pub(super) fn sync_dirs(dir: &Path) -> Result<(), EngineError> {
    let list = || fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>();
    for entry in list().map_err(|error| EngineError::io("list", dir, error))? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_dirs(&entry.path())?;
        }
    }
    sync_dir(dir)
}

/// Creates `dir` and what is missing above it, so that all of it survives a power cut.
pub(crate) fn create_dir_durably(dir: &Path) -> Result<(), EngineError> {
    let created: Vec<_> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(dir).map_err(|error| EngineError::io("create", dir, error))?;
    // The directory itself may be left from an attempt that was interrupted before this.
    for path in created.into_iter().chain([dir]) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Bytes and number of the files below `dir`. Files that vanish meanwhile are not counted.
pub(crate) fn disk_usage(dir: &Path) -> EngineStats {
    let mut stats = EngineStats::default();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => pending.push(entry.path()),
                Ok(meta) => {
                    stats.disk_bytes += meta.len();
                    stats.files += 1;
                }
                Err(_) => {}
            }
        }
    }
    stats
}
