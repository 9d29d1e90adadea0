//! Membership among many nodes, on virtual time: who notices what, how soon, and who is wrongly accused.
//!
//! Every scenario prints its seed when it fails; `ANGEL_SEED` repeats it.

use std::collections::BTreeSet;
use std::time::Duration;

use angel_harness::sim::membership::{Member, Seen, world};
use angel_harness::sim::{Links, NodeIndex, Observed, World, seed_or};
use angel_protocol::membership::{Input, NodeRecord, RecordResources, Status};
use angel_protocol::time::Timestamp;

const INTERVAL: Duration = Duration::from_secs(30);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Links as bad as the network has to bear.
fn rough() -> Links {
    Links { loss_ppm: 50_000, duplicate_ppm: 10_000, reorder_ppm: 10_000, ..Links::default() }
}

fn running(seed: u64, nodes: NodeIndex, links: Links) -> World<Member> {
    let mut world = world(seed_or(seed), nodes, links, |_, _| {});
    world.start_all(secs(5));
    world.run_for(secs(60));
    assert!(everyone_sees_everyone(&world), "the network has formed");
    world.take_observations();
    world
}

fn everyone_sees_everyone(world: &World<Member>) -> bool {
    let others = world.nodes().len() - 1;
    world.nodes().all(|node| world.process(node).is_some_and(|member| member.state().online() == others))
}

/// How many of `observers` show `of` as `status`.
fn agreeing(world: &World<Member>, observers: impl Iterator<Item = NodeIndex>, of: NodeIndex, status: Status) -> usize {
    let shows = |observer: &NodeIndex| world.process(*observer).is_some_and(|m| m.status_of(of) == Some(status));
    observers.filter(|observer| *observer != of).filter(shows).count()
}

fn accusations(observed: &[Observed<Seen>]) -> Vec<&Observed<Seen>> {
    let accuses =
        |seen: &&Observed<Seen>| matches!(seen.what, Seen::Status { to: Status::Degraded | Status::Offline, .. });
    observed.iter().filter(accuses).collect()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = world(seed, 24, rough(), |_, _| {});
        world.start_all(secs(5));
        world.run_for(secs(120));
        world.crash(3);
        world.partition(&[&[1, 2, 4]]);
        world.run_for(secs(200));
        world.start(3);
        world.heal();
        world.run_for(secs(200));
        (world.trace(), world.delivered(), world.take_observations())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

/// Threads are only hands: who lives on which makes no difference, not even to the order of what is observed.
#[test]
fn any_number_of_threads_gives_the_same_run() {
    let run = |threads| {
        let mut world = world(seed_or(9), 24, rough(), |_, _| {});
        world.set_threads(threads);
        world.start_all(secs(5));
        world.run_for(secs(90));
        world.crash(3);
        world.pause(20);
        world.partition(&[&[1, 2, 14]]);
        world.run_for(secs(150));
        world.set_skew(8, 400_000);
        world.start(3);
        world.resume(20);
        world.heal();
        world.run_for(secs(150));
        (world.trace(), world.delivered(), world.take_observations())
    };
    let alone = run(1);
    assert!(alone.2.len() > 100);
    for threads in [2, 3, 24] {
        assert_eq!(run(threads), alone, "{threads} threads");
    }
}

#[test]
fn sixty_four_nodes_see_each_other_within_ten_seconds_of_the_last_start() {
    let mut world = world(seed_or(11), 64, Links { degree: 6, ..rough() }, |_, _| {});
    world.start_all(secs(20));
    world.run_for(secs(20));
    assert!(world.run_until(secs(10), secs(1), everyone_sees_everyone));
}

#[test]
fn a_latecomer_is_seen_and_sees_within_ten_seconds() {
    let mut world = world(seed_or(12), 40, Links::default(), |_, _| {});
    for node in 1..40 {
        world.start(node);
    }
    world.run_for(secs(300));
    world.start(0);
    assert!(world.run_until(secs(10), secs(1), everyone_sees_everyone));
}

#[test]
fn a_crash_is_known_to_nearly_all_soon_after_the_limit() {
    let mut world = running(13, 100, rough());
    world.run_for(secs(300));
    world.crash(17);
    let crashed = world.now();
    let known = |world: &World<Member>, status| agreeing(world, world.nodes(), 17, status) * 100 >= 99 * 99;
    assert!(world.run_until(secs(90) + 3 * INTERVAL, secs(1), |world| known(world, Status::Degraded)));
    let left = secs(300) + 3 * INTERVAL - world.now().since(crashed);
    assert!(world.run_until(left, secs(1), |world| known(world, Status::Offline)));
    let wrongly: Vec<_> = world.take_observations();
    assert!(accusations(&wrongly).iter().all(|seen| matches!(seen.what, Seen::Status { of: 17, .. })));
}

#[test]
fn nobody_is_wrongly_accused_at_five_per_cent_loss() {
    let mut world = running(14, 40, rough());
    world.run_for(secs(3_600));
    let observed = world.take_observations();
    assert_eq!(accusations(&observed), Vec::<&Observed<Seen>>::new());
    for node in world.nodes() {
        let member = world.process(node).expect("running");
        assert!(member.state().nodes(world.now()).iter().all(|view| view.measured.uptime_bp >= 9_800));
        assert!(!member.state().is_isolated());
    }
}

#[test]
fn a_crashed_node_returns_with_rising_numbers_and_is_online_again() {
    let mut world = running(15, 20, rough());
    for _ in 0..3 {
        let before = world.disk(5).last_sequence;
        world.crash(5);
        world.run_for(secs(400));
        assert_eq!(agreeing(&world, world.nodes(), 5, Status::Offline), 19);
        world.start(5);
        world.run_for(secs(70));
        // The simulated disk refuses a number that was used before, or that was not reserved.
        assert!(world.disk(5).last_sequence > before);
        assert!(everyone_sees_everyone(&world));
    }
}

#[test]
fn the_smaller_side_of_a_partition_knows_that_it_is_cut_off() {
    let mut world = running(16, 30, Links::default());
    world.run_for(secs(1_200));
    world.take_observations();
    let minority: Vec<NodeIndex> = (0..8).collect();
    world.partition(&[&minority]);
    world.run_for(secs(400));
    for node in world.nodes() {
        let member = world.process(node).expect("running");
        assert_eq!(member.state().is_isolated(), minority.contains(&node), "node {node}");
    }
    world.run_for(secs(3_600));
    assert!(minority.iter().all(|node| world.process(*node).is_some_and(|member| member.state().is_isolated())));
    world.heal();
    assert!(world.run_until(secs(120), secs(5), everyone_sees_everyone));
    assert!(world.nodes().all(|node| world.process(node).is_some_and(|member| !member.state().is_isolated())));
}

#[test]
fn a_clock_ten_minutes_off_is_refused_by_name_and_harms_nobody_else() {
    for skew_ms in [600_000, -600_000] {
        let mut world = running(17, 20, Links::default());
        world.set_skew(9, skew_ms);
        world.run_for(secs(600));
        let observed = world.take_observations();
        let refused = observed.iter().filter(|seen| seen.what == Seen::Refused { of: 9, label: "clock" }).count();
        assert!(refused > 100, "{refused}");
        let honest = |seen: &&&Observed<Seen>| seen.node != 9;
        let accused = accusations(&observed);
        assert!(accused.iter().filter(honest).all(|seen| matches!(seen.what, Seen::Status { of: 9, .. })));
        let sees = |node: &NodeIndex| *node == 9 || agreeing(&world, world.nodes(), *node, Status::Online) == 18;
        assert!(world.nodes().all(|node| sees(&node)));
        world.set_skew(9, 0);
        assert!(
            world.run_until(secs(300), secs(5), everyone_sees_everyone),
            "and it comes back when its clock is right"
        );
    }
}

#[test]
fn a_machine_that_slept_accuses_nobody_when_it_wakes() {
    let mut world = running(18, 20, Links::default());
    world.run_for(secs(300));
    world.take_observations();
    world.pause(4);
    world.run_for(secs(900));
    assert_eq!(agreeing(&world, world.nodes(), 4, Status::Offline), 19);
    world.take_observations();
    world.resume(4);
    world.run_for(secs(120));
    let observed = world.take_observations();
    assert!(accusations(&observed).is_empty(), "{:?}", accusations(&observed));
    assert!(everyone_sees_everyone(&world));
}

#[test]
fn records_are_fetched_and_verified_by_all() {
    let mut world = world(seed_or(19), 16, rough(), |node, setup| {
        let profile = setup.profile.clone();
        setup.with_record(&NodeRecord {
            record_type: angel_protocol::membership::COLLECTION.to_owned(),
            created_at: "2026-11-21T09:00:00.000Z".to_owned(),
            name: format!("Node number {node}"),
            node_id: profile.node_id,
            at_protocol_did: None,
            endpoint: profile.endpoint.expect("simulated nodes have one"),
            api_endpoint: profile.api_endpoint.expect("simulated nodes have one"),
            region: profile.region,
            node_type: profile.node_type,
            scaling_model: profile.scaling_model,
            capabilities: profile.capabilities,
            status: None,
            coordinates: None,
            resources: RecordResources { max_tenants: 1, current_tenants: None, max_users: 1, storage_capacity: 1 },
            governance_rules: None,
            peer_id: None,
            listen_addresses: None,
            software_version: None,
            federation_key: Some(setup.key.did().identifier().to_owned()),
        });
    });
    world.start_all(secs(3));
    world.run_for(secs(120));
    let names = |node| -> BTreeSet<Option<String>> {
        let member: &Member = world.process(node).expect("running");
        member.state().nodes(world.now()).into_iter().map(|view| view.name).collect()
    };
    for node in world.nodes() {
        let expected = world.nodes().filter(|other| *other != node);
        assert_eq!(names(node), expected.map(|other| Some(format!("Node number {other}"))).collect());
        assert_eq!(world.disk(node).records.len(), 15);
    }
}

#[test]
fn the_map_shows_links_that_both_ends_confirm() {
    let world = running(20, 16, Links::default());
    let map = world.process(0).expect("running").state().topology(world.now());
    assert_eq!(map.nodes.len(), 16);
    assert!(map.links.len() >= 16 && map.links.iter().all(|link| link.confirmed));
}

/// What arrives out of order, twice or late is counted once, and no machine spins or floods.
#[test]
fn hostile_links_cost_no_more_than_heartbeats() {
    let links = Links { loss_ppm: 200_000, duplicate_ppm: 300_000, reorder_ppm: 300_000, ..Links::default() };
    let mut world = running(21, 20, links);
    let before = world.delivered();
    world.run_for(secs(600));
    let per_node_and_interval = (world.delivered() - before) / (20 * 20);
    assert!((19..60).contains(&per_node_and_interval), "{per_node_and_interval}");
    assert!(everyone_sees_everyone(&world));
}

/// The inputs of the machine are public: a driver can be checked against this file.
#[test]
fn a_tick_at_any_time_is_harmless() {
    let world = running(22, 5, Links::default());
    let mut state = world.process(0).expect("running").state().clone();
    let (nodes, now) = (state.nodes(world.now()), world.now());
    let mut effects = Vec::new();
    for _ in 0..100 {
        state.handle(now, Input::Tick, &mut effects);
    }
    assert_eq!(state.nodes(now), nodes);
    let deadline: Timestamp = state.next_deadline();
    assert!(deadline > now);
}
