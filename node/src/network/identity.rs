//! A node's two names for one key: its DID, and its peer id on the network.

use angel_protocol::crypto::{DidKeyError, NodePublicKey};
use angel_protocol::ids::Did;
use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};
use zeroize::Zeroizing;

/// The multihash code of `identity`: the digest is the key itself.
const IDENTITY: u64 = 0;

/// The peer id of the node with this key.
#[must_use]
pub fn peer_id(key: &NodePublicKey) -> PeerId {
    let key = ed25519::PublicKey::try_from_bytes(&key.to_bytes()).expect("a parsed key is a point on the curve");
    PublicKey::from(key).to_peer_id()
}

/// The peer id of the node with this DID.
///
/// # Errors
/// [`DidKeyError`] when the DID is no `did:key` of an Ed25519 key.
pub fn peer_id_of(did: &Did) -> Result<PeerId, DidKeyError> {
    Ok(peer_id(&NodePublicKey::from_did(did)?))
}

/// The DID of the node with this peer id, or nothing when the peer has no Ed25519 key.
#[must_use]
pub fn did_of(peer: &PeerId) -> Option<Did> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_ed25519().ok()?;
    NodePublicKey::from_bytes(&key.to_bytes()).ok().map(NodePublicKey::did)
}

pub(super) fn keypair(seed: &Zeroizing<[u8; 32]>) -> Keypair {
    let mut seed = seed.clone();
    Keypair::ed25519_from_bytes(seed.as_mut_slice()).expect("any 32 bytes are an Ed25519 seed")
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::NodeKey;

    use super::*;

    #[test]
    fn the_two_names_of_a_key_lead_to_each_other() {
        let key = NodeKey::from_seed(&[5; 32]);
        let peer = peer_id_of(&key.did()).expect("an Ed25519 key");
        assert_eq!(did_of(&peer), Some(key.did()));
        assert_eq!(keypair(&key.seed()).public().to_peer_id(), peer);
    }

    #[test]
    fn other_kinds_of_key_have_no_such_name() {
        assert_eq!(peer_id_of(&"did:web:example.com".parse().expect("a DID")), Err(DidKeyError::Method));
        // A peer id that is a SHA-256 digest hides its key.
        let hashed: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().expect("a peer id");
        assert_eq!(did_of(&hashed), None);
    }
}
