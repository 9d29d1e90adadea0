//! The node's identity: one Ed25519 key in one file, and what follows from it (`did:key`, libp2p peer id, `did:web`
//! document). Rotation puts a new key in its place and keeps the old one for the overlap.
//!
//! The file `secrets/node.key` is text: a first line `angel node key 1`, then `did: ` with the public half, then
//! `secret: ` with the 32 secret bytes in hexadecimal. The public half is there so that damage is
//! noticed and a person can see whose key it is.

use std::path::Path;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::{Did, NetworkId, NodeName};
use angel_protocol::membership;
use angel_protocol::time::Timestamp;
use angel_storage::Store;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::data_dir::Layout;
use crate::network::{self, PeerId};
use crate::secrets::{SecretError, create_secret, random_bytes, read_secret};

mod rotation;

pub use self::rotation::{Previous, Rotation, RotationError, rotate};

const HEADER: &str = "angel node key 1";

/// The node's key and what follows from it.
#[derive(Debug)]
pub struct Identity {
    key: NodeKey,
    did: Did,
    peer_id: PeerId,
    previous: Vec<Previous>,
}

impl Identity {
    /// Reads the key, or makes one at the first start, and clears away what is no longer valid. Where a node has been at
    /// work already, none is made: peers, the ledger and the accounts' copies know it by the key that is missing.
    ///
    /// # Errors
    /// [`SecretError`]: a key that others can read, a damaged one, one that is lost, a directory that cannot be written.
    pub fn load_or_create(layout: &Layout, now: Timestamp) -> Result<Self, SecretError> {
        match Self::load(layout, now) {
            Err(SecretError::Missing { path }) if Store::is_begun(&layout.storage()) => {
                let without = "With another key it would be another node: for that, begin in a new one (--data-dir)";
                Err(SecretError::Lost { path, without })
            }
            Err(SecretError::Missing { path }) => {
                create_secret(&path, &format(&generate()?))?;
                Self::load(layout, now)
            }
            loaded => {
                let identity = loaded?;
                rotation::remove_leftovers(layout, &identity.did, now)?;
                Ok(identity)
            }
        }
    }

    /// Reads the key and changes nothing.
    ///
    /// # Errors
    /// As [`Self::load_or_create`], and [`SecretError::Missing`] before the first start.
    pub fn load(layout: &Layout, now: Timestamp) -> Result<Self, SecretError> {
        let key = load_key(&layout.secrets().join("node.key"))?;
        let previous = rotation::load_previous(layout, &key.did(), now)?;
        Ok(Self { did: key.did(), peer_id: network::peer_id(&key.public()), key, previous })
    }

    /// The secret key.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The node's DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The libp2p peer id of the same key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The keys before this one that are still valid, newest first.
    #[must_use]
    pub fn previous(&self) -> &[Previous] {
        &self.previous
    }

    /// The statement that this key follows the one before it, for the heartbeats, while that one is valid. Signed
    /// anew each time: Ed25519 gives the same bytes.
    #[must_use]
    pub fn rotation_statement(&self, network: &NetworkId) -> Option<membership::Rotation> {
        let Previous { key, since, until } = self.previous.first()?;
        Some(membership::Rotation::sign(network, key, &self.key, *since, *until))
    }

    /// The node id to use when none is configured: stable, and as good as unique.
    #[must_use]
    pub fn default_node_id(&self) -> NodeName {
        let public = self.key.public().to_bytes();
        let hex: String = public[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("node-{hex}").parse().expect("hexadecimal digits make a valid name")
    }
}

fn load_key(path: &Path) -> Result<NodeKey, SecretError> {
    let text = read_secret(path)?.ok_or_else(|| SecretError::Missing { path: path.to_owned() })?;
    parse(&text).map_err(|what| SecretError::Corrupt { path: path.to_owned(), what })
}

fn generate() -> Result<NodeKey, SecretError> {
    Ok(NodeKey::from_seed(&*random_bytes::<32>()?))
}

fn format(key: &NodeKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    text.push_str(HEADER);
    text.push_str("\ndid: ");
    text.push_str(key.did().as_str());
    text.push_str("\nsecret: ");
    for byte in key.seed().iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("a nibble is a hexadecimal digit"));
        }
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Result<NodeKey, &'static str> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err("it does not begin with \"angel node key 1\"");
    }
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
    let did = field("did: ").ok_or("its second line holds no did")?;
    let hex = field("secret: ").ok_or("its third line holds no secret")?.as_bytes();
    let mut seed = Zeroizing::new([0; 32]);
    if hex.len() != 64 {
        return Err("its secret is not 64 hexadecimal digits");
    }
    for (byte, digits) in seed.iter_mut().zip(hex.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or("its secret is not 64 hexadecimal digits");
        *byte = u8::try_from(nibble(digits[0])? << 4 | nibble(digits[1])?).expect("two nibbles are a byte");
    }
    let key = NodeKey::from_seed(&seed);
    if key.did().as_str() == did { Ok(key) } else { Err("its secret does not belong to its did") }
}

/// The DID document of the node's `did:web`, or `None` when its public URL has no host name of its own: `did:web`
/// needs one, and AT Protocol allows no port and no path in it.
#[must_use]
pub fn did_web_document(did: &Did, public_url: &Url) -> Option<Value> {
    let web = did_web(public_url)?;
    let multibase = did.as_str().strip_prefix("did:key:")?;
    Some(json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": web,
        "alsoKnownAs": [did],
        "verificationMethod": [{
            "id": format!("{web}#angelos_federation"),
            "type": "Multikey",
            "controller": web,
            "publicKeyMultibase": multibase,
        }],
        "service": [{
            "id": "#angelos_node",
            "type": "AngelNode",
            "serviceEndpoint": public_url.as_str().trim_end_matches('/'),
        }],
    }))
}

/// The `did:web` of a host name, as AT Protocol limits it (DID specification, "Blessed DID Methods").
#[must_use]
pub fn did_web(public_url: &Url) -> Option<String> {
    let url::Host::Domain(host) = public_url.host()? else { return None };
    (public_url.port().is_none() && host.contains('.')).then(|| format!("did:web:{host}"))
}

#[cfg(test)]
mod tests;
