//! `angel account`: the accounts that this node hosts.

mod moving;

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::{print, row};
use super::{Common, block_on};
use crate::lifecycle::{NewRecoveryKey, public_half};
use crate::secrets::random_bytes;

/// Longest recovery key that is read, in bytes.
const KEY_BYTES_MAX: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(super) enum AccountVerb {
    /// Make an account, and show its password and recovery key once.
    Create(CreateArgs),
    /// List the accounts, oldest first.
    List,
    /// Show one account.
    Show(Who),
    /// Print the code that an owner asked for, where no mail server is set.
    Code(CodeArgs),
    /// Hide an account from everybody.
    Takedown(TakedownArgs),
    /// Show a hidden account again.
    Restore(Who),
    /// Switch on an account that was switched off or restored from a backup, once its identity leads here.
    Activate(Who),
    /// Give an account another password, and end its sessions.
    Password(Who),
    /// Make an invite code.
    Invite(InviteArgs),
    /// Delete an account with everything it has. Its identity stays its owner's.
    Delete(DeleteArgs),
    /// Move an account to another host, of any make; called again, it goes on where it broke off.
    MoveOut(moving::MoveOutArgs),
    /// Take an account in from another host, the same way.
    MoveIn(moving::MoveInArgs),
    /// Recovery keys.
    #[command(subcommand)]
    Recovery(RecoveryVerb),
}

#[derive(Args, Debug)]
pub(super) struct Who {
    /// The account's handle or DID.
    #[arg(value_name = "ACCOUNT")]
    account: String,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// The handle; a name without a dot gets this host's first domain.
    #[arg(value_name = "HANDLE")]
    handle: String,
    /// Where codes and notices go.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The public half of a recovery key that the owner has already (did:key). Without it one is made.
    #[arg(long, value_name = "DID")]
    recovery_key: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct CodeArgs {
    #[command(flatten)]
    who: Who,
    /// confirm_email, update_email, reset_password, delete_account, plc_operation or sign_in.
    #[arg(value_name = "PURPOSE")]
    purpose: String,
}

#[derive(Args, Debug)]
pub(super) struct TakedownArgs {
    #[command(flatten)]
    who: Who,
    /// A word to find the reason by.
    #[arg(long, value_name = "TEXT", default_value = "operator")]
    reference: String,
}

#[derive(Args, Debug)]
pub(super) struct InviteArgs {
    /// How many accounts may be made with it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u16,
}

#[derive(Args, Debug)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    who: Who,
    /// Really delete it.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RecoveryVerb {
    /// Test whether a recovery key would bring an account back.
    Test(TestArgs),
}

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    #[command(flatten)]
    who: Who,
    /// A file with the key as it was written down. Without it the key is read from standard input; it never leaves
    /// this process, only its public half does.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) fn account(common: &Common, verb: AccountVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let (answer, words) = block_on(perform(&daemon, verb))??;
    print(common, &answer, words)?;
    Ok(())
}

/// An answer, as JSON and in words.
pub(super) type Said = (Value, Vec<String>);

async fn perform(daemon: &Daemon, verb: AccountVerb) -> Result<Said, Failure> {
    match verb {
        AccountVerb::Create(args) => create(daemon, args).await,
        AccountVerb::List => list(daemon).await,
        AccountVerb::Show(who) => show(daemon, &who).await,
        AccountVerb::Code(CodeArgs { who, purpose }) => {
            let wish = json!({ "account": who.account, "purpose": purpose });
            let answer = daemon.post("/admin/accounts/code", &wish).await?;
            let code = text(&answer, "code");
            Ok((answer, vec![code]))
        }
        AccountVerb::Takedown(TakedownArgs { who, reference }) => {
            take_down(daemon, &who, json!({ "applied": true, "ref": reference }), "hidden").await
        }
        AccountVerb::Restore(who) => take_down(daemon, &who, json!({ "applied": false }), "shown again").await,
        AccountVerb::Activate(who) => {
            let answer = daemon.post("/admin/accounts/activate", &json!({ "account": who.account })).await?;
            let line = format!("{} is switched on", who.account);
            Ok((answer, vec![line]))
        }
        AccountVerb::Password(who) => password(daemon, &who).await,
        AccountVerb::Invite(InviteArgs { uses }) => {
            let answer = daemon.post("/xrpc/com.atproto.server.createInviteCode", &json!({ "useCount": uses })).await?;
            let code = text(&answer, "code");
            Ok((answer, vec![code]))
        }
        AccountVerb::Delete(DeleteArgs { who, yes }) => delete(daemon, &who, yes).await,
        AccountVerb::MoveOut(args) => moving::move_out(daemon, &args).await,
        AccountVerb::MoveIn(args) => moving::move_in(daemon, &args).await,
        AccountVerb::Recovery(RecoveryVerb::Test(args)) => test_recovery(daemon, args).await,
    }
}

async fn create(daemon: &Daemon, args: CreateArgs) -> Result<Said, Failure> {
    let server = daemon.get("/xrpc/com.atproto.server.describeServer").await?;
    let domain = server["availableUserDomains"][0].as_str().unwrap_or_default();
    let handle = if args.handle.contains('.') { args.handle } else { format!("{}{domain}", args.handle) };
    let password = generated_password()?;
    let made = if args.recovery_key.is_some() { None } else { Some(NewRecoveryKey::generate()?) };
    let public = args.recovery_key.or_else(|| made.as_ref().map(|key| key.public.to_string()));
    let mut wish = json!({ "handle": handle, "password": *password, "recoveryKey": public });
    if let Some(email) = args.email {
        wish["email"] = email.into();
    }
    if server["inviteCodeRequired"] == true {
        let code = daemon.post("/xrpc/com.atproto.server.createInviteCode", &json!({ "useCount": 1 })).await?;
        wish["inviteCode"] = code["code"].clone();
    }
    let account = daemon.post("/xrpc/com.atproto.server.createAccount", &wish).await?;
    let mut answer = json!({
        "did": account["did"],
        "handle": account["handle"],
        "password": *password,
        "recoveryKey": public,
    });
    let mut words =
        vec![row("did", text(&account, "did")), row("handle", text(&account, "handle")), row("password", &*password)];
    if let Some(key) = made {
        answer["recoverySecret"] = key.secret.as_str().into();
        words.push(row("recovery", &*key.secret));
        words.push(String::new());
        words.push(
            "Neither is kept here. The recovery key takes the identity back when this machine or its operator is gone:\n\
             write it down, and try it with `angel account recovery test`."
                .to_owned(),
        );
    }
    Ok((answer, words))
}

/// Makes an account with a password and a recovery key, which are told once.
pub(super) async fn make(daemon: &Daemon, handle: String, email: Option<String>) -> Result<Said, Failure> {
    create(daemon, CreateArgs { handle, email, recovery_key: None }).await
}

async fn list(daemon: &Daemon) -> Result<Said, Failure> {
    let mut accounts = vec![];
    let mut after = String::new();
    loop {
        let path = format!("/xrpc/com.atproto.admin.searchAccounts?limit=100{after}");
        let mut page = daemon.get(&path).await?;
        accounts.extend(page["accounts"].as_array_mut().map(std::mem::take).unwrap_or_default());
        let Some(cursor) = page["cursor"].as_str() else { break };
        after = format!("&cursor={cursor}");
    }
    let line = |account: &Value| {
        let state = if account["deactivatedAt"].is_null() { "active" } else { "deactivated" };
        format!("{:40} {:30} {state}", text(account, "did"), text(account, "handle"))
    };
    let words = accounts.iter().map(line).collect();
    Ok((json!({ "accounts": accounts }), words))
}

async fn show(daemon: &Daemon, who: &Who) -> Result<Said, Failure> {
    let did = did(daemon, who).await?;
    let mut answer = daemon.get(&format!("/xrpc/com.atproto.admin.getAccountInfo?did={did}")).await?;
    let status = daemon.get(&format!("/xrpc/com.atproto.admin.getSubjectStatus?did={did}")).await?;
    answer["takedown"] = status["takedown"].clone();
    answer["deactivated"] = status["deactivated"].clone();
    let mut words = vec![row("did", &did), row("handle", text(&answer, "handle"))];
    words.extend(answer["email"].as_str().map(|email| row("e-mail", email)));
    words.push(row("since", text(&answer, "indexedAt")));
    let state = if status["takedown"]["applied"] == true {
        "hidden by the operator"
    } else if status["deactivated"]["applied"] == true {
        "deactivated by its owner"
    } else {
        "active"
    };
    words.push(row("state", state));
    Ok((answer, words))
}

async fn take_down(daemon: &Daemon, who: &Who, takedown: Value, done: &str) -> Result<Said, Failure> {
    let did = did(daemon, who).await?;
    let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": did });
    let body = json!({ "subject": subject, "takedown": takedown });
    let answer = daemon.post("/xrpc/com.atproto.admin.updateSubjectStatus", &body).await?;
    Ok((answer, vec![format!("{did} is {done}")]))
}

async fn password(daemon: &Daemon, who: &Who) -> Result<Said, Failure> {
    let did = did(daemon, who).await?;
    let password = generated_password()?;
    let body = json!({ "did": did, "password": *password });
    daemon.post_for_nothing("/xrpc/com.atproto.admin.updateAccountPassword", &body).await?;
    Ok((body, vec![row("did", &did), row("password", &*password)]))
}

async fn delete(daemon: &Daemon, who: &Who, yes: bool) -> Result<Said, Failure> {
    let did = did(daemon, who).await?;
    if !yes {
        let words = format!("this deletes the repository, the files and the settings of {did}; add --yes to do it");
        return Err(Failure::new(Code::Usage, words));
    }
    daemon.post_for_nothing("/xrpc/com.atproto.admin.deleteAccount", &json!({ "did": did })).await?;
    Ok((json!({ "did": did }), vec![format!("{did} is deleted")]))
}

async fn test_recovery(daemon: &Daemon, args: TestArgs) -> Result<Said, Failure> {
    let mut written = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize));
    let read = match &args.key {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut written)),
        None => std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut written),
    };
    read.map_err(|error| Failure::new(Code::Usage, format!("cannot read the key: {error}")))?;
    let key = public_half(&written).ok_or_else(|| {
        Failure::new(Code::Usage, "this is no recovery key; it begins with angel-recovery- and must be whole")
    })?;
    let answer = daemon.post("/admin/accounts/recovery", &json!({ "account": args.who.account, "key": key })).await?;
    let did = text(&answer, "did");
    let words = match answer["result"].as_str() {
        Some("first") => format!("this key brings {did} back, whoever holds the others"),
        Some("later") => format!(
            "this key can change {did}, but {} other key(s) come before it and could undo what it does within 72 hours",
            answer["before"]
        ),
        _ => format!("this key is nothing to {did}: look for the right one, or have a new one set"),
    };
    if answer["result"] == "unknown" {
        return Err(Failure::new(Code::Findings, words));
    }
    Ok((answer, vec![words]))
}

/// The DID of the account that the operator means.
async fn did(daemon: &Daemon, who: &Who) -> Result<String, Failure> {
    let found = daemon.post("/admin/accounts/find", &json!({ "account": who.account })).await?;
    Ok(text(&found, "did"))
}

fn generated_password() -> Result<Zeroizing<String>, Failure> {
    let digits = BASE32_NOPAD.encode(&random_bytes::<15>()?[..]).to_ascii_lowercase();
    Ok(Zeroizing::new(format!("{}-{}-{}-{}", &digits[..6], &digits[6..12], &digits[12..18], &digits[18..])))
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_default().to_owned()
}
