//! A directory: each object a file, put there under another name and renamed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use angel_storage::lock::FileLock;

use super::{CHUNKS, DepotError, Objects, Purpose, SNAPSHOTS};

const LOCK: &str = "lock";
const TEMPORARY: &str = ".partial";

#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    _lock: Option<FileLock>,
}

impl Directory {
    pub(super) fn open(root: &Path, purpose: Purpose) -> Result<Self, DepotError> {
        if purpose == Purpose::Read {
            if !root.join(SNAPSHOTS).is_dir() {
                return Err(DepotError::Missing { place: root.display().to_string() });
            }
            return Ok(Self { root: root.to_owned(), _lock: None });
        }
        make_dir(root)?;
        if !root.join(SNAPSHOTS).is_dir() && !is_empty(root)? {
            return Err(DepotError::Foreign { path: root.to_owned() });
        }
        let lock = lock(root)?;
        make_dir(&root.join(CHUNKS))?;
        make_dir(&root.join(SNAPSHOTS))?;
        // What an attempt that was cut short left half written.
        drop(fs::remove_file(root.join(TEMPORARY)));
        Ok(Self { root: root.to_owned(), _lock: Some(lock) })
    }
}

impl Objects for Directory {
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), DepotError> {
        let path = self.root.join(name);
        if let Some(dir) = path.parent() {
            make_dir(dir)?;
        }
        let temporary = self.root.join(TEMPORARY);
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&bytes)?;
            if name.starts_with(SNAPSHOTS) {
                file.sync_all()?;
            }
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| {
            // Room is what is missing most often.
            drop(fs::remove_file(&temporary));
            DepotError::io("write", &path, source)
        })
    }

    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DepotError> {
        let path = self.root.join(name);
        let read = |source| DepotError::io("read", &path, source);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() > bytes_max {
            return Err(DepotError::TooLarge { name: name.to_owned(), bytes: bytes.len() as u64 });
        }
        Ok(Some(bytes))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, DepotError> {
        let mut names = vec![];
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.root.join(&folder);
            let list = |source| DepotError::io("list", &path, source);
            for entry in fs::read_dir(&path).map_err(list)? {
                let entry = entry.map_err(list)?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.file_type().map_err(list)?.is_dir() { folders.push(name) } else { names.push(name) }
            }
        }
        Ok(names)
    }

    fn remove(&mut self, name: &str) -> Result<(), DepotError> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(DepotError::io("remove", &path, error)),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), DepotError> {
        // One barrier for everything is far cheaper than one for each chunk.
        let sync = || Ok(rustix::fs::syncfs(File::open(&self.root)?)?);
        sync().map_err(|source| DepotError::io("sync", &self.root, source))
    }
}

fn is_empty(root: &Path) -> Result<bool, DepotError> {
    let list = |source| DepotError::io("list", root, source);
    for entry in fs::read_dir(root).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        // A file system's own, and ours from an attempt that ended at once.
        if !["lost+found", LOCK, CHUNKS, TEMPORARY].iter().any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(root: &Path) -> Result<FileLock, DepotError> {
    let path = root.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(|source| DepotError::io("open", &path, source))?;
    match FileLock::take(file) {
        Ok(lock) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DepotError::Busy { path: root.to_owned() }),
        Err(TryLockError::Error(source)) => Err(DepotError::io("lock", &path, source)),
    }
}

fn make_dir(path: &Path) -> Result<(), DepotError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| DepotError::io("make", path, source))
}
