//! What this node says about itself: its public record (`records.md` 6.1) and the part of it that heartbeats repeat.

use std::sync::Arc;

use angel_protocol::ids::{Did, NetworkId, NodeName};
use angel_protocol::limits::{LISTEN_ADDRESS_BYTES_MAX, LISTEN_ADDRESSES_MAX};
use angel_protocol::membership::{
    COLLECTION, Capability, NodeRecord, NodeType, Profile, RecordResources, Region, Resources, ScalingModel,
};
use angel_protocol::time::Timestamp;

use crate::machine::Load;
use crate::network::Multiaddr;

/// Bytes of a gigabyte, as disks are sold.
const GB: u64 = 1_000_000_000;

/// This node as its operator describes it.
#[derive(Clone, Debug)]
pub struct OwnNode {
    /// The network it belongs to.
    pub network: NetworkId,
    /// Its DID.
    pub did: Did,
    /// Its libp2p peer id, as text.
    pub peer_id: String,
    /// Its id on the network.
    pub node_id: NodeName,
    /// Its name for people.
    pub name: String,
    /// Where the world reaches its HTTP, without a slash at the end.
    pub public_url: Option<String>,
    /// Where it stands.
    pub region: Region,
    /// What kind of node it is.
    pub node_type: NodeType,
    /// How it grows.
    pub scaling_model: ScalingModel,
    /// What it offers.
    pub capabilities: Vec<Capability>,
    /// Most tenants.
    pub max_tenants: u64,
    /// Most users.
    pub max_users: u64,
    /// Most storage in bytes; unset is what the file system holds.
    pub storage_capacity: Option<u64>,
    /// Version of the software.
    pub version: &'static str,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The record and what heartbeats say of it.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) profile: Profile,
    pub(super) record: Arc<[u8]>,
}

impl OwnNode {
    /// The node as it is now, reachable at `addresses`.
    pub(super) fn describe(&self, addresses: &[Multiaddr], load: &Load) -> Described {
        let addresses = told(addresses);
        let endpoint = self.public_url.as_deref().map(Arc::from);
        let federation = |url: &str| format!("{url}/api/federation").into();
        let record = self.record(endpoint.clone(), federation, &addresses, load).to_cbor();
        let profile = Profile {
            node_id: self.node_id.clone(),
            api_endpoint: endpoint.as_deref().map(federation),
            endpoint,
            region: self.region.clone(),
            node_type: self.node_type.clone(),
            scaling_model: self.scaling_model.clone(),
            capabilities: self.capabilities.clone(),
            record_cid: Some(NodeRecord::cid(&record)),
            software_version: self.version.into(),
            listen_addresses: addresses,
        };
        Described { profile, record: record.into() }
    }

    /// What the node has and how much of it is in use, `tenants` among it.
    pub(super) fn resources(&self, load: &Load, tenants: u64) -> Resources {
        Resources {
            max_tenants: self.max_tenants,
            current_tenants: tenants,
            max_users: self.max_users,
            storage_capacity: self.capacity(load) / GB,
            storage_used: load.disk_used_bytes.min(self.capacity(load)) / GB,
            cpu_load: load.cpu_percent,
            memory_usage: load.memory_percent,
        }
    }

    fn capacity(&self, load: &Load) -> u64 {
        self.storage_capacity.unwrap_or(load.disk_capacity_bytes)
    }

    fn record(
        &self,
        endpoint: Option<Arc<str>>,
        federation: impl Fn(&str) -> Arc<str>,
        addresses: &[Arc<str>],
        load: &Load,
    ) -> NodeRecord {
        // The record's fields are required. A node that has no URL is where its key is: the DID is a URI too.
        let endpoint_or_did = endpoint.clone().unwrap_or_else(|| self.did.as_str().into());
        NodeRecord {
            record_type: COLLECTION.to_owned(),
            created_at: self.created_at.to_string(),
            name: self.name.clone(),
            node_id: self.node_id.clone(),
            at_protocol_did: None,
            api_endpoint: endpoint.as_deref().map_or_else(|| Arc::clone(&endpoint_or_did), federation),
            endpoint: endpoint_or_did,
            region: self.region.clone(),
            node_type: self.node_type.clone(),
            scaling_model: self.scaling_model.clone(),
            capabilities: self.capabilities.clone(),
            status: None,
            coordinates: None,
            resources: RecordResources {
                max_tenants: self.max_tenants,
                current_tenants: None,
                max_users: self.max_users,
                storage_capacity: self.capacity(load) / GB,
            },
            governance_rules: None,
            peer_id: Some(self.peer_id.clone()),
            listen_addresses: Some(addresses.to_vec()),
            software_version: Some(self.version.into()),
            federation_key: Some(self.did.identifier().to_owned()),
        }
    }
}

/// The addresses that fit into a heartbeat, in an order that does not depend on when each was found.
fn told(addresses: &[Multiaddr]) -> Vec<Arc<str>> {
    let mut texts: Vec<Arc<str>> = addresses.iter().map(|address| address.to_string().into()).collect();
    texts.retain(|text| text.len() <= LISTEN_ADDRESS_BYTES_MAX);
    texts.sort_unstable();
    texts.dedup();
    texts.truncate(LISTEN_ADDRESSES_MAX);
    texts
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::NodeKey;

    use super::*;

    #[test]
    fn a_receiver_can_verify_the_record_that_the_heartbeat_names() {
        let did = NodeKey::from_seed(&[1; 32]).did();
        let mut own = OwnNode {
            network: "home-dev".parse().expect("valid"),
            did: did.clone(),
            peer_id: "12D3KooWExample".to_owned(),
            node_id: "first".parse().expect("valid"),
            name: "First".to_owned(),
            public_url: None,
            region: Region::Europe,
            node_type: NodeType::SingleInstance,
            scaling_model: ScalingModel::SingleServer,
            capabilities: vec![Capability::TenantHosting],
            max_tenants: 3,
            max_users: 30,
            storage_capacity: None,
            version: "1.2.3",
            created_at: Timestamp::from_millis(1_700_000_000_000),
        };
        let load = Load { disk_used_bytes: 3 * GB, disk_capacity_bytes: 50 * GB, ..Load::default() };
        let addresses = ["/ip4/192.0.2.1/tcp/2584", "/ip4/192.0.2.1/tcp/2584"].map(|text| text.parse().expect("valid"));
        for url in [None, Some("https://angel.example".to_owned())] {
            own.public_url = url;
            let described = own.describe(&addresses, &load);
            let record = NodeRecord::verify(&described.record, &did, &described.profile).expect("verifies");
            assert_eq!(record.resources.storage_capacity, 50);
            assert_eq!(described.profile.listen_addresses.len(), 1);
            assert_eq!(described.profile.check(), Ok(()));
        }
        let told = own.resources(&load, 2);
        assert_eq!((told.storage_used, told.current_tenants, told.max_tenants), (3, 2, 3));
    }
}
