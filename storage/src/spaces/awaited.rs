//! How far people had read in a space that was taken in from elsewhere, where the message is not here yet: it comes from its
//! author's host when that brings it. By the message, so that whoever takes it in asks once.

use std::collections::BTreeMap;

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;

use super::facts::{FACTS, Fact, HeardError};
use super::{Overlay, SpaceRow};
use crate::codec::Cbor;

/// Bytes of names in one row, with room for what stands beside them.
const PART_BYTES: usize = 8 * 1024;

/// Rows of one message: some thousand readers.
const PARTS_MAX: u16 = 8;

/// Those who had read up to a message, and when they said so.
pub type Readers = BTreeMap<Did, Timestamp>;

impl Overlay<'_> {
    /// Notes that somebody had read up to a message that is not here yet, in place of what they said of it before. Of more
    /// than some thousand readers of one message nothing is kept.
    ///
    /// # Errors
    /// The engine fails, or a value has no stored form.
    pub fn put_awaited(
        &mut self,
        space: &SpaceRow,
        (author, path): (&Did, &str),
        did: Did,
        at: Timestamp,
    ) -> Result<(), HeardError> {
        for part in 0..PARTS_MAX {
            let name = Fact::awaited(author, path, part);
            let mut readers = self.awaited(space, &name)?.unwrap_or_default();
            let bytes: usize = readers.keys().map(|reader| reader.as_str().len() + size_of::<Timestamp>()).sum();
            if bytes >= PART_BYTES && !readers.contains_key(&did) {
                continue;
            }
            let at = readers.get(&did).map_or(at, |before| at.max(*before));
            readers.insert(did, at);
            let (author, path) = (author.clone(), path.to_owned());
            return Ok(self.put_fact(space, name, Some(Fact::Awaited { author, path, part, readers }))?);
        }
        Ok(())
    }

    /// Who had read up to a message that is here now. They are awaited no more.
    ///
    /// # Errors
    /// The engine fails, or a value cannot be read.
    pub fn take_awaited(&mut self, space: &SpaceRow, (author, path): (&Did, &str)) -> Result<Readers, HeardError> {
        let mut all = Readers::new();
        for part in 0..PARTS_MAX {
            let name = Fact::awaited(author, path, part);
            let Some(readers) = self.awaited(space, &name)? else { break };
            all.extend(readers);
            self.put_fact(space, name, None)?;
        }
        Ok(all)
    }

    fn awaited(&self, space: &SpaceRow, name: &str) -> Result<Option<Readers>, HeardError> {
        let key = (space.holder.clone(), space.rkey.clone(), name.to_owned());
        Ok(match self.get(&FACTS, &key)? {
            Some(Cbor(Fact::Awaited { readers, .. })) => Some(readers),
            _ => None,
        })
    }
}
