//! One file in the form of `tar`: what a directory of backups would hold, with one snapshot, its manifest last. Unpacked,
//! it is such a directory.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tar::{Archive, Builder, Header};

use super::{DepotError, Objects, SNAPSHOTS};

/// A file that is being written. It gets its name when the manifest is in it.
pub(super) struct Writing {
    path: PathBuf,
    temporary: PathBuf,
    tar: Option<Builder<BufWriter<File>>>,
}

impl Writing {
    pub(super) fn begin(path: &Path) -> Result<Self, DepotError> {
        if path.exists() {
            return Err(DepotError::Exists { path: path.to_owned() });
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".partial");
        let temporary = PathBuf::from(temporary);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let file = file.map_err(|source| DepotError::io("write", &temporary, source))?;
        Ok(Self { path: path.to_owned(), temporary, tar: Some(Builder::new(BufWriter::with_capacity(1 << 20, file))) })
    }

    fn finish(&mut self) -> Result<(), DepotError> {
        let Some(tar) = self.tar.take() else { return Ok(()) };
        let finish = || {
            let mut file = tar.into_inner()?;
            file.flush()?;
            file.get_ref().sync_all()?;
            // A link, unlike a rename, refuses to replace.
            fs::hard_link(&self.temporary, &self.path)?;
            fs::remove_file(&self.temporary)?;
            crate::data_dir::sync_dir(
                self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            )
        };
        finish().map_err(|source| DepotError::io("write", &self.path, source))
    }
}

impl Objects for Writing {
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), DepotError> {
        let Some(tar) = &mut self.tar else { return Err(DepotError::Fixed) };
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        let written = tar.append_data(&mut header, name, bytes.as_slice());
        written.map_err(|source| DepotError::io("write", &self.temporary, source))?;
        if name.starts_with(SNAPSHOTS) { self.finish() } else { Ok(()) }
    }

    fn get(&self, _: &str, _: usize) -> Result<Option<Vec<u8>>, DepotError> {
        Ok(None)
    }

    fn names(&self, _: &str) -> Result<Vec<String>, DepotError> {
        Ok(vec![])
    }

    fn remove(&mut self, _: &str) -> Result<(), DepotError> {
        Err(DepotError::Fixed)
    }

    fn sync(&mut self) -> Result<(), DepotError> {
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.tar.take().is_some() {
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// A file that is read: where each object lies in it.
pub(super) struct Reading {
    path: PathBuf,
    file: File,
    objects: HashMap<String, (u64, u64)>,
}

impl Reading {
    pub(super) fn open(path: &Path) -> Result<Self, DepotError> {
        let open = |source| DepotError::io("open", path, source);
        let file = File::open(path).map_err(open)?;
        let length = file.metadata().map_err(open)?.len();
        let no_archive = |why: String| DepotError::NoArchive { path: path.to_owned(), why };
        let mut objects = HashMap::new();
        let mut archive = Archive::new(File::open(path).map_err(open)?);
        for entry in archive.entries_with_seek().map_err(|error| no_archive(error.to_string()))? {
            let entry = entry.map_err(|error| no_archive(error.to_string()))?;
            let name = String::from_utf8(entry.path_bytes().into_owned());
            let name = name.map_err(|_| no_archive("a name in it is no text".to_owned()))?;
            let (at, size) = (entry.raw_file_position(), entry.size());
            if at.checked_add(size).is_none_or(|end| end > length) {
                return Err(no_archive(format!("{name} is cut short")));
            }
            if objects.insert(name.clone(), (at, size)).is_some() {
                return Err(no_archive(format!("{name} is in it twice")));
            }
        }
        if !objects.keys().any(|name| name.starts_with(SNAPSHOTS)) {
            return Err(no_archive("its manifest is missing".to_owned()));
        }
        Ok(Self { path: path.to_owned(), file, objects })
    }
}

impl Objects for Reading {
    fn put(&mut self, _: &str, _: Vec<u8>) -> Result<(), DepotError> {
        Err(DepotError::Fixed)
    }

    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DepotError> {
        let Some((at, size)) = self.objects.get(name) else { return Ok(None) };
        let length = usize::try_from(*size).unwrap_or(usize::MAX);
        if length > bytes_max {
            return Err(DepotError::TooLarge { name: name.to_owned(), bytes: *size });
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, *at);
        read.map_err(|source| DepotError::io("read", &self.path, source))?;
        Ok(Some(bytes))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, DepotError> {
        let within = |name: &&String| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        Ok(self.objects.keys().filter(within).cloned().collect())
    }

    fn remove(&mut self, _: &str) -> Result<(), DepotError> {
        Err(DepotError::Fixed)
    }

    fn sync(&mut self) -> Result<(), DepotError> {
        Ok(())
    }
}
