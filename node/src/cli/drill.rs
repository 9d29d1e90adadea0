//! `angel drill`: a failover that is tried on purpose.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::{print, row};
use super::{Common, block_on};

/// How often it is asked how it goes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(super) struct DrillArgs {
    /// The tenant's DID or handle; this node has to be its primary.
    #[arg(value_name = "TENANT")]
    tenant: String,
}

pub(super) fn drill(common: &Common, args: &DrillArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let drill = block_on(perform(&daemon, args))??;
    print(common, &drill, lines(&drill))?;
    match drill["failure"].as_str() {
        Some(why) => Err(Failure::new(Code::Findings, format!("the drill failed: {why}"))),
        None => Ok(()),
    }
}

async fn perform(daemon: &Daemon, args: &DrillArgs) -> Result<Value, Failure> {
    let asked = daemon.post("/admin/replicas/drill", &json!({ "account": args.tenant })).await?;
    // While the tenant is elsewhere its names are, too: from here on by its DID.
    let who = json!({ "account": asked["tenant"] });
    let mut said = String::new();
    loop {
        let mut state = daemon.post("/admin/replicas/drill/state", &who).await?;
        match state["state"].as_str() {
            Some("done") => return Ok(state["result"].take()),
            Some("refused") => {
                let text = |name: &str| state[name].as_str().unwrap_or("unknown").to_owned();
                return Err(Failure::new(Code::Daemon, format!("{} ({})", text("message"), text("error"))));
            }
            _ => {}
        }
        let phase = state["phase"].as_str().unwrap_or("waiting");
        if said != phase {
            eprintln!("{phase}");
            phase.clone_into(&mut said);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn lines(drill: &Value) -> Vec<String> {
    let text = |name: &str| drill[name].as_str().unwrap_or("-").to_owned();
    let mut lines = vec![
        row("standby", text("standby")),
        row(
            "no writes",
            format!("{} ms on the way there, {} ms on the way back", drill["refusedThereMs"], drill["refusedBackMs"]),
        ),
        row("took", format!("{} ms", drill["tookMs"])),
        row("root before", text("rootBefore")),
    ];
    for (host, root) in drill["rootsAfter"].as_object().into_iter().flatten() {
        lines.push(row("root after", format!("{} at {host}", root.as_str().unwrap_or("-"))));
    }
    lines.push(row("outcome", text("outcome")));
    lines
}
