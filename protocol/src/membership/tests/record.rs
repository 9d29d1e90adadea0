//! A node's record: fetched when its heartbeat names another one, believed when it is that one.

use super::*;
use crate::limits::NODE_RECORD_BYTES_MAX;

fn record_of(other: &Other) -> NodeRecord {
    let profile = other.body.profile();
    NodeRecord {
        record_type: COLLECTION.to_owned(),
        created_at: "2026-11-21T09:00:00.000Z".to_owned(),
        name: "A node".to_owned(),
        node_id: profile.node_id,
        at_protocol_did: None,
        endpoint: profile.endpoint.expect("the test profile has one"),
        api_endpoint: "https://node.example/api".into(),
        region: profile.region,
        node_type: profile.node_type,
        scaling_model: profile.scaling_model,
        capabilities: profile.capabilities,
        status: None,
        coordinates: None,
        resources: RecordResources { max_tenants: 5, current_tenants: None, max_users: 50, storage_capacity: 100 },
        governance_rules: None,
        peer_id: None,
        listen_addresses: None,
        software_version: None,
        federation_key: Some(other.did().identifier().to_owned()),
    }
}

fn publish(other: &mut Other, record: &NodeRecord) -> Arc<[u8]> {
    let bytes: Arc<[u8]> = record.to_cbor().into();
    other.body.record_cid = Some(NodeRecord::cid(&bytes));
    bytes
}

fn fetches(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::FetchRecord { .. })).count()
}

#[test]
fn a_named_record_is_fetched_once_and_kept() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    let record = record_of(&other);
    let bytes = publish(&mut other, &record);
    assert_eq!(fetches(&node.hear(other.beat(START))), 1);
    let cid = NodeRecord::cid(&bytes);
    assert_eq!(node.state.record_named(&cid), None);
    let effects = node.feed(Input::RecordReceived { did: other.did(), bytes: Arc::clone(&bytes) });
    assert_eq!(node.state.record_named(&cid), Some(&bytes), "others may have it from here");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::RecordVerified { .. })));
    assert_eq!(node.state.record_of(&other.did()).map(|record| record.name.as_str()), Some("A node"));
    node.pass(secs(30));
    assert_eq!(fetches(&node.hear(other.beat(node.now))), 0);

    // It is kept across a restart too.
    let config = Config { admission: Admission::Open, ..Config::default() };
    let node = Node::start(config, local(), node.now, node.reserved, node.stored);
    assert!(node.state.record_of(&other.did()).is_some());
}

#[test]
fn what_is_not_the_named_record_is_not_believed_and_asked_for_again() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    let record = record_of(&other);
    publish(&mut other, &record);
    node.hear(other.beat(START));
    let another = NodeRecord { name: "Another".to_owned(), ..record };
    node.feed(Input::RecordReceived { did: other.did(), bytes: another.to_cbor().into() });
    assert!(node.state.record_of(&other.did()).is_none());
    let mut others = [other];
    assert_eq!(fetches(&node.hear_regularly(&mut others, secs(90))), 1);
}

#[test]
fn a_record_is_refused_by_reason() {
    let mut other = Other::new(1);
    let good = record_of(&other);
    let mut verify = |record: &NodeRecord| {
        let bytes = publish(&mut other, record);
        NodeRecord::verify(&bytes, &other.did(), &other.body.profile()).err()
    };
    assert_eq!(verify(&good), None);
    let stolen = NodeRecord { federation_key: Some(key(2).did().identifier().to_owned()), ..good.clone() };
    assert_eq!(verify(&stolen), Some(RecordError::Issuer));
    assert_eq!(verify(&NodeRecord { federation_key: None, ..good.clone() }), Some(RecordError::Issuer));
    let moved = NodeRecord { region: Region::Asia, ..good.clone() };
    assert_eq!(verify(&moved), Some(RecordError::Differs("region")));
    let other_type = NodeRecord { record_type: "co.kendev.other".to_owned(), ..good.clone() };
    assert!(matches!(verify(&other_type), Some(RecordError::Decode(_))));

    let profile = other.body.profile();
    let large = vec![0; NODE_RECORD_BYTES_MAX + 1];
    assert_eq!(NodeRecord::verify(&large, &other.did(), &profile), Err(RecordError::TooLarge));
    let short = &good.to_cbor()[1..];
    assert_eq!(NodeRecord::verify(short, &other.did(), &profile), Err(RecordError::Cid));
}
