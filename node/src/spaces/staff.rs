//! Who is in a tenant's spaces by their role in the tenant, and by no membership. When a role ends, or the tenant is
//! suspended, archived or somebody else's, subscriptions are judged anew, and whom nothing lets into a room any more is taken
//! off its list, with the credentials they have: on the way to that nobody hears of it.

use std::sync::PoisonError;

use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use angel_storage::permissioned as rows;
use angel_storage::spaces::{MEMBERS, SPACES, SPACES_OF, SpaceId, SpaceRow};
use tokio_util::sync::CancellationToken;

use super::rooms::room_of;
use super::streams::Stream;
use super::{SpaceError, Spaces};
use crate::blocking;
use crate::tasks::TaskResult;

/// Spaces, and people on a list, that are looked at in one step.
const PAGE: usize = 256;

/// Settles what follows from tenants' changes, until told to stop; of every tenant once when the node starts.
pub(crate) async fn run(spaces: Spaces, stop: CancellationToken) -> TaskResult {
    let mut changes = spaces.0.tenants.changes();
    loop {
        changes.borrow_and_update();
        for tenant in spaces.0.tenants.take_changed() {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = spaces.settle_staff(&tenant).await {
                // The tenant may have gone to another node meanwhile; here it is settled again with its next change, or start.
                tracing::warn!(%tenant, %error, "who is in a tenant's spaces by their role was not settled");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => changed.map_err(|_| "the tenants ended")?,
        }
    }
}

impl Spaces {
    async fn settle_staff(&self, tenant: &Did) -> Result<(), SpaceError> {
        let (this, holder) = (self.clone(), tenant.clone());
        let spaces = blocking::run(move || this.spaces_of_holder(&holder)).await?;
        for (id, space) in &spaces {
            let this = self.clone();
            let id = *id;
            let mut streams = blocking::run(move || this.own_rooms(id)).await?;
            if room_of(space).is_some() {
                streams.push(Stream::own());
            }
            for stream in streams {
                if let Some(room) = stream.room(space) {
                    self.take_off(id, space, &stream, &room).await?;
                }
            }
        }
        let this = self.clone();
        blocking::run(move || {
            let _step = this.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
            let ids: Vec<_> = spaces.iter().map(|(id, _)| *id).collect();
            Ok(this.judge_again(&[], &ids)?)
        })
        .await
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
    fn spaces_of_holder(&self, holder: &Did) -> Result<Vec<(SpaceId, SpaceRow)>, SpaceError> {
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
