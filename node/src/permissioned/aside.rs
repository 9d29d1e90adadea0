//! The index of a repository, put aside while what stands behind it is on its way: it comes ahead of the records, and
//! names them. A short one stays in memory, a longer one goes into a file without a name, which the system takes back when
//! it is closed. Memory does not depend on the size of a repository.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use angel_protocol::data::Cid;
use angel_protocol::permissioned::wire::car;

use super::PermissionedError;

/// Bytes of an index that stay in memory.
const MEMORY_BYTES: usize = 1024 * 1024;

/// Bytes that are read back at a time.
const WINDOW_BYTES: usize = 256 * 1024;

/// An index that is being put aside.
pub(super) struct Aside {
    dir: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    bytes: u64,
}

impl Aside {
    /// Nothing yet. A file, should one be due, is made in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), memory: Vec::new(), file: None, bytes: 0 }
    }

    /// What is appended here belongs to the index.
    pub(super) const fn end(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Whether there is more in memory than should be: see [`Self::settle_blocking`].
    pub(super) const fn is_full(&self) -> bool {
        self.memory.len() > MEMORY_BYTES
    }

    /// Brings what is in memory into the file. Blocks.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub(super) fn settle_blocking(mut self) -> io::Result<Self> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(nameless(&self.dir)?),
        };
        file.write_all(&self.memory)?;
        self.bytes += self.memory.len() as u64;
        self.memory.clear();
        Ok(self)
    }

    /// The index is whole. Blocks.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish_blocking(self) -> io::Result<Index> {
        if self.file.is_none() {
            return Ok(Index::Memory(self.memory));
        }
        let Self { file, memory, bytes, .. } = self.settle_blocking()?;
        Ok(file.map_or(Index::Memory(memory), |file| Index::File(file, bytes)))
    }
}

/// A file that the system takes back when it is closed.
fn nameless(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("index-{:032x}", rand::random::<u128>()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// The bytes of an index that was put aside.
pub(super) enum Index {
    Memory(Vec<u8>),
    File(File, u64),
}

impl Index {
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, bytes) => *bytes,
        }
    }

    /// Appends up to `max` bytes from `at` on, and says how many. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn piece_blocking(&self, at: u64, max: usize, out: &mut Vec<u8>) -> io::Result<usize> {
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

/// Goes through the entries of an index that was put aside.
pub(super) struct Entries {
    index: Index,
    read: u64,
    window: Vec<u8>,
    at: usize,
    /// Whether the number of entries stands ahead of them and is still to be passed over.
    is_counted: bool,
}

impl Entries {
    /// Of a whole index, which begins with their number.
    pub(super) const fn of_whole(index: Index) -> Self {
        Self { index, read: 0, window: Vec::new(), at: 0, is_counted: true }
    }

    /// Of entries alone.
    pub(super) const fn of_entries(index: Index) -> Self {
        Self { index, read: 0, window: Vec::new(), at: 0, is_counted: false }
    }

    /// Back to what they are entries of.
    pub(super) fn into_index(self) -> Index {
        self.index
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    /// The next entry, if it need not be read back first.
    ///
    /// # Errors
    /// What was put aside is no index.
    pub(super) fn at_hand(&mut self) -> Result<Option<(String, Cid)>, PermissionedError> {
        const BROKEN: PermissionedError = PermissionedError::Broken("the index put aside cannot be read");
        if self.is_counted && self.at < self.window.len() {
            self.at += car::index_start(&self.window[self.at..]).ok_or(BROKEN)?;
            self.is_counted = false;
        }
        let entry = car::index_entry(&self.window[self.at..]).map_err(|_| BROKEN)?;
        Ok(entry.map(|(path, cid, used)| {
            self.at += used;
            (path, cid)
        }))
    }

    /// The next entry, read back if need be; `None` behind the last. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or is no index.
    pub(super) fn next_blocking(&mut self) -> Result<Option<(String, Cid)>, PermissionedError> {
        loop {
            if let Some(entry) = self.at_hand()? {
                return Ok(Some(entry));
            }
            if self.read == self.index.bytes() {
                let is_whole = self.at == self.window.len();
                return if is_whole { Ok(None) } else { Err(PermissionedError::Broken("the index put aside is cut")) };
            }
            self.window.drain(..self.at);
            self.at = 0;
            self.read += self.index.piece_blocking(self.read, WINDOW_BYTES, &mut self.window)? as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::Codec;
    use angel_protocol::permissioned::wire::car::IndexWriter;

    use super::*;

    fn entries(count: u64) -> impl Iterator<Item = (String, Cid)> {
        (0..count).map(|n| (format!("com.example.note/{n:013}"), Cid::of(Codec::DagCbor, &n.to_be_bytes())))
    }

    /// An index of so many entries, put aside; `is_whole` with their number ahead.
    fn put_aside(dir: &Path, count: u64, is_whole: bool) -> Index {
        let mut aside = Aside::new(dir);
        let mut ahead = Vec::new();
        let mut writer = IndexWriter::begin(count, &mut ahead);
        if is_whole {
            aside.end().extend_from_slice(&ahead);
        }
        for (path, cid) in entries(count) {
            writer.entry(&path, cid, aside.end());
            if aside.is_full() {
                aside = aside.settle_blocking().expect("writes");
            }
        }
        aside.finish_blocking().expect("writes")
    }

    #[test]
    fn what_was_put_aside_comes_back_from_memory_and_from_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        for (count, is_whole) in [(0, true), (0, false), (10, true), (10, false), (40_000, true), (40_000, false)] {
            let index = put_aside(dir.path(), count, is_whole);
            assert_eq!(matches!(index, Index::File(..)), count > 10_000, "{count} entries");
            let mut back = if is_whole { Entries::of_whole(index) } else { Entries::of_entries(index) };
            for entry in entries(count) {
                let read = match back.at_hand().expect("an index") {
                    None => back.next_blocking().expect("an index"),
                    read => read,
                };
                assert_eq!(read, Some(entry));
            }
            assert_eq!(back.next_blocking().expect("an index"), None);
            assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 0, "a file has no name");
        }
    }

    #[test]
    fn an_index_that_is_cut_is_no_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let Index::Memory(mut bytes) = put_aside(dir.path(), 3, true) else { panic!("three entries are few") };
        bytes.pop();
        let mut back = Entries::of_whole(Index::Memory(bytes));
        assert!(back.next_blocking().is_ok_and(|entry| entry.is_some()));
        assert!(back.next_blocking().is_ok_and(|entry| entry.is_some()));
        assert!(matches!(back.next_blocking(), Err(PermissionedError::Broken(_))));
    }
}
