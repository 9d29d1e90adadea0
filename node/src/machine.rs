//! The load of the real machine, for heartbeats and metrics. Measuring blocks, so it happens off the async workers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::health::{Service, ServiceState};
use crate::room;
use crate::tasks::TaskResult;

/// How often the load is measured: several times within a heartbeat, and cheap.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// How busy the machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Processor time in use, 0 to 100.
    pub cpu_percent: u8,
    /// Memory in use, 0 to 100; within the control group's limit where there is one.
    pub memory_percent: u8,
    /// Bytes used on the file system of the data directory.
    pub disk_used_bytes: u64,
    /// Bytes that file system holds for this user.
    pub disk_capacity_bytes: u64,
}

/// What this process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Processor time since the start.
    pub cpu: Duration,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Open file descriptors.
    pub open_files: usize,
}

/// Measures; keeps what it needs to tell one moment from the next.
struct Sampler {
    system: System,
    data_dir: PathBuf,
}

impl Sampler {
    fn new(data_dir: &Path) -> Self {
        let kind = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_cpu_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        Self { system: System::new_with_specifics(kind), data_dir: data_dir.to_owned() }
    }

    fn sample(&mut self) -> Load {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (mut used, mut total) = (self.system.used_memory(), self.system.total_memory());
        if let Some(limits) = self.system.cgroup_limits().filter(|limits| limits.total_memory < total) {
            (used, total) = (limits.total_memory.saturating_sub(limits.free_memory), limits.total_memory);
        }
        let (disk_used_bytes, disk_capacity_bytes) = disk(&self.data_dir).unwrap_or_default();
        Load {
            cpu_percent: self.system.global_cpu_usage().clamp(0.0, 100.0) as u8,
            memory_percent: percent(used, total),
            disk_used_bytes,
            disk_capacity_bytes,
        }
    }
}

/// Bytes used and bytes in all on the file system of `path`, as seen by this user.
///
/// # Errors
/// When the path cannot be looked at.
pub fn disk(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
    Ok((used, used.saturating_add(stat.f_bavail.saturating_mul(stat.f_frsize))))
}

/// What this process uses now. Blocks for a moment.
#[must_use]
pub fn process_usage() -> ProcessUsage {
    let mut system = System::new();
    let pid = Pid::from_u32(std::process::id());
    let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
    let (cpu, memory_bytes) = system.process(pid).map_or((0, 0), |p| (p.accumulated_cpu_time(), p.memory()));
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    ProcessUsage { cpu: Duration::from_millis(cpu), memory_bytes, open_files }
}

/// This process's figures, measured when somebody asks.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    started: Instant,
}

impl ProcessCollector {
    /// For a node that started at `started`.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ProcessUsage { cpu, memory_bytes, open_files } = process_usage();
        let mut metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time used by the process",
            None,
            MetricType::Counter,
        )?;
        metric.encode_counter::<NoLabelSet, _, u64>(&cpu.as_secs_f64(), None)?;
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use by the process", memory_bytes),
            ("process_open_fds", "Open file descriptors", open_files as u64),
            ("angel_uptime_seconds", "Time since the node started", self.started.elapsed().as_secs()),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// The first measurement of the load. Blocks for a moment.
#[must_use]
pub fn first_load(data_dir: &Path) -> Load {
    Sampler::new(data_dir).sample()
}

/// Measures until told to stop, says each result through `load`, and whether there is room through `disk`.
pub(crate) async fn run(
    data_dir: PathBuf,
    load: watch::Sender<Load>,
    disk: Service,
    stop: CancellationToken,
) -> TaskResult {
    let mut interval = tokio::time::interval(SAMPLE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sampler = Sampler::new(&data_dir);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = interval.tick() => {}
        }
        let measured = tokio::task::spawn_blocking(move || {
            let sample = sampler.sample();
            (sampler, sample)
        });
        let (returned, sample) = measured.await?;
        sampler = returned;
        let state =
            if room::is_short(&sample) { ServiceState::Failing(room::SHORT.to_owned()) } else { ServiceState::Ok };
        disk.set(state);
        load.send_replace(sample);
    }
}

fn percent(part: u64, whole: u64) -> u8 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u8::try_from(percent.min(100)).expect("at most 100")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_a_disk_and_uses_some() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let load = first_load(dir.path());
        assert!(load.memory_percent > 0 && load.memory_percent <= 100 && load.cpu_percent <= 100);
        assert!(load.disk_capacity_bytes > 0 && load.disk_used_bytes <= load.disk_capacity_bytes);
        let usage = process_usage();
        assert!(usage.memory_bytes > 1 << 20 && usage.open_files >= 3);
    }

    #[test]
    fn percentages_stay_in_range() {
        assert_eq!(percent(1, 0), 100);
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(1, 3), 33);
    }
}
