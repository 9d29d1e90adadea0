//! Load on AT Protocol hosts, the official one beside ours in the same run.
//!
//! A target is a URL, the process that serves it, and its administration password. Every workload runs in rounds, and in
//! each round every target takes its turn, so that a machine that slows down slows all of them. Reported are medians
//! over the rounds, the CPU time of the server's process tree per operation, and that of this generator, which shows
//! whether the generator was in the way. `scripts/bench atproto` starts both hosts and runs this.
//!
//! It judges nothing but that every operation succeeded and every event arrived; what is right is for
//! `scripts/clients`.

mod host;
mod process;
mod report;
mod stream;
mod work;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Parser;

use crate::{
    host::{Host, Target},
    report::Report,
    work::{WORKLOADS, Workload},
};

/// What to measure, on which hosts.
#[derive(Parser)]
struct Options {
    /// A host as JSON, or a file that holds it: {"name", "url", "pid", "adminPassword", "handleDomain", "plcUrl"}.
    #[arg(long = "target", required = true)]
    targets: Vec<String>,
    /// The script that makes repositories to import.
    #[arg(long, default_value = "scripts/clients")]
    clients: PathBuf,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',', value_parser = WORKLOADS.map(|workload| workload.name))]
    only: Vec<String>,
    /// Rounds of each workload; medians are taken over them.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of a round of the workloads that run for a time.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Records in the repository that is imported and exported.
    #[arg(long, default_value_t = 10_000)]
    records: usize,
    /// Subscribers of the event stream.
    #[arg(long, default_value_t = 200)]
    subscribers: usize,
    /// Writes that the subscribers are to see, in a round.
    #[arg(long, default_value_t = 100)]
    events: usize,
    /// Writes per second while there are subscribers.
    #[arg(long, default_value_t = 20)]
    event_rate: u32,
    /// Also writes the figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by `cargo bench`; without meaning here.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, workload: &Workload) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == workload.name)
    }
}

// One thread: the generator must leave the machine to the servers, and is cheap enough for that.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let scratch = Arc::new(tempfile::tempdir()?);
    let mut hosts = Vec::new();
    for target in &options.targets {
        let target = Target::read(target)?;
        let name = target.name.clone();
        let idle = process::memory(target.pid).with_context(|| format!("memory of {name}"))?;
        eprintln!("{name}: filling");
        let host = Host::prepare(target, Arc::clone(&scratch)).await.with_context(|| format!("preparing {name}"))?;
        hosts.push((host, idle));
    }
    let mut report = Report::new(hosts.iter().map(|(host, _)| host.target.name.clone()).collect());
    for workload in WORKLOADS.iter().filter(|workload| options.wants(workload)) {
        for round in 1..=options.rounds {
            for (host, _) in &hosts {
                let name = &host.target.name;
                eprintln!("{}: {name}, round {round} of {}", workload.name, options.rounds);
                let sample = (workload.run)(host, &options)
                    .await
                    .with_context(|| format!("{} on {name}, round {round}", workload.name))?;
                report.add(workload.name, name, sample);
            }
        }
    }
    for (host, idle) in &hosts {
        report.memory(&host.target.name, *idle, process::memory(host.target.pid)?);
    }
    print!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report.to_json())?)?;
    }
    Ok(())
}
