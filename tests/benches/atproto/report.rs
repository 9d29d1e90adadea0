//! Figures: what a round gave, medians over rounds, and the table.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use crate::process::Memory;

/// What one round of one workload on one host gave.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Operations done (for the event stream: deliveries).
    pub(crate) operations: u64,
    pub(crate) elapsed: Duration,
    /// Time from request to the end of the answer (for the event stream: from the answer to delivery; delivery may come
    /// first), in microseconds, in no order.
    pub(crate) latencies_us: Vec<i64>,
    pub(crate) server_cpu_us: u64,
    pub(crate) generator_cpu_us: u64,
}

/// A round, or the medians of several.
#[derive(Clone, Copy, Debug)]
struct Figures {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    worst_us: f64,
    server_us: f64,
    generator_us: f64,
}

impl From<Sample> for Figures {
    fn from(mut sample: Sample) -> Self {
        sample.latencies_us.sort_unstable();
        let operations = sample.operations.max(1) as f64;
        Self {
            per_second: sample.operations as f64 / sample.elapsed.as_secs_f64(),
            p50_us: quantile(&sample.latencies_us, 50),
            p99_us: quantile(&sample.latencies_us, 99),
            worst_us: quantile(&sample.latencies_us, 100),
            server_us: sample.server_cpu_us as f64 / operations,
            generator_us: sample.generator_cpu_us as f64 / operations,
        }
    }
}

fn quantile(sorted: &[i64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).map_or(f64::NAN, |value| *value as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All figures of a run.
pub(crate) struct Report {
    hosts: Vec<String>,
    workloads: Vec<&'static str>,
    rounds: BTreeMap<(&'static str, String), Vec<Figures>>,
    memory: BTreeMap<String, (Memory, Memory)>,
}

impl Report {
    pub(crate) fn new(hosts: Vec<String>) -> Self {
        Self { hosts, workloads: Vec::new(), rounds: BTreeMap::new(), memory: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, workload: &'static str, host: &str, sample: Sample) {
        if !self.workloads.contains(&workload) {
            self.workloads.push(workload);
        }
        self.rounds.entry((workload, host.into())).or_default().push(sample.into());
    }

    /// Memory before the load, and after it.
    pub(crate) fn memory(&mut self, host: &str, before: Memory, after: Memory) {
        self.memory.insert(host.into(), (before, after));
    }

    fn medians(&self, workload: &'static str, host: &str) -> Option<Figures> {
        let rounds = self.rounds.get(&(workload, host.into()))?;
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
        Some(Figures {
            per_second: of(|figures| figures.per_second),
            p50_us: of(|figures| figures.p50_us),
            p99_us: of(|figures| figures.p99_us),
            worst_us: of(|figures| figures.worst_us),
            server_us: of(|figures| figures.server_us),
            generator_us: of(|figures| figures.generator_us),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let figures: Vec<Value> = self
            .lines()
            .map(|(workload, host, figures)| {
                json!({
                    "workload": workload, "host": host, "perSecond": figures.per_second, "p50Us": figures.p50_us,
                    "p99Us": figures.p99_us, "worstUs": figures.worst_us, "serverCpuUs": figures.server_us, "generatorCpuUs": figures.generator_us,
                })
            })
            .collect();
        let memory: BTreeMap<_, _> = self
            .memory
            .iter()
            .map(|(host, (before, after))| {
                (
                    host,
                    json!({ "idleKib": before.resident_kib, "endKib": after.resident_kib, "peakKib": after.peak_kib }),
                )
            })
            .collect();
        json!({ "figures": figures, "memory": memory })
    }

    fn lines(&self) -> impl Iterator<Item = (&'static str, &str, Figures)> {
        self.workloads
            .iter()
            .flatten_workloads(&self.hosts)
            .filter_map(|(workload, host)| Some((workload, host, self.medians(workload, host)?)))
    }
}

/// Every workload with every host, the hosts of a workload together.
trait FlattenWorkloads<'a>: Iterator<Item = &'a &'static str> + Sized {
    fn flatten_workloads(self, hosts: &'a [String]) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.flat_map(move |workload| hosts.iter().map(move |host| (*workload, host.as_str())))
    }
}

impl<'a, I: Iterator<Item = &'a &'static str>> FlattenWorkloads<'a> for I {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| {:<20} | {:<12} | {:>9} | {:>9} | {:>9} | {:>9} | {:>16} | {:>19} |",
            "workload", "host", "ops/s", "p50 ms", "p99 ms", "worst ms", "server CPU ms/op", "generator CPU ms/op"
        )?;
        writeln!(
            f,
            "|{}|{}|{}:|{}:|{}:|{}:|{}:|{}:|",
            "-".repeat(22),
            "-".repeat(14),
            "-".repeat(10),
            "-".repeat(10),
            "-".repeat(10),
            "-".repeat(10),
            "-".repeat(17),
            "-".repeat(20)
        )?;
        for (workload, host, figures) in self.lines() {
            let ms = |us: f64| us / 1_000.0;
            writeln!(
                f,
                "| {workload:<20} | {host:<12} | {:>9.1} | {:>9.2} | {:>9.2} | {:>9.2} | {:>16.4} | {:>19.4} |",
                figures.per_second,
                ms(figures.p50_us),
                ms(figures.p99_us),
                ms(figures.worst_us),
                ms(figures.server_us),
                ms(figures.generator_us)
            )?;
        }
        for (host, (before, after)) in &self.memory {
            let mib = |kib: u64| kib / 1024;
            writeln!(
                f,
                "{host}: {} MiB idle, {} MiB after the load, {} MiB at the peak",
                mib(before.resident_kib),
                mib(after.resident_kib),
                mib(after.peak_kib)
            )?;
        }
        Ok(())
    }
}
