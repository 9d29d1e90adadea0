//! The files: where each lies, and how it comes there so that a power cut leaves it whole or not at all.
//!
//! ```text
//! DIR/tmp/…          uploads under way
//! DIR/ab/cd/CID      a blob whose digest begins with ab cd
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use angel_protocol::data::Cid;
use tokio::runtime::Handle;

use super::BlobError;
use super::direct::DirectFile;
use crate::room;

/// Bytes that are copied at a time from one disk to another.
const COPY_BYTES: usize = 256 * 1024;

/// A directory of blobs.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

/// A file on its way to its place.
#[derive(Debug)]
pub(super) struct TempFile {
    path: PathBuf,
    file: DirectFile,
    /// Whether it goes when this is dropped.
    goes: bool,
    /// Whether it lies in its place now, and nowhere else.
    is_placed: bool,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError + use<'_> {
    |source| BlobError::File { path: path.to_owned(), source }
}

impl Files {
    /// Makes the directory if need be, and removes what uploads left half done.
    pub(super) fn open(root: PathBuf) -> Result<Self, BlobError> {
        let tmp = root.join("tmp");
        match fs::remove_dir_all(&tmp) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&tmp)(error)),
            _ => {}
        }
        make_dir(&root)?;
        make_dir(&tmp)?;
        Ok(Self { root })
    }

    /// Whether the disk on which they lie is nearly full. Blocks for a moment.
    pub(super) fn has_no_room(&self) -> bool {
        room::is_short_at(&self.root)
    }

    /// A new, empty file.
    pub(super) fn temp(&self) -> Result<TempFile, BlobError> {
        let path = self.root.join("tmp").join(format!("{:032x}", rand::random::<u128>()));
        let file = DirectFile::create(&path).map_err(at(&path))?;
        Ok(TempFile { path, file, goes: true, is_placed: false })
    }

    /// A file at a place of somebody else's, who wants it to stay when it is cut off. What is there of it is read to
    /// `visit`.
    pub(super) fn resumed(path: PathBuf, visit: impl FnMut(&[u8])) -> Result<TempFile, BlobError> {
        own(&path).map_err(at(&path))?;
        let file = DirectFile::resume(&path, visit).map_err(at(&path))?;
        Ok(TempFile { path, file, goes: false, is_placed: false })
    }

    /// Puts a written file in its place, safe from power cuts when this returns. One that somebody wants to stay lies in both
    /// places until [`TempFile::done`].
    pub(super) fn place(&self, temp: &mut TempFile, cid: Cid) -> Result<(), BlobError> {
        temp.file.finish().map_err(at(&temp.path))?;
        let place = self.path(cid);
        let dir = place.parent().unwrap_or(&self.root);
        if !dir.is_dir() {
            make_dir(dir.parent().unwrap_or(&self.root))?;
            make_dir(dir)?;
        }
        // Where that cannot be, as when the place is taken, it goes there.
        let lies_in_both = !temp.goes && fs::hard_link(&temp.path, &place).is_ok();
        if !lies_in_both {
            match fs::rename(&temp.path, &place) {
                // It came into a directory that lies on another disk than the blobs.
                Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                    let mut near = self.temp()?;
                    copy(&temp.path, &mut near.file).map_err(at(&near.path))?;
                    fs::rename(&near.path, &place).map_err(at(&place))?;
                    (near.goes, near.is_placed) = (false, true);
                }
                renamed => {
                    renamed.map_err(at(&place))?;
                    (temp.goes, temp.is_placed) = (false, true);
                }
            }
        }
        sync_dir(dir)
    }

    /// Opens the file of a blob.
    pub(super) fn read(&self, cid: Cid) -> Result<(PathBuf, File), BlobError> {
        let path = self.path(cid);
        let file = File::open(&path).map_err(at(&path))?;
        Ok((path, file))
    }

    /// Removes the file of a blob; one that is not there is fine.
    pub(super) fn remove(&self, cid: Cid) -> Result<(), BlobError> {
        let path = self.path(cid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// The directories that hold blobs.
    pub(super) fn dirs(&self) -> Result<Vec<PathBuf>, BlobError> {
        let mut dirs = vec![];
        for outer in entries(&self.root)? {
            if outer.is_dir() && outer.file_name().is_some_and(|name| name != "tmp") {
                dirs.extend(entries(&outer)?.into_iter().filter(|path| path.is_dir()));
            }
        }
        Ok(dirs)
    }

    /// The blobs in one of [`Self::dirs`].
    pub(super) fn blobs_in(dir: &Path) -> Result<Vec<Cid>, BlobError> {
        let names = entries(dir)?;
        Ok(names.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
    }

    fn path(&self, cid: Cid) -> PathBuf {
        path_in(&self.root, cid)
    }
}

/// Where the file of a blob lies under `root`.
pub(super) fn path_in(root: &Path, cid: Cid) -> PathBuf {
    let [first, second, ..] = cid.digest();
    root.join(format!("{first:02x}")).join(format!("{second:02x}")).join(cid.to_string())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, BlobError> {
    let listed = fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.map_err(at(dir))
}

/// A file that lies in a blob's place, too, is not written to: what is gone on with is a copy of it.
fn own(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.nlink() > 1 => {
            let copied = path.with_extension("own");
            fs::copy(path, &copied)?;
            fs::rename(copied, path)
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a file, safe from power cuts when this returns.
fn copy(from: &Path, to: &mut DirectFile) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut piece = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut piece)? {
            0 => return to.finish(),
            read => to.write(&piece[..read])?,
        }
    }
}

/// Makes a directory, safe from power cuts when this returns; one that is there is fine.
fn make_dir(dir: &Path) -> Result<(), BlobError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at(dir)(error)),
        Ok(()) => dir.parent().map_or(Ok(()), sync_dir),
    }
}

fn sync_dir(dir: &Path) -> Result<(), BlobError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

impl TempFile {
    /// Appends to the file.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write(bytes).map_err(at(&self.path))
    }

    /// Its row is on the disk: from now on it lies in its place alone.
    pub(super) fn done(mut self) -> Result<(), BlobError> {
        self.goes = false;
        if self.is_placed { Ok(()) } else { fs::remove_file(&self.path).map_err(at(&self.path)) }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.goes {
            return;
        }
        let path = std::mem::take(&mut self.path);
        // What cannot be removed now is removed at the next start.
        let remove = move || drop(fs::remove_file(path));
        match Handle::try_current() {
            // An upload that is given up is dropped by whoever served it, who must not wait for a disk.
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
