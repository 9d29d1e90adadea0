//! Every tree node of some contents, read in one go: a scan is far cheaper than a read for each, and its order is all but
//! the index.

use angel_protocol::data::{Cid, Codec};

use super::read::nodes;
use super::{Contents, Digest};
use crate::reader::{ReadError, Reader};

/// Bytes of memory taken at a time: nodes never move once they are on the shelf.
const CHUNK_BYTES: usize = 256 * 1024;

/// Tree nodes by CID, packed.
#[derive(Debug, Default)]
pub struct NodeShelf {
    chunks: Vec<Vec<u8>>,
    /// In the order of digests.
    places: Vec<Place>,
    bytes: usize,
}

/// Where a node is: its digest, then its bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first bytes of the digest: hardly ever are they those of two nodes.
    digest: u64,
    chunk: u32,
    start: u32,
    end: u32,
}

/// Why not all nodes are there.
enum Stop {
    Full,
    Read(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl NodeShelf {
    /// Reads the nodes of `contents` until they take more than `bytes_max` bytes. Those that are not there then are to be
    /// read one by one.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read or is missing.
    pub fn read(reader: &Reader, contents: Contents, bytes_max: usize) -> Result<Self, ReadError> {
        let mut shelf = Self::default();
        let filled = nodes(reader, contents, |cid, node| {
            shelf.put(cid, node.bytes);
            if shelf.bytes > bytes_max { Err(Stop::Full) } else { Ok(()) }
        });
        if let Err(Stop::Read(error)) = filled {
            return Err(error);
        }
        // Two runs that are in order.
        shelf.places.sort_by_key(|place| place.digest);
        Ok(shelf)
    }

    /// The bytes of a node.
    #[must_use]
    pub fn get(&self, cid: &Cid) -> Option<&[u8]> {
        let wanted = short(cid.digest());
        let first = self.places.partition_point(|place| place.digest < wanted);
        let candidates = self.places[first..].iter().take_while(|place| place.digest == wanted);
        candidates.filter_map(|place| self.at(place)).find(|(digest, _)| *digest == cid.digest()).map(|(_, node)| node)
    }

    fn at(&self, place: &Place) -> Option<(&Digest, &[u8])> {
        let chunk = self.chunks.get(place.chunk as usize)?;
        chunk.get(place.start as usize..place.end as usize)?.split_first_chunk()
    }

    fn put(&mut self, cid: Cid, node: &[u8]) {
        debug_assert_eq!(cid.codec(), Codec::DagCbor, "tree nodes are of no other codec");
        let length = cid.digest().len() + node.len();
        if self.chunks.last().is_none_or(|chunk| chunk.capacity() - chunk.len() < length) {
            self.chunks.push(Vec::with_capacity(length.max(CHUNK_BYTES)));
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        let start = chunk.len();
        chunk.extend_from_slice(cid.digest());
        chunk.extend_from_slice(node);
        self.bytes += length + size_of::<Place>();
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (chunk, start, end) = (number(self.chunks.len() - 1), number(start), number(start + length));
        self.places.push(Place { digest: short(cid.digest()), chunk, start, end });
    }
}

fn short(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
