//! Who is in a tenant's spaces by their role in the tenant, and by no membership. When a role ends, or the tenant is
//! suspended, archived or somebody else's, subscriptions are judged anew, and whom nothing lets into a room any more is taken
//! off its list, with the credentials they have: on the way to that nobody hears of it.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use angel_storage::permissioned as rows;
use angel_storage::spaces::{MEMBERS, SPACES, SPACES_OF, SpaceId, SpaceRow};
use tokio_util::sync::CancellationToken;

use super::rooms::room_of;
use super::streams::Stream;
use super::{SpaceError, Spaces};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// Spaces, and people on a list, that are looked at in one step.
const PAGE: usize = 256;

/// How long until what could not be settled is tried again: soon at first, for somebody is where they should not be.
const RETRY: Policy =
    Policy { base: Duration::from_millis(200), ceiling: Duration::from_mins(5), reset_after: Duration::from_mins(10) };

/// Settles what follows from tenants' changes, until told to stop; of every tenant once when the node starts.
pub(crate) async fn run(spaces: Spaces, stop: CancellationToken) -> TaskResult {
    let mut changes = spaces.0.tenants.changes();
    let mut backoff = Backoff::new(RETRY);
    let mut unsettled = BTreeSet::new();
    loop {
        changes.borrow_and_update();
        let mut due = spaces.0.tenants.take_changed();
        due.append(&mut unsettled);
        for tenant in due {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = spaces.settle_staff(&tenant).await {
                tracing::warn!(%tenant, %error, "who is in a tenant's spaces by their role was not settled; it is tried again");
                unsettled.insert(tenant);
            }
        }
        let again = if unsettled.is_empty() {
            backoff = Backoff::new(RETRY);
            None
        } else {
            Some(backoff.failed(clock::now(), rand::random()))
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => changed.map_err(|_| "the tenants ended")?,
            () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
        }
    }
}

impl Spaces {
    /// Settles one tenant's spaces. What fails in one room keeps no other from being settled, and no subscription from being
    /// judged.
    async fn settle_staff(&self, tenant: &Did) -> Result<(), SpaceError> {
        let (this, holder) = (self.clone(), tenant.clone());
        let spaces = blocking::run(move || this.spaces_of_holder(&holder)).await?;
        let mut settled = Ok(());
        for (id, space) in &spaces {
            settled = settled.and(self.settle_rooms(*id, space).await);
        }
        let this = self.clone();
        let judged = blocking::run(move || {
            let _step = this.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
            let ids: Vec<_> = spaces.iter().map(|(id, _)| *id).collect();
            this.judge_again(&[], &ids)
        });
        judged.await?;
        settled
    }

    async fn settle_rooms(&self, id: SpaceId, space: &SpaceRow) -> Result<(), SpaceError> {
        let this = self.clone();
        let mut streams = blocking::run(move || this.own_rooms(id)).await?;
        if room_of(space).is_some() {
            streams.push(Stream::own());
        }
        let mut settled = Ok(());
        for stream in streams {
            if let Some(room) = stream.room(space) {
                settled = settled.and(self.take_off(id, space, &stream, &room).await);
            }
        }
        settled
    }

    /// Takes off a room's list whom nothing lets in.
    async fn take_off(
        &self,
        id: SpaceId,
        space: &SpaceRow,
        stream: &Stream,
        room: &SpaceUri,
    ) -> Result<(), SpaceError> {
        let mut after: Option<Did> = None;
        loop {
            let (this, digest, last) = (self.clone(), room.digest(), after.clone());
            let page = blocking::run(move || {
                let listed = rows::members(&this.0.reader, digest, last.as_ref(), PAGE)?;
                let with_membership = listed.into_iter().map(|(did, _)| {
                    let row = this.0.reader.get(&MEMBERS, &(id, did.clone()))?;
                    Ok((did, row.map(|row| row.membership)))
                });
                with_membership.collect::<Result<Vec<_>, SpaceError>>()
            })
            .await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|(did, _)| did.clone());
            let goes = page.into_iter().filter(|(did, membership)| {
                *did != space.holder && self.member_of(space, did, membership.as_ref(), stream).is_none()
            });
            let goes: Vec<_> = goes.map(|(did, _)| (did, None)).collect();
            if !goes.is_empty() {
                self.0.permissioned.set_members(room, goes).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The spaces that an account holds and this node serves. Blocks.
    pub(super) fn spaces_of_holder(&self, holder: &Did) -> Result<Vec<(SpaceId, SpaceRow)>, SpaceError> {
        let mut found = vec![];
        if !self.serves(holder) {
            return Ok(found);
        }
        let mut last = None;
        loop {
            let mut scan = self.0.reader.scan(&SPACES_OF).prefix(holder);
            if let Some(last) = &last {
                scan = scan.after(last);
            }
            let page = scan.page(PAGE)?;
            for ((_, id), _) in &page.rows {
                let row = self.0.reader.get(&SPACES, id)?;
                found.extend(row.filter(|row| row.holder == *holder && row.gone_at.is_none()).map(|row| (*id, row)));
            }
            last = page.rows.into_iter().next_back().map(|(key, _)| key);
            if !page.more {
                return Ok(found);
            }
        }
    }
}
