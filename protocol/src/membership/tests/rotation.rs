//! A node changes its key: its entry follows, the old key is accepted for a while and then refused by name.

use super::*;

/// `other` goes on with the key of `seed`.
fn rotate(other: &Other, seed: u8, at: Timestamp) -> Other {
    let mut body = other.body.clone();
    body.rotation = Some(Rotation::sign(&network(), &other.key, &key(seed), at, at + OVERLAP));
    Other { key: key(seed), body, sequence: 0 }
}

#[test]
fn name_history_and_date_of_creation_move_with_the_key() {
    let (mut node, mut olds) = (Node::new(), [Other::new(1)]);
    node.hear(olds[0].beat(START));
    node.hear_regularly(&mut olds, secs(3_600));
    node.pass(secs(600));
    let [old] = olds;
    let before = node.state.node(&old.did(), node.now).expect("known");
    assert!(before.measured.uptime_bp < 9_500);

    let mut new = rotate(&old, 51, node.now);
    let effects = node.hear(new.beat(node.now));
    assert!(events(&effects).contains(&NodeEventKind::KeyRotated { old: old.did() }));
    assert_eq!(NodeEventKind::KeyRotated { old: old.did() }.word(), "updated");
    let after = node.state.node(&new.did(), node.now).expect("moved");
    assert_eq!(after.created_at, before.created_at);
    assert!(after.measured.uptime_bp.abs_diff(before.measured.uptime_bp) < 200);
    assert_eq!((node.state.len(), node.state.status_of(&old.did())), (1, None));
    assert_eq!(node.state.current_did(&old.did()), Some(new.did()));
    assert_eq!(node.stored.keys().collect::<Vec<_>>(), [&new.did()]);
}

#[test]
fn the_old_key_is_accepted_during_the_overlap_and_refused_by_name_after() {
    let (mut node, mut old) = (Node::new(), Other::new(1));
    node.hear(old.beat(START));
    let mut new = rotate(&old, 51, START);
    node.pass(secs(30));
    node.hear(new.beat(node.now));
    node.pass(secs(80));
    assert_eq!(node.refusal(old.beat(node.now)), None);
    node.pass(secs(80));
    assert_eq!(node.status(&new), Some(Status::Online), "the old key's heartbeat was a sign of life");
    assert!(matches!(node.refusal(old.beat_as(1, node.now)), Some(Refusal::StaleSequence { .. })));

    node.pass(OVERLAP);
    let refusal = node.refusal(old.beat(node.now)).expect("refused");
    assert_eq!(refusal, Refusal::KeyRetired(new.did()));
    assert_eq!((refusal.label(), refusal.xrpc()), ("key_retired", (401, "KeyRetired")));
    assert_eq!(node.refusal(new.beat(node.now)), None);

    // And after a restart of the observer it is refused still.
    let config = Config { admission: Admission::Open, ..Config::default() };
    let mut node = Node::start(config, local(), node.now + secs(60), node.reserved, node.stored);
    assert_eq!(node.refusal(old.beat(node.now)), Some(Refusal::KeyRetired(new.did())));
}

#[test]
fn a_second_successor_is_refused() {
    let (mut node, mut old) = (Node::new(), Other::new(1));
    node.hear(old.beat(START));
    node.hear(rotate(&old, 51, START).beat(START));
    let mut rival = rotate(&old, 52, START);
    assert_eq!(node.refusal(rival.beat(START)), Some(Refusal::RotationConflict));
}

#[test]
fn keys_may_follow_one_another_and_a_few_are_remembered() {
    let (mut node, mut current) = (Node::new(), Other::new(1));
    node.hear(current.beat(START));
    let mut former = vec![];
    for seed in 51..59 {
        let mut next = rotate(&current, seed, node.now);
        node.pass(OVERLAP + secs(1));
        assert_eq!(node.refusal(next.beat(node.now)), None);
        former.push(std::mem::replace(&mut current, next));
    }
    assert_eq!(node.state.len(), 1);
    for old in former.iter_mut().rev().take(4) {
        assert_eq!(node.refusal(old.beat(node.now)), Some(Refusal::KeyRetired(current.did())));
    }
    // Those forgotten are strangers again, and the name is taken.
    assert_eq!(node.refusal(former[0].beat(node.now)), Some(Refusal::NodeIdTaken(current.did())));
}

#[test]
fn a_node_carries_its_statement_until_the_overlap_ends() {
    let statement = Rotation::sign(&network(), &key(9), &key(0), START, START + OVERLAP);
    let local = LocalNode { rotation: Some(statement), ..local() };
    let mut node = Node::start(Config::default(), local, START, 0, BTreeMap::new());
    let carries = |node: &Node| node.state.own_heartbeat().expect("published").body().rotation.is_some();
    node.pass(secs(3_600));
    assert!(carries(&node));
    node.pass(OVERLAP);
    assert!(!carries(&node));
}

#[test]
fn where_the_old_key_is_unknown_the_new_one_is_a_newcomer() {
    let mut node = Node::new();
    let mut new = rotate(&Other::new(1), 51, START);
    assert_eq!(events(&node.hear(new.beat(START))), [NodeEventKind::Created]);
}
