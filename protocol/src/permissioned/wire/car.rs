//! A whole repository as a CAR file (proposal 0016, "Repo serialization"): two roots, the commit and the index; then the
//! records in the order of the index.
//!
//! The index maps paths to CIDs. As a map of DAG-CBOR it has its keys by length and then bytes, and so have the records
//! that follow. Both sides go entry by entry: the index of a large repository is longer than any block that would be
//! held in memory. A reader folds the entries into a set hash as they come; when the index ends, the commit's digest
//! says whether it is the author's, before a single record has been read.

use sha2::{Digest as _, Sha256};

use super::commit::{CommitRefusal, SignedCommit};
use crate::data::cbor::{CborError, Reader, Writer};
use crate::data::{Block, Cid, Codec, InvalidCid};
use crate::ids::RepoPath;
use crate::limits::{BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX, PERMISSIONED_ENTRY_BYTES_MAX, PERMISSIONED_RECORDS_MAX};
use crate::permissioned::SetHash;
use crate::repo::car::{self, CarError};

/// Longest commit block, in bytes: its fields have fixed lengths.
const COMMIT_BYTES_MAX: usize = 512;

/// Longest index, in bytes.
const INDEX_BYTES_MAX: u64 = 9 + PERMISSIONED_RECORDS_MAX * PERMISSIONED_ENTRY_BYTES_MAX as u64;

/// Encodes an index entry by entry. Its CID, which stands in front of the file, is known only at its end: whoever
/// writes a file makes the index first and puts it aside.
#[derive(Clone, Debug)]
pub struct IndexWriter {
    hash: Sha256,
    bytes: u64,
    left: u64,
}

impl IndexWriter {
    /// An index of `entries` entries. Its first bytes are appended to `out`.
    #[must_use]
    pub fn begin(entries: u64, out: &mut Vec<u8>) -> Self {
        let mut writer = Writer::with_capacity(9);
        // On every platform that this runs on, a length has 64 bits.
        writer.map(usize::try_from(entries).unwrap_or(usize::MAX));
        let start = writer.into_bytes();
        out.extend_from_slice(&start);
        Self { hash: Sha256::new_with_prefix(&start), bytes: start.len() as u64, left: entries }
    }

    /// Appends an entry to `out`. They come by the length of their paths and then their bytes.
    pub fn entry(&mut self, path: &str, cid: Cid, out: &mut Vec<u8>) {
        self.left = self.left.saturating_sub(1);
        let before = out.len();
        write_entry(out, path, cid);
        self.hash.update(&out[before..]);
        self.bytes += (out.len() - before) as u64;
    }

    /// How many entries are still to come.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The index is whole: its CID and length.
    #[must_use]
    pub fn finish(self) -> (Cid, u64) {
        (Cid::from_digest(Codec::DagCbor, self.hash.finalize().into()), self.bytes)
    }
}

/// Appends an entry as an index has it.
pub fn write_entry(out: &mut Vec<u8>, path: &str, cid: Cid) {
    let mut writer = Writer::with_capacity(path.len() + 48);
    writer.text(path);
    writer.link(cid);
    out.extend_from_slice(&writer.into_bytes());
}

/// Appends what comes ahead of the bytes of the index: the header, the commit, and the length and CID of the index.
pub fn write_start(out: &mut Vec<u8>, commit: &Block, index: Cid, index_bytes: u64) {
    car::write_header_of(out, &[commit.cid(), index]);
    car::write_block(out, commit);
    car::write_length(out, Cid::BYTES + usize::try_from(index_bytes).unwrap_or(usize::MAX));
    out.extend_from_slice(&index.to_bytes());
}

/// How many bytes of an index come ahead of its first entry; `None` when they are no start of an index, or not whole.
#[must_use]
pub fn index_start(bytes: &[u8]) -> Option<usize> {
    map_count(bytes).ok().flatten().map(|(_, used)| used)
}

/// The entry at the front of `bytes`, and how many of them it takes; `None` when it is not whole.
///
/// # Errors
/// It is no entry of an index.
pub fn index_entry(bytes: &[u8]) -> Result<Option<(String, Cid, usize)>, CborError> {
    let mut reader = Reader::new(bytes);
    match reader.text().and_then(|path| Ok((path.to_owned(), reader.link()?))) {
        Ok((path, cid)) => Ok(Some((path, cid, bytes.len() - reader.left()))),
        Err(CborError::Truncated) if bytes.len() < PERMISSIONED_ENTRY_BYTES_MAX => Ok(None),
        Err(error) => Err(error),
    }
}

/// Appends a record.
pub fn write_record(out: &mut Vec<u8>, cid: Cid, bytes: &[u8]) {
    car::write_stored_block(out, cid, bytes);
}

/// What a file holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The commit. It is not believed before [`SignedCommit::verify`].
    Commit(SignedCommit),
    /// An entry of the index. It is not believed before the index has ended.
    Entry(RepoPath, Cid),
    /// The index has ended, and its entries are what the commit says.
    IndexEnd(SetHash),
    /// A record, whose bytes are what its CID says. The caller knows which entry is next.
    Record(Block),
}

/// Why a file is not a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepoCarError {
    /// Not a CAR file, or one with too long parts.
    #[error(transparent)]
    Car(#[from] CarError),
    /// Not two roots.
    #[error("the file has {0} roots; a repository in a space has two, its commit and its index")]
    Roots(usize),
    /// The blocks do not begin with those of the roots.
    #[error("the file does not begin with its commit and its index")]
    Order,
    /// No commit.
    #[error(transparent)]
    Commit(#[from] CommitRefusal),
    /// The index is no map of paths and links in canonical form.
    #[error("the index of the file is not of its form: {0}")]
    Index(#[from] CborError),
    /// An entry of the index has no path of a record.
    #[error("an entry of the index has no path of a record")]
    Path,
    /// More entries than a repository has records.
    #[error("the index has more than {PERMISSIONED_RECORDS_MAX} entries")]
    TooManyEntries,
    /// The entries are not those that were committed to.
    #[error("the index is not what the commit says")]
    Digest,
    /// More records than the index has entries, or fewer.
    #[error("the file has other records than its index")]
    Records,
    /// The file ends before it is whole.
    #[error("the file ends before it is whole")]
    Truncated,
}

/// Reads a file as it arrives. It holds one record, or one entry of the index, and no more.
#[derive(Debug)]
pub struct RepoCarReader {
    waiting: Waiting,
    stage: Stage,
    roots: [Option<Cid>; 2],
    digest: [u8; 32],
    hash: SetHash,
    index_hash: Sha256,
    last_path: String,
    entries: u64,
    records: u64,
}

/// Bytes that have arrived and not been dealt with.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    start: usize,
}

impl Waiting {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Commit,
    IndexStart,
    IndexCount { left: u64 },
    Entries { left: u64, count: u64 },
    Records,
}

impl Default for RepoCarReader {
    fn default() -> Self {
        Self {
            waiting: Waiting::default(),
            stage: Stage::Header,
            roots: [None; 2],
            digest: [0; 32],
            hash: SetHash::default(),
            index_hash: Sha256::new(),
            last_path: String::new(),
            entries: 0,
            records: 0,
        }
    }
}

impl RepoCarReader {
    /// Takes `input` and gives what is next; `None` when more is needed. Ask again with no input until it gives `None`.
    ///
    /// # Errors
    /// [`RepoCarError`], by what is wrong; the reader is of no use afterwards.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Found>, RepoCarError> {
        self.waiting.append(std::mem::take(input));
        loop {
            let before = self.stage;
            if let Some(found) = self.step()? {
                return Ok(Some(found));
            }
            if self.stage == before {
                return Ok(None);
            }
        }
    }

    /// The file has ended.
    ///
    /// # Errors
    /// It is not whole.
    pub fn finish(&self) -> Result<(), RepoCarError> {
        if self.stage != Stage::Records || !self.waiting.bytes().is_empty() {
            return Err(RepoCarError::Truncated);
        }
        if self.records == self.entries { Ok(()) } else { Err(RepoCarError::Records) }
    }

    fn step(&mut self) -> Result<Option<Found>, RepoCarError> {
        match self.stage {
            Stage::Header => {
                let Some(section) = self.section(CAR_HEADER_BYTES_MAX)? else { return Ok(None) };
                let roots = car::header(&section)?;
                let [commit, index] = roots[..] else { return Err(RepoCarError::Roots(roots.len())) };
                self.roots = [Some(commit), Some(index)];
                self.stage = Stage::Commit;
                Ok(None)
            }
            Stage::Commit => {
                let Some(section) = self.section(Cid::BYTES + COMMIT_BYTES_MAX)? else { return Ok(None) };
                let block = block_of(&section)?;
                if Some(block.cid()) != self.roots[0] {
                    return Err(RepoCarError::Order);
                }
                let commit = SignedCommit::from_bytes(block.bytes())?;
                self.digest = commit.hash;
                self.stage = Stage::IndexStart;
                Ok(Some(Found::Commit(commit)))
            }
            Stage::IndexStart => self.index_start(),
            Stage::IndexCount { left } => self.index_count(left),
            Stage::Entries { left: 0, count: 0 } => self.index_end(),
            Stage::Entries { left, count } => self.entry(left, count),
            Stage::Records => {
                let Some(section) = self.section(Cid::BYTES + BLOCK_BYTES_MAX)? else { return Ok(None) };
                self.records += 1;
                if self.records > self.entries {
                    return Err(RepoCarError::Records);
                }
                Ok(Some(Found::Record(block_of(&section)?)))
            }
        }
    }

    fn index_start(&mut self) -> Result<Option<Found>, RepoCarError> {
        let Some((length, used)) = length(self.waiting.bytes())? else { return Ok(None) };
        let Some(cid) = self.waiting.bytes().get(used..used + Cid::BYTES) else { return Ok(None) };
        let cid = Cid::from_bytes(cid).map_err(CarError::from)?;
        if Some(cid) != self.roots[1] {
            return Err(RepoCarError::Order);
        }
        let left = length.checked_sub(Cid::BYTES as u64).ok_or(CarError::Cid(InvalidCid::Length))?;
        if left > INDEX_BYTES_MAX {
            return Err(RepoCarError::TooManyEntries);
        }
        self.waiting.skip(used + Cid::BYTES);
        self.stage = Stage::IndexCount { left };
        Ok(None)
    }

    fn index_count(&mut self, left: u64) -> Result<Option<Found>, RepoCarError> {
        let Some((count, used)) = map_count(self.waiting.bytes())? else { return Ok(None) };
        if count > PERMISSIONED_RECORDS_MAX {
            return Err(RepoCarError::TooManyEntries);
        }
        self.index_hash.update(&self.waiting.bytes()[..used]);
        self.waiting.skip(used);
        self.entries = count;
        let left = left.checked_sub(used as u64).ok_or(CborError::Truncated)?;
        self.stage = Stage::Entries { left, count };
        Ok(None)
    }

    fn entry(&mut self, left: u64, count: u64) -> Result<Option<Found>, RepoCarError> {
        if count == 0 || left == 0 {
            return Err(if count == 0 { CborError::Trailing } else { CborError::Truncated }.into());
        }
        let within = self.waiting.bytes().len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut reader = Reader::new(&self.waiting.bytes()[..within]);
        let read = reader.text().and_then(|path| Ok((path, reader.link()?)));
        let (path, cid) = match read {
            // It may only be that the rest has not arrived yet.
            Err(CborError::Truncated) if within < PERMISSIONED_ENTRY_BYTES_MAX && (within as u64) < left => {
                return Ok(None);
            }
            read => read?,
        };
        if (self.last_path.len(), self.last_path.as_str()) >= (path.len(), path) {
            return Err(CborError::KeyOrder.into());
        }
        path.clone_into(&mut self.last_path);
        let parsed: RepoPath = path.parse().map_err(|_| RepoCarError::Path)?;
        self.hash.add(path, cid);
        let used = within - reader.left();
        self.index_hash.update(&self.waiting.bytes()[..used]);
        self.waiting.skip(used);
        self.stage = Stage::Entries { left: left - used as u64, count: count - 1 };
        Ok(Some(Found::Entry(parsed, cid)))
    }

    fn index_end(&mut self) -> Result<Option<Found>, RepoCarError> {
        let index = Cid::from_digest(Codec::DagCbor, self.index_hash.clone().finalize().into());
        if Some(index) != self.roots[1] {
            return Err(CarError::WrongCid(index).into());
        }
        if self.hash.digest() != self.digest {
            return Err(RepoCarError::Digest);
        }
        self.stage = Stage::Records;
        Ok(Some(Found::IndexEnd(std::mem::take(&mut self.hash))))
    }

    /// The next section, once it is whole.
    fn section(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, RepoCarError> {
        let Some((length, used)) = length(self.waiting.bytes())? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| CarError::Length)?;
        if length > bytes_max {
            return Err(CarError::BlockTooLong.into());
        }
        let Some(section) = self.waiting.bytes().get(used..used + length) else { return Ok(None) };
        let section = section.to_vec();
        self.waiting.skip(used + length);
        Ok(Some(section))
    }
}

fn block_of(section: &[u8]) -> Result<Block, RepoCarError> {
    let (cid, bytes) = section.split_at_checked(Cid::BYTES).ok_or(CarError::Cid(InvalidCid::Length))?;
    let cid = Cid::from_bytes(cid).map_err(CarError::from)?;
    Ok(Block::checked(cid, bytes).ok_or(CarError::WrongCid(cid))?)
}

/// The length at the front of `bytes`, and how many of them it takes; `None` when it is not whole.
fn length(bytes: &[u8]) -> Result<Option<(u64, usize)>, CarError> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return if *byte == 0 && n > 0 { Err(CarError::Length) } else { Ok(Some((value, n + 1))) };
        }
    }
    if bytes.len() < 5 { Ok(None) } else { Err(CarError::Length) }
}

/// The number of fields of the map at the front of `bytes`, and how many bytes say so; `None` when that is not whole.
fn map_count(bytes: &[u8]) -> Result<Option<(u64, usize)>, CborError> {
    let Some(first) = bytes.first() else { return Ok(None) };
    if first >> 5 != 5 {
        return Err(CborError::Type);
    }
    let more = match first & 31 {
        count @ 0..24 => return Ok(Some((u64::from(count), 1))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(CborError::Indefinite),
    };
    let Some(argument) = bytes.get(1..=more) else { return Ok(None) };
    let count = argument.iter().fold(0_u64, |count, byte| (count << 8) | u64::from(*byte));
    let least = [24, 0x100, 0x1_0000, 0x1_0000_0000][more.trailing_zeros() as usize];
    if count < least { Err(CborError::NotShortest) } else { Ok(Some((count, 1 + more))) }
}

#[cfg(test)]
mod tests;
