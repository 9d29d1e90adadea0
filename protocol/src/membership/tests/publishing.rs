//! This node's own heartbeats: when they go out, with which numbers, and what they say.

use super::*;

fn numbers(effects: &[Effect]) -> Vec<u64> {
    published(effects).iter().map(|heartbeat| heartbeat.head().sequence).collect()
}

#[test]
fn one_every_thirty_seconds_give_or_take_five() {
    let mut node = Node::new();
    let published = published(&node.pass(secs(3_600)));
    let times: Vec<u64> = published.iter().map(|heartbeat| heartbeat.head().issued_at.as_millis()).collect();
    assert!(times.windows(2).all(|pair| (25_000..=35_000).contains(&(pair[1] - pair[0]))));
    assert!((114..=126).contains(&times.len()), "{}", times.len());
}

#[test]
fn nothing_leaves_before_its_number_is_reserved() {
    let mut state = State::new(Config::default(), local(), [1; 32], START).expect("a valid profile");
    let mut effects = Vec::new();
    state.handle(START, Input::Tick, &mut effects);
    assert_eq!(effects, [Effect::ReserveSequence { up_to: 1 + 1024 }]);
    effects.clear();
    // The disk does not answer: the machine asks again, and does not spin.
    for _ in 0..5 {
        let deadline = state.next_deadline();
        assert!(deadline >= START + secs(1));
        state.handle(deadline, Input::Tick, &mut effects);
    }
    assert!(published(&effects).is_empty());
    effects.clear();
    state.handle(START + secs(9), Input::SequenceReserved { up_to: 1025 }, &mut effects);
    assert_eq!(numbers(&effects), [1]);
}

#[test]
fn numbers_rise_across_restarts_and_never_leave_what_is_reserved() {
    let mut last = 0;
    let (mut reserved, mut now) = (0, START);
    for _ in 0..5 {
        let config = Config { sequence_block: 8, ..Config::default() };
        let mut node = Node::start(config, local(), now, reserved, BTreeMap::new());
        let mut effects = vec![];
        for _ in 0..20 {
            effects.extend(node.pass(secs(30)));
            for number in numbers(&effects) {
                assert!(number < node.reserved);
            }
        }
        let numbers = numbers(&effects);
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.first().is_some_and(|first| *first > last));
        last = *numbers.last().expect("some were sent");
        (reserved, now) = (node.reserved, node.now);
    }
}

#[test]
fn a_first_connection_brings_the_heartbeat_out_again_and_soon_a_fresh_one() {
    let mut node = Node::new();
    node.pass(secs(1));
    node.feed(Input::PeerConnected(Other::new(1).did()));
    assert_eq!(numbers(&node.pass(secs(2))), [1], "the same once more, when the mesh has formed");
    assert_eq!(numbers(&node.pass(secs(4))), [2], "and a fresh one as soon as the rate limit allows");
}

#[test]
fn later_connections_bring_nothing_out_of_turn() {
    let mut node = Node::new();
    node.pass(secs(300));
    let before = node.state.next_deadline();
    let mut effects = vec![];
    for seed in 1..60 {
        effects.extend(node.feed(Input::PeerConnected(Other::new(seed).did())));
        effects.extend(node.pass(secs(1)));
    }
    assert!(before <= node.now);
    let fresh: BTreeSet<u64> = numbers(&effects).into_iter().collect();
    assert!(fresh.len() <= 3, "one per interval: {fresh:?}");
    assert!(numbers(&effects).len() <= 12, "and each goes out again a few times at most");
}

#[test]
fn what_changes_is_said_soon_and_within_the_rate_limit() {
    let mut node = Node::new();
    node.pass(secs(8));
    let changed = Profile { region: Region::Asia, ..profile("myself") };
    node.feed(Input::ProfileChanged(Box::new(changed)));
    let heard = published(&node.pass(secs(1)));
    assert_eq!(heard.last().map(|heartbeat| heartbeat.body().region.clone()), Some(Region::Asia));
    node.feed(Input::StatusDeclared(DeclaredStatus::Maintenance));
    assert!(published(&node.pass(secs(4))).is_empty());
    let heard = published(&node.pass(secs(3)));
    assert_eq!(heard.last().map(|heartbeat| heartbeat.body().status), Some(DeclaredStatus::Maintenance));
}

#[test]
fn issue_times_rise_unless_the_clock_was_wrong_by_minutes() {
    let issued_after = |back| {
        let mut node = Node::new();
        node.pass(secs(40));
        let before = node.state.own_heartbeat().expect("published").head().issued_at;
        node.now = node.now - back;
        node.tick();
        node.pass(secs(60));
        (before, node.state.own_heartbeat().expect("published").head().issued_at, node.now)
    };
    let (before, after, now) = issued_after(secs(70));
    assert!(after >= before + secs(5) && after < now + secs(90));
    let (_, after, now) = issued_after(secs(600));
    assert!(after <= now);
}

#[test]
fn neighbours_are_reported_with_the_median_of_their_round_trips() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.feed(Input::PeerConnected(other.did()));
    node.feed(Input::PingMeasured { peer: other.did(), rtt_ms: 40 });
    node.hear(other.beat(START));
    for rtt_ms in [10, 900] {
        node.feed(Input::PingMeasured { peer: other.did(), rtt_ms });
    }
    node.pass(secs(40));
    let report = PeerReport { node: other.did(), latency_ms: 40, last_heartbeat: START };
    assert_eq!(node.state.own_heartbeat().expect("published").body().peers, [report]);
    node.feed(Input::PeerDisconnected(other.did()));
    node.pass(secs(40));
    assert!(node.state.own_heartbeat().expect("published").body().peers.is_empty());
}

#[test]
fn a_link_is_confirmed_when_both_ends_report_it() {
    let (mut node, mut a, mut b) = (Node::new(), Other::new(1), Other::new(2));
    let report = |of: &Other, latency_ms| PeerReport { node: of.did(), latency_ms, last_heartbeat: START };
    a.body.peers = vec![report(&b, 10)];
    node.hear(a.beat(START));
    node.hear(b.beat(START));
    let links = |node: &Node| {
        let links = node.state.topology(node.now).links.into_iter();
        links.map(|link| (link.latency_ms, link.confirmed)).collect::<Vec<_>>()
    };
    assert_eq!(links(&node), [(10, false)]);
    node.pass(secs(30));
    b.body.peers = vec![report(&a, 20)];
    node.hear(b.beat(node.now));
    assert_eq!(links(&node), [(15, true)]);
    assert_eq!(node.state.topology(node.now).nodes.len(), 3);
    node.pass(secs(601));
    assert_eq!(node.state.topology(node.now).nodes.len(), 1, "old reports are no map");
}

#[test]
fn an_older_copy_of_the_data_directory_is_noticed_and_overcome() {
    let mut node = Node::new();
    let mut twin = Other { key: key(0), body: Heartbeat::of(profile("myself")), sequence: 5_000 };
    let effects = node.hear(twin.beat(START));
    assert!(effects.contains(&Effect::OwnKeySeenElsewhere { sequence: 5_001 }));
    assert!(numbers(&node.pass(secs(40))).into_iter().all(|number| number > 5_001));
}
