//! Power cuts at random moments, on a disk that keeps or loses every unflushed sector by the throw of a die.

use std::path::Path;
use std::time::{Duration, Instant};

use angel_harness::power_cut::Mounted;
use angel_harness::storage::{Child, Line, STREAMS};
use angel_storage::engine::EngineKind;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{ENDLESS, STORE_WRITER};

/// Cuts per engine, unless `ANGEL_POWER_CUTS` asks for a longer run.
const CUTS: u32 = 30;

/// The control begins anew after each loss; it must find one within so many cuts.
const CONTROL_CUTS: u32 = 60;

const READY_DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn sled_keeps_its_promise_through_power_cuts() {
    keeps_its_promise(EngineKind::Sled);
}

#[test]
fn fjall_keeps_its_promise_through_power_cuts() {
    keeps_its_promise(EngineKind::Fjall);
}

/// The same test with the barrier switched off must find losses: it bites.
#[test]
fn without_the_barrier_sled_loses_what_it_acknowledged() {
    loses_without_barrier(EngineKind::Sled);
}

#[test]
fn without_the_barrier_fjall_loses_what_it_acknowledged() {
    loses_without_barrier(EngineKind::Fjall);
}

fn keeps_its_promise(kind: EngineKind) {
    let Some(mut bench) = Bench::new(kind) else { return };
    let cuts = std::env::var("ANGEL_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS);
    for cut in 0..cuts {
        if let Err(loss) = bench.write_and_cut(cut, false) {
            panic!("{kind}, seed {}, cut {cut}: {loss}", bench.seed);
        }
    }
    if let Err(loss) = bench.check() {
        panic!("{kind}, seed {}, after the last cut: {loss}", bench.seed);
    }
    let written: u64 = bench.acknowledged.iter().sum();
    println!(
        "{kind}: {cuts} power cuts, {} of {} unflushed sectors lost, {written} batches acknowledged, none lost",
        bench.sectors_lost, bench.sectors_unsafe
    );
    assert!(written > u64::from(cuts), "the children wrote between the cuts");
    assert!(bench.sectors_lost > 0, "the cuts hit something");
}

fn loses_without_barrier(kind: EngineKind) {
    let Some(mut bench) = Bench::new(kind) else { return };
    for cut in 0..CONTROL_CUTS {
        if let Err(loss) = bench.write_and_cut(cut, true) {
            println!("{kind}: without the barrier, cut {cut} lost something: {loss}");
            return;
        }
    }
    panic!(
        "{kind}, seed {}: {CONTROL_CUTS} cuts without the barrier lost nothing, so the test proves nothing",
        bench.seed
    );
}

/// A mounted disk and what was promised on it.
struct Bench {
    kind: EngineKind,
    seed: u64,
    rng: ChaCha8Rng,
    acknowledged: [u64; STREAMS as usize],
    sectors_unsafe: u64,
    sectors_lost: u64,
    mounted: Mounted,
    at: tempfile::TempDir,
}

impl Bench {
    /// `None`, loudly, where there is no FUSE.
    fn new(kind: EngineKind) -> Option<Self> {
        let at = tempfile::tempdir().expect("temporary directory");
        let mounted = match Mounted::new(at.path()) {
            Ok(mounted) => mounted,
            Err(error) => {
                eprintln!(
                    "SKIPPED: power cuts of {kind} were NOT tested: no FUSE file system can be mounted ({error})"
                );
                return None;
            }
        };
        let seed = rand::random();
        println!("{kind}: seed {seed}");
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let acknowledged = [0; STREAMS as usize];
        Some(Self { kind, seed, rng, acknowledged, sectors_unsafe: 0, sectors_lost: 0, mounted, at })
    }

    /// Opens what survived the cuts before, checks it, writes for a while, and cuts the power. An error is a loss.
    fn write_and_cut(&mut self, cut: u32, without_barrier: bool) -> Result<(), String> {
        let child = self.child(ENDLESS, without_barrier);
        // Some cuts come while the store is being opened, or created.
        let while_opening = self.rng.random_ratio(1, 6);
        if !while_opening {
            let line = child.next(Instant::now() + READY_DEADLINE).ok_or("the store does not open in time")?;
            self.note(line)?;
        }
        let longest = if while_opening { 40_000 } else { 250_000 };
        let moment = Instant::now() + Duration::from_micros(self.rng.random_range(0..longest));
        for line in child.listen_until(moment) {
            self.note(line)?;
        }
        let cut_done = self.mounted.cut(self.seed ^ u64::from(cut));
        self.sectors_unsafe += cut_done.sectors_unsafe;
        self.sectors_lost += cut_done.sectors_lost;
        for line in child.kill().map_err(|error| error.to_string())? {
            // Without power the child's store fails, or can be read no more while it is checked; what it acknowledged
            // before counts. What cannot be read with power either, the next child tells.
            if !matches!(line, Line::Failed(_) | Line::Refused(_) | Line::Unreadable(_)) {
                self.note(line)?;
            }
        }
        self.mounted.restore();
        Ok(())
    }

    /// A last opening that only checks.
    fn check(&mut self) -> Result<(), String> {
        let child = self.child(0, false);
        let lines = child.listen_until(Instant::now() + READY_DEADLINE);
        if matches!(&lines[..], [Line::Ready(_), Line::Closed]) { Ok(()) } else { Err(format!("{lines:?}")) }
    }

    fn child(&self, batches: u64, without_barrier: bool) -> Child {
        let dir = self.at.path().join("store");
        let program = Path::new(STORE_WRITER);
        Child::spawn(program, &dir, self.kind, &self.acknowledged, batches, without_barrier).expect("starts")
    }

    fn note(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Ack(stream, n) => self.acknowledged[stream] = self.acknowledged[stream].max(n),
            Line::Ready(_) => {}
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    }
}
