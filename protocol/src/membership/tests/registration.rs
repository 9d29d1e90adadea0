//! First contact, names, and a full registry.

use super::*;

#[test]
fn the_first_heartbeat_registers() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    let effects = node.hear(other.beat(START));
    assert_eq!(events(&effects), [NodeEventKind::Created]);
    assert_eq!(node.status(&other), Some(Status::Online));
    let view = node.state.node(&other.did(), START).expect("registered");
    assert_eq!((view.declared, view.measured.uptime_bp), (other.body.profile(), 10_000));
    assert!(node.stored.contains_key(&other.did()));
}

#[test]
fn a_heartbeat_counts_once() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    let first = other.beat(START);
    node.hear(first.clone());
    assert_eq!(node.refusal(first), Some(Refusal::StaleSequence { sequence: 1, last: 1 }));
    node.pass(secs(30));
    let old = other.beat_as(1, node.now);
    assert_eq!(node.refusal(old), Some(Refusal::StaleSequence { sequence: 1, last: 1 }));
}

#[test]
fn more_than_one_in_five_seconds_is_refused() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    node.pass(secs(4));
    assert_eq!(node.refusal(other.beat(node.now)), Some(Refusal::RateLimited(secs(5))));
    node.pass(secs(1));
    assert_eq!(node.refusal(other.beat(node.now)), None);
}

#[test]
fn a_clock_ten_minutes_off_is_refused_by_name() {
    let mut node = Node::new();
    for (seed, off) in [(1, START + secs(600)), (2, START - secs(600))] {
        let refusal = node.refusal(Other::new(seed).beat(off)).expect("refused");
        assert_eq!((refusal.label(), refusal.xrpc()), ("clock", (400, "InvalidHeartbeat")));
    }
    assert!(node.state.is_empty());
}

#[test]
fn the_first_did_keeps_the_name() {
    let (mut node, mut first, mut second) = (Node::new(), Other::new(1), Other::new(2));
    second.body.node_id = first.body.node_id.clone();
    node.hear(first.beat(START));
    let refusal = node.refusal(second.beat(START)).expect("refused");
    assert_eq!(refusal, Refusal::NodeIdTaken(first.did()));
    assert_eq!(refusal.xrpc(), (409, "NodeIdTaken"));

    let mut third = Other::new(3);
    third.body.node_id = "myself".parse().expect("valid");
    assert_eq!(node.refusal(third.beat(START)), Some(Refusal::NodeIdTaken(node.state.did().clone())));
}

#[test]
fn a_taken_name_cannot_be_taken_later_either() {
    let (mut node, mut first, mut second) = (Node::new(), Other::new(1), Other::new(2));
    node.hear(first.beat(START));
    node.hear(second.beat(START));
    node.pass(secs(30));
    second.body.node_id = first.body.node_id.clone();
    assert_eq!(node.refusal(second.beat(node.now)), Some(Refusal::NodeIdTaken(first.did())));
    first.body.node_id = "renamed".parse().expect("valid");
    assert_eq!(events(&node.hear(first.beat(node.now))), [NodeEventKind::Updated]);
    node.pass(secs(30));
    assert_eq!(node.refusal(second.beat(node.now)), None);
}

#[test]
fn after_long_silence_the_name_is_free() {
    let ninety_days = secs(90 * 24 * 3600);
    assert_eq!(Config::default().forget_after, ninety_days);
    // Every half minute of ninety days is a signature: a hundredth of it shows the same.
    let config = Config { admission: Admission::Open, forget_after: ninety_days / 100, ..Config::default() };
    let (mut node, mut first, mut second) = (Node::with(config), Other::new(1), Other::new(2));
    second.body.node_id = first.body.node_id.clone();
    node.hear(first.beat(START));
    node.pass(ninety_days / 100 - secs(60));
    assert_eq!(node.refusal(second.beat(node.now)), Some(Refusal::NodeIdTaken(first.did())));
    let effects = node.pass(secs(120));
    assert_eq!(events(&effects), [NodeEventKind::Removed]);
    assert!(node.stored.is_empty());
    assert_eq!(node.refusal(second.beat(node.now)), None);
}

#[test]
fn development_nodes_stay_on_development_networks() {
    let live: NetworkId = "home".parse().expect("valid");
    let local = LocalNode { network: live.clone(), ..local() };
    let config = Config { admission: Admission::Open, ..Config::default() };
    let mut node = Node::start(config, local, START, 0, BTreeMap::new());
    let mut body = Heartbeat::of(profile("dev"));
    body.node_type = NodeType::Development;
    let heartbeat = Arc::new(VerifiedHeartbeat::seal(&key(1), &live, 1, START, body.clone()).expect("within bounds"));
    let refusal = node.refusal(heartbeat).expect("refused");
    assert_eq!((refusal.label(), refusal.xrpc().0), ("development_node", 403));

    let mut other = Other::new(1);
    other.body = body;
    assert_eq!(Node::new().refusal(other.beat(START)), None);
}

#[test]
fn a_full_registry_keeps_the_living_and_lets_the_dead_go() {
    let config = Config { admission: Admission::Open, members_max: 2, ..Config::default() };
    let mut node = Node::with(config);
    let mut others: Vec<Other> = (1..=4).map(Other::new).collect();
    node.hear(others[0].beat(START));
    node.hear(others[1].beat(START));
    let refusal = node.refusal(others[2].beat(START)).expect("full");
    assert_eq!((refusal.clone(), refusal.xrpc().0), (Refusal::RegistryFull, 503));

    node.hear_regularly(&mut others[1..2], secs(420));
    assert_eq!(node.status(&others[0]), Some(Status::Offline));
    assert_eq!(events(&node.hear(others[2].beat(node.now))), [NodeEventKind::Removed, NodeEventKind::Created]);
    assert_eq!(node.status(&others[0]), None);
    assert_eq!(node.refusal(others[3].beat(node.now)), Some(Refusal::RegistryFull));
}

#[test]
fn changes_are_told_apart() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    let mut say = |change: fn(&mut Heartbeat)| {
        change(&mut other.body);
        node.pass(secs(30));
        events(&node.hear(other.beat(node.now)))
    };
    assert_eq!(say(|body| body.resources.cpu_load = 50), []);
    assert_eq!(say(|body| body.resources.max_tenants = 9), [NodeEventKind::ResourceAdjustment]);
    assert_eq!(say(|body| body.region = Region::Asia), [NodeEventKind::Updated]);
    assert_eq!(
        say(|body| body.status = DeclaredStatus::Maintenance),
        [NodeEventKind::StatusChange { from: Status::Online, to: Status::Maintenance }]
    );
}

#[test]
fn the_driver_may_ask_before_it_verifies() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    let first = other.beat(START);
    assert_eq!(node.state.precheck(START, first.head()), Ok(()));
    node.hear(first.clone());
    assert!(matches!(node.state.precheck(START, first.head()), Err(Refusal::StaleSequence { .. })));
    let own = node.state.own_heartbeat().expect("published at the start").clone();
    assert_eq!(node.state.precheck(START, own.head()), Err(Refusal::Own));
}

#[test]
fn a_removed_node_may_come_back() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    assert_eq!(events(&node.feed(Input::NodeRemoved(other.did()))), [NodeEventKind::Removed]);
    node.pass(secs(30));
    assert_eq!(events(&node.hear(other.beat(node.now))), [NodeEventKind::Created]);
}
