//! Invitations into spaces (INV-01 to INV-04): tokens of which only the hash is kept, for one use and some days.

use angel_protocol::ids::Did;
use angel_protocol::spaces::Membership;
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{INVITES, InviteRow, MEMBERS, SpaceId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{SpaceError, Spaces};
use crate::{blocking, clock};

/// Invitations and codes of one space that can be open.
pub(super) const INVITES_MAX: usize = 1000;

/// Expired invitations that are cleared away with a new one.
const CLEARED_MAX: usize = 100;

/// The hash by which an invitation is kept.
pub(super) type InviteHash = [u8; 32];

impl Spaces {
    /// The invitation or code that a text is.
    pub(super) async fn invite_of(
        &self,
        id: SpaceId,
        text: &str,
    ) -> Result<Option<(InviteHash, InviteRow)>, SpaceError> {
        let (this, hash) = (self.clone(), hash_of(text));
        // Found by the hash of a secret of 256 bits: how long that takes tells nothing about other secrets.
        let found = blocking::run(move || this.0.reader.get(&INVITES, &(id, hash))).await?;
        Ok(found.map(|Cbor(invite)| (hash, invite)))
    }

    /// An invitation by name that has not expired: whoever has one joins without its token.
    pub(super) async fn invitation_for(&self, id: SpaceId, did: &Did) -> Result<Option<InviteHash>, SpaceError> {
        let (this, did) = (self.clone(), did.clone());
        blocking::run(move || {
            let now = clock::now();
            let found = this.invites(id)?.into_iter();
            let mut found = found.filter(|(_, invite)| invite.only.as_ref() == Some(&did) && !has_expired(invite, now));
            Ok(found.next().map(|(hash, _)| hash))
        })
        .await
    }

    /// How many invitations are open, some that have expired, and somebody's membership.
    pub(super) async fn invites_and_member(
        &self,
        id: SpaceId,
        user: Option<Did>,
    ) -> Result<(usize, Vec<InviteHash>, Option<Membership>), SpaceError> {
        let this = self.clone();
        blocking::run(move || {
            let (now, invites) = (clock::now(), this.invites(id)?);
            let all = invites.len();
            let expired: Vec<_> =
                invites.into_iter().filter(|(_, invite)| has_expired(invite, now)).map(|(hash, _)| hash).collect();
            let member = match user {
                Some(did) => this.0.reader.get(&MEMBERS, &(id, did))?.map(|row| row.membership),
                None => None,
            };
            Ok((all - expired.len(), expired.into_iter().take(CLEARED_MAX).collect(), member))
        })
        .await
    }

    /// All that are kept of a space: expired ones too, until another one is made. Blocks.
    fn invites(&self, id: SpaceId) -> Result<Vec<(InviteHash, InviteRow)>, SpaceError> {
        let page = self.0.reader.scan(&INVITES).prefix(&id).page(2 * INVITES_MAX)?;
        Ok(page.rows.into_iter().map(|((_, hash), Cbor(invite))| (hash, invite)).collect())
    }
}

/// Whether an invitation is over; the code of a space never is.
pub(super) fn has_expired(invite: &InviteRow, now: Timestamp) -> bool {
    invite.expires_at.is_some_and(|expires_at| expires_at < now)
}

/// 32 random bytes as text (INV-01).
pub(super) fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

pub(super) fn hash_of(text: &str) -> InviteHash {
    Sha256::digest(text.as_bytes()).into()
}
