//! What the membership machine does at full size, and how long it takes:
//! `cargo bench -p angel-tests --bench simulator [-- reception hour crash soak]`.
//!
//! Times are of the processor as well as of the wall, so that figures from a busy machine still say something.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_harness::processor;
use angel_harness::sim::membership::{Member, Seen, key, network, profile, world};
use angel_harness::sim::{EPOCH, Links, World, seed_or};
use angel_protocol::membership::{
    Admission, Config, Heartbeat, Input, LocalNode, OpenedHeartbeat, Source, State, Status, VerifiedHeartbeat,
};
use angel_protocol::wire::envelope::seal;

/// The daemon's allocator: making a thousand registries of a thousand entries is its work as well.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let which: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| which.is_empty() || which.iter().any(|which| which == name);
    let parts: [(&str, fn()); 4] = [("reception", reception), ("hour", hour), ("crash", crash), ("soak", soak)];
    for (name, part) in parts {
        if wanted(name) {
            part();
        }
    }
}

/// One node among a thousand: what a heartbeat costs it, apart from the signature and with it.
fn reception() {
    const NODES: u32 = 1_000;
    const ROUNDS: u32 = 60;
    let local = LocalNode {
        network: network(),
        key: Arc::new(key(0)),
        profile: profile(0),
        invite: None,
        rotation: None,
        sequence_high_water: 0,
    };
    let config = Config { admission: Admission::Open, ..Config::default() };
    let mut state = State::new(config, local, [1; 32], EPOCH).expect("a valid profile");
    let (mut effects, mut opening, mut verifying, mut handling, mut freeing) =
        (Vec::new(), Rounds::default(), Rounds::default(), Rounds::default(), Rounds::default());
    let mut before = Vec::new();
    for round in 1..=ROUNDS {
        let now = EPOCH + Duration::from_secs(30) * round;
        let sealed: Vec<_> = (1..NODES)
            .map(|node| seal(&key(node), &network(), u64::from(round), now, Heartbeat::of(profile(node))))
            .map(|sealed| sealed.expect("within bounds"))
            .collect();
        let started = Instant::now();
        let opened: Vec<_> = sealed
            .iter()
            .map(|sealed| OpenedHeartbeat::from_cbor(sealed.bytes(), &network()).expect("the form is right"))
            .collect();
        opening.end(started);
        let started = Instant::now();
        let verify = |opened| Arc::new(VerifiedHeartbeat::verify(opened).expect("the signature holds"));
        let heartbeats: Vec<_> = opened.into_iter().map(verify).collect();
        verifying.end(started);
        // Kept, so that handling does not include freeing what the round before left.
        let kept = heartbeats.clone();
        let started = Instant::now();
        for heartbeat in heartbeats {
            let input = Input::HeartbeatReceived { heartbeat, source: Source::Gossip };
            state.handle(now, input, &mut effects);
        }
        if round > 1 {
            handling.end(started);
            let started = Instant::now();
            drop(std::mem::take(&mut before));
            freeing.end(started);
        }
        before = kept;
        effects.clear();
    }
    let each = |rounds: &mut Rounds| rounds.median().as_nanos() / u128::from(NODES - 1);
    println!(
        "reception: {} ns to take a heartbeat in among {NODES} nodes, {} ns to free the one it replaces, {} ns to open \
         it, {} ns to verify it (medians of {ROUNDS} rounds)",
        each(&mut handling),
        each(&mut freeing),
        each(&mut opening),
        each(&mut verifying),
    );
    black_box(state);
}

/// What each round took. The median, because somebody else's work interrupts some of them.
#[derive(Default)]
struct Rounds(Vec<Duration>);

impl Rounds {
    fn end(&mut self, started: Instant) {
        self.0.push(started.elapsed());
    }

    fn median(&mut self) -> Duration {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

/// A thousand nodes for an hour.
fn hour() {
    let measure = Measure::start();
    let mut world = large(1_000, 2);
    world.run_for(Duration::from_secs(60));
    println!("hour: the first minute, in which everybody meets everybody, took {measure}");
    world.run_for(Duration::from_secs(3_540));
    report("hour: 1000 nodes, 1 h, 1 % loss", &mut world, measure);
}

/// A thousand nodes, one of which crashes: how soon is it known?
fn crash() {
    let measure = Measure::start();
    let mut world = large(1_000, 3);
    world.run_for(Duration::from_secs(120));
    world.take_observations();
    world.crash(500);
    let crashed = world.now();
    world.run_for(Duration::from_secs(420));
    let observed = world.take_observations();
    for status in [Status::Degraded, Status::Offline] {
        let mut delays: Vec<u64> = observed
            .iter()
            .filter(|seen| matches!(seen.what, Seen::Status { of: 500, to, .. } if to == status))
            .map(|seen| seen.at.since(crashed).as_secs())
            .collect();
        delays.sort_unstable();
        println!(
            "crash: {} to {} of 999; the first after {:?} s, 99 % after {:?} s, the last after {:?} s",
            status.as_str(),
            delays.len(),
            delays.first(),
            delays.get(989),
            delays.last(),
        );
    }
    report("crash: 1000 nodes, 9 min, 1 % loss", &mut world, measure);
}

/// Ten thousand node-hours on bad links: is anybody wrongly accused?
fn soak() {
    let measure = Measure::start();
    let seed = seed_or(4);
    let links = Links { loss_ppm: 50_000, duplicate_ppm: 10_000, reorder_ppm: 10_000, ..Links::default() };
    let mut world = world(seed, 100, links, |_, _| {});
    world.start_all(Duration::from_secs(5));
    world.run_for(Duration::from_secs(100 * 3_600));
    report("soak: 100 nodes, 100 h, 5 % loss", &mut world, measure);
}

fn large(nodes: u32, seed: u64) -> World<Member> {
    let links = Links { loss_ppm: 10_000, ..Links::default() };
    let mut world = world(seed_or(seed), nodes, links, |_, setup| setup.keep_entries = false);
    world.start_all(Duration::from_secs(5));
    world
}

fn report(what: &str, world: &mut World<Member>, measure: Measure) {
    let accused = |seen: &Seen| matches!(seen, Seen::Status { to: Status::Degraded | Status::Offline, .. });
    let alarms = world.take_observations().iter().filter(|seen| accused(&seen.what)).count();
    let online: usize =
        world.nodes().filter_map(|node| world.process(node)).map(|member| member.state().online()).sum();
    println!(
        "{what}: {} threads, {measure}, {} messages taken in, {} ns of processor each; {alarms} false alarms; {online} pairs online \
         at the end; trace {:016x}",
        world.threads(),
        world.delivered(),
        measure.processor().as_nanos() / u128::from(world.delivered().max(1)),
        world.trace(),
    );
}

/// Time on the wall and on the processor.
#[derive(Clone, Copy)]
struct Measure {
    wall: Instant,
    processor: Duration,
}

impl Measure {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: processor::time() }
    }

    fn processor(self) -> Duration {
        processor::time().saturating_sub(self.processor)
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, processor) = (self.wall.elapsed().as_secs_f64(), self.processor().as_secs_f64());
        write!(f, "{wall:.1} s of wall, {processor:.1} s of processor")
    }
}
