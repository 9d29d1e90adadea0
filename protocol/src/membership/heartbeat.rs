//! The heartbeat: what a node says every half minute (`network.md` 3.3).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::admission::Invite;
use super::declared::{Capability, DeclaredStatus, NodeType, Profile, Region, Resources, ScalingModel};
use super::registry;
use super::rotation::Rotation;
use crate::crypto::{BadSignature, Domain, NodeKey};
use crate::data::Cid;
use crate::ids::{Did, NetworkId, NodeName};
use crate::limits::{HEARTBEAT_PEERS_MAX, SEQUENCE_MAX};
use crate::time::Timestamp;
use crate::wire::envelope::{Body, EnvelopeError, Head, Opened, Verified, seal};

/// The body of a heartbeat. The fields of [`Profile`] lie flat in it, as the network specification lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The node's name, unique on its network.
    pub node_id: NodeName,
    /// Its public URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
    /// Its federation API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<Arc<str>>,
    /// Where it stands.
    pub region: Region,
    /// What kind of node it is.
    pub node_type: NodeType,
    /// How it grows.
    pub scaling_model: ScalingModel,
    /// What it offers.
    pub capabilities: Vec<Capability>,
    /// CID of the node record these values come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_cid: Option<Cid>,
    /// Version of the software.
    pub software_version: Arc<str>,
    /// Public multiaddresses as text.
    #[serde(default)]
    pub listen_addresses: Vec<Arc<str>>,
    /// The status it declares.
    pub status: DeclaredStatus,
    /// What it has and how much of it is in use.
    pub resources: Resources,
    /// The neighbours it measures, at most [`HEARTBEAT_PEERS_MAX`].
    #[serde(default)]
    pub peers: Vec<PeerReport>,
    /// The tenants it is primary for, as a digest: no tenant is named in gossip.
    pub leases: Leases,
    /// Validators only: the height of their ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_height: Option<u64>,
    /// Validators only: the root of their ledger at that height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_root: Option<ByteArray<32>>,
    /// The invitation it came with, as long as it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<Invite>,
    /// The statement of its former key, as long as both are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// A neighbour as its sender measures it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// The neighbour.
    pub node: Did,
    /// Median round trip, in milliseconds.
    pub latency_ms: u32,
    /// When its last heartbeat arrived, by the sender's clock.
    pub last_heartbeat: Timestamp,
}

/// The tenants a node is primary for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leases {
    /// How many.
    pub count: u64,
    /// Digest over them; which one is the business of placement.
    pub digest: ByteArray<32>,
}

/// A validator's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// The newest height it holds.
    pub height: u64,
    /// The root of the state at that height.
    pub root: [u8; 32],
}

impl Heartbeat {
    /// The part that repeats the node's record.
    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile {
            node_id: self.node_id.clone(),
            endpoint: self.endpoint.clone(),
            api_endpoint: self.api_endpoint.clone(),
            region: self.region.clone(),
            node_type: self.node_type.clone(),
            scaling_model: self.scaling_model.clone(),
            capabilities: self.capabilities.clone(),
            record_cid: self.record_cid,
            software_version: self.software_version.clone(),
            listen_addresses: self.listen_addresses.clone(),
        }
    }

    /// A heartbeat that says `profile` and nothing more.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        Self {
            node_id: profile.node_id,
            endpoint: profile.endpoint,
            api_endpoint: profile.api_endpoint,
            region: profile.region,
            node_type: profile.node_type,
            scaling_model: profile.scaling_model,
            capabilities: profile.capabilities,
            record_cid: profile.record_cid,
            software_version: profile.software_version,
            listen_addresses: profile.listen_addresses,
            status: DeclaredStatus::default(),
            resources: Resources::default(),
            peers: Vec::new(),
            leases: Leases::default(),
            ledger_height: None,
            ledger_root: None,
            invite: None,
            rotation: None,
        }
    }
}

impl Body for Heartbeat {
    const DOMAIN: Domain = Domain::new("angel/heartbeat/1");

    fn check(&self, head: &Head) -> Result<(), &'static str> {
        self.profile().check()?;
        self.resources.check()?;
        if self.peers.len() > HEARTBEAT_PEERS_MAX {
            return Err("more neighbours than a heartbeat lists");
        }
        let beyond = |time: Timestamp| time > Timestamp::MAX;
        if self.peers.iter().any(|peer| beyond(peer.last_heartbeat)) {
            return Err("a neighbour's time is beyond the calendar");
        }
        if self.leases.count > SEQUENCE_MAX || self.ledger_height.is_some_and(|height| height > SEQUENCE_MAX) {
            return Err("a count is beyond 53 bits");
        }
        if let Some(invite) = &self.invite {
            invite.check(head)?;
        }
        if let Some(rotation) = &self.rotation {
            rotation.check(head)?;
        }
        Ok(())
    }

    fn check_signatures(&self, _head: &Head) -> Result<(), BadSignature> {
        self.invite.as_ref().map_or(Ok(()), Invite::verify)?;
        self.rotation.as_ref().map_or(Ok(()), Rotation::verify)
    }
}

/// A heartbeat whose signatures hold. Whether it is news, and whether its issuer is admitted, is decided by
/// [`State`](super::State).
#[derive(Clone, Debug)]
pub struct VerifiedHeartbeat {
    envelope: Verified<Heartbeat>,
    fingerprint: u64,
    key_hash: u64,
}

impl VerifiedHeartbeat {
    /// Decodes the body, checks bounds and signatures. Pure, and by far the dearest check: run it last and anywhere.
    ///
    /// # Errors
    /// [`EnvelopeError::Body`] or [`EnvelopeError::Signature`].
    pub fn verify(opened: Opened<Heartbeat>) -> Result<Self, EnvelopeError> {
        opened.verify().map(Self::new)
    }

    pub(super) fn seal(
        key: &NodeKey,
        network: &NetworkId,
        sequence: u64,
        issued_at: Timestamp,
        body: Heartbeat,
    ) -> Result<Self, EnvelopeError> {
        seal(key, network, sequence, issued_at, body).map(Self::new)
    }

    fn new(envelope: Verified<Heartbeat>) -> Self {
        let (fingerprint, key_hash) = (fingerprint(envelope.body()), registry::hash(&envelope.head().key));
        Self { envelope, fingerprint, key_hash }
    }

    /// Who sent it and when.
    #[must_use]
    pub const fn head(&self) -> &Head {
        self.envelope.head()
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &Heartbeat {
        self.envelope.body()
    }

    /// The signed bytes, for passing on.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        self.envelope.bytes()
    }

    /// The message as AT Protocol JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.envelope.to_json()
    }

    /// Differs when anything declared differs, so that an unchanged heartbeat costs one comparison. A node that finds
    /// a collision fools only its own entry.
    pub(super) const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The registry's hash of the issuer's key: taken once, where the signature was checked, and not at each look.
    pub(super) const fn key_hash(&self) -> u64 {
        self.key_hash
    }
}

fn fingerprint(body: &Heartbeat) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.profile().hash(&mut hasher);
    body.status.hash(&mut hasher);
    body.resources.limits().hash(&mut hasher);
    body.rotation.is_some().hash(&mut hasher);
    hasher.finish()
}
