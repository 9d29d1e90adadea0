//! `angel validator`: who decides, and how that changes. A change needs the consent of more than two thirds of the
//! validators: it goes around as a file that each of their operators adds to.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::print;
use super::{Common, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum ValidatorVerb {
    /// List the validators of the next height.
    List,
    /// Make this node a validator: drafts the request into FILE, and hands it in once FILE holds enough approvals.
    Add(AddArgs),
    /// Remove another validator: drafts the request into FILE with this validator's approval, and hands it in once FILE
    /// holds enough of them.
    Remove(RemoveArgs),
    /// Add this validator's approval to the request in FILE.
    Approve(FileArgs),
    /// Stop being a validator.
    Leave(LeaveArgs),
}

#[derive(Args, Debug)]
pub(super) struct FileArgs {
    /// The file that goes around.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct AddArgs {
    #[command(flatten)]
    file: FileArgs,
    /// How many heights after the present one it takes effect. Approvals have to be gathered before.
    #[arg(long, value_name = "HEIGHTS", default_value_t = 10)]
    after: u64,
}

#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// Whom.
    #[arg(value_name = "DID")]
    validator: String,
    #[command(flatten)]
    file: FileArgs,
    /// Why, for the others and for good.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How many heights after the present one it takes effect.
    #[arg(long, value_name = "HEIGHTS", default_value_t = 10)]
    after: u64,
}

#[derive(Args, Debug)]
pub(super) struct LeaveArgs {
    /// How many heights after the present one it takes effect.
    #[arg(long, value_name = "HEIGHTS", default_value_t = 2)]
    after: u64,
}

pub(super) fn validator(common: &Common, verb: &ValidatorVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    match verb {
        ValidatorVerb::List => list(common, &daemon),
        ValidatorVerb::Add(args) => {
            let wish = json!({ "kind": "join", "after": args.after });
            change(common, &daemon, &args.file.file, &wish, false)
        }
        ValidatorVerb::Remove(args) => {
            let RemoveArgs { validator, reason, after, .. } = args;
            let wish = json!({ "kind": "remove", "validator": validator, "reason": reason, "after": after });
            change(common, &daemon, &args.file.file, &wish, true)
        }
        ValidatorVerb::Approve(args) => {
            let approved = block_on(daemon.post("/admin/validators/approve", &read(&args.file)?))??;
            write(&args.file, &approved)?;
            print(common, &approved, vec![words(&approved), gathered(&approved)])?;
            Ok(())
        }
        ValidatorVerb::Leave(args) => {
            let answer = block_on(daemon.post("/admin/validators/leave", &json!({ "after": args.after })))??;
            print(common, &answer, vec![format!("this node decides up to height {}, and not {0}", answer["at"])])?;
            Ok(())
        }
    }
}

fn list(common: &Common, daemon: &Daemon) -> Result<(), Failure> {
    let answer = block_on(daemon.get("/xrpc/co.kendev.network.listValidators"))??;
    let validators = answer["validators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<_> = validators.iter().filter_map(|it| it["did"].as_str()).map(ToOwned::to_owned).collect();
    lines.push(match validators.len() {
        1 => "single validator, no fault tolerance".to_owned(),
        _ => format!("{} of {} have to agree", answer["quorum"], validators.len()),
    });
    print(common, &answer, lines)?;
    Ok(())
}

/// Drafts a change where there is no file yet, and hands in the one that there is.
fn change(common: &Common, daemon: &Daemon, file: &Path, wish: &Value, approves: bool) -> Result<(), Failure> {
    let mut request = if file.exists() {
        read(file)?
    } else {
        let mut drafted = block_on(daemon.post("/admin/validators/draft", wish))??;
        if approves {
            drafted = block_on(daemon.post("/admin/validators/approve", &drafted))??;
        }
        write(file, &drafted)?;
        drafted
    };
    let listed = block_on(daemon.get("/xrpc/co.kendev.network.listValidators"))??;
    request["needed"] = listed["quorum"].clone();
    let approvals = request["approvals"].as_array().map_or(0, Vec::len) as u64;
    if approvals < listed["quorum"].as_u64().unwrap_or(u64::MAX) {
        let next = format!("let the others run `angel validator approve {}`, then run this again", file.display());
        print(common, &request, vec![words(&request), gathered(&request), next])?;
        return Ok(());
    }
    let answer = block_on(daemon.post("/admin/validators/submit", &request))??;
    print(
        common,
        &answer,
        vec![words(&answer), format!("decided  {}", answer["transactionId"].as_str().unwrap_or(""))],
    )?;
    Ok(())
}

fn words(request: &Value) -> String {
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let (who, at, network) = (text("validator"), &request["at"], text("network"));
    match request["kind"].as_str() {
        Some("join") => format!("{who} becomes a validator of {network} from height {at} on"),
        _ => format!("{who} is removed from the validators of {network} from height {at} on: {}", text("reason")),
    }
}

fn gathered(request: &Value) -> String {
    let approvals = request["approvals"].as_array().map_or(0, Vec::len);
    format!("{approvals} of the {} approvals that it needs", request["needed"])
}

fn read(file: &Path) -> Result<Value, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Code::DataDir, format!("cannot read {shown}: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(Code::Config, format!("{shown} holds no request of this kind: {error}")))
}

fn write(file: &Path, request: &Value) -> Result<(), Failure> {
    std::fs::write(file, format!("{request:#}\n"))
        .map_err(|error| Failure::new(Code::DataDir, format!("cannot write {}: {error}", file.display())))
}
