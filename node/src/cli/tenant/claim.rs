//! `angel tenant claim`: the owner's recovery key gives a tenant whose hosts are gone to this node.
//!
//! Everything is signed in this process; the daemon says what is to be signed and gets the signatures. What is signed is made
//! here, from what the network's directory and the daemon say, and is shown.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use angel_protocol::crypto::SigningKey;
use angel_protocol::did_document::{ATPROTO_KEY, ATPROTO_PDS, ATPROTO_PDS_TYPE};
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Source;
use angel_protocol::ledger::statement;
use angel_protocol::plc::{AuditEntry, PlcLog, PlcOperation, PlcService, PlcStatement};
use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::client::Daemon;
use super::super::exit::{Code, Failure};
use super::super::output::row;
use super::{Said, backups, text};
use crate::lifecycle::written_keys;

/// Longest recovery key that is read, in bytes.
const KEY_BYTES_MAX: u64 = 1024;

/// How long it may take until the node serves what the ledger has given it.
const SERVES_WITHIN: Duration = Duration::from_mins(2);

const ASK_EVERY: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
pub(in super::super) struct ClaimArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// A file with the account's recovery key as its owner wrote it down. Without it the key is read from standard input; it
    /// never leaves this process, only signatures do.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Although other nodes that host it answer, or the copy here has not come whole. What they alone have comes back only
    /// if they tell it.
    #[arg(long)]
    anyway: bool,
}

pub(super) async fn claim(daemon: &Daemon, args: &ClaimArgs) -> Result<Said, Failure> {
    let keys = read(args)?;
    let wanted = daemon.post("/admin/replicas/claim/to-sign", &json!({ "account": args.tenant })).await?;
    let did: Did = field(&wanted, "did")?;
    let log = daemon.get(&format!("/plc/{did}/log/audit")).await?;
    let log = audited(&did, &log)?;
    let (key, prev) = owners(&keys, &log)?;
    let (operation, dropped) = operation(key, prev, &wanted)?;
    let claimed: bool = field(&wanted, "isClaimed")?;
    let epoch: u64 = field(&wanted, "epoch")?;
    let body = json!({
        "account": did,
        "epoch": epoch,
        "owner": if claimed { None } else { Some(owners_word(key, &wanted)?) },
        "operation": operation.to_json(),
        "anyway": args.anyway,
    });
    eprintln!("asking the network to make this node the primary of {did} in epoch {epoch}");
    daemon.send("/admin/replicas/claim", "application/json", body.to_string().into_bytes()).await?;
    let started = Instant::now();
    loop {
        let mut report = daemon.post("/admin/replicas/show", &json!({ "account": did })).await?;
        if report["role"] == "primary" {
            let mut words = backups::lines(&report);
            words.extend(dropped.iter().map(|key| row("dropped", format!("the rotation key {key}"))));
            report["droppedKeys"] = json!(dropped);
            return Ok((report, words));
        }
        if started.elapsed() > SERVES_WITHIN {
            let words = format!(
                "the ledger has made this node primary of {did}, and it does not serve yet: its log says why; \
                 call the verb again once that is mended"
            );
            return Err(Failure::new(Code::Daemon, words));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn read(args: &ClaimArgs) -> Result<Vec<SigningKey>, Failure> {
    let mut written = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize));
    let read = match &args.key {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut written)),
        None => std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut written),
    };
    read.map_err(|error| Failure::new(Code::Usage, format!("cannot read the key: {error}")))?;
    let keys = written_keys(&written);
    if keys.is_empty() {
        let words = "this is no recovery key of an account; it begins with angel-recovery- and must be whole (a key of \
                     `angel backup key` opens backups, and nothing else)";
        return Err(Failure::new(Code::Usage, words));
    }
    Ok(keys)
}

fn field<T: DeserializeOwned>(answer: &Value, name: &str) -> Result<T, Failure> {
    let read = serde_json::from_value(answer[name].clone());
    read.map_err(|error| Failure::unexpected(format!("the daemon's answer has no {name} that can be read: {error}")))
}

fn audited(did: &Did, told: &Value) -> Result<PlcLog, Failure> {
    let unread =
        |error: &dyn std::fmt::Display| Failure::unexpected(format!("the log of {did} is not in order: {error}"));
    let entries = told.as_array().into_iter().flatten().map(AuditEntry::from_json).collect::<Result<_, _>>();
    PlcLog::from_audit(did, entries.map_err(|error| unread(&error))?).map_err(|error| unread(&error))
}

/// The key that comes first in the identity, and the newest operation behind which it does: what follows that was done by
/// others, and is taken back.
fn owners<'a>(keys: &'a [SigningKey], log: &'a PlcLog) -> Result<(&'a SigningKey, &'a PlcOperation), Failure> {
    for entry in log.canonical().rev() {
        let first = entry.operation.statement().data().and_then(|data| data.rotation_keys.into_iter().next());
        if let Some(key) = keys.iter().find(|key| Some(key.did()) == first) {
            return Ok((key, &entry.operation));
        }
    }
    let listed = log.canonical().filter_map(|entry| entry.operation.statement().data());
    let is_listed =
        listed.into_iter().any(|data| data.rotation_keys.iter().any(|it| keys.iter().any(|key| key.did() == *it)));
    let words = if is_listed {
        "this key can change the identity, but others come before it: a claim takes the first one, which the account's owner wrote \
         down at sign-up (NotTheOwnersKey)"
    } else {
        "this key is nothing to the identity: look for the right one; `angel account recovery test` tells (NotTheOwnersKey)"
    };
    Err(Failure::new(Code::Findings, words))
}

/// The operation that points the identity at the node, and the rotation keys that go with it: those of the hosts that are
/// gone have no power over the identity any more.
fn operation(key: &SigningKey, prev: &PlcOperation, wanted: &Value) -> Result<(PlcOperation, Vec<Did>), Failure> {
    let data = prev.statement().data();
    let mut data = data.ok_or_else(|| Failure::unexpected("the identity has ended"))?;
    let mut kept = vec![key.did()];
    kept.extend(field::<Vec<Did>>(wanted, "rotationKeys")?.into_iter().filter(|it| *it != key.did()));
    let before = std::mem::replace(&mut data.rotation_keys, kept);
    let dropped = before.into_iter().filter(|it| !data.rotation_keys.contains(it)).collect();
    data.verification_methods.insert(ATPROTO_KEY.to_owned(), field(wanted, "signingKey")?);
    let service = PlcService { kind: ATPROTO_PDS_TYPE.to_owned(), endpoint: text(wanted, "endpoint") };
    data.services.insert(ATPROTO_PDS.to_owned(), service);
    Ok((PlcStatement::State { data, prev: Some(prev.cid()) }.sign(key), dropped))
}

/// The word for the ledger.
fn owners_word(key: &SigningKey, wanted: &Value) -> Result<String, Failure> {
    let (network, tenant, node) = (field(wanted, "network")?, field(wanted, "did")?, field(wanted, "to")?);
    let from: Option<Source> = field(wanted, "from")?;
    let (domain, message) = statement::claim(&network, &tenant, field(wanted, "epoch")?, &node, from.as_ref());
    Ok(BASE64URL_NOPAD.encode(&key.sign_for(domain, &message)))
}

#[cfg(test)]
mod tests;
