//! `angel log`: what the running node logs.

use clap::Subcommand;
use serde_json::json;

use super::client::Daemon;
use super::exit::Failure;
use super::output::{print, row};
use super::{Common, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum LogVerb {
    /// Change what the running node logs, until it ends.
    Filter {
        /// A level such as "debug", or directives by module such as "info,angel_node::http=debug".
        filter: String,
    },
}

pub(super) fn log(common: &Common, verb: LogVerb) -> Result<(), Failure> {
    let LogVerb::Filter { filter } = verb;
    let daemon = Daemon::find(common)?;
    let answer = block_on(daemon.post("/admin/log", &json!({ "filter": filter })))??;
    print(common, &answer, [row("filter", &filter)])?;
    Ok(())
}
