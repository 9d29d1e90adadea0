//! All that can happen to three nodes with one partition and one crash, within a few ticks and two writes: every order
//! of messages, losses, decisions and restarts is tried. That each rule is needed, [`super::schedules`] shows.

use stateright::{Checker, Model, Property};

use super::world::{Broken, Step, World};

/// How far a search goes. The silence is two ticks, so a failover and the writes after it fit.
struct Bounds {
    broken: Broken,
    ticks: u64,
    writes: u8,
    crashes: u8,
    cuts: u8,
}

impl Model for Bounds {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(self.broken, true);
        (world.crashes_left, world.cuts_left) = (self.crashes, self.cuts);
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.steps(steps);
        steps.retain(|step| match step {
            Step::Tick => world.now.as_millis() < self.ticks * 1000,
            Step::Write(_) => world.writes < self.writes,
            _ => true,
        });
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, world: &World| world.check().is_ok()),
            Property::sometimes("a write is replicated", |_, world: &World| !world.replicated.is_empty()),
            Property::sometimes("a standby takes over and accepts writes", |_, world: &World| {
                world.acceptors.iter().any(|(epoch, _)| *epoch > 1)
            }),
        ]
    }
}

#[test]
fn no_order_of_events_breaks_the_rules() {
    for (ticks, crashes, cuts) in [(3, 1, 0), (3, 0, 1), (2, 1, 1)] {
        let bounds = Bounds { broken: Broken::default(), ticks, writes: 1, crashes, cuts };
        let checked = bounds.checker().threads(2).spawn_bfs().join();
        eprintln!("{ticks} ticks, {crashes} crashes, {cuts} cuts: {} states", checked.unique_state_count());
        checked.assert_properties();
    }
}
