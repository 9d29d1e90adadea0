//! How fast the simulator runs, and what it shows at full size: `cargo bench -p angel-tests --bench simulator`.

use std::time::{Duration, Instant};

use angel_harness::sim::membership::{Seen, world};
use angel_harness::sim::{Links, seed_or};

fn main() {
    let which: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| which.is_empty() || which.iter().any(|which| which == name);
    if wanted("hour") {
        hour(1_000, Duration::from_secs(3_600));
    }
    if wanted("minute") {
        hour(1_000, Duration::from_secs(120));
    }
}

fn hour(nodes: u32, time: Duration) {
    let seed = seed_or(1);
    let started = Instant::now();
    let links = Links { loss_ppm: 10_000, ..Links::default() };
    let mut world = world(seed, nodes, links, |_, setup| setup.keep_entries = false);
    world.start_all(Duration::from_secs(5));
    let mut last = Instant::now();
    for minute in 0..time.as_secs() / 60 {
        world.run_for(Duration::from_secs(60));
        if minute % 10 == 0 {
            eprintln!("minute {minute}: {:?}, {} deliveries", last.elapsed(), world.delivered());
        }
        last = Instant::now();
    }
    let alarms = world.take_observations().iter().filter(|seen| matches!(seen.what, Seen::Status { .. })).count();
    let wall = started.elapsed();
    let online: usize = world.nodes().map(|node| world.process(node).map_or(0, |member| member.state().online())).sum();
    println!(
        "{nodes} nodes, {} s simulated: {:.1} s wall, {} messages delivered, {:.0} ns each; {alarms} false alarms, \
         mean {:.1} of {} others online, trace {:016x}, seed {seed}",
        time.as_secs(),
        wall.as_secs_f64(),
        world.delivered(),
        wall.as_nanos() as f64 / world.delivered() as f64,
        online as f64 / f64::from(nodes),
        nodes - 1,
        world.trace(),
    );
}
