//! Changing a node's key.
//!
//! A node's DID is its key, so a new key is a new DID. The statement that joins them is signed by the old key and
//! countersigned by the new one: the old one alone could name a key that is not the node's, the new one alone could
//! claim any node. It travels in every heartbeat of the new key until the overlap ends. Receivers move the node's
//! entry to the new DID, accept the old key until then, and refuse it by name afterwards (`network.md` 1.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::crypto::{BadSignature, Domain, NodeKey, NodePublicKey, Signature};
use crate::ids::{Did, NetworkId};
use crate::time::Timestamp;
use crate::wire::envelope::Head;

/// How long the old key stays valid beside the new one, unless the operator says otherwise.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// The longest overlap accepted: a stolen key must not stay valid for long.
pub const OVERLAP_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const OLD: Domain = Domain::new("angel/key-rotation/1");
const NEW: Domain = Domain::new("angel/key-rotation-accepted/1");

/// What both keys sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatement {
    /// The network it holds for.
    pub network: NetworkId,
    /// The DID that ends.
    pub old: Did,
    /// The DID that follows.
    pub new: Did,
    /// When it was decided.
    pub issued_at: Timestamp,
    /// Until when the old key is accepted.
    pub overlap_until: Timestamp,
}

/// A change of key, signed by both keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// What is stated.
    pub statement: RotationStatement,
    /// The old key's signature.
    pub old_sig: ByteArray<64>,
    /// The new key's signature.
    pub new_sig: ByteArray<64>,
}

impl Rotation {
    /// States that `new` follows `old`, from `now` on, and that `old` is accepted until `overlap_until`.
    #[must_use]
    pub fn sign(network: &NetworkId, old: &NodeKey, new: &NodeKey, now: Timestamp, overlap_until: Timestamp) -> Self {
        let statement = RotationStatement {
            network: network.clone(),
            old: old.did(),
            new: new.did(),
            issued_at: now,
            overlap_until,
        };
        let bytes = statement.bytes();
        Self {
            old_sig: ByteArray::new(old.sign(OLD, &bytes)),
            new_sig: ByteArray::new(new.sign(NEW, &bytes)),
            statement,
        }
    }

    /// Whether both signatures hold.
    ///
    /// # Errors
    /// [`BadSignature`] when one does not.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let bytes = self.statement.bytes();
        let holds = |did: &Did, domain: Domain, signature: &ByteArray<64>| {
            let signature: &Signature = signature;
            NodePublicKey::from_did(did).map_err(|_| BadSignature)?.verify(domain, &bytes, signature)
        };
        holds(&self.statement.old, OLD, &self.old_sig)?;
        holds(&self.statement.new, NEW, &self.new_sig)
    }

    /// The cheap checks: it speaks of this network and this issuer, and its times make sense.
    pub(super) fn check(&self, head: &Head) -> Result<(), &'static str> {
        let RotationStatement { network, old, new, issued_at, overlap_until } = &self.statement;
        if *network != head.network {
            return Err("the rotation statement is for another network");
        }
        if *new != head.issuer || old == new {
            return Err("the rotation statement names another new key than the issuer's");
        }
        if *overlap_until > Timestamp::MAX || overlap_until.since(*issued_at) > OVERLAP_MAX {
            return Err("the rotation statement's overlap is too long");
        }
        Ok(())
    }
}

impl RotationStatement {
    fn bytes(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("texts and integers encode")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_keys_must_sign() {
        let (old, new, thief) =
            (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]), NodeKey::from_seed(&[3; 32]));
        let network: NetworkId = "home-dev".parse().expect("valid");
        let now = Timestamp::from_millis(1_000);
        let good = Rotation::sign(&network, &old, &new, now, now + OVERLAP);
        assert_eq!(good.verify(), Ok(()));

        let mut claimed = Rotation::sign(&network, &thief, &new, now, now + OVERLAP);
        claimed.statement.old = old.did();
        assert_eq!(claimed.verify(), Err(BadSignature));

        let mut named = good.clone();
        named.statement.new = thief.did();
        assert_eq!(named.verify(), Err(BadSignature));

        let mut longer = good.clone();
        longer.statement.overlap_until = longer.statement.overlap_until + Duration::from_secs(1);
        assert_eq!(longer.verify(), Err(BadSignature));

        let swapped = Rotation { old_sig: good.new_sig, new_sig: good.old_sig, ..good };
        assert_eq!(swapped.verify(), Err(BadSignature));
    }
}
