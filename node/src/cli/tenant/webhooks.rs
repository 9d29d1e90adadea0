//! `angel tenant webhooks`: whom a tenant's events are told, and how that goes.

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Daemon;
use super::super::exit::Failure;
use super::{Said, text};

#[derive(Args, Debug)]
pub(in super::super) struct WebhooksArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Delete this one.
    #[arg(long, value_name = "ID")]
    delete: Option<String>,
}

pub(super) async fn webhooks(daemon: &Daemon, args: &WebhooksArgs) -> Result<Said, Failure> {
    if let Some(id) = &args.delete {
        let wish = json!({ "tenant": args.tenant, "id": id });
        daemon.post("/xrpc/co.kendev.tenants.deleteWebhook", &wish).await?;
    }
    let answer = daemon.get(&format!("/xrpc/co.kendev.tenants.listWebhooks?tenant={}", args.tenant)).await?;
    let words = answer["webhooks"].as_array().into_iter().flatten().map(line).collect();
    Ok((answer, words))
}

fn line(hook: &Value) -> String {
    let to = if hook["url"].is_string() { text(hook, "url") } else { text(hook, "form") };
    let mut line =
        format!("{:20} {:8} delivered {:>6}  {to}", text(hook, "id"), text(hook, "state"), hook["delivered"]);
    for (word, field) in [("paused", "pausedBecause"), ("failure", "lastFailure")] {
        if hook[field].is_string() {
            line.push_str(&format!("  {word}: {}", text(hook, field)));
        }
    }
    line
}
