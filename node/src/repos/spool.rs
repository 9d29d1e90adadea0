//! Where the blocks of a repository that is being imported wait until all have arrived: files may bring them in any
//! order, and only the tree tells which are needed.
//!
//! A few mebibytes are kept in memory, the rest goes into a file without a name, which the system takes back when the
//! import ends, however it ends. Copies of other nodes' tenants have a file with a name instead ([`kept`]).

mod kept;

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use angel_protocol::data::{Cid, Codec};
use angel_protocol::repo::{BlockSource, SourceError};

/// Bytes that one import keeps in memory before it goes on to its file.
const MEMORY_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that are read from the file at a time where blocks are asked for in the order in which they lie there.
const WINDOW_BYTES: usize = 64 * 1024;

/// Bytes that are read where they are not: most blocks have less.
const GLANCE_BYTES: usize = 1024;

/// In how many places blocks may be asked for in order: some files have tree nodes and records apart.
const WINDOWS: usize = 2;

/// Blocks put aside.
pub(super) struct Spool {
    dir: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    /// Where the file lies, if it outlives the import.
    name: Option<PathBuf>,
    /// Bytes that are in the file. What is in memory comes behind them.
    filed: u64,
    /// Where blocks begin, by the first bytes of their digest. Sorted once everything is there.
    index: Vec<(u64, u64)>,
    is_sorted: bool,
    /// What was read of the file last.
    windows: RefCell<Windows>,
}

/// Bytes ahead of a block: its digest and its length.
const PREFIX_BYTES: usize = 32 + 4;

impl Spool {
    /// An empty one, with its file in `dir` if it needs one.
    pub(super) fn new(dir: &Path) -> Self {
        let (memory, index, windows) = (Vec::new(), Vec::new(), RefCell::default());
        Self { dir: dir.to_owned(), memory, file: None, name: None, filed: 0, index, is_sorted: true, windows }
    }

    /// Puts a block aside. Only DAG-CBOR can be part of a repository; anything else is passed over.
    pub(super) fn add(&mut self, cid: Cid, bytes: &[u8]) -> io::Result<()> {
        if cid.codec() != Codec::DagCbor {
            return Ok(());
        }
        if self.memory.len() + PREFIX_BYTES + bytes.len() > MEMORY_BYTES {
            self.spill()?;
        }
        if self.memory.capacity() == 0 {
            // Only what is used of it becomes memory; growing bit by bit would copy all of it again and again.
            self.memory.reserve_exact(MEMORY_BYTES);
        }
        self.index.push((short(cid), self.filed + self.memory.len() as u64));
        self.is_sorted = false;
        self.memory.extend_from_slice(cid.digest());
        // A block has at most a megabyte.
        self.memory.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Everything is there: makes blocks findable.
    pub(super) fn close(&mut self) {
        self.index.sort_unstable();
        self.is_sorted = true;
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(nameless(&self.dir)?),
        };
        file.write_all(&self.memory)?;
        self.filed += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    fn find(&self, cid: &Cid) -> io::Result<Option<Arc<[u8]>>> {
        let wanted = short(*cid);
        let first = self.index.partition_point(|(short, _)| *short < wanted);
        for (short, at) in self.index.iter().skip(first) {
            if *short != wanted {
                break;
            }
            if let Some(bytes) = self.read(*at, cid)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The block at `at`, if it is `cid`.
    fn read(&self, at: u64, cid: &Cid) -> io::Result<Option<Arc<[u8]>>> {
        if let Some(at) = at.checked_sub(self.filed) {
            let rest = usize::try_from(at).ok().and_then(|at| self.memory.get(at..)).unwrap_or_default();
            let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
            return Ok(length_of(prefix, cid).and_then(|length| rest.get(..length)).map(Into::into));
        }
        let Some(file) = &self.file else { return Ok(None) };
        let mut windows = self.windows.borrow_mut();
        let Some(prefix) = windows.look(file, self.filed, at, PREFIX_BYTES)?.first_chunk() else { return Ok(None) };
        let Some(length) = length_of(prefix, cid) else { return Ok(None) };
        let block = windows.look(file, self.filed, at, PREFIX_BYTES + length)?.get(PREFIX_BYTES..);
        Ok(block.filter(|block| block.len() == length).map(Into::into))
    }
}

/// Parts of the file, so that blocks which lie one behind the other are not fetched one by one. The last one is the one
/// that was looked at last.
#[derive(Default)]
struct Windows([Window; WINDOWS]);

#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Windows {
    /// `length` bytes of the file from `at` on, or as many as there are before its `end`.
    fn look(&mut self, file: &File, end: u64, at: u64, length: usize) -> io::Result<&[u8]> {
        let here = self.0.iter().position(|window| window.covers(at));
        self.0[here.unwrap_or(0)..].rotate_left(1);
        let [.., window] = &mut self.0;
        if window.at(at, length).is_none() {
            let ahead = if here.is_some() { WINDOW_BYTES } else { GLANCE_BYTES };
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let mut bytes = std::mem::take(&mut window.bytes);
            bytes.resize(ahead.max(length).min(left), 0);
            file.read_exact_at(&mut bytes, at)?;
            *window = Window { start: at, bytes };
        }
        Ok(window.at(at, length.min(window.bytes.len())).unwrap_or_default())
    }
}

impl Window {
    /// Whether `at` lies in the window or right behind it.
    fn covers(&self, at: u64) -> bool {
        (self.start..=self.start + self.bytes.len() as u64).contains(&at)
    }

    fn at(&self, at: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..)?.get(..length)
    }
}

impl BlockSource for Spool {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        if !self.is_sorted || cid.codec() != Codec::DagCbor {
            return Ok(None);
        }
        self.find(cid).map_err(|error| SourceError(Box::new(error)))
    }
}

fn short(cid: Cid) -> u64 {
    cid.digest().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The length that a prefix tells, if it is that of `cid`.
fn length_of(prefix: &[u8; PREFIX_BYTES], cid: &Cid) -> Option<usize> {
    let (digest, length) = prefix.split_first_chunk::<32>()?;
    let length = usize::try_from(u32::from_be_bytes(*length.first_chunk()?)).ok()?;
    (digest == cid.digest()).then_some(length)
}

/// A file that nobody else can open, gone once it is closed.
fn nameless(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("import-{:032x}", rand::random::<u128>()));
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::Block;

    use super::*;

    #[test]
    fn blocks_come_back_from_memory_and_from_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(&dir.path().join("spool"));
        let block = |n: u32| Block::new(Codec::DagCbor, n.to_be_bytes().repeat(50_000));
        let mut add = |block: &Block| spool.add(block.cid(), block.bytes());
        for n in 0..100 {
            add(&block(n)).expect("writes");
        }
        let raw = Block::new(Codec::Raw, b"blob".as_slice());
        add(&raw).expect("passes over");
        add(&block(3)).expect("writes a second time");
        spool.close();
        assert!(spool.filed > 0 && !spool.memory.is_empty(), "both were used");
        assert!(spool.memory.len() <= MEMORY_BYTES);
        assert_eq!(fs::read_dir(dir.path().join("spool")).expect("is there").count(), 0, "it has no name");
        for n in (0..100).rev() {
            assert_eq!(spool.get(&block(n).cid()).expect("reads").as_deref(), Some(&block(n).bytes()[..]), "{n}");
        }
        assert_eq!(spool.get(&block(100).cid()).expect("reads"), None);
        assert_eq!(spool.get(&raw.cid()).expect("reads"), None);
    }

    #[test]
    fn blocks_come_back_from_the_file_in_whatever_order_they_are_asked_for() {
        const COUNT: u32 = 12_000;
        let dir = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(dir.path());
        // Of all lengths, some longer than what is read of a block at first, few longer than what is read ahead.
        let length = |n: u32| if n.is_multiple_of(997) { 40_000 } else { 100 + n as usize % 400 };
        let block = |n: u32| Block::new(Codec::DagCbor, n.to_be_bytes().repeat(length(n)));
        for n in 0..COUNT {
            let block = block(n);
            spool.add(block.cid(), block.bytes()).expect("writes");
        }
        spool.close();
        assert!(spool.filed > 0 && !spool.memory.is_empty(), "both were used");
        let in_order = 0..COUNT;
        let backwards = (0..COUNT).rev();
        let in_two_places = (0..COUNT / 2).flat_map(|n| [n, COUNT / 2 + n]);
        let in_none = (0..COUNT).map(|n| n.wrapping_mul(7_919) % COUNT);
        for n in in_order.chain(backwards).chain(in_two_places).chain(in_none) {
            let block = block(n);
            assert_eq!(spool.get(&block.cid()).expect("reads").as_deref(), Some(&block.bytes()[..]), "{n}");
        }
    }
}
