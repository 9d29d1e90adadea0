//! `angel doctor`: what is wrong or will go wrong, and the mend for each. Changes nothing, and works with the node
//! down too.

mod data;
mod machine;
mod name;
mod ports;

use serde_json::{Value, json};

use super::client::running;
use super::exit::{Code, Failure};
use super::output::print;
use super::{Common, block_on};
use crate::config::Loaded;
use crate::data_dir::Layout;
use crate::facts::RunFile;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Will go wrong, or works badly.
    Warning,
    /// Does not work.
    Problem,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    level: Level,
    what: String,
    mend: Option<String>,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), mend: None }
    }

    fn note(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Note, what: what.into(), mend: None }
    }

    fn warning(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, what: what.into(), mend: Some(mend.into()) }
    }

    fn problem(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, what: what.into(), mend: Some(mend.into()) }
    }

    fn to_json(&self) -> Value {
        json!({ "check": self.check, "level": self.level.as_str(), "what": self.what, "mend": self.mend })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{:<8} {:<12} {}", self.level.as_str(), self.check, self.what)];
        lines.extend(self.mend.as_ref().map(|mend| format!("{:<21} mend: {mend}", "")));
        lines
    }
}

/// What the checks look at.
struct Patient<'a> {
    loaded: &'a Loaded,
    layout: Layout,
    /// The daemon, when one runs.
    daemon: Option<RunFile>,
}

pub(super) fn doctor(common: &Common) -> Result<(), Failure> {
    let findings = match common.load(vec![]) {
        Ok(loaded) => examine(&loaded)?,
        Err(error) => vec![Finding::problem("config", error.to_string(), "correct the setting, then ask again")],
    };
    let sick = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    let answer = json!({
        "healthy": sick == 0,
        "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
    });
    print(common, &answer, findings.iter().flat_map(Finding::lines))?;
    if sick == 0 {
        return Ok(());
    }
    Err(Failure::new(Code::Findings, format!("found {sick} to mend")))
}

fn examine(loaded: &Loaded) -> Result<Vec<Finding>, Failure> {
    let layout = Layout::new(loaded.config.data_dir());
    let mut findings = config(loaded);
    let daemon = running(&layout).unwrap_or_else(|failure| {
        findings.push(Finding::problem("daemon", failure.words().to_owned(), "wait a moment, then ask again"));
        None
    });
    let patient = Patient { loaded, layout, daemon };
    findings.extend(data::check(&patient));
    findings.extend(machine::check(&patient));
    findings.extend(block_on(ports::check(&patient))?);
    findings.extend(block_on(name::check(&patient))?);
    Ok(findings)
}

fn config(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("config", "every setting is valid")];
    for unused in &loaded.unused_variables {
        let mend = match &unused.nearest {
            Some(nearest) => format!("rename it to {nearest}, or unset it"),
            None => "unset it, if it was meant for this node".to_owned(),
        };
        findings.push(Finding::warning("config", format!("{} sets nothing", unused.name), mend));
    }
    let network = &loaded.config.network;
    if network.bootstrap.is_empty() && network.persistent_peers.is_empty() && !network.mdns {
        findings.push(Finding::note("config", "no other node is named and mdns is off: this node waits to be found"));
    }
    findings
}
