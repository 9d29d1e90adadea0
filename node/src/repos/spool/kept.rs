//! Blocks that outlive their import: a copy that was cut off goes on with what had come.
//!
//! They lie in a file with a name, and between them marks that say how much of the repository there is. Whatever wrote the
//! file may have been killed, or the machine have lost power: when it is read again each block is checked against its
//! digest like one that comes from elsewhere, and what lies behind the last mark is dropped.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use angel_protocol::data::{Cid, Codec};
use angel_protocol::limits::{BLOCK_BYTES_MAX, MST_KEY_BYTES_MAX};
use angel_protocol::repo::UpTo;

use super::{PREFIX_BYTES, Spool, short};

/// Set in the length of what is a mark and no block.
const MARK: u32 = 1 << 31;

/// Longest mark: a revision, a space and a path.
const MARK_BYTES_MAX: usize = MST_KEY_BYTES_MAX + 32;

/// Bytes that are read of the file at a time when it is read again.
const READ_BYTES: usize = 256 * 1024;

/// What lies in the file one behind the other.
enum Entry {
    Block(Cid),
    Mark(UpTo),
}

impl Spool {
    /// What the file at `path` has, up to its last mark; it is made if there is none. It belongs to the caller alone.
    pub(in crate::repos) fn kept(path: PathBuf) -> io::Result<(Self, Option<UpTo>)> {
        let dir = path.parent().unwrap_or(&path).to_owned();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let mut spool = Self::new(&dir);
        let (mut reader, mut buffer) = (BufReader::with_capacity(READ_BYTES, &file), Vec::new());
        let (mut at, mut marked, mut blocks, mut up_to) = (0, 0, 0, None);
        while let Some(entry) = next(&mut reader, &mut buffer)? {
            let start = at;
            at += (PREFIX_BYTES + buffer.len()) as u64;
            match entry {
                Entry::Block(cid) => spool.index.push((short(cid), start)),
                Entry::Mark(mark) => (marked, blocks, up_to) = (at, spool.index.len(), Some(mark)),
            }
        }
        spool.index.truncate(blocks);
        file.set_len(marked)?;
        (spool.filed, spool.is_sorted) = (marked, false);
        (spool.file, spool.name) = (Some(file), Some(path));
        Ok((spool, up_to))
    }

    /// Notes that everything is there up to `up_to`. A process that ends loses nothing of that.
    pub(in crate::repos) fn mark(&mut self, up_to: &UpTo) -> io::Result<()> {
        let text = up_to.to_string();
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX) | MARK;
        self.memory.extend_from_slice(Cid::of(Codec::Raw, text.as_bytes()).digest());
        self.memory.extend_from_slice(&length.to_be_bytes());
        self.memory.extend_from_slice(text.as_bytes());
        self.spill()
    }

    /// Bytes put aside.
    pub(in crate::repos) const fn bytes(&self) -> u64 {
        self.filed + self.memory.len() as u64
    }

    /// Blocks put aside.
    pub(in crate::repos) const fn blocks(&self) -> u64 {
        self.index.len() as u64
    }

    /// Nothing is to go on with it.
    pub(in crate::repos) fn forget(self) -> io::Result<()> {
        match self.name.as_ref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What comes next, and its bytes in `buffer`; `None` at the end, or where nothing sound follows.
fn next(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Entry>> {
    let mut prefix = [0; PREFIX_BYTES];
    if !fill(from, &mut prefix)? {
        return Ok(None);
    }
    let Some((digest, length)) = prefix.split_first_chunk::<32>() else { return Ok(None) };
    let length = length.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
    let (is_mark, length) = (length & MARK != 0, usize::try_from(length & !MARK).unwrap_or(usize::MAX));
    if length > if is_mark { MARK_BYTES_MAX } else { BLOCK_BYTES_MAX } {
        return Ok(None);
    }
    buffer.resize(length, 0);
    if !fill(from, buffer)? {
        return Ok(None);
    }
    let cid = Cid::of(if is_mark { Codec::Raw } else { Codec::DagCbor }, buffer);
    if cid.digest() != digest {
        return Ok(None);
    }
    if !is_mark {
        return Ok(Some(Entry::Block(cid)));
    }
    Ok(std::str::from_utf8(buffer).ok().and_then(|text| text.parse().ok()).map(Entry::Mark))
}

/// Whether there was as much.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::Block;
    use angel_protocol::ids::Tid;
    use angel_protocol::repo::BlockSource as _;

    use super::*;

    fn block(n: u32) -> Block {
        Block::new(Codec::DagCbor, n.to_be_bytes().repeat(1_000))
    }

    fn up_to(n: u64) -> UpTo {
        UpTo { rev: Tid::new(1_700_000_000_000_000 + n, 0), path: format!("com.example.note/{n}") }
    }

    fn add(spool: &mut Spool, numbers: std::ops::Range<u32>) {
        numbers.map(block).for_each(|block| spool.add(block.cid(), block.bytes()).expect("writes"));
    }

    #[test]
    fn what_was_marked_is_there_again_and_what_came_behind_it_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("copies/1-repository");
        let (mut spool, has) = Spool::kept(path.clone()).expect("opens");
        assert_eq!((has, spool.bytes(), spool.blocks()), (None, 0, 0));
        add(&mut spool, 0..10);
        spool.mark(&up_to(1)).expect("writes");
        add(&mut spool, 10..20);
        spool.mark(&up_to(2)).expect("writes");
        let marked = spool.bytes();
        // Killed with more in memory and on the disk than was marked.
        add(&mut spool, 20..2_500);
        assert!(spool.filed > marked && !spool.memory.is_empty(), "both were used");
        drop(spool);

        let (mut spool, has) = Spool::kept(path.clone()).expect("opens");
        assert_eq!((has, spool.bytes(), spool.blocks()), (Some(up_to(2)), marked, 20));
        assert_eq!(fs::metadata(&path).expect("there").len(), marked);
        add(&mut spool, 20..30);
        spool.mark(&up_to(3)).expect("writes");
        add(&mut spool, 30..40);
        spool.close();
        for n in (0..40).rev() {
            assert_eq!(spool.get(&block(n).cid()).expect("reads").as_deref(), Some(&block(n).bytes()[..]), "{n}");
        }
        assert_eq!(spool.get(&block(40).cid()).expect("reads"), None);
        spool.forget().expect("removes");
        assert!(!path.exists(), "nothing is left");
    }

    #[test]
    fn what_is_damaged_is_dropped_with_all_behind_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1-repository");
        let (mut spool, _) = Spool::kept(path.clone()).expect("opens");
        let mut ends = vec![0];
        for n in 0..4 {
            add(&mut spool, n * 10..n * 10 + 10);
            spool.mark(&up_to(n.into())).expect("writes");
            ends.push(usize::try_from(spool.bytes()).expect("small"));
        }
        drop(spool);
        let whole = fs::read(&path).expect("reads");
        let whole_marks = |bytes: usize| ends.iter().rposition(|end| *end <= bytes).expect("zero is");
        for at in (0..whole.len()).step_by(997).chain([ends[1] - 1, ends[2] - 20, ends[2] + 33]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            for bytes in [&bytes[..], &whole[..at]] {
                fs::write(&path, bytes).expect("writes");
                let (spool, has) = Spool::kept(path.clone()).expect("opens");
                let sound = whole_marks(at);
                assert_eq!(has, sound.checked_sub(1).map(|n| up_to(n as u64)), "at {at}");
                assert_eq!((spool.blocks(), spool.bytes()), (sound as u64 * 10, ends[sound] as u64), "at {at}");
            }
        }
    }
}
