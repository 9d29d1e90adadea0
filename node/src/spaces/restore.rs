//! An index that is made anew gets back what no record says: from the facts that were kept beside it. In the order in which
//! one rests on the other: members before channels are filled, channels before messages, messages before what is said of
//! them.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use angel_protocol::ids::Did;
use angel_protocol::spaces::{MESSAGE, Status};
use angel_protocol::time::Timestamp;
use angel_storage::codec::{Cbor, Present};
use angel_storage::spaces::{
    CHANNELS, Fact, INVITES, MEMBERS, MESSAGES, MessageRow, Place, READ_MARKS, RECORDS, ReadMark, SPACES, SPACES_OF,
    SpaceId, SpaceRow, facts, message_record,
};

use super::apply::Step;
use super::{SpaceError, Spaces};

/// What is restored at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Memberships and invitations.
    People,
    /// Settings of channels.
    Channels,
    /// Superseded versions, what is hidden, how far people have read.
    Messages,
}

/// Facts of one step.
pub(super) const STEP_FACTS: usize = 500;

/// A superseded record, part by part, and until when it was in force.
type Superseded = BTreeMap<u32, (Vec<u8>, Timestamp)>;

impl Spaces {
    /// Restores a part of all spaces. Blocks.
    pub(super) fn restore(&self, part: Part) -> Result<(), SpaceError> {
        let mut last = SpaceId(0);
        loop {
            let page = self.0.reader.scan(&SPACES).after(&last).page(100)?;
            for (id, row) in &page.rows {
                self.restore_space(*id, row, part)?;
                last = *id;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    pub(super) fn restore_space(&self, id: SpaceId, space: &SpaceRow, part: Part) -> Result<(), SpaceError> {
        let (mut waiting, mut superseded) = (vec![], BTreeMap::<(Did, String), Superseded>::new());
        facts(&self.0.reader, space, |fact| {
            match fact {
                Fact::Version { author, path, version, until, bytes, .. } if part == Part::Messages => {
                    let of = superseded.entry((author, path)).or_default();
                    let (record, at) = of.entry(version).or_insert_with(|| (vec![], until));
                    record.extend_from_slice(&bytes);
                    *at = until;
                }
                fact if belongs(&fact, part) => waiting.push(fact),
                _ => {}
            }
            if waiting.len() < STEP_FACTS { Ok(()) } else { self.restore_step(id, std::mem::take(&mut waiting)) }
        })?;
        self.restore_step(id, waiting)?;
        for ((author, path), versions) in superseded {
            self.restore_versions(id, &author, &path, versions)?;
        }
        Ok(())
    }

    fn restore_step(&self, id: SpaceId, facts: Vec<Fact>) -> Result<(), SpaceError> {
        let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Step::new(self);
        for fact in facts {
            step.restore(id, fact)?;
        }
        self.finish(step, None)
    }

    fn restore_versions(&self, id: SpaceId, author: &Did, path: &str, versions: Superseded) -> Result<(), SpaceError> {
        let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Step::new(self);
        let Some((position, row)) = step.message_named(id, author, path)? else { return Ok(()) };
        let record = message_record(&step.overlay, id, position, &row)?;
        let Some((newest, (_, edited_at))) = versions.last_key_value() else { return Ok(()) };
        let row = MessageRow { version: newest + 1, edited_at: Some(*edited_at), ..row };
        for (version, (record, _)) in &versions {
            step.overlay.put_version(id, position, *version, record)?;
        }
        step.overlay.put_message(id, position, &row, &record)?;
        self.finish(step, None)
    }
}

const fn belongs(fact: &Fact, part: Part) -> bool {
    let of = match fact {
        Fact::Member(..) | Fact::Invite(..) => Part::People,
        Fact::Settings(..) => Part::Channels,
        Fact::Hidden(..) | Fact::Read { .. } | Fact::Version { .. } => Part::Messages,
        Fact::Told { .. } | Fact::Heard { .. } | Fact::Awaited { .. } | Fact::Asked { .. } | Fact::Reported(_) => {
            return false;
        }
    };
    matches!(
        (of, part),
        (Part::People, Part::People) | (Part::Channels, Part::Channels) | (Part::Messages, Part::Messages)
    )
}

impl Step<'_> {
    pub(super) fn message_named(
        &self,
        id: SpaceId,
        author: &Did,
        path: &str,
    ) -> Result<Option<(u64, MessageRow)>, SpaceError> {
        let place = self.overlay.get(&RECORDS, &(author.clone(), path.to_owned()))?;
        let Some(Cbor(Place::Message(in_space, position))) = place else { return Ok(None) };
        let row = self.overlay.get(&MESSAGES, &(id, position))?.filter(|_| in_space == id);
        Ok(row.map(|row| (position, row)))
    }

    /// What a fact says, put back.
    fn restore(&mut self, id: SpaceId, fact: Fact) -> Result<(), SpaceError> {
        match fact {
            Fact::Member(did, row) => {
                let Some(mut space) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
                let key = (id, did.clone());
                let was_active = self.overlay.get(&MEMBERS, &key)?.is_some_and(|row| row.membership.is_active());
                match (was_active, row.membership.is_active()) {
                    (false, true) => space.members += 1,
                    (true, false) => space.members = space.members.saturating_sub(1),
                    _ => {}
                }
                self.overlay.put(&SPACES, &id, &space)?;
                match row.membership.status {
                    Status::Left | Status::Banned => self.overlay.delete(&SPACES_OF, &(did, id)),
                    _ => self.overlay.put(&SPACES_OF, &(did, id), &Present)?,
                }
                self.strangers = true;
                Ok(self.overlay.put(&MEMBERS, &key, &row)?)
            }
            Fact::Invite(hash, invite) => match <[u8; 32]>::try_from(hash.into_vec()) {
                Ok(hash) => Ok(self.overlay.put(&INVITES, &(id, hash), &Cbor(invite))?),
                Err(_) => Ok(()),
            },
            Fact::Settings(path, rules, department) => {
                let Some(space) = self.overlay.get(&SPACES, &id)? else { return Ok(()) };
                let place = self.overlay.get(&RECORDS, &(space.holder, path))?;
                let Some(Cbor(Place::Channel(_, number))) = place else { return Ok(()) };
                let Some(mut row) = self.overlay.get(&CHANNELS, &(id, number))? else { return Ok(()) };
                row.rules = angel_protocol::spaces::ChannelRules { visibility: row.rules.visibility, ..rules };
                row.department = department;
                Ok(self.overlay.put(&CHANNELS, &(id, number), &row)?)
            }
            Fact::Hidden(author, path, hidden) => {
                let Some((position, row)) = self.message_named(id, &author, &path)? else { return Ok(()) };
                let record = message_record(&self.overlay, id, position, &row)?;
                let row = MessageRow { hidden: Some(hidden), ..row };
                Ok(self.overlay.put_message(id, position, &row, &record)?)
            }
            Fact::Read { did, author, path, at } => {
                debug_assert!(path.starts_with(MESSAGE), "marks are at messages");
                let Some((position, row)) = self.message_named(id, &author, &path)? else { return Ok(()) };
                let key = (id, row.channel, did);
                // Whoever reads on while this is restored has read further than the fact says.
                match self.overlay.get(&READ_MARKS, &key)? {
                    Some(Cbor(mark)) if mark.position >= position => Ok(()),
                    _ => Ok(self.overlay.put(&READ_MARKS, &key, &Cbor(ReadMark { position, at }))?),
                }
            }
            // Put together first, gone through with the records, or of no space.
            Fact::Version { .. }
            | Fact::Told { .. }
            | Fact::Heard { .. }
            | Fact::Awaited { .. }
            | Fact::Asked { .. }
            | Fact::Reported(_) => Ok(()),
        }
    }
}
