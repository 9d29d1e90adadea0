//! What a power cut leaves at the end of fjall's journal, and how to tell it from damage.
//!
//! The journal is a file of fixed size, so of the batches that were written and not yet synced any sectors may survive:
//! the end of a batch without its middle. fjall then refuses to open the database at all. Nobody was told that such a
//! batch was written, so it may be cut off; but a batch that was acknowledged and has since been damaged may not.
//!
//! Each `apply` numbers its first batch ([`mark`]). The next `apply` begins only when the one before is on the disk. So
//! whoever finds number `n + 2` behind a broken batch that follows number `n` knows that the broken one was acknowledged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// Key of the row that numbers an `apply`.
pub(super) const MARK: &[u8] = b"angel/apply";

const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TAG_CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

/// Largest journal looked at, in bytes: fjall starts a new one long before.
const BYTES_MAX: u64 = 1 << 30;

/// Value of the row that numbers an `apply`.
pub(super) fn mark(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Cuts batches off the end of the newest journal in `dir` if they were never acknowledged. Answers where, or `None` when
/// there is nothing to cut, or nothing that may be.
pub(super) fn cut_unacknowledged(dir: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    let Some(path) = newest(dir)? else { return Ok(None) };
    if fs::metadata(&path)?.len() > BYTES_MAX {
        return Ok(None);
    }
    let bytes = fs::read(&path)?;
    let Some(end) = unacknowledged_from(&bytes) else { return Ok(None) };
    let file = File::options().write(true).open(&path)?;
    let end = end as u64;
    file.set_len(end)?;
    file.sync_all()?;
    Ok(Some((path, end)))
}

fn newest(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.extension().filter(|ext| *ext == "jnl").and(path.file_stem()).and_then(|stem| stem.to_str());
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the unacknowledged end of a journal begins, if it has one that is not just empty.
fn unacknowledged_from(bytes: &[u8]) -> Option<usize> {
    let mut rest = Cursor { bytes, at: 0 };
    let mut end = 0;
    let mut last_mark = None;
    while let Some(mark) = rest.batch() {
        end = rest.at;
        last_mark = mark.or(last_mark);
    }
    let tail = &bytes[end..];
    if tail.iter().all(|byte| *byte == 0) {
        return None;
    }
    let greatest = marks(tail).max();
    match (last_mark, greatest) {
        // An `apply` began after the broken batch was safe: this is damage.
        (Some(last), Some(greatest)) if greatest >= last.saturating_add(2) => None,
        // Without a number before it, nothing is known about the age of the broken batch, unless it is the only one.
        (None, Some(greatest)) if marks(tail).any(|mark| mark < greatest) => None,
        _ => Some(end),
    }
}

/// Every number in a piece of a journal, whether or not its batch is whole.
fn marks(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.windows(MARK.len() + 8).filter(|window| window.starts_with(MARK)).filter_map(|window| {
        let number = window.last_chunk::<8>()?;
        Some(u64::from_be_bytes(*number))
    })
}

/// Reads batches from the front.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads one whole batch, and the number it carries if it has one; `None` when what follows is none.
    fn batch(&mut self) -> Option<Option<u64>> {
        let start = self.at;
        let batch = self.batch_inner();
        if batch.is_none() {
            self.at = start;
        }
        batch
    }

    fn batch_inner(&mut self) -> Option<Option<u64>> {
        if self.byte()? != TAG_START {
            return None;
        }
        let items = self.u32()?;
        self.take(8)?;
        let mut hash = Xxh3::new();
        let mut mark = None;
        for _ in 0..items {
            let start = self.at;
            mark = self.item()?.or(mark);
            hash.update(&self.bytes[start..self.at]);
        }
        if self.byte()? != TAG_END {
            return None;
        }
        let checksum = u64::from_le_bytes(*self.take(8)?.first_chunk()?);
        (checksum == hash.digest() && self.take(TRAILER.len())? == TRAILER).then_some(mark)
    }

    fn item(&mut self) -> Option<Option<u64>> {
        match self.byte()? {
            TAG_ITEM => {}
            TAG_CLEAR => return self.take(8).map(|_| None),
            _ => return None,
        }
        // Kind of value, compression, keyspace.
        self.take(1 + 1 + 8)?;
        let key_bytes = usize::from(u16::from_le_bytes(*self.take(2)?.first_chunk()?));
        self.u32()?;
        let value_bytes = usize::try_from(self.u32()?).ok()?;
        let key = self.take(key_bytes)?;
        let value = self.take(value_bytes)?;
        let number = value.try_into().ok().map(u64::from_be_bytes);
        Some(number.filter(|_| key == MARK))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineKind, EngineSettings, Group, Tuning, open};

    /// A journal as fjall writes it: five applies of one batch each. Answers its bytes and where each batch ends.
    fn journal() -> (tempfile::TempDir, PathBuf, Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let data = dir.path().join("data");
        let engine = open(EngineKind::Fjall, &data, EngineSettings::default(), Tuning::default()).expect("opens");
        for n in 0..5_u8 {
            let mut group = Group::default();
            (0..20_u8).for_each(|m| group.put(vec![1, n, m], vec![n; 300]));
            engine.apply(&[group]).expect("applies");
        }
        drop(engine);
        let path = newest(&data).expect("lists").expect("there is one");
        let bytes = fs::read(&path).expect("reads");
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        let mut ends = Vec::new();
        while cursor.batch().is_some() {
            ends.push(cursor.at);
        }
        (dir, path, bytes, ends)
    }

    #[test]
    fn every_batch_of_a_real_journal_is_understood() {
        let (_dir, _, bytes, ends) = journal();
        assert!(ends.len() >= 5, "{ends:?}");
        assert_eq!(unacknowledged_from(&bytes), None);
        let numbers: Vec<_> = marks(&bytes).collect();
        assert_eq!(numbers, (1..=5).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_last_batch_is_cut_and_the_database_opens() {
        let (dir, path, bytes, ends) = journal();
        let [.., before, end] = ends[..] else { panic!("{ends:?}") };
        let mut torn = bytes;
        torn[before + 1000..end - 500].fill(0);
        assert_eq!(unacknowledged_from(&torn), Some(before));
        fs::write(&path, &torn).expect("writes");
        let data = dir.path().join("data");
        let engine = open(EngineKind::Fjall, &data, EngineSettings::default(), Tuning::default()).expect("opens");
        assert_eq!(engine.get(&[1, 3, 19]).expect("reads"), Some(vec![3; 300]));
        assert_eq!(engine.get(&[1, 4, 0]).expect("reads"), None, "whole or absent");
    }

    #[test]
    fn a_damaged_batch_that_was_acknowledged_is_not_cut() {
        let (dir, path, bytes, ends) = journal();
        let third_last = ends[ends.len() - 3];
        let mut damaged = bytes;
        damaged[third_last - 100] ^= 1;
        assert_eq!(unacknowledged_from(&damaged), None);
        fs::write(&path, &damaged).expect("writes");
        let data = dir.path().join("data");
        assert!(open(EngineKind::Fjall, &data, EngineSettings::default(), Tuning::default()).is_err());
        assert_eq!(fs::read(&path).expect("reads"), damaged, "and nothing was changed");
    }
}
