//! What authors elsewhere say, as it changes the index. What the index takes in of it is kept besides (ADR 085): an index
//! that is made anew asks no host for it, and believes nothing older that comes by itself.

use std::sync::PoisonError;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::events::{self, Event};
use angel_storage::spaces::{Foreign, MESSAGES, Place, REACTIONS, RECORDS, SPACES, SpaceEvent};

use super::apply::{Change, Step};
use super::rooms::is_said;
use super::{SpaceError, Spaces};

impl Step<'_> {
    /// Somebody elsewhere wrote a public record, changed it or took it away.
    pub(super) fn foreign(&mut self, foreign: &Foreign, event: &Event) -> Result<(), SpaceError> {
        let record = foreign.record.as_ref().map(|(cid, bytes)| (*cid, bytes.as_slice()));
        let (did, path) = (&foreign.did, foreign.path.as_str());
        self.spaces().0.agents.forget(did, path);
        // Spaces and channels are held here or nowhere.
        if path.split_once('/').is_some_and(|(collection, _)| is_said(collection)) {
            self.change(&Change { did, path, record, room: None, at: event.at, sequence: event.sequence })?;
            self.keep_heard(did, path, record, event.at)?;
        }
        Ok(())
    }

    /// Keeps what an author elsewhere said, if the index took it in.
    fn keep_heard(
        &mut self,
        did: &Did,
        path: &str,
        record: Option<(Cid, &[u8])>,
        at: Timestamp,
    ) -> Result<(), SpaceError> {
        let Some((cid, bytes)) = record else { return Ok(()) };
        let (id, is_it) = match self.overlay.get(&RECORDS, &(did.clone(), path.to_owned()))? {
            Some(Cbor(Place::Message(id, position))) => {
                (id, self.overlay.get(&MESSAGES, &(id, position))?.is_some_and(|row| row.cid == cid))
            }
            Some(Cbor(Place::Reaction(id, position, emoji))) => {
                let row = self.overlay.get(&REACTIONS, &(id, position, emoji, did.clone()))?;
                (id, row.is_some_and(|Cbor(rkey)| path.ends_with(&rkey)))
            }
            _ => return Ok(()),
        };
        if let Some(space) = self.overlay.get(&SPACES, &id)?.filter(|_| is_it) {
            self.overlay.put_heard(&space, (did, path), at, bytes)?;
        }
        Ok(())
    }
}

impl Spaces {
    /// Takes in what an author elsewhere said in public before it was known what they are: the log has it, verified, for as
    /// long as it has anything. Blocks.
    pub(super) fn take_in_foreign(&self, did: &Did, sequence: u64) -> Result<(), SpaceError> {
        let Some(event) = events::at(&self.0.reader, sequence)? else { return Ok(()) };
        let Some(SpaceEvent::Foreign(foreign)) = SpaceEvent::read(&event)? else { return Ok(()) };
        if foreign.did != *did {
            return Ok(());
        }
        let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Step::new(self);
        step.foreign(&foreign, &event)?;
        self.finish(step, None)
    }
}
