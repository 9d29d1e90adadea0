//! `angel declare`: the status that this node tells its peers.

use clap::Args;
use serde_json::json;

use super::client::Daemon;
use super::exit::Failure;
use super::output::print;
use super::{Common, block_on};

#[derive(Args, Debug)]
pub(super) struct DeclareArgs {
    /// online, degraded or maintenance. A restart declares online again.
    #[arg(value_name = "STATUS", value_parser = ["online", "degraded", "maintenance"])]
    status: String,
}

pub(super) fn declare(common: &Common, args: &DeclareArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let answer = block_on(daemon.post("/admin/declare", &json!({ "status": args.status })))??;
    print(common, &answer, [format!("peers will hear: {}", args.status)])?;
    Ok(())
}
