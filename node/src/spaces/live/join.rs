//! Taking a seat and leaving it, and judging anew who may keep theirs.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use angel_protocol::ids::Did;
use angel_protocol::spaces::{Access, ChannelRules, Standing, Status, Told};
use angel_storage::reader::ReadError;
use angel_storage::spaces::{CHANNELS, MEMBERS, OWN_STREAM, SPACES, SpaceId, SpaceRow};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::super::told::Audience;
use super::super::{SpaceError, Spaces};
use super::{ASIDE_MAX, Hears, Hub, Seat, SpaceStream, next_number};
use crate::blocking;
use crate::firehose::{Begin, Round};

impl Spaces {
    /// Takes a seat for `did`, who may see the space, and says where a follower with `cursor` begins.
    ///
    /// # Errors
    /// The store cannot be read, or the space is gone.
    pub(crate) async fn follow(
        &self,
        space: SpaceId,
        did: Option<Did>,
        cursor: Option<u64>,
    ) -> Result<(SpaceStream, Begin), SpaceError> {
        let this = self.clone();
        blocking::run(move || this.sit_down(space, did, cursor)).await
    }

    fn sit_down(&self, id: SpaceId, did: Option<Did>, cursor: Option<u64>) -> Result<(SpaceStream, Begin), SpaceError> {
        let live = &self.0.live;
        // Between two steps of the index, so that no entry falls between the rows read here and the ring.
        let _between = live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.0.reader.get(&SPACES, &id)?.filter(|row| row.gone_at.is_none());
        let row = row.ok_or(SpaceError::SpaceNotFound)?;
        let hears = self.hears(id, &row, did.as_ref())?.ok_or(SpaceError::SpaceNotFound)?;
        let is_member = hears.member;
        let seat = Arc::new(Seat {
            did: did.clone(),
            hears: RwLock::new(hears),
            ended: CancellationToken::new(),
            why: OnceLock::new(),
        });
        let number = next_number(live);
        let (hub, first) = {
            let mut hubs = live.0.hubs.write().unwrap_or_else(PoisonError::into_inner);
            let hub = hubs.entry(id).or_insert_with(|| {
                Arc::new(Hub {
                    space: id,
                    round: Arc::new(Round::new(row.last)),
                    waits: AtomicBool::new(false),
                    head: watch::Sender::new(row.last),
                    aside: broadcast::Sender::new(ASIDE_MAX),
                    followers: std::sync::Mutex::default(),
                })
            });
            let mut followers = hub.followers();
            let first = !followers.values().any(|other| other.did.is_some() && other.did == did);
            followers.insert(number, Arc::clone(&seat));
            drop(followers);
            (Arc::clone(hub), first)
        };
        if let Some(did) = did.as_ref().filter(|_| is_member && first) {
            presence(self, id, did, true);
        }
        let begin = match cursor {
            None => Begin::At(row.last),
            Some(cursor) if cursor > row.last => Begin::Future,
            Some(cursor) => Begin::At(cursor),
        };
        let chair = Chair { spaces: self.clone(), hub: Arc::clone(&hub), number, seat: Arc::clone(&seat) };
        Ok((SpaceStream::new(self.clone(), hub, seat, chair), begin))
    }

    /// What somebody may hear of a space; `None` when they may not be there.
    fn hears(&self, id: SpaceId, row: &SpaceRow, did: Option<&Did>) -> Result<Option<Hears>, ReadError> {
        let reader = &self.0.reader;
        let member = match did {
            Some(did) => reader.get(&MEMBERS, &(id, did.clone()))?.map(|row| row.membership),
            None => None,
        };
        let standing = did.map_or(Standing::Stranger, |did| self.standing(&row.holder, did));
        let access = Access { space: row.rules, membership: member.as_ref(), standing };
        if row.gone_at.is_some() || !access.may_see() {
            return Ok(None);
        }
        let mut hears = Hears { member: access.is_member(), ..Hears::default() };
        if access.may_read(&ChannelRules::of_the_space(), None) {
            hears.channels.insert(OWN_STREAM);
        }
        let mut after = (id, OWN_STREAM);
        loop {
            let page = reader.scan(&CHANNELS).prefix(&id).after(&after).page(256)?;
            for ((_, number), channel) in &page.rows {
                // A channel that is gone is still told of to those who could read it.
                if access.may_read(&channel.rules, Some(&channel.rkey)) {
                    hears.channels.insert(*number);
                }
            }
            match page.rows.last() {
                Some((key, _)) if page.more => after = *key,
                _ => return Ok(Some(hears)),
            }
        }
    }

    /// Judges anew who may go on following, after memberships or spaces have changed. Blocks.
    pub(in super::super) fn judge_again(
        &self,
        members: &[(SpaceId, Did)],
        changed: &[SpaceId],
    ) -> Result<(), ReadError> {
        let of_members = members
            .iter()
            .flat_map(|(id, did)| self.0.live.seats(*id, Some(did)).into_iter().map(move |seat| (*id, seat)));
        let of_spaces =
            changed.iter().flat_map(|id| self.0.live.seats(*id, None).into_iter().map(move |seat| (*id, seat)));
        for (id, seat) in of_members.chain(of_spaces) {
            let Some(row) = self.0.reader.get(&SPACES, &id)? else { continue };
            let status = match seat.did() {
                Some(did) => self.0.reader.get(&MEMBERS, &(id, did.clone()))?.map(|row| row.membership.status),
                None => None,
            };
            // Whoever left or was turned out is sent away even where strangers may follow: they came as a member.
            let was_turned_out = matches!(status, Some(Status::Left | Status::Banned | Status::Suspended));
            match self.hears(id, &row, seat.did())? {
                Some(hears) if !was_turned_out => seat.set(hears),
                _ if row.gone_at.is_some() => seat.end("SpaceGone", "the space is gone"),
                _ => seat.end("AccessEnded", "you may no longer follow this space"),
            }
        }
        Ok(())
    }
}

fn presence(spaces: &Spaces, id: SpaceId, did: &Did, here: bool) {
    spaces.0.live.signal(id, Audience::Members, Told::Presence, |body| {
        body.text("did", did.as_str()).text("state", if here { "online" } else { "offline" });
    });
}

/// A seat that is taken; free again when this is dropped.
pub(super) struct Chair {
    spaces: Spaces,
    hub: Arc<Hub>,
    number: u64,
    seat: Arc<Seat>,
}

impl Drop for Chair {
    fn drop(&mut self) {
        let live = &self.spaces.0.live;
        let mut hubs = live.0.hubs.write().unwrap_or_else(PoisonError::into_inner);
        let mut followers = self.hub.followers();
        followers.remove(&self.number);
        let last_of_them = !followers.values().any(|other| other.did == self.seat.did);
        let is_empty = followers.is_empty();
        drop(followers);
        if is_empty {
            hubs.remove(&self.hub.space);
        }
        drop(hubs);
        let was_member = self.seat.hears.read().unwrap_or_else(PoisonError::into_inner).member;
        if let Some(did) = self.seat.did.as_ref().filter(|_| was_member && last_of_them && !is_empty) {
            presence(&self.spaces, self.hub.space, did, false);
        }
    }
}
