//! Putting parts together again, within bounds.
//!
//! Parts may come in any order and from anybody. Until its head is known, a stream may keep a few pieces; after that it
//! may keep what the head says. A sender has one stream at a time for each round; the number of streams is bounded,
//! and the oldest gives way.

use std::collections::{BTreeMap, VecDeque};

use super::part::{self, InvalidHead, Part, PartHead};
use crate::ids::NetworkId;
use crate::limits::{ASSEMBLIES_BYTES_MAX, ASSEMBLIES_MAX, BATCH_ENCODED_BYTES_MAX, PART_BYTES_MAX};

/// Which stream: who published it, and its own id.
pub type StreamKey = (Vec<u8>, Vec<u8>);

/// A body with its head, complete. Whether it is what the head says is for the ledger to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Its head, signed by its sender.
    pub head: PartHead,
    /// The encoded batch.
    pub body: Vec<u8>,
}

/// Why a part was thrown away. Its stream, if there was one, is gone with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartRefused {
    /// The head is no good.
    #[error(transparent)]
    Head(#[from] InvalidHead),
    /// Two different parts in one place, a piece of the wrong length, or beyond the end.
    #[error("the parts do not fit together")]
    Misfit,
    /// All streams together hold as much as they may.
    #[error("too many bytes of unfinished proposals are held")]
    Full,
}

#[derive(Debug, Default)]
struct Stream {
    head: Option<PartHead>,
    pieces: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

/// The unfinished streams.
#[derive(Debug)]
pub struct Assemblies {
    network: NetworkId,
    streams: BTreeMap<StreamKey, Stream>,
    order: VecDeque<StreamKey>,
    bytes: usize,
}

impl Assemblies {
    /// None, for proposals on `network`.
    #[must_use]
    pub const fn new(network: NetworkId) -> Self {
        Self { network, streams: BTreeMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// Takes one part, `sequence` being its place in the stream; answers the whole once it is complete.
    ///
    /// # Errors
    /// [`PartRefused`], by what is wrong.
    pub fn add(&mut self, key: StreamKey, sequence: u64, part: Part) -> Result<Option<Assembled>, PartRefused> {
        let added = self.try_add(&key, sequence, part);
        if added.is_err() {
            self.remove(&key);
        }
        added
    }

    /// Forgets streams of heights up to `height`, which are decided.
    pub fn forget_until(&mut self, height: u64) {
        let old: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.head.as_ref().is_some_and(|head| head.height.0 <= height))
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            self.remove(&key);
        }
    }

    /// How many are unfinished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    fn try_add(&mut self, key: &StreamKey, sequence: u64, part: Part) -> Result<Option<Assembled>, PartRefused> {
        if let Part::Head { head, signature } = &part {
            part::check(head, signature, &self.network)?;
        }
        self.make_room(key);
        let stream = self.streams.entry(key.clone()).or_default();
        match part {
            Part::Head { head, .. } => {
                let same = stream.head.as_ref().is_none_or(|known| *known == head);
                if sequence != 0 || !same {
                    return Err(PartRefused::Misfit);
                }
                stream.head = Some(head);
            }
            Part::Body { bytes, .. } => {
                let most =
                    stream.head.as_ref().map_or(BATCH_ENCODED_BYTES_MAX.div_ceil(PART_BYTES_MAX), PartHead::pieces);
                let fits = sequence >= 1
                    && usize::try_from(sequence).is_ok_and(|sequence| sequence <= most)
                    && !bytes.is_empty()
                    && bytes.len() <= PART_BYTES_MAX;
                if !fits {
                    return Err(PartRefused::Misfit);
                }
                if let Some(known) = stream.pieces.get(&sequence) {
                    return if *known == bytes { Ok(None) } else { Err(PartRefused::Misfit) };
                }
                if self.bytes + bytes.len() > ASSEMBLIES_BYTES_MAX {
                    return Err(PartRefused::Full);
                }
                self.bytes += bytes.len();
                stream.bytes += bytes.len();
                stream.pieces.insert(sequence, bytes);
            }
        }
        let Some(head) = &stream.head else { return Ok(None) };
        if stream.pieces.len() < head.pieces() {
            return Ok(None);
        }
        if stream.pieces.len() > head.pieces() || stream.bytes != head.bytes as usize {
            return Err(PartRefused::Misfit);
        }
        let head = head.clone();
        let body = stream.pieces.values().flatten().copied().collect();
        self.remove(key);
        Ok(Some(Assembled { head, body }))
    }

    fn make_room(&mut self, key: &StreamKey) {
        if self.streams.contains_key(key) {
            return;
        }
        if self.streams.len() >= ASSEMBLIES_MAX
            && let Some(oldest) = self.order.front().cloned()
        {
            self.remove(&oldest);
        }
        self.order.push_back(key.clone());
    }

    fn remove(&mut self, key: &StreamKey) {
        if let Some(stream) = self.streams.remove(key) {
            self.bytes -= stream.bytes;
        }
        self.order.retain(|known| known != key);
    }
}
