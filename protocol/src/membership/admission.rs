//! Who may join (`network.md` 2.4).
//!
//! An **invitation** is a token signed by a member. It travels in the newcomer's heartbeats until it expires. Members
//! who were not there to see it learn of the newcomer from a member they are connected to: a heartbeat that an admitted
//! peer hands over in a registry exchange counts as vouched for, since whoever may invite may also vouch. A newcomer
//! itself trusts its inviter, and through it the rest.
//!
//! Each node judges for itself. Where the same open token is used by several nodes at once, observers may count its
//! uses in different order; a token that must be exact names its invitee.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use multibase::Base;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};

use crate::crypto::{BadSignature, Domain, NodeKey, NodePublicKey};
use crate::ids::{Did, NetworkId};
use crate::limits::INVITE_USES_MAX;
use crate::time::Timestamp;
use crate::wire::canonical;
use crate::wire::envelope::Head;

const DOMAIN: Domain = Domain::new("angel/invite/1");

/// Who may join the network, in the eyes of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Anyone with a valid DID.
    Open,
    /// Whoever a member has invited, and these founders.
    Invite {
        /// Members from the beginning: typically the nodes this one is started with.
        founders: BTreeSet<Did>,
    },
    /// These and no others.
    Allowlist(BTreeSet<Did>),
}

/// What a member grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InviteTerms {
    /// The network it opens.
    pub network: NetworkId,
    /// The member who invites.
    pub inviter: Did,
    /// The node it is meant for; whoever holds it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitee: Option<Did>,
    /// How many nodes it may bring in.
    pub uses: u16,
    /// Until when.
    pub expires_at: Timestamp,
    /// Tells two invitations of one member apart.
    pub nonce: ByteArray<16>,
}

/// An invitation, signed by a member. As text it is one word, for a command line or a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// What is granted.
    pub terms: InviteTerms,
    /// The inviter's signature.
    pub sig: ByteArray<64>,
}

/// How a node came to be a member, in the eyes of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdmittedBy {
    /// The network is open.
    Open,
    /// It is on the list, or a founder.
    Listed,
    /// It came with the invitation of this digest.
    Invite(ByteArray<32>),
    /// This member vouched for it.
    Voucher(Did),
}

/// The text is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no invitation; copy the whole word that `angel peer invite` printed")]
pub struct InvalidInvite;

impl Invite {
    /// Signs an invitation. The member that signs is the inviter, whatever `terms` say.
    #[must_use]
    pub fn sign(key: &NodeKey, terms: InviteTerms) -> Self {
        let terms = InviteTerms { inviter: key.did(), uses: terms.uses.clamp(1, INVITE_USES_MAX), ..terms };
        let sig = ByteArray::new(key.sign(DOMAIN, &terms.bytes()));
        Self { terms, sig }
    }

    /// Whether the inviter signed it.
    ///
    /// # Errors
    /// [`BadSignature`] when not.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let key = NodePublicKey::from_did(&self.terms.inviter).map_err(|_| BadSignature)?;
        key.verify(DOMAIN, &self.terms.bytes(), &self.sig)
    }

    /// What tells this invitation from all others.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.terms.bytes()).into()
    }

    /// The cheap checks. Whether it has expired is for the clock to say, later.
    pub(super) fn check(&self, head: &Head) -> Result<(), &'static str> {
        if self.terms.network != head.network {
            return Err("the invitation is for another network");
        }
        if self.terms.invitee.as_ref().is_some_and(|invitee| *invitee != head.issuer) {
            return Err("the invitation is for another node");
        }
        if self.terms.uses == 0 || self.terms.uses > INVITE_USES_MAX {
            return Err("the invitation is for no node or for too many");
        }
        Ok(())
    }
}

impl InviteTerms {
    fn bytes(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("texts, integers and bytes encode")
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = serde_ipld_dagcbor::to_vec(self).expect("texts, integers and bytes encode");
        f.write_str(&multibase::encode(Base::Base58Btc, bytes))
    }
}

impl FromStr for Invite {
    type Err = InvalidInvite;

    fn from_str(text: &str) -> Result<Self, InvalidInvite> {
        // Base58 decodes in quadratic time: look at the length first.
        if text.len() > 8192 {
            return Err(InvalidInvite);
        }
        let (_, bytes) = multibase::decode(text.trim()).map_err(|_| InvalidInvite)?;
        canonical::check(&bytes).map_err(|_| InvalidInvite)?;
        let invite: Self = serde_ipld_dagcbor::from_slice(&bytes).map_err(|_| InvalidInvite)?;
        invite.verify().map_err(|BadSignature| InvalidInvite)?;
        Ok(invite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_one_word_and_holds_as_signed() {
        let key = NodeKey::from_seed(&[1; 32]);
        let terms = InviteTerms {
            network: "home-dev".parse().expect("valid"),
            inviter: NodeKey::from_seed(&[2; 32]).did(),
            invitee: None,
            uses: 0,
            expires_at: Timestamp::from_millis(5),
            nonce: ByteArray::new([4; 16]),
        };
        let invite = Invite::sign(&key, terms);
        assert_eq!((&invite.terms.inviter, invite.terms.uses), (&key.did(), 1));
        assert_eq!(invite.to_string().parse(), Ok(invite.clone()));
        let mut altered = invite;
        altered.terms.uses = 64;
        assert_eq!(altered.verify(), Err(BadSignature));
        assert_eq!(altered.to_string().parse::<Invite>(), Err(InvalidInvite));
        assert_eq!("hello".parse::<Invite>(), Err(InvalidInvite));
    }
}
