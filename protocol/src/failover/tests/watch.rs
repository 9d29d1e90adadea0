use std::time::Duration;

use super::world::{CONFIG, did};
use crate::failover::{Effect, Hosts, Input, Poll, Watch};
use crate::ledger::action::Observation;
use crate::time::Timestamp;

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn hosts() -> Hosts {
    Hosts { epoch: 1, primary: did(0), standbys: vec![did(1), did(2)], vaults: vec![], witness: None }
}

fn watch(node: usize) -> Watch {
    Watch::new(did(node), CONFIG, hosts(), None, at(0))
}

fn step(watch: &mut Watch, second: u64, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    watch.handle(at(second), input, &mut effects);
    effects
}

fn word(node: usize, cursor: u64) -> Input {
    let (heard, at) = (at(0), at(2));
    Input::Observed(Observation { observer: did(node), heard, at, cursor, signature: [7; 64] })
}

#[test]
fn silence_alone_only_asks() {
    let mut one = watch(1);
    step(&mut one, 0, Input::Advanced { epoch: 1, cursor: 3 });
    assert_eq!(step(&mut one, 1, Input::Tick), [], "not silent for long enough");
    assert_eq!(step(&mut one, 2, Input::Tick), [Effect::Poll(did(2))]);
    assert_eq!(step(&mut one, 2, Input::Polled(did(2), Poll::No)), []);
    assert!(one.may_follow(1, at(2)), "it has promised nothing");
    step(&mut one, 2, Input::Heard);
    assert_eq!(step(&mut one, 3, Input::Tick), [], "the primary is back");
}

#[test]
fn the_most_advanced_promises_collects_and_submits() {
    let mut one = watch(1);
    step(&mut one, 1, Input::Advanced { epoch: 1, cursor: 9 });
    step(&mut one, 2, Input::Tick);
    let effects = step(&mut one, 2, Input::Polled(did(2), Poll::Silent { cursor: Some(5) }));
    assert_eq!(effects, [Effect::Observe(did(2))]);
    let effects = step(&mut one, 2, word(2, 5));
    let [Effect::Promise(promise), Effect::Sign(own)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((promise.epoch, promise.cursor, own.cursor), (2, 9, 9));
    assert_eq!(own.silent_for, Duration::from_secs(2));
    assert!(!one.may_follow(1, at(3)), "it has promised");
    assert_eq!(step(&mut one, 2, word(2, 5)), [], "its own word is still missing");
    let effects = step(&mut one, 2, word(1, 9));
    assert!(matches!(&effects[..], [Effect::Submit { epoch: 2, observations }] if observations.len() == 2));
    let mut after = hosts();
    (after.epoch, after.primary, after.standbys) = (2, did(1), vec![did(2), did(0)]);
    step(&mut one, 3, Input::Placed(after));
    assert!(one.may_follow(2, at(3)) && !one.may_follow(1, at(3)), "the promise is fulfilled");
}

#[test]
fn whoever_gets_no_words_is_bound_to_nothing() {
    let mut one = watch(1);
    step(&mut one, 1, Input::Advanced { epoch: 1, cursor: 9 });
    step(&mut one, 2, Input::Tick);
    step(&mut one, 2, Input::Polled(did(2), Poll::Silent { cursor: Some(5) }));
    assert!(!one.may_follow(1, at(2)), "a word may be on its way");
    step(&mut one, 2, Input::Heard);
    assert!(!one.may_follow(1, at(2)), "and whoever gave it is bound");
    assert_eq!(step(&mut one, 3, Input::Tick), [Effect::Poll(did(2))], "none has come: it asks again");
    assert!(one.may_follow(1, at(3)));
    step(&mut one, 3, Input::Heard);
    assert_eq!(step(&mut one, 4, Input::Tick), [], "the primary is back");
    assert_eq!(step(&mut one, 4, word(2, 5)), [], "and a late word changes nothing");
}

#[test]
fn whoever_learns_that_another_is_ahead_promises_nothing() {
    let mut one = watch(1);
    step(&mut one, 1, Input::Advanced { epoch: 1, cursor: 9 });
    step(&mut one, 2, Input::Tick);
    step(&mut one, 2, Input::Polled(did(2), Poll::Silent { cursor: Some(5) }));
    assert_eq!(step(&mut one, 2, word(2, 10)), []);
}

#[test]
fn whoever_is_behind_lets_the_other_go_first() {
    let mut two = watch(2);
    assert_eq!(step(&mut two, 2, Input::Tick), [], "without a whole copy it does not even ask");
    assert_eq!(two.poll(2, at(2)), Poll::Silent { cursor: None }, "but it says what it sees");
    step(&mut two, 2, Input::Advanced { epoch: 1, cursor: 0 });
    step(&mut two, 3, Input::Tick);
    assert_eq!(step(&mut two, 2, Input::Polled(did(1), Poll::Silent { cursor: Some(1) })), []);
    assert_eq!(two.poll(2, at(2)), Poll::Silent { cursor: Some(0) });
    assert_eq!(two.poll(3, at(2)), Poll::No, "another epoch");
    let mut effects = Vec::new();
    let word = two.observe(2, at(2), &mut effects).expect("it finds the primary silent too");
    assert_eq!((word.cursor, effects.len()), (0, 1));
    assert!(!two.may_follow(1, at(2)));
}

#[test]
fn one_that_is_cut_off_or_hears_the_primary_says_nothing() {
    let mut one = watch(1);
    step(&mut one, 2, Input::Isolated(true));
    assert_eq!(step(&mut one, 2, Input::Tick), []);
    assert_eq!(one.poll(2, at(3)), Poll::No);
    let mut two = watch(2);
    step(&mut two, 1, Input::Heard);
    assert_eq!(two.observe(2, at(2), &mut Vec::new()), None);
}

#[test]
fn a_promise_outlives_a_restart_and_ends_with_its_time() {
    let mut one = watch(1);
    let mut effects = Vec::new();
    one.observe(2, at(2), &mut effects).expect("silent");
    let [Effect::Promise(promise)] = effects[..] else { panic!("{effects:?}") };
    let again = Watch::new(did(1), CONFIG, hosts(), Some(promise), at(3));
    assert!(!again.may_follow(1, at(6)));
    assert_eq!(again.promised_for(at(6)), Some(Duration::from_secs(1)));
    assert!(again.may_follow(1, at(7)), "the word has lost its force");
    assert_eq!(again.promised_for(at(7)), None);
}

#[test]
fn with_two_hosts_the_witness_has_to_speak() {
    let mut hosts = hosts();
    (hosts.standbys, hosts.witness) = (vec![did(1)], Some(did(2)));
    let mut one = Watch::new(did(1), CONFIG, hosts, None, at(0));
    step(&mut one, 0, Input::Advanced { epoch: 1, cursor: 3 });
    assert_eq!(step(&mut one, 2, Input::Tick), [Effect::Poll(did(2))]);
    let effects = step(&mut one, 2, Input::Polled(did(2), Poll::Silent { cursor: None }));
    assert!(matches!(effects.last(), Some(Effect::Observe(witness)) if *witness == did(2)));
}
