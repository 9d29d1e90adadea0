//! Random schedules over a longer time than the model can search: many crashes, partitions, delays and losses, each
//! from a seed that a failure names.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::world::{Broken, NODES, Step, World};

/// Steps of one schedule.
const STEPS: usize = 1500;

/// The world afterwards and whether there was a failover with writes after it, or what went wrong.
fn run(seed: u64, broken: Broken) -> Result<(World, bool), String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(broken, false);
    (world.crashes_left, world.cuts_left) = (6, 8);
    let mut took_over = false;
    for step in 0..STEPS {
        let mut steps = Vec::new();
        world.steps(&mut steps);
        // Time, crashes and cuts are rarer than messages; otherwise nothing ever gets through.
        let weight = |step: &Step| match step {
            Step::Tick => 6,
            Step::Crash(_) | Step::Cut(_) => 1,
            Step::Heal | Step::Restart(_) => 2,
            Step::Write(_) => 8,
            _ => 20,
        };
        let all: u64 = steps.iter().map(weight).sum();
        let mut at = random.next_u64() % all;
        let chosen = steps.iter().find(|step| {
            let here = at < weight(step);
            at = at.saturating_sub(weight(step));
            here
        });
        let chosen = chosen.expect("the weights add up").clone();
        if world.writes == u8::MAX && matches!(chosen, Step::Write(_)) {
            continue;
        }
        world.take(chosen.clone());
        if let Err(why) = world.check() {
            return Err(format!("seed {seed}, step {step}, {chosen:?}: {why}\n{world:#?}"));
        }
        took_over |= world.acceptors.iter().any(|(epoch, _)| *epoch > 1);
    }
    Ok((world, took_over))
}

/// Each rule is needed: without it the same schedules find what it prevents.
#[test]
fn without_any_one_of_the_rules_something_breaks() {
    let rules = [
        Broken { lease: true, ..Broken::default() },
        Broken { promise: true, ..Broken::default() },
        Broken { replicas: true, ..Broken::default() },
        Broken { copies: true, ..Broken::default() },
    ];
    for broken in rules {
        assert!((0..400).any(|seed| run(seed, broken).is_err()), "{broken:?} makes no difference");
    }
}

#[test]
fn random_schedules_lose_nothing() {
    let runs: Vec<_> =
        (0..200).map(|seed| run(seed, Broken::default()).unwrap_or_else(|why| panic!("{why}"))).collect();
    let taken_over = runs.iter().filter(|(_, took_over)| *took_over).count();
    let replicated: usize = runs.iter().map(|(world, _)| world.replicated.len()).sum();
    assert!(taken_over > 50, "only {taken_over} schedules had a failover with writes after it");
    assert!(replicated > 500, "only {replicated} writes were replicated");
    assert!(runs.iter().all(|(world, _)| world.nodes.len() == NODES));
}
