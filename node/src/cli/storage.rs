//! `angel storage`: the store of a stopped node, made smaller, checked, or moved to another engine.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use angel_storage::engine::{EngineKind, Tuning};
use angel_storage::rebuild::{self, Phase, RebuildError};
use angel_storage::verify::{self, VerifyError};
use clap::Subcommand;
use serde_json::json;

use super::Common;
use super::exit::{Code, Failure};
use super::output::{print, row};
use crate::data_dir::DataDir;
use crate::storage::tuning;

/// Time between two lines of progress: for a person on a terminal, and for a log.
const TERMINAL_PACE: Duration = Duration::from_millis(200);
const LOG_PACE: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum StorageVerb {
    /// Give back the space of rows that were removed. Needs room for a second copy while it runs.
    Compact,
    /// Read every row and say which are damaged.
    Verify,
    /// Move the store to another engine.
    Convert {
        /// The engine to move to; set storage.engine to it afterwards.
        #[arg(long, value_name = "ENGINE", value_parser = ["sled", "fjall"])]
        to: String,
    },
}

pub(super) fn storage(common: &Common, verb: StorageVerb) -> Result<(), Failure> {
    let loaded = common.load(vec![])?;
    // The lock keeps a daemon from starting in between, and refuses while one runs.
    let data_dir = DataDir::open_existing(loaded.config.data_dir())?;
    let (dir, tuning) = (data_dir.layout().storage(), tuning(&loaded.config.storage));
    match verb {
        StorageVerb::Compact => rewrite(common, "compacted", |progress| rebuild::compact(&dir, tuning, progress)),
        StorageVerb::Convert { to } => {
            let kind: EngineKind = to.parse().map_err(|error| Failure::unexpected(format!("{to}: {error}")))?;
            rewrite(common, "converted", |progress| rebuild::convert(&dir, kind, tuning, progress))?;
            eprintln!("set storage.engine = \"{kind}\" before the next start");
            Ok(())
        }
        StorageVerb::Verify => check(common, &dir, tuning),
    }
}

type RewriteResult = Result<rebuild::Report, RebuildError>;

fn rewrite(
    common: &Common,
    done: &str,
    work: impl FnOnce(&mut dyn FnMut(rebuild::Progress)) -> RewriteResult,
) -> Result<(), Failure> {
    let mut meter = Meter::new();
    let worked = work(&mut |progress| {
        let what = match progress.phase {
            Phase::Copying => "copying",
            Phase::Verifying => "verifying the copy",
            Phase::Replacing => "replacing",
        };
        meter.show(what, progress.rows, progress.rows_total);
    });
    meter.finish();
    let report = worked?;
    let answer = json!({
        "rows": report.rows,
        "bytes": report.bytes,
        "diskBytesBefore": report.disk_before,
        "diskBytesAfter": report.disk_after,
    });
    let lines = [
        row(done, format!("{} rows, {} bytes", report.rows, report.bytes)),
        row("on disk", format!("{} bytes before, {} after", report.disk_before, report.disk_after)),
    ];
    print(common, &answer, lines)?;
    Ok(())
}

fn check(common: &Common, dir: &Path, tuning: Tuning) -> Result<(), Failure> {
    let mut meter = Meter::new();
    let verified = verify::verify(dir, tuning, &[], &mut |rows| meter.show("reading", rows, None));
    meter.finish();
    let report = verified?;
    let faults: Vec<_> = report
        .faults
        .iter()
        .map(|fault| json!({ "table": fault.table.map(|t| t.name()), "key": fault.key, "detail": fault.detail }))
        .collect();
    let rows: serde_json::Map<_, _> = report
        .rows
        .iter()
        .map(|(table, count)| (table.map_or("unknown", |table| table.name()).to_owned(), json!(count)))
        .collect();
    let answer = json!({
        "engine": report.engine.as_str(),
        "sound": report.is_sound(),
        "rows": rows,
        "rowsNotDecoded": report.unchecked,
        "faults": faults,
        "faultsTotal": report.faults_total,
    });
    let mut lines = vec![
        row("engine", report.engine),
        row("rows", format!("{}, of which {} were read and not decoded", report.rows_total(), report.unchecked)),
        row("faults", report.faults_total),
    ];
    for fault in &report.faults {
        let table = fault.table.map_or("unknown", |table| table.name());
        lines.push(row("  fault", format!("{table} {}: {}", fault.key, fault.detail)));
    }
    print(common, &answer, lines)?;
    if report.is_sound() {
        return Ok(());
    }
    let words = format!("{} rows are damaged; restore the store from a backup or from a peer", report.faults_total);
    Err(Failure::new(Code::DamagedData, words))
}

/// Progress on standard error: a line that is overwritten on a terminal, now and then a line elsewhere.
struct Meter {
    terminal: bool,
    last: Instant,
    shown: bool,
}

impl Meter {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: Instant::now(), shown: false }
    }

    fn show(&mut self, what: &str, rows: u64, total: Option<u64>) {
        if self.last.elapsed() < if self.terminal { TERMINAL_PACE } else { LOG_PACE } {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let (start, end) = if self.terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
        // Nobody may be reading; the work goes on.
        let mut out = std::io::stderr();
        drop(write!(out, "{start}{what}: {rows}{of} rows{end}").and_then(|()| out.flush()));
    }

    fn finish(&self) {
        if self.terminal && self.shown {
            eprintln!();
        }
    }
}

impl From<RebuildError> for Failure {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Open(error) => error.into(),
            RebuildError::SameEngine { .. } => Self::new(Code::Config, error.to_string()),
            RebuildError::Engine(_) | RebuildError::Manifest(_) | RebuildError::Different { .. } => {
                Self::new(Code::DamagedData, error.to_string())
            }
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Open(error) => error.into(),
            VerifyError::Unreadable { .. } => Self::new(Code::DamagedData, error.to_string()),
        }
    }
}
