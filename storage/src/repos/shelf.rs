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
    /// Where in `places` the digests with each of the possible first bits begin, and at the end how many there are. Digests
    /// are spread evenly, so about one begins with each; where somebody made many that begin alike, they are searched.
    starts: Vec<u32>,
    bytes: usize,
}

/// Most first bits of digests that are told apart by themselves.
const FIRST_BITS_MAX: u32 = 20;

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
        shelf.index();
        Ok(shelf)
    }

    /// The bytes of a node.
    #[must_use]
    pub fn get(&self, cid: &Cid) -> Option<&[u8]> {
        let wanted = short(cid.digest());
        let alike = self.alike(wanted)?;
        let first = alike.partition_point(|place| place.digest < wanted);
        let candidates = alike[first..].iter().take_while(|place| place.digest == wanted);
        candidates.filter_map(|place| self.at(place)).find(|(digest, _)| *digest == cid.digest()).map(|(_, node)| node)
    }

    fn index(&mut self) {
        let bits = self.places.len().next_power_of_two().ilog2().min(FIRST_BITS_MAX);
        self.starts = vec![0; (1 << bits) + 1];
        for place in &self.places {
            self.starts[bucket(place.digest, bits) + 1] += 1;
        }
        let mut before = 0;
        for start in &mut self.starts {
            before += *start;
            *start = before;
        }
    }

    /// The places of digests that begin as this one does.
    fn alike(&self, digest: u64) -> Option<&[Place]> {
        let bits = self.starts.len().checked_sub(1)?.ilog2();
        let at = bucket(digest, bits);
        self.places.get(self.starts[at] as usize..self.starts[at + 1] as usize)
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
        self.bytes += length + size_of::<Place>() + 2 * size_of::<u32>();
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (chunk, start, end) = (number(self.chunks.len() - 1), number(start), number(start + length));
        self.places.push(Place { digest: short(cid.digest()), chunk, start, end });
    }
}

/// The first `bits` bits of a digest, as a number.
fn bucket(digest: u64, bits: u32) -> usize {
    // Without any there is one bucket, and no number may be shifted away as a whole.
    usize::try_from(digest.checked_shr(u64::BITS - bits).unwrap_or(0)).unwrap_or(usize::MAX)
}

fn short(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::{Block, Cid};

    use super::*;

    fn shelf(nodes: &[(Cid, Vec<u8>)]) -> NodeShelf {
        let mut shelf = NodeShelf::default();
        nodes.iter().for_each(|(cid, node)| shelf.put(*cid, node));
        shelf.places.sort_by_key(|place| place.digest);
        shelf.index();
        shelf
    }

    fn node(number: u64) -> (Cid, Vec<u8>) {
        let bytes = number.to_be_bytes().to_vec();
        (Block::new(Codec::DagCbor, bytes.clone()).cid(), bytes)
    }

    /// A CID with a digest of the test's own.
    fn made(first: u64, last: u8) -> (Cid, Vec<u8>) {
        let mut bytes = Cid::of(Codec::DagCbor, b"a node").to_bytes();
        let digest = bytes.len() - 32;
        bytes[digest..digest + 8].copy_from_slice(&first.to_be_bytes());
        bytes[digest + 31] = last;
        (Cid::from_bytes(&bytes).expect("a CID"), vec![last])
    }

    #[test]
    fn every_node_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 1000] {
            let nodes: Vec<_> = (0..count).map(node).collect();
            let shelf = shelf(&nodes);
            for (cid, bytes) in &nodes {
                assert_eq!(shelf.get(cid), Some(bytes.as_slice()), "of {count}");
            }
            assert!((count..count + 100).all(|number| shelf.get(&node(number).0).is_none()), "of {count}");
        }
        assert_eq!(NodeShelf::default().get(&node(0).0), None);
    }

    #[test]
    fn digests_that_begin_alike_are_told_apart() {
        let ends = [0, 1, u64::MAX - 1, u64::MAX, 1 << 63, (1 << 63) - 1];
        let mut nodes: Vec<_> = ends.iter().flat_map(|first| (0..3).map(|last| made(*first, last))).collect();
        nodes.extend((0..200).map(|number| made(7 << 40 | number, 9)));
        let shelf = shelf(&nodes);
        for (cid, bytes) in &nodes {
            assert_eq!(shelf.get(cid), Some(bytes.as_slice()));
        }
        assert_eq!(shelf.get(&made(1 << 63, 3).0), None);
        assert_eq!(shelf.get(&made(7 << 40 | 200, 9).0), None);
    }
}
