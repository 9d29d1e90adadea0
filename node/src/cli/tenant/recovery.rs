//! `angel tenant recovery`: an owner's key for a tenant whose identity names none, so that it can be taken back when every
//! node that hosts it is gone. The secret half never reaches the daemon.

use std::path::{Path, PathBuf};

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
    /// The public half of a key that the owner has already (did:key).
    #[arg(long, value_name = "DID")]
    key: Option<String>,
    /// Make a key, and write it into this file, which must not be there yet.
    #[arg(long, value_name = "FILE", conflicts_with = "key", required_unless_present = "key")]
    to: Option<PathBuf>,
}

pub(super) async fn recovery(daemon: &Daemon, verb: RecoveryVerb) -> Result<Said, Failure> {
    let RecoveryVerb::Set(args) = verb;
    set(daemon, args).await
}

async fn set(daemon: &Daemon, args: SetArgs) -> Result<Said, Failure> {
    let (public, file) = match (args.key, args.to) {
        (None, Some(path)) => {
            let made = NewRecoveryKey::generate()?;
            // Before the network is asked: a key that is first in an identity and kept nowhere would lock its owner out.
            write_new(&path, format!("{}\n", *made.secret).as_bytes())?;
            (made.public.to_string(), Some(path))
        }
        (key, _) => (key.unwrap_or_default(), None),
    };
    let wish = json!({ "account": args.tenant, "key": public });
    let set = daemon.post("/admin/accounts/recovery/set", &wish).await;
    let mut answer = set.map_err(|failure| told(failure, file.as_deref()))?;
    let mut words = vec![row("did", text(&answer, "did")), row("key", &public)];
    if let Some(path) = &file {
        answer["file"] = json!(path);
        words.push(row("file", path.display()));
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

/// An answer that is lost says nothing of what was done: whoever has the key should know what became of it.
fn told(failure: Failure, file: Option<&Path>) -> Failure {
    let Some(path) = file else { return failure };
    let words = format!(
        "{}; the key that was made lies in {}: unless `angel account recovery test` finds it in the identity it is nothing, \
         and can be thrown away",
        failure.words(),
        path.display()
    );
    Failure::new(Code::Daemon, words)
}
