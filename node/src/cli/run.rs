//! `angel run`: start, say so, wait, stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Failure;
use super::{Common, config::settings_json};
use crate::config::{Config, FlagValue, Loaded};
use crate::control::Ended;
use crate::network::{self, Multiaddr, with_real_port};
use crate::node::{Node, NodeHandle, StartError};
use crate::telemetry::LogControl;

/// How long a restart waits for its own ports: sockets of the network before it close a moment after it has ended.
const PORTS_PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits between two tries.
const PORTS_PAUSE: Duration = Duration::from_millis(100);

/// Threads for work that blocks, for each processor, and how many there may be at least. One flush serves all who wait
/// for it, so these are enough; each more would keep memory of its own that others have freed.
const BLOCKING_PER_PROCESSOR: usize = 4;
const BLOCKING_MIN: usize = 16;

/// How long such a thread waits for more to do. What a thread that ends has freed is of use to others only slowly.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_mins(10);

/// How long threads that block may go on after everything else has ended.
const BLOCKING_LIMIT: Duration = Duration::from_millis(500);

#[derive(Args, Debug, Default)]
pub(super) struct RunArgs {
    /// Address and port for HTTP; port 0 takes a free one [default: 127.0.0.1:2583].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Multiaddress to listen on for peers; repeat for several [default: TCP and QUIC on port 2584].
    #[arg(long, value_name = "MULTIADDR")]
    p2p: Vec<Multiaddr>,
    /// Multiaddress of a node to join by; repeat for several.
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<Multiaddr>,
    /// The genesis file of the network's ledger. It is kept in the data directory and cannot be changed later.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// How log lines look [default: pretty].
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "pretty"])]
    log_format: Option<String>,
}

impl RunArgs {
    fn flags(&self) -> Vec<FlagValue> {
        let list = |addresses: &[Multiaddr]| {
            (!addresses.is_empty()).then(|| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        };
        let given = [
            ("http.listen", "--http", self.http.map(|addr| addr.to_string())),
            ("network.listen", "--p2p", list(&self.p2p)),
            ("network.bootstrap", "--bootstrap", list(&self.bootstrap)),
            ("log.format", "--log-format", self.log_format.clone()),
        ];
        let flag = |(key, flag, text): (_, _, Option<String>)| text.map(|text| FlagValue { key, flag, text });
        given.into_iter().filter_map(flag).collect()
    }
}

pub(super) fn run(common: &Common, args: RunArgs) -> Result<(), Failure> {
    let loaded = common.load(args.flags())?;
    let log = LogControl::init(&loaded.config.log).map_err(|error| Failure::unexpected(error.to_string()))?;
    for unused in &loaded.unused_variables {
        let meant = unused.nearest.as_deref().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        tracing::warn!("the environment variable {} sets nothing{meant}", unused.name);
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("angel")
        .max_blocking_threads(blocking_threads())
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::unexpected(format!("cannot start threads: {error}")))?;
    let done = runtime.block_on(serve(&loaded, &args, &log));
    // Whatever still blocks a thread has been named by now and must not keep the process.
    runtime.shutdown_timeout(BLOCKING_LIMIT);
    done
}

/// Threads for work that blocks: several for each processor, for some of them wait for a flush.
fn blocking_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (BLOCKING_PER_PROCESSOR * processors).max(BLOCKING_MIN)
}

/// Lets the process open as many files as it may: each connection is one.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files; it stays as it is");
    }
}

/// Runs the node, again after each rotation of its key, until a signal or a failure.
async fn serve(loaded: &Loaded, args: &RunArgs, log: &LogControl) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut config = loaded.config.clone();
    let mut ports_patience = Duration::ZERO;
    loop {
        let mut node = tokio::select! {
            started = start(loaded, args, log, &config, ports_patience) => started?,
            name = signals.next() => {
                tracing::info!("{name} before the node was ready");
                return Ok(());
            }
        };
        announce(&node);
        // A restart keeps the ports, those that were chosen freely too: others know them by now.
        ports_patience = PORTS_PATIENCE;
        config.http.listen = node.facts().http_addr;
        for address in &mut config.network.listen {
            *address = with_real_port(address, &node.facts().p2p);
        }
        let ended = tokio::select! {
            ended = node.join() => ended?,
            name = signals.next() => {
                tracing::info!("{name}: stopping; a second one ends the process at once");
                node.stop();
                tokio::select! {
                    ended = node.join() => drop(ended?),
                    _ = signals.next() => signals.end_process(),
                }
                Ended::Asked
            }
        };
        match ended {
            Ended::Asked => return Ok(()),
            Ended::Restart => tracing::info!("starting again under the new key"),
        }
    }
}

/// Starts the node; tries again for so long when its ports are still taken.
async fn start(
    loaded: &Loaded,
    args: &RunArgs,
    log: &LogControl,
    config: &Config,
    ports_patience: Duration,
) -> Result<NodeHandle, StartError> {
    let began = Instant::now();
    loop {
        let node = Node::new(config.clone())
            .with_settings(settings_json(loaded))
            .with_genesis(args.genesis.clone())
            .with_log(log.clone())
            .with_admin_password(std::env::var("ANGEL_ADMIN_PASSWORD").ok());
        match node.run().await {
            Err(StartError::Network(network::StartError::AddressInUse { .. })) if began.elapsed() < ports_patience => {
                tokio::time::sleep(PORTS_PAUSE).await;
            }
            started => return started,
        }
    }
}

/// Says on standard output that the node is ready, and how to reach it.
fn announce(node: &NodeHandle) {
    let facts = serde_json::to_string(&node.facts().run_file()).expect("strings and numbers make JSON");
    // Nobody may be reading; the same facts are in the data directory.
    drop(writeln!(std::io::stdout(), "{facts}"));
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    last: i32,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::unexpected(format!("cannot listen for signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, last: 0 })
    }

    async fn next(&mut self) -> &'static str {
        let (kind, name) = tokio::select! {
            _ = self.interrupt.recv() => (SignalKind::interrupt(), "SIGINT"),
            _ = self.terminate.recv() => (SignalKind::terminate(), "SIGTERM"),
        };
        self.last = kind.as_raw_value();
        name
    }

    /// Ends without another step, as the shell reports a signal.
    fn end_process(&self) -> ! {
        std::process::exit(128 + self.last)
    }
}
