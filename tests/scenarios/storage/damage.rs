//! Files that were bent: a store opens with all its data, or says what is wrong. It never starts afresh, never answers
//! with less than there was, never panics and never hangs.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use angel_harness::storage::{Child, Heads, Line};
use angel_storage::engine::EngineKind;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use super::STORE_WRITER;

/// How often each file is bent in each way.
const ROUNDS: u32 = 8;

/// Batches per stream in the store that is bent.
const BATCHES: u64 = 70;

const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Bend {
    /// Cut off at a random place.
    Truncate,
    /// One bit is other than it was.
    FlipBit,
    /// A sector reads as zeros.
    ZeroSector,
    /// It is gone.
    Remove,
}

#[test]
fn sled_opens_bent_files_correctly_or_not_at_all() {
    bend_everything(EngineKind::Sled);
}

#[test]
fn fjall_opens_bent_files_correctly_or_not_at_all() {
    bend_everything(EngineKind::Fjall);
}

fn bend_everything(kind: EngineKind) {
    let seed = rand::random::<u64>();
    println!("{kind}: seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let pristine = tempfile::tempdir().expect("temporary directory");
    let heads = fill(pristine.path(), kind);
    let (mut correct, mut refused, mut died, mut failures) = (0, 0, 0, Vec::new());
    for file in files(pristine.path()) {
        for bend in [Bend::Truncate, Bend::FlipBit, Bend::ZeroSector, Bend::Remove] {
            for _ in 0..if matches!(bend, Bend::Remove) { 1 } else { ROUNDS } {
                let copy = tempfile::tempdir().expect("temporary directory");
                copy_tree(pristine.path(), copy.path());
                let Some(place) = apply(bend, &copy.path().join(&file), &mut rng) else { continue };
                let what = format!("{bend:?} {} at {place}", file.display());
                match open(copy.path(), kind, &heads) {
                    Outcome::Correct => correct += 1,
                    Outcome::Refused(error) => {
                        assert!(!error.is_empty(), "{what}: refused without a reason");
                        refused += 1;
                    }
                    Outcome::Died => {
                        println!("{what}: the process died");
                        died += 1;
                    }
                    Outcome::Wrong(text) => failures.push(format!("{what}: {text}")),
                }
            }
        }
    }
    println!(
        "{kind}: {correct} opened with all their data, {refused} refused by name, {died} ended the process, {} wrong",
        failures.len()
    );
    // An engine may believe a bent length before it checks anything, and ask for more memory than there is. Nothing can
    // be caught then; it must stay the rare exception.
    assert!(died * 20 <= correct + refused, "{kind}, seed {seed}: {died} processes died");
    assert!(failures.is_empty(), "{kind}, seed {seed}:\n{}", failures.join("\n"));
    assert!(correct > 0 && refused > 0, "some damage matters and some does not");
}

enum Outcome {
    Correct,
    Refused(String),
    /// Aborted for want of memory, having answered nothing.
    Died,
    Wrong(String),
}

/// Opens and checks in a process of its own, which may hang or die without taking the test with it.
fn open(dir: &Path, kind: EngineKind, heads: &Heads) -> Outcome {
    let child = Child::spawn(STORE_WRITER.as_ref(), dir, kind, heads, 0, false).expect("starts");
    let deadline = Instant::now() + DEADLINE;
    let outcome = match child.next(deadline) {
        Some(Line::Ready(found)) if found == *heads => Outcome::Correct,
        Some(Line::Refused(error) | Line::Unreadable(error) | Line::Failed(error)) => Outcome::Refused(error),
        Some(other) => return Outcome::Wrong(format!("{other:?}")),
        None => {
            return match child.end(deadline) {
                // SIGABRT: no panic of ours, which would have been an answer, or a status of its own.
                Ok(status) if status.signal() == Some(Signal::ABORT.as_raw()) => Outcome::Died,
                ended => Outcome::Wrong(format!("no answer: {ended:?}")),
            };
        }
    };
    match child.ended_well(deadline) {
        Ok(true) => outcome,
        Ok(false) => Outcome::Wrong("the process died".to_owned()),
        Err(error) => Outcome::Wrong(error.to_string()),
    }
}

/// A closed store with some batches in it, removed ones among them.
fn fill(dir: &Path, kind: EngineKind) -> Heads {
    let child = Child::spawn(STORE_WRITER.as_ref(), dir, kind, &Heads::default(), BATCHES, false).expect("starts");
    let lines = child.listen_until(Instant::now() + DEADLINE);
    assert_eq!(lines.last(), Some(&Line::Closed));
    Heads::default().map(|_| BATCHES)
}

/// Changes the file; says where, or `None` when that kind of change is impossible.
fn apply(bend: Bend, path: &Path, rng: &mut ChaCha8Rng) -> Option<u64> {
    let mut bytes = fs::read(path).expect("reads");
    if matches!(bend, Bend::Remove) {
        fs::remove_file(path).expect("removes");
        return Some(0);
    }
    let place = rng.random_range(0..bytes.len().max(1));
    if bytes.is_empty() {
        return None;
    }
    match bend {
        Bend::Truncate => bytes.truncate(place),
        Bend::FlipBit => bytes[place] ^= 1 << rng.random_range(0..8),
        Bend::ZeroSector => {
            let start = place / 512 * 512;
            let end = (start + 512).min(bytes.len());
            if bytes[start..end].iter().all(|byte| *byte == 0) {
                return None;
            }
            bytes[start..end].fill(0);
        }
        Bend::Remove => {}
    }
    fs::write(path, bytes).expect("writes");
    Some(place as u64)
}

/// Every file below `root`, relative to it, in a fixed order.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("lists") {
            let entry = entry.expect("lists");
            if entry.file_type().expect("has a type").is_dir() {
                pending.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root).expect("is below").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy_tree(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("has a parent")).expect("creates");
        fs::copy(from.join(&file), &target).expect("copies");
    }
    // Directories without files matter too.
    let mut pending = vec![from.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("lists").flatten().filter(|entry| entry.path().is_dir()) {
            fs::create_dir_all(to.join(entry.path().strip_prefix(from).expect("is below"))).expect("creates");
            pending.push(entry.path());
        }
    }
}
