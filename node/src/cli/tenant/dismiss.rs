//! `angel tenant dismiss`: what two nodes had written into one record is settled.

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Daemon;
use super::super::exit::{Code, Failure};
use super::Said;
use super::backups::lines;

#[derive(Args, Debug)]
pub(in super::super) struct DismissArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// The record, as `angel tenant backups` shows it: COLLECTION/KEY.
    #[arg(value_name = "PATH", required_unless_present = "all")]
    path: Option<String>,
    /// One version of it only.
    #[arg(long, value_name = "REV", requires = "path")]
    rev: Option<String>,
    /// In this space only.
    #[arg(long, value_name = "URI", requires = "path")]
    space: Option<String>,
    /// Everything that `angel tenant backups` shows.
    #[arg(long, conflicts_with = "path")]
    all: bool,
}

pub(super) async fn dismiss(daemon: &Daemon, args: &DismissArgs) -> Result<Said, Failure> {
    let shown = daemon.post("/admin/replicas/show", &json!({ "account": args.tenant })).await?;
    // Those that are shown, and none that come meanwhile: nobody has looked at them.
    let versions: Vec<_> = shown["versions"].as_array().into_iter().flatten().filter(|it| args.wants(it)).collect();
    if versions.is_empty() && !args.all {
        let words = "no second version of that record is kept; `angel tenant backups` lists those that are";
        return Err(Failure::new(Code::Daemon, words));
    }
    let versions: Vec<_> = versions.into_iter().map(named).collect();
    let body = json!({ "account": args.tenant, "versions": versions });
    let mut answer = daemon.post("/admin/replicas/dismiss", &body).await?;
    let mut words = vec![format!("{} second versions are dismissed", answer["dismissed"])];
    words.extend(lines(&answer));
    answer["versions"] = body["versions"].clone();
    Ok((answer, words))
}

impl DismissArgs {
    fn wants(&self, version: &Value) -> bool {
        let is = |name: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|it| version[name] == it.as_str());
        is("path", &self.path) && is("rev", &self.rev) && is("space", &self.space)
    }
}

/// What names a version to the daemon.
fn named(version: &Value) -> Value {
    let mut named = json!({ "path": version["path"], "rev": version["rev"] });
    if version["space"].is_string() {
        named["space"] = version["space"].clone();
    }
    named
}
