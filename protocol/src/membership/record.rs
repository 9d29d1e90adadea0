//! A node's public record, `co.kendev.network.node` (`records.md` 6.1), as other nodes hold a verified copy of it.

use std::sync::Arc;

use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};

use super::declared::{Capability, DeclaredStatus, NodeType, Profile, Region, ScalingModel};
use crate::data::{CborError, Cid, Codec};
use crate::ids::{Did, NodeName};
use crate::limits::NODE_RECORD_BYTES_MAX;
use crate::wire::canonical;

/// The collection, and the `$type` of the record.
pub const COLLECTION: &str = "co.kendev.network.node";

/// What a node publishes about itself. Fields that this version does not know stay in the bytes, which are what is
/// stored and passed on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// Always [`COLLECTION`].
    #[serde(rename = "$type")]
    pub record_type: String,
    /// When the record was first made; a client's claim, never used for a decision.
    pub created_at: String,
    /// A name for people.
    pub name: String,
    /// The node's name, unique on its network.
    pub node_id: NodeName,
    /// The DID of the repository that holds the record.
    #[serde(rename = "atProtocolDID", default, skip_serializing_if = "Option::is_none")]
    pub at_protocol_did: Option<Did>,
    /// Public URL.
    pub endpoint: Arc<str>,
    /// Federation API.
    pub api_endpoint: Arc<str>,
    /// Where it stands.
    pub region: Region,
    /// What kind of node it is.
    pub node_type: NodeType,
    /// How it grows.
    pub scaling_model: ScalingModel,
    /// What it offers.
    pub capabilities: Vec<Capability>,
    /// The status it declared when the record was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RecordStatus>,
    /// Where on Earth, as rounded as the operator likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Ipld>,
    /// What it will take on.
    pub resources: RecordResources,
    /// Rules for tenants who are placed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governance_rules: Option<Ipld>,
    /// libp2p peer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    /// Public multiaddresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_addresses: Option<Vec<Arc<str>>>,
    /// Version of the software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<Arc<str>>,
    /// The Ed25519 key that signs heartbeats, as multibase: what follows `did:key:` in the node's DID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation_key: Option<String>,
}

/// The status in a record. Unlike a heartbeat, a record may say `offline`: it stays readable when the node is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// Serving.
    Online,
    /// Stopped for long.
    Offline,
    /// Serving with something broken.
    Degraded,
    /// Being worked on.
    Maintenance,
}

impl From<DeclaredStatus> for RecordStatus {
    fn from(status: DeclaredStatus) -> Self {
        match status {
            DeclaredStatus::Online => Self::Online,
            DeclaredStatus::Degraded => Self::Degraded,
            DeclaredStatus::Maintenance => Self::Maintenance,
        }
    }
}

/// What a node will take on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordResources {
    /// Tenants it will host.
    pub max_tenants: u64,
    /// Tenants it hosted when the record was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_tenants: Option<u64>,
    /// Users it will host.
    pub max_users: u64,
    /// Storage it has, in GB.
    pub storage_capacity: u64,
}

/// Why a fetched record is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More than [`NODE_RECORD_BYTES_MAX`].
    #[error("a node record has at most {NODE_RECORD_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes have another CID than the heartbeat named.
    #[error("the bytes are not the record the node's heartbeat names")]
    Cid,
    /// Not canonical DAG-CBOR.
    #[error("the record is not canonical DAG-CBOR: {0}")]
    NotCanonical(#[from] CborError),
    /// Not a node record.
    #[error("not a {COLLECTION} record: {0}")]
    Decode(String),
    /// It is another node's, or names no key at all.
    #[error("the record's federationKey is not the key that signs the node's heartbeats")]
    Issuer,
    /// The heartbeat says something else.
    #[error("record and heartbeat differ in {0}")]
    Differs(&'static str),
}

impl NodeRecord {
    /// The record's canonical bytes.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("a record without floats encodes")
    }

    /// The CID of a record's bytes.
    #[must_use]
    pub fn cid(bytes: &[u8]) -> Cid {
        Cid::of(Codec::DagCbor, bytes)
    }

    /// Reads a record that `issuer` named in its heartbeat together with `profile`.
    ///
    /// # Errors
    /// [`RecordError`], by the first check that fails.
    pub fn verify(bytes: &[u8], issuer: &Did, profile: &Profile) -> Result<Self, RecordError> {
        if bytes.len() > NODE_RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge);
        }
        if profile.record_cid != Some(Self::cid(bytes)) {
            return Err(RecordError::Cid);
        }
        canonical::check(bytes)?;
        let record: Self =
            serde_ipld_dagcbor::from_slice(bytes).map_err(|error| RecordError::Decode(crate::data::misfit(&error)))?;
        if record.record_type != COLLECTION {
            return Err(RecordError::Decode(record.record_type));
        }
        if record.federation_key.as_deref() != Some(issuer.identifier()) {
            return Err(RecordError::Issuer);
        }
        record.agrees_with(profile).map(|()| record)
    }

    fn agrees_with(&self, profile: &Profile) -> Result<(), RecordError> {
        let same = |field: &'static str, same: bool| if same { Ok(()) } else { Err(RecordError::Differs(field)) };
        let said = |said: &Option<Arc<str>>, here: &Arc<str>| said.as_ref().is_none_or(|said| said == here);
        same("nodeId", self.node_id == profile.node_id)?;
        same("endpoint", said(&profile.endpoint, &self.endpoint))?;
        same("apiEndpoint", said(&profile.api_endpoint, &self.api_endpoint))?;
        same("region", self.region == profile.region)?;
        same("nodeType", self.node_type == profile.node_type)?;
        same("scalingModel", self.scaling_model == profile.scaling_model)?;
        same("capabilities", self.capabilities == profile.capabilities)
    }
}
