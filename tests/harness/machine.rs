//! A machine that is as busy as a scenario says: in a mount namespace of its own, a daemon reads made-up figures of the kernel
//! about processor and memory, which never change.

use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Puts the figures of a directory in the place of the kernel's, and runs what follows.
const WITH_FIGURES: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount --bind \"$0/stat\" /proc/stat && mount --bind \"$0/meminfo\" /proc/meminfo && exec \"$@\"",
];

/// Per cent of memory that is free on a machine with little to do.
const IDLE: u64 = 95;

/// The same on a busy one.
const BUSY: u64 = 2;

/// A made-up machine.
#[derive(Debug)]
pub struct Machine(TempDir);

impl Machine {
    /// One with little to do. Nothing where no process can be made to believe in it.
    ///
    /// # Errors
    /// This machine's own figures cannot be read.
    pub fn idle() -> Result<Option<Self>> {
        Self::with(IDLE)
    }

    /// One that is full.
    ///
    /// # Errors
    /// As [`Self::idle`].
    pub fn busy() -> Result<Option<Self>> {
        Self::with(BUSY)
    }

    fn with(free_percent: u64) -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        std::fs::copy("/proc/stat", dir.path().join("stat"))?;
        let figures = std::fs::read_to_string("/proc/meminfo")?;
        let total = figures.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("a total")?;
        let total: u64 = total.trim().trim_end_matches(" kB").parse()?;
        let free = total * free_percent / 100;
        let told = figures.lines().map(|line| match line.split_once(':') {
            Some((name @ ("MemFree" | "MemAvailable"), _)) => format!("{name}: {free} kB\n"),
            Some((name @ ("Buffers" | "Cached" | "SReclaimable" | "Shmem"), _)) => format!("{name}: 0 kB\n"),
            _ => format!("{line}\n"),
        });
        std::fs::write(dir.path().join("meminfo"), told.collect::<String>())?;
        let tried = Command::new(WITH_FIGURES[0]).args(&WITH_FIGURES[1..]).arg(dir.path()).arg("true").output();
        Ok(tried.is_ok_and(|tried| tried.status.success()).then_some(Self(dir)))
    }

    /// What stands before a command that is to run on it.
    ///
    /// # Errors
    /// The temporary directory has a name that is no UTF-8.
    pub fn wrapper(&self) -> Result<Vec<&str>> {
        let figures = self.0.path().to_str().context("a path in UTF-8")?;
        Ok([&WITH_FIGURES[..], &[figures]].concat())
    }
}
