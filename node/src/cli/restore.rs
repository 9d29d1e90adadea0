//! `angel restore`: a data directory from a backup, or one account of it into a directory that is there. Works without a daemon, and needs the recovery key.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use angel_protocol::ids::Did;
use clap::Args;
use serde_json::json;

use super::Common;
use super::backup::{PassphraseArgs, passphrase, read_key, snapshot_line, verified};
use super::exit::{Code, Failure};
use super::output::{print, row};
use crate::backup::depot::{Depot, Purpose};
use crate::backup::progress::Progress;
use crate::backup::read::{Opener, Snapshot};
use crate::backup::restore::restore as restore_node;
use crate::backup::tenant::{For, RestoredTenant, restore_tenant};
use crate::backup::{BackupError, BucketAccess, Place, manifest_json, roots_json};
use crate::clock;
use crate::data_dir::DataDir;
use crate::storage::tuning;

#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// Where the backup lies: a directory, a file that ends in .tar, or s3://BUCKET/PREFIX [default: backup.to].
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// The recovery key, as `angel backup key` made it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Which snapshot [default: the newest].
    #[arg(long, value_name = "NUMBER")]
    snapshot: Option<u64>,
    /// Restore this account alone, into a node that is stopped, beside the accounts that it has.
    #[arg(long, value_name = "DID")]
    tenant: Option<Did>,
    /// The nodes that hosted it are gone for good, and its owner is to claim it for this one (`angel tenant claim`).
    #[arg(long, requires = "tenant")]
    claim: bool,
    /// The node that must have made it [default: one that the recovery key was proved with].
    #[arg(long, value_name = "DID")]
    node: Option<Did>,
}

pub(super) fn restore(common: &Common, args: &RestoreArgs) -> Result<(), Failure> {
    let config = common.load(vec![])?.config;
    let place: Place = match &args.from {
        Some(text) => {
            text.parse().map_err(|error: crate::backup::NoPlace| Failure::new(Code::Usage, error.to_string()))?
        }
        None => config.backup.to.clone().ok_or_else(|| Failure::new(Code::Usage, "name the backup with --from"))?,
    };
    // Before anything that takes long.
    match &args.tenant {
        Some(_) => drop(DataDir::open_existing(config.data_dir())?),
        None => DataDir::check_restorable(config.data_dir())?,
    }
    let key = read_key(&args.key, passphrase(&args.passphrase)?)?;
    let key = key.ok_or_else(|| Failure::new(Code::Secret, format!("{} is not there", args.key.display())))?;
    // A bucket is reached on a runtime of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unexpected(format!("cannot start: {error}")))?;
    let _within = runtime.enter();
    let access = BucketAccess { endpoint: config.backup.s3_endpoint.clone(), region: config.backup.s3_region.clone() };
    let depot = Depot::open(&place, &access, Purpose::Read).map_err(BackupError::from)?;
    let snapshot = Snapshot::open(&depot, args.snapshot, &Opener::Recovery(&key))?;
    let made_by = snapshot.manifest.node.clone();
    let expected =
        args.node.iter().map(ToString::to_string).chain(key.nodes.iter().filter(|_| args.node.is_none()).cloned());
    let expected: Vec<String> = expected.collect();
    if !expected.is_empty() && !expected.contains(&made_by.to_string()) {
        return Err(BackupError::OtherNode { found: made_by.to_string(), expected: expected.join(" or ") }.into());
    }
    let began = Instant::now();
    let progress = Progress::default();
    let meter = Meter::start(progress.clone());
    let (engine, tuning) = (config.storage.engine, tuning(&config.storage));
    let engine = (engine, tuning);
    if let Some(did) = &args.tenant {
        let purpose = if args.claim { For::Claim } else { For::Itself };
        let of = (did, purpose);
        let done = restore_tenant(&depot, &snapshot, config.data_dir(), of, engine, clock::now(), &progress);
        meter.stop();
        return print_tenant(common, of, &snapshot, &done?, began.elapsed());
    }
    let roots = restore_node(&depot, &snapshot, config.data_dir(), engine, clock::now(), &progress);
    meter.stop();
    let roots = roots?;
    let took = began.elapsed().as_millis();
    let dir = config.data_dir().display().to_string();
    let answer = json!({
        "dataDir": dir,
        "snapshot": manifest_json(&snapshot.manifest),
        "verified": roots_json(&roots),
        "tookMs": took,
    });
    let mut lines =
        vec![row("restored", format!("{made_by} into {dir}")), row("snapshot", snapshot_line(&answer["snapshot"]))];
    lines.extend(verified(&answer["verified"], &answer["tookMs"]));
    let told = print(common, &answer, lines);
    eprintln!(
        "Start it with `angel run`. Never run it while the node it was made of still runs: they are the same node."
    );
    told
}

fn print_tenant(
    common: &Common,
    (did, purpose): (&Did, For),
    snapshot: &Snapshot,
    done: &RestoredTenant,
    took: Duration,
) -> Result<(), Failure> {
    let private = &done.rows.private;
    let answer = json!({
        "did": did,
        "handle": done.handle,
        "snapshot": manifest_json(&snapshot.manifest),
        "records": done.rows.records,
        "root": done.rows.root.map(|root| root.to_string()),
        "privateRows": private.written,
        "files": done.files,
        "namesTaken": done.taken,
        "disagreed": private.disagreed,
        "active": false,
        "tookMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    let mut lines = vec![
        row("restored", format!("{did} ({})", done.handle.as_deref().unwrap_or("no handle"))),
        row("snapshot", snapshot_line(&answer["snapshot"])),
        row("holds", format!("{} records, {} private rows, {} files", done.rows.records, private.written, done.files)),
    ];
    for name in &done.taken {
        lines.push(row("taken", format!("{name} belongs to another account here by now")));
    }
    if private.disagreed > 0 {
        lines.push(row(
            "differs",
            format!("{} private records or repositories did not come to their hashes", private.disagreed),
        ));
    }
    let told = print(common, &answer, lines);
    match purpose {
        For::Itself => eprintln!(
            "It is switched off. Start the node and run `angel account activate {did}`: that works once its identity leads here."
        ),
        For::Claim => eprintln!(
            "It is switched off. Start the node, and have its owner run `angel tenant claim {did}` there, with the recovery key \
             of the account."
        ),
    }
    told
}

/// Says on standard error how far it is.
struct Meter(mpsc::Sender<()>, std::thread::JoinHandle<()>);

impl Meter {
    fn start(progress: Progress) -> Self {
        let (stop, stopped) = mpsc::channel();
        let terminal = std::io::stderr().is_terminal();
        let thread = std::thread::spawn(move || {
            let mut said = "";
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(200)) {
                let (phase, rows, bytes) = progress.now();
                let mut out = std::io::stderr();
                if terminal {
                    let line = format!("\r\x1b[2K{phase}: {rows} rows, {} MB", bytes / 1_000_000);
                    drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
                } else if phase != said {
                    eprintln!("{phase}");
                    said = phase;
                }
            }
            if terminal {
                eprint!("\r\x1b[2K");
            }
        });
        Self(stop, thread)
    }

    fn stop(self) {
        drop(self.0);
        drop(self.1.join());
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let code = match &error {
            BackupError::DataDir(_) | BackupError::File { .. } => Code::DataDir,
            BackupError::Recovery(_) => Code::Secret,
            BackupError::NoPlace(_) => Code::Usage,
            BackupError::Depot(_) => Code::Unexpected,
            _ => Code::DamagedData,
        };
        Self::new(code, format!("{error} ({})", error.name()))
    }
}
