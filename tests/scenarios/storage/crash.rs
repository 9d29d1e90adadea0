//! `kill -9` at random moments, again and again on the same directory.

use std::path::Path;
use std::time::{Duration, Instant};

use angel_harness::storage::{Child, Heads, Line, STREAMS};
use angel_storage::engine::EngineKind;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{ENDLESS, STORE_WRITER};

const KILLS: u32 = 100;

/// Longest time a child may take to open the store and check it.
const READY_DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn sled_keeps_its_promise_through_kills() {
    kill_again_and_again(EngineKind::Sled);
}

#[test]
fn fjall_keeps_its_promise_through_kills() {
    kill_again_and_again(EngineKind::Fjall);
}

fn kill_again_and_again(kind: EngineKind) {
    let seed = rand::random::<u64>();
    println!("{kind}: seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut acknowledged = [0; STREAMS as usize];
    let mut killed_while_opening = 0;
    for kill in 0..KILLS {
        let spawned = Child::spawn(STORE_WRITER.as_ref(), dir.path(), kind, &acknowledged, ENDLESS, false);
        let child = spawned.expect("starts");
        // Every fifth dies while it opens the store; the others after some time of writing.
        if rng.random_ratio(1, 5) {
            let moment = Instant::now() + Duration::from_micros(rng.random_range(0..60_000));
            note(&mut acknowledged, child.listen_until(moment), kind, kill, seed);
            killed_while_opening += 1;
        } else {
            let line = child.next(Instant::now() + READY_DEADLINE).expect("the child opens the store in time");
            note(&mut acknowledged, [line], kind, kill, seed);
            let moment = Instant::now() + Duration::from_micros(rng.random_range(0..150_000));
            note(&mut acknowledged, child.listen_until(moment), kind, kill, seed);
        }
        note(&mut acknowledged, child.kill().expect("dies"), kind, kill, seed);
    }
    check(dir.path(), kind, &acknowledged, seed);
    let written: u64 = acknowledged.iter().sum();
    println!("{kind}: {KILLS} kills, {killed_while_opening} while opening, {written} batches acknowledged, none lost");
    assert!(written > u64::from(KILLS), "the children wrote between the kills");
}

fn note(acknowledged: &mut Heads, lines: impl IntoIterator<Item = Line>, kind: EngineKind, kill: u32, seed: u64) {
    for line in lines {
        match line {
            Line::Ack(stream, n) => acknowledged[stream] = acknowledged[stream].max(n),
            Line::Ready(_) => {}
            other => panic!("{kind}, seed {seed}, kill {kill}: {other:?}"),
        }
    }
}

/// A last opening that only checks.
fn check(dir: &Path, kind: EngineKind, acknowledged: &Heads, seed: u64) {
    let child = Child::spawn(STORE_WRITER.as_ref(), dir, kind, acknowledged, 0, false).expect("starts");
    let lines = child.listen_until(Instant::now() + READY_DEADLINE);
    assert!(matches!(&lines[..], [Line::Ready(_), Line::Closed]), "{kind}, seed {seed}: {lines:?}");
}
