//! What a process and its children cost, from `/proc`.

use std::{collections::HashMap, fs};

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// Resident memory of a process tree, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident_kib: u64,
    /// Largest ever, process by process.
    pub(crate) peak_kib: u64,
}

/// CPU time that a process and its living descendants have used, in microseconds. Its grain is a clock tick (10 ms).
pub(crate) fn cpu_us(pid: u32) -> Result<u64> {
    let mut ticks = 0;
    for pid in tree(pid)? {
        // A child may have ended since it was listed; its time has then gone to its parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = after_name(&stat).context("a line of /proc/PID/stat without a name")?;
        for field in [11, 12] {
            ticks += fields.get(field).context("a short line of /proc/PID/stat")?.parse::<u64>()?;
        }
    }
    Ok(ticks * 1_000_000 / clock_ticks_per_second())
}

/// Memory of a process and its living descendants.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in tree(pid)? {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        };
        sum.resident_kib += kib("VmRSS:");
        sum.peak_kib += kib("VmHWM:");
    }
    Ok(sum)
}

fn tree(root: u32) -> Result<Vec<u32>> {
    anyhow::ensure!(fs::exists(format!("/proc/{root}"))?, "there is no process {root}");
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = after_name(&stat).and_then(|fields| fields.get(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    Ok(found)
}

/// The fields after the process's name, which is in brackets and may hold anything. The first is the state.
fn after_name(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}
