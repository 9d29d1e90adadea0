//! The official consumer follows the tenant at each of its hosts, through everything that happens to them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use angel_harness::tenancy::{HOSTS, Tenancy};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// What the script ends with where what it needs cannot be installed.
const MISSING: i32 = 3;

/// One process per host.
pub(super) struct Followers {
    all: Vec<(Child, PathBuf)>,
    _out: tempfile::TempDir,
}

impl Followers {
    /// Begins to follow, or says why there is no consumer here.
    pub(super) fn start(tenancy: &Tenancy) -> Result<Option<Self>> {
        let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients"));
        let installed = Command::new(script).arg("install").stdout(Stdio::null()).status()?;
        if installed.code() == Some(MISSING) {
            println!("without the official consumer: it cannot be installed here");
            return Ok(None);
        }
        let out = tempfile::tempdir()?;
        let mut all = Vec::new();
        for index in HOSTS {
            let file = out.path().join(format!("{index}.json"));
            let url = tenancy.validators.daemon(index).fact("httpUrl").replace("127.0.0.1", "localhost");
            let plan = json!({ "url": url, "did": tenancy.did(), "out": file });
            let words = [tenancy.wrapper(index), vec![script.to_str().context("text")?.to_owned()]].concat();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg("follow").arg(plan.to_string());
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            let mut said = String::new();
            BufReader::new(child.stdout.take().context("piped")?).read_line(&mut said)?;
            ensure!(said.trim() == "following", "the consumer at node {index} said {said:?}");
            all.push((child, file));
        }
        Ok(Some(Self { all, _out: out }))
    }

    /// Ends them all. Nothing that came was wrong, and the repository of the primary verifies as it stands at `rev`.
    pub(super) fn stop(mut self, primary: usize, rev: &str) -> Result<()> {
        for (index, (child, file)) in self.all.iter_mut().enumerate() {
            kill_process(Pid::from_child(child), Signal::TERM)?;
            ensure!(child.wait()?.success(), "the consumer at node {index} failed");
            let seen: Value = serde_json::from_slice(&std::fs::read(file)?)?;
            println!("  the consumer at node {index}: {seen}");
            ensure!(seen["wrong"] == json!([]), "the consumer at node {index} does not believe it: {seen}");
            if index == primary {
                ensure!(seen["repo"] == rev, "the repository of the primary is not that of {rev}: {seen}");
            }
        }
        Ok(())
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        for (child, _) in &mut self.all {
            // It may have ended.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}
