//! `angel tenant recovery`: an owner's key for a tenant whose identity names none, so that it can be taken back when every
//! node that hosts it is gone. The secret half never reaches the daemon.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::super::client::Daemon;
use super::super::exit::{Code, Failure};
use super::super::output::row;
use super::{Said, text, write_new};
use crate::lifecycle::NewRecoveryKey;

#[derive(Debug, Subcommand)]
pub(in super::super) enum RecoveryVerb {
    /// Put an owner's key before all others of a tenant's identity. Refused where it names an owner's key already: that
    /// one alone puts another in its place.
    Set(SetArgs),
}

#[derive(Args, Debug)]
pub(in super::super) struct SetArgs {
    /// The tenant's short name, handle or DID; any other account of this node, too.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// The public half of a key that the owner has already (did:key). Without it a key is made, and told once.
    #[arg(long, value_name = "DID")]
    key: Option<String>,
    /// Write the key that is made into this file, which must not be there yet, instead of showing it.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    to: Option<PathBuf>,
}

pub(super) async fn recovery(daemon: &Daemon, verb: RecoveryVerb) -> Result<Said, Failure> {
    let RecoveryVerb::Set(args) = verb;
    set(daemon, args).await
}

async fn set(daemon: &Daemon, args: SetArgs) -> Result<Said, Failure> {
    let made = if args.key.is_some() { None } else { Some(NewRecoveryKey::generate()?) };
    let public = args.key.or_else(|| made.as_ref().map(|key| key.public.to_string())).unwrap_or_default();
    if let (Some(key), Some(path)) = (&made, &args.to) {
        // Before the network is asked: a key that is first in an identity and kept nowhere would lock its owner out.
        write_new(path, format!("{}\n", *key.secret).as_bytes())?;
    }
    let wish = json!({ "account": args.tenant, "key": public });
    let set = daemon.post("/admin/accounts/recovery/set", &wish).await;
    let mut answer = set.map_err(|failure| told(failure, made.as_ref(), args.to.as_ref()))?;
    let mut words = vec![row("did", text(&answer, "did")), row("key", &public)];
    match (&made, &args.to) {
        (Some(_), Some(path)) => {
            answer["file"] = json!(path);
            words.push(row("file", path.display()));
        }
        (Some(key), None) => {
            answer["recoverySecret"] = key.secret.as_str().into();
            words.push(row("recovery", &*key.secret));
        }
        _ => {}
    }
    if made.is_some() {
        words.push(
            "The key is not kept by the node. It takes the tenant back when every node that hosts it is gone: keep it away from\n\
             this machine, and try it with `angel account recovery test`."
                .to_owned(),
        );
    }
    if answer["atOnce"] == false {
        words.push(
            "Another key of the operator came first: it can take this back for 72 hours, and until then the tenant is claimed\n\
             with that one."
                .to_owned(),
        );
    }
    Ok((answer, words))
}

/// An answer that is lost says nothing of what was done: the key that was made must not be lost with it.
fn told(failure: Failure, made: Option<&NewRecoveryKey>, file: Option<&PathBuf>) -> Failure {
    let Some(key) = made else { return failure };
    let kept = match file {
        Some(path) => format!("the key that was made lies in {}", path.display()),
        None => format!("the key that was made is {}", *key.secret),
    };
    let words = format!(
        "{}; {kept}: unless `angel account recovery test` finds it in the identity it is nothing, and can be thrown away",
        failure.words()
    );
    Failure::new(Code::Daemon, words)
}
