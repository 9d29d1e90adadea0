use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::{prop_assert, proptest};

use super::super::{Candidate, Covered, Region, Replace, Residency, Step, Strategy};
use super::{did, node};
use crate::ids::Did;
use crate::time::Timestamp;

fn hour(hour: u64) -> Timestamp {
    Timestamp::EPOCH + Duration::from_hours(hour)
}

fn tenant(name: &str, standbys: &[&str]) -> Covered {
    let standbys: Vec<Did> = standbys.iter().map(|name| did(name)).collect();
    Covered {
        tenant: did(name),
        strategy: Strategy::MultiNodeReplica,
        residency: Residency::Global,
        whole: standbys.iter().cloned().collect(),
        standbys,
        others: BTreeSet::new(),
        wanted: None,
    }
}

fn says(room: &[(&str, bool)]) -> BTreeMap<Did, bool> {
    room.iter().map(|(name, has_room)| (did(name), *has_room)).collect()
}

fn nodes(names: &[&str]) -> Vec<Candidate> {
    (0..).zip(names).map(|(latency, name)| node(name, Region::Europe, latency, 10)).collect()
}

fn replace() -> Replace {
    Replace::new(Duration::from_hours(1))
}

fn add(tenant: &str, node: &str) -> Option<Step> {
    Some(Step::Add { tenant: did(tenant), node: did(node) })
}

fn remove(tenant: &str, node: &str) -> Option<Step> {
    Some(Step::Remove { tenant: did(tenant), node: did(node) })
}

#[test]
fn a_standby_without_room_is_replaced_once_another_has_a_whole_copy() {
    let (mut state, nodes) = (replace(), nodes(&["own", "a", "b", "c", "d"]));
    let mut shop = tenant("shop", &["a", "b"]);
    let propose = |state: &Replace, at: u64, shop: &Covered| {
        state.propose(hour(at), &did("own"), std::slice::from_ref(shop), &nodes)
    };
    state.heard(hour(0), &shop, &says(&[("a", false), ("b", true)]));
    assert_eq!(propose(&state, 0, &shop), None, "not at once");
    assert_eq!(state.full_of(&did("shop")).collect::<Vec<_>>(), [&did("a")]);
    state.heard(hour(1), &shop, &says(&[("a", false)]));
    let step = propose(&state, 1, &shop);
    assert_eq!(step, add("shop", "c"), "the nearest that is none of its hosts");
    state.done(hour(1), &step.expect("a step"));

    // It copies, and both old ones stay.
    shop.standbys.push(did("c"));
    assert_eq!(propose(&state, 2, &shop), None);
    shop.whole.insert(did("c"));
    let step = propose(&state, 3, &shop);
    assert_eq!(step, remove("shop", "a"));
    state.done(hour(3), &step.expect("a step"));
    shop.standbys.retain(|standby| *standby != did("a"));
    state.heard(hour(4), &shop, &says(&[("b", true), ("c", true)]));
    assert_eq!(propose(&state, 9, &shop), None, "that is the end of it");

    // The one that had no room is not taken again for a week, also if it is the nearest.
    state.heard(hour(30), &shop, &says(&[("b", false)]));
    assert_eq!(propose(&state, 31, &shop), add("shop", "d"));
    assert_eq!(propose(&state, 3 + 7 * 24, &shop), add("shop", "a"));
}

#[test]
fn a_primary_that_starts_anew_brings_the_replacement_to_its_end() {
    let (mut before, nodes) = (replace(), nodes(&["own", "a", "b", "c", "d"]));
    let mut shop = tenant("shop", &["a", "b"]);
    before.heard(hour(0), &shop, &says(&[("a", false), ("b", true)]));
    let step = before.propose(hour(1), &did("own"), std::slice::from_ref(&shop), &nodes);
    assert_eq!(step, add("shop", "c"));
    assert_eq!(before.wanted_of(&did("shop")), Some(2), "what is to be noted");

    // Of what it had heard nothing is left; of what it wanted, what it noted.
    shop.standbys.push(did("c"));
    shop.whole.insert(did("c"));
    for (wanted, then) in [(Some(2), remove("shop", "a")), (None, add("shop", "d"))] {
        let mut after = replace();
        shop.wanted = wanted;
        after.heard(hour(2), &shop, &says(&[("a", false), ("b", true), ("c", true)]));
        assert_eq!(after.propose(hour(3), &did("own"), std::slice::from_ref(&shop), &nodes), then, "{wanted:?}");
        after.placed(&did("shop"));
        let anew = Covered { wanted: None, ..shop.clone() };
        after.heard(hour(3), &anew, &says(&[("a", false)]));
        let then = after.propose(hour(3), &did("own"), &[anew], &nodes);
        assert_eq!(then, add("shop", "d"), "three were asked for");
    }
}

#[test]
fn room_that_came_back_ends_the_grace_and_silence_does_not() {
    let (mut state, nodes) = (replace(), nodes(&["own", "a", "b", "c"]));
    let shop = tenant("shop", &["a", "b"]);
    let propose = |state: &Replace, at: u64| state.propose(hour(at), &did("own"), std::slice::from_ref(&shop), &nodes);
    state.heard(hour(0), &shop, &says(&[("a", false)]));
    state.heard(hour(1), &shop, &says(&[("a", true)]));
    state.heard(hour(2), &shop, &says(&[("a", false)]));
    assert_eq!(propose(&state, 2), None, "it had room meanwhile");
    state.heard(hour(3), &shop, &says(&[]));
    assert_eq!(propose(&state, 3), add("shop", "c"));
    state.serves(|_| false);
    assert_eq!(propose(&state, 9), None, "another node serves it");
}

#[test]
fn only_nodes_with_room_that_consent_and_three_in_a_day() {
    let mut state = replace();
    let shop = tenant("shop", &["a", "b"]);
    let covered = [Covered { others: BTreeSet::from([did("v")]), ..shop.clone() }];
    state.heard(hour(0), &shop, &says(&[("a", false)]));
    let propose = |state: &Replace, nodes: &[Candidate]| state.propose(hour(1), &did("own"), &covered, nodes);
    let full = Candidate { load_score: 60, ..node("c", Region::Europe, 0, 0) };
    let away = Candidate { online: false, ..node("d", Region::Europe, 0, 0) };
    assert_eq!(propose(&state, &[full, away, node("v", Region::Europe, 0, 0)]), None, "a vault is no standby");
    let willing = nodes(&["own", "c", "d"]);
    assert_eq!(propose(&state, &willing), add("shop", "c"));
    state.declined(hour(1), &did("shop"), &did("c"));
    assert_eq!(propose(&state, &willing), add("shop", "d"));
    for _ in 0..3 {
        state.done(hour(1), &Step::Add { tenant: did("other"), node: did("x") });
    }
    assert_eq!(propose(&state, &willing), None, "three in a day");
    let later = state.propose(hour(25), &did("own"), &covered, &willing);
    assert_eq!(later, add("shop", "d"));
    let single = [Covered { strategy: Strategy::SingleNode, ..covered[0].clone() }];
    assert_eq!(state.propose(hour(25), &did("own"), &single, &willing), None, "it moves, and is not spread");
}

#[test]
fn one_at_a_time_the_longest_without_room_first_and_spread_as_before() {
    let (mut state, mut nodes) = (replace(), nodes(&["own", "a", "b", "c", "d"]));
    let (one, two) = (tenant("one", &["a", "b"]), tenant("two", &["a", "b"]));
    state.heard(hour(1), &one, &says(&[("a", false)]));
    state.heard(hour(0), &two, &says(&[("a", false)]));
    let propose =
        |state: &Replace, covered: &[Covered], nodes: &[Candidate]| state.propose(hour(5), &did("own"), covered, nodes);
    assert_eq!(propose(&state, &[one.clone(), two.clone()], &nodes), add("two", "c"));
    let mut copying = two.clone();
    copying.standbys.push(did("c"));
    assert_eq!(propose(&state, &[one.clone(), copying], &nodes), None, "one copy is under way");
    nodes[3].operator = did("op-b");
    assert_eq!(propose(&state, std::slice::from_ref(&one), &nodes), add("one", "d"), "another operator where possible");
    nodes[3].region = Region::Asia;
    let wide = Covered { strategy: Strategy::GeoDistributed, ..one };
    assert_eq!(propose(&state, &[wide], &nodes), add("one", "c"), "another region first");
}

proptest! {
    /// However standbys answer, a tenant keeps as many standbys with a whole copy and room as it had standbys.
    #[test]
    fn no_tenant_is_left_with_less(answers in proptest::collection::vec((0_usize..6, proptest::bool::ANY, 0_u64..3), 1..120)) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let (mut state, nodes) = (replace(), nodes(&["own", "a", "b", "c", "d", "e", "f"]));
        let (mut shop, mut now) = (tenant("shop", &["a", "b"]), 0);
        for (which, has_room, hours) in answers {
            now += hours;
            let said = says(&[(names[which], has_room)]);
            state.heard(hour(now), &shop, &said);
            let step = state.propose(hour(now), &did("own"), std::slice::from_ref(&shop), &nodes);
            let Some(step) = step else {
                // What is copied becomes whole some time.
                if has_room {
                    shop.whole = shop.standbys.iter().cloned().collect();
                }
                continue;
            };
            state.done(hour(now), &step);
            match step {
                Step::Add { node, .. } => {
                    prop_assert!(!shop.standbys.contains(&node));
                    shop.standbys.push(node);
                }
                Step::Remove { node, .. } => {
                    shop.standbys.retain(|standby| *standby != node);
                    shop.whole.remove(&node);
                    let full: Vec<_> = state.full_of(&did("shop")).cloned().collect();
                    let left = shop.standbys.iter().filter(|it| shop.whole.contains(it) && !full.contains(it)).count();
                    prop_assert!(left >= 2, "{left} left");
                }
            }
            prop_assert!(shop.standbys.len() >= 2);
        }
    }
}
