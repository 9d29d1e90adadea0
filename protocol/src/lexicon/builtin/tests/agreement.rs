//! The documents describe what this crate's types write: a change of either must change both.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::super::Schemas;
use super::generate::Generator;
use crate::crypto::NodeKey;
use crate::data::{cbor, record_from_json, to_json};
use crate::ids::{Did, NodeName};
use crate::membership::{
    AdmittedBy, Capability, DeclaredStatus, Heartbeat, Leases, LinkView, Measured, NodeRecord, NodeType, NodeView,
    PeerReport, Profile, Region, Resources, ScalingModel, Status, TopologyNode, TopologyView,
};
use crate::time::Timestamp;
use crate::wire::envelope;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn name() -> NodeName {
    "genesis-node-001".parse().expect("a name")
}

fn profile() -> Profile {
    let record = cbor::encode(&record_from_json(&json!({})).expect("a map"));
    Profile {
        node_id: name(),
        endpoint: Some("https://node.example".into()),
        api_endpoint: None,
        region: Region::Europe,
        node_type: NodeType::SingleInstance,
        scaling_model: ScalingModel::SingleServer,
        capabilities: vec![Capability::TenantHosting, Capability::Other("sundial".into())],
        record_cid: Some(NodeRecord::cid(&record)),
        software_version: "0.1.0".into(),
        listen_addresses: vec!["/dns4/node.example/tcp/2584".into()],
    }
}

/// AT Protocol JSON of a value, with links and bytes as they are written there.
fn at_protocol_json(value: &impl Serialize) -> Value {
    let bytes = serde_ipld_dagcbor::to_vec(value).expect("DAG-CBOR");
    to_json(&cbor::decode(&bytes).expect("the data model"))
}

fn assert_output(method: &str, answer: &Value) {
    let schema = Schemas::builtin().method(method).expect("shipped");
    assert_eq!(schema.validate_output(answer), Ok(()), "{method}: {answer:#}");
}

#[test]
fn the_list_of_nodes() {
    let resources = Resources { max_tenants: 3, cpu_load: 40, memory_usage: 7, ..Resources::default() };
    let measured = Measured {
        last_seen: NOW,
        latency_ms: Some(12),
        response_ms: None,
        uptime_bp: 10_000,
        load_score: resources.load_score(),
        connected: true,
    };
    let view = NodeView {
        did: key(1).did(),
        name: Some("Home".to_owned()),
        status: Status::Maintenance,
        created_at: NOW,
        admitted_by: AdmittedBy::Listed,
        declared: profile(),
        declared_status: DeclaredStatus::Maintenance,
        resources,
        measured,
    };
    let mut node = at_protocol_json(&view);
    node["connection"] = json!("relayed");
    let answer = json!({ "observer": key(2).did(), "isolated": false, "nodes": [node], "cursor": key(1).did() });
    assert_output("co.kendev.network.listNodes", &answer);
    let method = Schemas::builtin().method("co.kendev.network.listNodes").expect("shipped");
    assert_eq!(method.parameters([]).expect("none is needed").integer("limit"), Some(100));
}

#[test]
fn the_map_of_the_network() {
    let node =
        |seed| TopologyNode { did: key(seed).did(), node_id: name(), region: Region::Asia, status: Status::Offline };
    let ends: [Did; 2] = [key(1).did(), key(2).did()];
    let link = LinkView { a: ends[0].clone(), b: ends[1].clone(), latency_ms: 8, confirmed: true };
    let view = TopologyView { observer: key(1).did(), at: NOW, nodes: vec![node(1), node(2)], links: vec![link] };
    assert_output("co.kendev.network.getTopology", &serde_json::to_value(&view).expect("JSON"));
}

#[test]
fn a_heartbeat_and_its_answer() {
    let mut body = Heartbeat::of(profile());
    body.peers = vec![PeerReport { node: key(2).did(), latency_ms: 3, last_heartbeat: NOW }];
    body.leases = Leases::default();
    body.ledger_height = Some(7);
    body.ledger_root = Some(serde_bytes::ByteArray::new([7; 32]));
    let network = "home-dev".parse().expect("a network");
    let sealed: envelope::Verified<Heartbeat> = envelope::seal(&key(1), &network, 9, NOW, body).expect("within bounds");
    let heartbeat = sealed.to_json();
    let schema = Schemas::builtin().method("co.kendev.network.sendHeartbeat").expect("shipped");
    assert_eq!(schema.validate_input(&heartbeat), Ok(()), "{heartbeat:#}");
    let known = json!({ "did": key(2).did(), "region": "europe", "status": "online" });
    let answer = json!({ "did": key(3).did(), "heartbeat": heartbeat, "nodes": [known], "time": NOW.to_string() });
    assert_output("co.kendev.network.sendHeartbeat", &answer);
}

#[test]
fn every_refusal_of_a_heartbeat_is_a_named_error() {
    use crate::membership::{NotAdmitted, Refusal};
    use crate::wire::envelope::EnvelopeError;
    let schema = Schemas::builtin().method("co.kendev.network.sendHeartbeat").expect("shipped");
    let refusals = [
        Refusal::Envelope(EnvelopeError::TooLarge),
        Refusal::Envelope(EnvelopeError::Signature),
        Refusal::Own,
        Refusal::KeyRetired(key(1).did()),
        Refusal::StaleSequence { sequence: 1, last: 2 },
        Refusal::RateLimited(std::time::Duration::from_secs(5)),
        Refusal::NotAdmitted(NotAdmitted::Expired),
        Refusal::DevelopmentNode,
        Refusal::NodeIdTaken(key(1).did()),
        Refusal::RotationConflict,
        Refusal::RegistryFull,
    ];
    for refusal in refusals {
        let (_, name) = refusal.xrpc();
        assert!(schema.errors().any(|error| error == name), "{name} is not in the document");
    }
}

#[test]
fn a_node_record_is_read_by_the_machine_that_needs_it() {
    let schema = Schemas::builtin().record(crate::membership::COLLECTION).expect("shipped");
    for seed in 0..32 {
        let record = record_from_json(&Generator::new(seed).record(crate::membership::COLLECTION)).expect("data");
        let read: NodeRecord = serde_ipld_dagcbor::from_slice(&cbor::encode(&record))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(schema.validate(&at_protocol_json(&read)), Ok(()), "seed {seed}");
    }
}
