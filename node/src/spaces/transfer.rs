//! What is known of an account's spaces and said by no record, taken out with the account and in again: memberships,
//! bans, invitations, settings of channels, what is hidden, how far people have read; and which spaces elsewhere the account
//! was asked into. The rest of the index follows from the records.

mod out;
mod taking;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use angel_protocol::ids::Did;
use angel_protocol::permissioned::wire::notice::WriteNotice;
use angel_protocol::permissioned::{Member, SpaceConfig, SpaceUri};
use angel_protocol::spaces::SPACE;
use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{FACTS, Fact, Place, RECORDS, SPACES, SpaceId, SpaceRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::Step;
use super::restore::Part;
use super::{SpaceError, Spaces};
use crate::{blocking, clock};

pub(crate) use taking::TakingError;
use written::WrittenError;

/// A line of what makes an account's spaces.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Line {
    /// A permissioned space under the account: a tenant's workspace, or the room of a space or channel. Before everything
    /// that is in it.
    Room { room: SpaceUri, config: SpaceConfig },
    /// What somebody may do in a room.
    Entrant { room: SpaceUri, did: Did, member: Member },
    /// Something that is known of one of its spaces and said by no record.
    Known(Box<Known>),
    /// A membership as a record of either early version, or of today; nothing here is given out like that.
    Membership { value: Value },
    /// From whom the account takes no messages.
    Block { did: Did },
    /// A space of another host that the account was asked into.
    Asked { space: String, at: Timestamp, heard_at: Timestamp },
    /// Somebody has a repository in a room, which is asked of their host.
    Writer(Box<WriteNotice>),
}

/// Something that is known of a space: a membership, a ban, an invitation, how far somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The key of the space's record.
    space: String,
    /// Under which name it is kept.
    name: String,
    /// What.
    fact: Fact,
}

impl Known {
    /// Whether it is something that goes with a space, under its own name.
    pub(crate) fn is_sound(&self) -> bool {
        !self.space.is_empty() && self.fact.travels_as(&self.name)
    }
}

/// Where a page of what is known ends: a space and a name.
pub(crate) type KnownCursor = (String, String);

impl Spaces {
    /// Some of what is known of the spaces of `holder`, with where to go on if there may be more. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn known_blocking(
        &self,
        holder: &Did,
        after: Option<&KnownCursor>,
        limit: usize,
    ) -> Result<(Vec<Known>, Option<KnownCursor>), SpaceError> {
        let mut scan = self.0.reader.scan(&FACTS).prefix(holder);
        if let Some((space, name)) = after {
            scan = scan.after(&(holder.clone(), space.clone(), name.clone()));
        }
        let page = scan.page(limit)?;
        let last = page.rows.last().filter(|_| page.more).map(|((_, space, name), _)| (space.clone(), name.clone()));
        let known = page.rows.into_iter().map(|((_, space, name), Cbor(fact))| Known { space, name, fact });
        Ok((known.filter(Known::is_sound).collect(), last))
    }

    /// Takes in what was known elsewhere of the spaces of `holder`, whose records are here by now, and what members who live
    /// here said in them. Of a space that is not here nothing is taken.
    ///
    /// # Errors
    /// The store fails. What was taken in stays so, and it can be done again.
    pub(crate) async fn take_known(&self, holder: &Did, known: Vec<Known>) -> Result<(), SpaceError> {
        self.caught_up().await;
        let (this, holder) = (self.clone(), holder.clone());
        blocking::run(move || this.take_known_blocking(&holder, known)).await
    }

    fn take_known_blocking(&self, holder: &Did, known: Vec<Known>) -> Result<(), SpaceError> {
        let mut by_space: BTreeMap<String, Vec<Known>> = BTreeMap::new();
        for one in known {
            by_space.entry(one.space.clone()).or_default().push(one);
        }
        let mut members = BTreeSet::new();
        let mut taken = vec![];
        for (rkey, known) in by_space {
            let (marks, known): (Vec<_>, Vec<_>) =
                known.into_iter().partition(|one| matches!(one.fact, Fact::Read { .. } | Fact::Awaited { .. }));
            let place = self.0.reader.get(&RECORDS, &(holder.clone(), format!("{SPACE}/{rkey}")))?;
            let Some(Cbor(Place::Space(id))) = place else { continue };
            let Some(space) = self.0.reader.get(&SPACES, &id)? else { continue };
            for some in known.chunks(super::restore::STEP_FACTS) {
                let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
                let mut batch = Batch::new();
                for one in some {
                    batch.put(&FACTS, &(holder.clone(), rkey.clone(), one.name.clone()), &Cbor(one.fact.clone()))?;
                }
                self.0.writer.commit(batch)?;
            }
            for part in [Part::People, Part::Channels] {
                self.restore_space(id, &space, part)?;
            }
            members.extend(known.into_iter().filter_map(|one| match one.fact {
                Fact::Member(did, row) if row.membership.is_active() => Some(did),
                _ => None,
            }));
            taken.push((id, space, marks));
        }
        for did in members {
            self.reconcile(&did)?;
        }
        for (id, space, marks) in taken {
            self.restore_space(id, &space, Part::Messages)?;
            self.take_marks(id, &space, marks)?;
        }
        Ok(())
    }

    /// Takes in how far people had read. Blocks.
    fn take_marks(&self, id: SpaceId, space: &SpaceRow, marks: Vec<Known>) -> Result<(), SpaceError> {
        let now = clock::now();
        let mut marks = marks.into_iter().flat_map(|one| match one.fact {
            Fact::Read { did, author, path, at } => vec![(author, path, did, at)],
            Fact::Awaited { author, path, readers, .. } => {
                readers.into_iter().map(|(did, at)| (author.clone(), path.clone(), did, at)).collect()
            }
            _ => vec![],
        });
        loop {
            let some: Vec<_> = marks.by_ref().take(super::restore::STEP_FACTS).collect();
            if some.is_empty() {
                return Ok(());
            }
            let _step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
            let mut step = Step::new(self);
            for (author, path, did, at) in some {
                step.take_mark(id, space, (&author, &path), did, at.min(now))?;
            }
            self.finish(step, None)?;
        }
    }

    /// Takes in what somebody who lives here wrote into a room before it was here.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn take_in_writer(&self, room: &SpaceUri, did: &Did) -> Result<(), SpaceError> {
        let (this, room, did) = (self.clone(), room.clone(), did.clone());
        blocking::run(move || {
            if this.0.accounts.resident_blocking(&did)?.is_some() && super::rooms::is_room(&room) {
                this.take_in_rooms(&[(room, did)])?;
            }
            Ok(())
        })
        .await
    }
}
