//! `angel tenant vault`: what this node keeps of others' tenants without being able to read it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::Daemon;
use super::super::exit::Failure;
use super::super::output::row;
use super::Said;
use super::backups::kept;

#[derive(Debug, Subcommand)]
pub(in super::super) enum VaultVerb {
    /// List the archives that this node keeps.
    List,
    /// Write the archive of a tenant into a file, for its owner: `angel restore --tenant DID --from FILE` opens it with the
    /// recovery key.
    Export(ExportArgs),
}

#[derive(Args, Debug)]
pub(in super::super) struct ExportArgs {
    /// The tenant's DID or handle.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// The file to write; it ends in .tar and must not be there yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) async fn vault(daemon: &Daemon, verb: VaultVerb) -> Result<Said, Failure> {
    match verb {
        VaultVerb::List => {
            let answer = daemon.get("/admin/replicas/vault").await?;
            let line = |archive: &Value| format!("{}: {}", archive["tenant"].as_str().unwrap_or("-"), kept(archive));
            let words = answer["archives"].as_array().into_iter().flatten().map(line).collect();
            Ok((answer, words))
        }
        VaultVerb::Export(args) => {
            // The daemon may run in another directory.
            let file = std::path::absolute(&args.file);
            let file = file.map_err(|error| Failure::unexpected(format!("{}: {error}", args.file.display())))?;
            let wish = json!({ "account": args.tenant, "file": file });
            let answer = daemon.post("/admin/replicas/vault/export", &wish).await?;
            let words = vec![
                row("file", file.display()),
                row("bytes", &answer["bytes"]),
                "Only the owner's recovery key opens it: `angel restore --tenant DID --from FILE --key KEY`."
                    .to_owned(),
            ];
            Ok((answer, words))
        }
    }
}
