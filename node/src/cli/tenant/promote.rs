//! `angel tenant promote`.

use clap::Args;
use serde_json::json;

use super::super::client::Daemon;
use super::super::exit::Failure;
use super::Said;
use super::backups::lines;

#[derive(Args, Debug)]
pub(in super::super) struct PromoteArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
}

pub(super) async fn promote(daemon: &Daemon, args: &PromoteArgs) -> Result<Said, Failure> {
    let answer = daemon.post("/admin/replicas/promote", &json!({ "account": args.tenant })).await?;
    let words = lines(&answer);
    Ok((answer, words))
}
