//! Silence, return, uptime, isolation; and this machine's own trouble with time.

use super::*;

#[test]
fn silence_degrades_after_ninety_seconds_and_ends_after_three_hundred() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    node.pass(secs(89));
    assert_eq!(node.status(&other), Some(Status::Online));
    let change = |from, to| [NodeEventKind::StatusChange { from, to }];
    assert_eq!(events(&node.pass(secs(2))), change(Status::Online, Status::Degraded));
    assert_eq!(events(&node.pass(secs(208))), []);
    assert_eq!(events(&node.pass(secs(2))), change(Status::Degraded, Status::Offline));
    assert_eq!(node.stored[&other.did()].observed, Observed::Offline);
}

#[test]
fn two_heartbeats_in_a_row_bring_a_node_back() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    node.pass(secs(400));
    assert_eq!(events(&node.hear(other.beat(node.now))), []);
    assert_eq!(node.status(&other), Some(Status::Offline));
    node.pass(secs(120));
    node.hear(other.beat(node.now));
    assert_eq!(node.status(&other), Some(Status::Offline), "not in a row");
    node.pass(secs(30));
    assert_eq!(
        events(&node.hear(other.beat(node.now))),
        [NodeEventKind::StatusChange { from: Status::Offline, to: Status::Online }]
    );
}

#[test]
fn a_node_back_from_degraded_is_watched_as_before() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    node.pass(secs(91));
    node.hear(other.beat(node.now));
    node.pass(secs(10));
    node.hear(other.beat(node.now));
    assert_eq!(node.status(&other), Some(Status::Online));
    node.pass(secs(92));
    assert_eq!(node.status(&other), Some(Status::Degraded));
}

#[test]
fn uptime_is_what_came_of_what_was_expected() {
    let (mut node, mut others) = (Node::new(), [Other::new(1)]);
    node.hear(others[0].beat(START));
    node.hear_regularly(&mut others, secs(3600));
    let uptime = |node: &Node| node.state.node(&others[0].did(), node.now).expect("known").measured.uptime_bp;
    assert_eq!(uptime(&node), 10_000);
    node.pass(secs(3600));
    assert!(uptime(&node).abs_diff(5_000) < 100, "{}", uptime(&node));
}

#[test]
fn a_machine_that_slept_blames_nobody() {
    let (mut node, mut others) = (Node::new(), [Other::new(1)]);
    node.hear(others[0].beat(START));
    node.hear_regularly(&mut others, secs(600));
    node.now = node.now + secs(1_000);
    assert_eq!(events(&node.tick()), []);
    assert_eq!(node.status(&others[0]), Some(Status::Online));
    assert_eq!(node.state.node(&others[0].did(), node.now).expect("known").measured.uptime_bp, 10_000);
    assert_eq!(events(&node.pass(secs(92))).len(), 1, "but then silence counts again");
}

#[test]
fn a_clock_set_back_stops_nothing() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.hear(other.beat(START));
    node.pass(secs(20));
    node.now = node.now - secs(7_200);
    node.tick();
    let published = published(&node.pass(secs(60)));
    assert!(!published.is_empty(), "it goes on publishing");
    node.pass(secs(60));
    assert_eq!(node.status(&other), Some(Status::Degraded), "and watching");
    node.pass(secs(300));
    assert_eq!(node.status(&other), Some(Status::Offline));
}

fn crowd(node: &mut Node, size: u8) -> Vec<Other> {
    let mut others: Vec<Other> = (1..=size).map(Other::new).collect();
    for other in &mut others {
        node.hear(other.beat(node.now));
    }
    node.hear_regularly(&mut others, secs(1_300));
    others
}

fn isolation(effects: &[Effect]) -> Vec<bool> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::IsolationChanged { isolated } => Some(*isolated),
        _ => None,
    });
    changes.collect()
}

#[test]
fn a_node_that_loses_two_thirds_assumes_it_is_cut_off() {
    let mut node = Node::new();
    let mut others = crowd(&mut node, 9);
    let effects = node.hear_regularly(&mut others[..2], secs(3_600));
    assert_eq!(isolation(&effects), [true], "and it stays so for as long as it lasts");
    assert!(node.state.is_isolated());
    let effects = node.hear_regularly(&mut others[..4], secs(300));
    assert_eq!(isolation(&effects), [false]);
}

#[test]
fn a_node_that_keeps_a_third_does_not() {
    let mut node = Node::new();
    let mut others = crowd(&mut node, 9);
    let effects = node.hear_regularly(&mut others[..3], secs(3_600));
    assert!(isolation(&effects).is_empty());
}

#[test]
fn newcomers_do_not_hide_isolation() {
    let mut node = Node::new();
    crowd(&mut node, 9);
    let mut newcomers: Vec<Other> = (101..=120).map(Other::new).collect();
    let effects = node.hear_regularly(&mut newcomers, secs(300));
    assert_eq!(isolation(&effects), [true]);
}

#[test]
fn an_operator_may_accept_that_the_others_are_gone() {
    let mut node = Node::new();
    let mut others = crowd(&mut node, 9);
    node.hear_regularly(&mut others[..1], secs(300));
    assert!(node.state.is_isolated());
    assert_eq!(isolation(&node.feed(Input::AbsenceAccepted)), [false]);
    assert!(isolation(&node.hear_regularly(&mut others[..1], secs(3_600))).is_empty());
}

/// Nodes that met minutes ago count after a restart as they counted before it.
#[test]
fn a_restart_on_a_young_network_does_not_isolate_for_longer_than_until_some_are_heard() {
    let mut node = Node::new();
    let mut others: Vec<Other> = (1..=3).map(Other::new).collect();
    node.hear_regularly(&mut others, secs(60));
    let (now, stored) = (node.now + secs(5), node.stored.clone());
    let config = Config { admission: Admission::Open, ..Config::default() };
    let mut node = Node::start(config, local(), now, node.reserved, stored);
    assert!(node.state.is_isolated());
    let mut again = node.state.clone();
    others[0].sequence += 200;
    node.hear(others[0].beat(now));
    assert!(!node.state.is_isolated());
    again.handle(now, Input::AbsenceAccepted, &mut Vec::new());
    assert!(!again.is_isolated(), "and an operator's word counts");
}

#[test]
fn after_a_restart_the_known_are_unheard_and_isolation_holds_until_some_are_heard() {
    let mut node = Node::new();
    let mut others = crowd(&mut node, 9);
    let uptime = node.state.node(&others[0].did(), node.now).expect("known").measured.uptime_bp;
    let (now, stored) = (node.now + secs(3_600), node.stored.clone());
    let config = Config { admission: Admission::Open, ..Config::default() };
    let mut node = Node::start(config, local(), now, node.reserved, stored);
    assert!(node.state.is_isolated());
    assert_eq!((node.state.len(), node.status(&others[0])), (9, Some(Status::Offline)));
    for other in &mut others[..3] {
        other.sequence += 200;
        node.hear(other.beat(now));
    }
    assert!(!node.state.is_isolated());
    assert_eq!(node.status(&others[0]), Some(Status::Online), "heard once is enough: its silence was not observed");
    let view = node.state.node(&others[0].did(), now).expect("known");
    assert_eq!((view.created_at, view.measured.uptime_bp), (START, uptime));
    node.pass(secs(301));
    assert_eq!(node.stored[&others[8].did()].observed, Observed::Offline);
}
