//! `angel tenant rollback`.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::super::client::Daemon;
use super::super::exit::{Code, Failure};
use super::migrate::{lines, watch};
use super::{Said, text};

/// How long it may take until this node has the tenant again.
const BACK_WITHIN: Duration = Duration::from_mins(10);

const ASK_EVERY: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
pub(in super::super) struct RollbackArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Return at once.
    #[arg(long)]
    no_wait: bool,
}

pub(super) async fn roll_back(daemon: &Daemon, args: &RollbackArgs) -> Result<Said, Failure> {
    let begun = daemon.post("/xrpc/co.kendev.network.rollBackMigration", &json!({ "tenant": args.tenant })).await?;
    if args.no_wait {
        let words = lines(&begun);
        return Ok((begun, words));
    }
    if begun["at"].is_null() {
        return watch(daemon, begun).await;
    }
    // The other node moves it; what counts is that it is here again.
    let (started, did) = (Instant::now(), text(&begun, "tenant"));
    loop {
        let report = daemon.post("/admin/replicas/show", &json!({ "account": did })).await?;
        if report["role"] == "primary" {
            return Ok((report, vec![format!("{} is served by this node again", args.tenant)]));
        }
        if started.elapsed() > BACK_WITHIN {
            let words =
                format!("{} still moves the tenant back; `angel tenant backups` shows how far", text(&begun, "at"));
            return Err(Failure::new(Code::Daemon, words));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
