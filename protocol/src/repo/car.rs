//! CAR files, version 1: a header with roots, then blocks, each behind its length and CID (IPLD "CARv1").
//!
//! Writing appends to a buffer that the caller sends on. Reading takes chunks as they arrive and gives whole blocks,
//! each checked against its CID; it holds one unfinished block and no more, whatever arrives.

use crate::data::cbor::{CborError, Reader, Writer};
use crate::data::{Block, Cid, InvalidCid};
use crate::limits::{BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX};

/// Why bytes are no CAR file, or not one that is taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// The header is longer than [`CAR_HEADER_BYTES_MAX`].
    #[error("the header of the CAR file is longer than {CAR_HEADER_BYTES_MAX} bytes")]
    HeaderTooLong,
    /// The header is not canonical DAG-CBOR of `roots` and `version`.
    #[error("the header of the CAR file is not of its form: {0}")]
    Header(#[from] CborError),
    /// Another version than 1.
    #[error("the CAR file has version {0}; only version 1 is supported")]
    Version(i64),
    /// A length in more bytes than it needs, or beyond 32 bits.
    #[error("a length in the CAR file is not a short varint")]
    Length,
    /// A block is longer than [`BLOCK_BYTES_MAX`].
    #[error("a block of the CAR file is longer than {BLOCK_BYTES_MAX} bytes")]
    BlockTooLong,
    /// A block's CID is none of the kind in use.
    #[error("a block of the CAR file has no usable CID: {0}")]
    Cid(#[from] InvalidCid),
    /// A block is not what its CID says.
    #[error("a block of the CAR file is not what its CID {0} says")]
    WrongCid(Cid),
    /// More blocks than the caller allows.
    #[error("the CAR file has more than {0} blocks")]
    TooManyBlocks(u64),
    /// More bytes than the caller allows.
    #[error("the CAR file has more than {0} bytes")]
    TooManyBytes(u64),
    /// The file ends within its header or a block.
    #[error("the CAR file ends within its header or a block")]
    Truncated,
}

/// How much a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarLimits {
    /// Bytes of the whole file.
    pub bytes_max: u64,
    /// Blocks in it.
    pub blocks_max: u64,
}

/// How many bytes [`write_header`] appends.
pub const HEADER_BYTES: usize = 59;

/// Appends the header of a file with one root.
pub fn write_header(out: &mut Vec<u8>, root: Cid) {
    write_header_of(out, &[root]);
}

/// Appends the header of a file whose blocks belong to no one root.
pub fn write_rootless_header(out: &mut Vec<u8>) {
    write_header_of(out, &[]);
}

/// Appends the header of a file with these roots, in their order.
pub(crate) fn write_header_of(out: &mut Vec<u8>, roots: &[Cid]) {
    let mut writer = Writer::with_capacity(64);
    writer.map(2);
    writer.text("roots");
    writer.list(roots.len());
    roots.iter().for_each(|root| writer.link(*root));
    writer.text("version");
    writer.integer(1);
    let header = writer.into_bytes();
    write_length(out, header.len());
    out.extend_from_slice(&header);
}

/// Appends a block.
pub fn write_block(out: &mut Vec<u8>, block: &Block) {
    write_stored_block(out, block.cid(), block.bytes());
}

/// Appends a block whose bytes come from where they were checked against `cid` before.
pub fn write_stored_block(out: &mut Vec<u8>, cid: Cid, bytes: &[u8]) {
    write_length(out, Cid::BYTES + bytes.len());
    out.extend_from_slice(&cid.to_bytes());
    out.extend_from_slice(bytes);
}

/// How many bytes [`write_block`] appends.
#[must_use]
pub fn block_bytes(block: &Block) -> usize {
    let section = Cid::BYTES + block.bytes().len();
    let length_bytes = (usize::BITS - section.leading_zeros()).div_ceil(7);
    section + length_bytes as usize
}

/// A whole file in memory, for what is small.
#[must_use]
pub fn encode<'a>(root: Cid, blocks: impl IntoIterator<Item = &'a Block>) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&mut out, root);
    blocks.into_iter().for_each(|block| write_block(&mut out, block));
    out
}

/// Reads a whole file in memory, for what is small: the roots, and the blocks in their order.
///
/// # Errors
/// [`CarError`], by what is wrong.
pub fn decode(bytes: &[u8], limits: CarLimits) -> Result<(Vec<Cid>, Vec<Block>), CarError> {
    let mut reader = CarReader::new(limits);
    let mut rest = bytes;
    let mut blocks = Vec::new();
    while let Some(block) = reader.read(&mut rest)? {
        blocks.push(block);
    }
    Ok((reader.finish()?, blocks))
}

pub(crate) fn write_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Reads a file chunk by chunk.
///
/// ```
/// # use angel_protocol::data::{Block, Codec};
/// # use angel_protocol::repo::car::{self, CarLimits, CarReader};
/// # let block = Block::new(Codec::Raw, b"abc".as_slice());
/// # let file = car::encode(block.cid(), [&block]);
/// let mut reader = CarReader::new(CarLimits { bytes_max: 1 << 20, blocks_max: 100 });
/// for mut chunk in file.chunks(7) {
///     while let Some(found) = reader.read(&mut chunk)? {
///         assert_eq!(found, block);
///     }
/// }
/// assert_eq!(reader.finish()?, [block.cid()]);
/// # Ok::<(), car::CarError>(())
/// ```
#[derive(Debug)]
pub struct CarReader {
    limits: CarLimits,
    bytes: u64,
    blocks: u64,
    roots: Option<Vec<Cid>>,
    stage: Stage,
    /// The section that was put together last.
    pieced: Vec<u8>,
}

/// What is being read: the length of a section, or its bytes.
#[derive(Debug)]
enum Stage {
    Length { value: u32, shift: u32 },
    Section { length: usize, so_far: Vec<u8> },
}

impl Stage {
    const START: Self = Self::Length { value: 0, shift: 0 };
}

impl CarReader {
    /// A reader at the start of a file.
    #[must_use]
    pub const fn new(limits: CarLimits) -> Self {
        Self { limits, bytes: 0, blocks: 0, roots: None, stage: Stage::START, pieced: Vec::new() }
    }

    /// The roots, once the header has been read.
    #[must_use]
    pub fn roots(&self) -> Option<&[Cid]> {
        self.roots.as_deref()
    }

    /// Takes from `input` up to the end of the next block, and gives that block; `None` when `input` is used up and
    /// more is needed.
    ///
    /// # Errors
    /// [`CarError`], by what is wrong; the reader is of no use afterwards.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Block>, CarError> {
        Ok(self.read_ref(input)?.map(|(cid, bytes)| Block::from_source(cid, bytes.into())))
    }

    /// As [`Self::read`], for those who put the bytes elsewhere: the CID, and the bytes that it names where they lie.
    ///
    /// # Errors
    /// [`CarError`], by what is wrong; the reader is of no use afterwards.
    pub fn read_ref<'here, 'input: 'here>(
        &'here mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<(Cid, &'here [u8])>, CarError> {
        while !input.is_empty() {
            match &mut self.stage {
                Stage::Length { .. } => self.read_length(input)?,
                Stage::Section { length, so_far } if so_far.is_empty() && input.len() >= *length => {
                    // Most sections arrive whole, and are looked at where they are.
                    let section = input.split_off(..*length).unwrap_or_default();
                    self.stage = Stage::START;
                    self.count(section.len())?;
                    if let Some(cid) = self.section(section)? {
                        return Ok(Some((cid, &section[Cid::BYTES..])));
                    }
                }
                Stage::Section { length, so_far } => {
                    let taken = input.split_off(..input.len().min(*length - so_far.len())).unwrap_or_default();
                    so_far.extend_from_slice(taken);
                    let is_whole = so_far.len() == *length;
                    self.count(taken.len())?;
                    if is_whole && let Stage::Section { so_far, .. } = std::mem::replace(&mut self.stage, Stage::START)
                    {
                        let found = self.section(&so_far);
                        self.pieced = so_far;
                        if let Some(cid) = found? {
                            return Ok(Some((cid, &self.pieced[Cid::BYTES..])));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// The file has ended; gives its roots.
    ///
    /// # Errors
    /// [`CarError::Truncated`] when it ended within its header or a block.
    pub fn finish(self) -> Result<Vec<Cid>, CarError> {
        match (self.stage, self.roots) {
            (Stage::Length { shift: 0, .. }, Some(roots)) => Ok(roots),
            _ => Err(CarError::Truncated),
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), CarError> {
        self.bytes += bytes as u64;
        if self.bytes > self.limits.bytes_max { Err(CarError::TooManyBytes(self.limits.bytes_max)) } else { Ok(()) }
    }

    /// Takes one byte of a length (unsigned varint, at most 4 bytes here).
    fn read_length(&mut self, input: &mut &[u8]) -> Result<(), CarError> {
        let Stage::Length { value, shift } = self.stage else { return Ok(()) };
        let Some(&byte) = input.split_off_first() else { return Ok(()) };
        self.count(1)?;
        let value = value | (u32::from(byte & 0x7f) << shift);
        if byte & 0x80 != 0 {
            self.stage = Stage::Length { value, shift: shift + 7 };
            return if shift < 21 { Ok(()) } else { Err(CarError::Length) };
        }
        if byte == 0 && shift > 0 {
            return Err(CarError::Length);
        }
        let length = usize::try_from(value).map_err(|_| CarError::Length)?;
        if self.roots.is_none() && length > CAR_HEADER_BYTES_MAX {
            return Err(CarError::HeaderTooLong);
        }
        if length > Cid::BYTES + BLOCK_BYTES_MAX {
            return Err(CarError::BlockTooLong);
        }
        if length == 0 {
            // Nothing would follow that could end the section.
            return Err(if self.roots.is_none() { CborError::Truncated.into() } else { InvalidCid::Length.into() });
        }
        // What has arrived decides how much memory is used, not what was announced: it grows with that.
        self.stage = Stage::Section { length, so_far: Vec::new() };
        Ok(())
    }

    /// A whole section: the header, or a block, whose CID is then checked.
    fn section(&mut self, section: &[u8]) -> Result<Option<Cid>, CarError> {
        if self.roots.is_none() {
            self.roots = Some(header(section)?);
            return Ok(None);
        }
        self.blocks += 1;
        if self.blocks > self.limits.blocks_max {
            return Err(CarError::TooManyBlocks(self.limits.blocks_max));
        }
        let (cid, bytes) = section.split_at_checked(Cid::BYTES).ok_or(InvalidCid::Length)?;
        let cid = Cid::from_bytes(cid)?;
        if cid.matches(bytes) { Ok(Some(cid)) } else { Err(CarError::WrongCid(cid)) }
    }
}

pub(crate) fn header(bytes: &[u8]) -> Result<Vec<Cid>, CarError> {
    let mut reader = Reader::new(bytes);
    reader.expect_map(2)?;
    reader.expect_key("roots")?;
    let count = reader.list()?;
    let roots = (0..count).map(|_| reader.link()).collect::<Result<_, _>>()?;
    reader.expect_key("version")?;
    let version = reader.integer()?;
    reader.finish()?;
    if version == 1 { Ok(roots) } else { Err(CarError::Version(version)) }
}

#[cfg(test)]
mod tests;
