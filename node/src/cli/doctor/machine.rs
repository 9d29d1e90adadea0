//! The machine: room on disk, open files, memory, the clock.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};

use super::{Finding, Patient};
use crate::machine;

/// Below this much room the store may be unable to compact, and a burst of blobs fills the disk.
const ROOM_WANTED_BYTES: u64 = 2 << 30;
const ROOM_NEEDED_BYTES: u64 = 256 << 20;

/// One connection is one file; the store and the log want some too.
const FILES_PER_CONNECTION: u64 = 1;
const FILES_BESIDES: u64 = 512;

/// A file system's clock that differs more has another idea of the time altogether.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let root = existing_ancestor(patient.layout.root());
    let mut findings = vec![disk(root), open_files(patient)];
    findings.push(clock(patient));
    findings
}

/// The directory itself, or the nearest above it that exists.
fn existing_ancestor(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}

fn disk(dir: &Path) -> Finding {
    match machine::disk(dir) {
        Err(error) => {
            let what = format!("cannot measure the file system of {}: {error}", dir.display());
            Finding::problem("disk", what, "check that the path can be reached by this user")
        }
        Ok((used, capacity)) => {
            let free = capacity.saturating_sub(used);
            let what = format!("{} MB of {} MB are free", free / 1_000_000, capacity / 1_000_000);
            let mend = "free some space, or move the data directory to a larger disk";
            match free {
                free if free < ROOM_NEEDED_BYTES => Finding::problem("disk", what, mend),
                free if free < ROOM_WANTED_BYTES => Finding::warning("disk", what, mend),
                _ => Finding::ok("disk", what),
            }
        }
    }
}

/// The daemon raises its own limit as far as it may, so what counts is how far that is.
fn open_files(patient: &Patient<'_>) -> Finding {
    let config = &patient.loaded.config;
    let connections = u64::from(config.http.connections_max) + u64::from(config.network.connections_max);
    let wanted = connections * FILES_PER_CONNECTION + FILES_BESIDES;
    match getrlimit(Resource::Nofile).maximum {
        Some(maximum) if maximum < wanted => Finding::warning(
            "files",
            format!("{maximum} files may be open, and {connections} connections may need {wanted}"),
            format!("raise the hard limit to {wanted} (LimitNOFILE= in a systemd unit), or lower http.connections_max"),
        ),
        maximum => {
            Finding::ok("files", maximum.map_or("any number may be open".into(), |n| format!("{n} may be open")))
        }
    }
}

/// Against the time stamps of the data directory: a clock that went back, or a file system elsewhere.
fn clock(patient: &Patient<'_>) -> Finding {
    let mend = "set the clock, and let a time service keep it (timedatectl set-ntp true)";
    let newest = [patient.layout.node_json(), patient.layout.root().join("run/lock"), patient.layout.root().to_owned()]
        .iter()
        .filter_map(|path| path.metadata().ok()?.modified().ok())
        .max();
    let Some(newest) = newest else { return Finding::note("clock", "nothing to compare the clock with yet") };
    match newest.duration_since(SystemTime::now()) {
        Ok(ahead) if ahead > CLOCK_SKEW_MAX => {
            let what = format!("the data directory was used {} s after what the clock says now", ahead.as_secs());
            Finding::problem("clock", what, mend)
        }
        _ => Finding::ok("clock", "the clock is not behind the data directory"),
    }
}
