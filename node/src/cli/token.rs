//! `angel token`: balances, payments, proofs. A payment is signed here, with a key that never leaves this process.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::ledger::action::Exchange;
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::ledger::{Action, Amount, LedgerProof, Signed, Transaction, ValidatorSet};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::print;
use super::wallet_key;
use super::{Common, block_on};
use crate::clock;

/// Micro-tokens in a token.
const MICRO: u64 = 1_000_000;

/// Milliseconds in a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// How long a payment may wait to be decided.
const LIFE: Duration = Duration::from_hours(24);

/// How often the outcome is asked for.
const ASK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Show an account's balance.
    Balance(AccountArgs),
    /// Open a wallet for an account of this node, under a key that the node keeps, so that it can be paid.
    Open(OpenArgs),
    /// Pay tokens to an account, and wait until the network has decided.
    Send(SendArgs),
    /// Pay a node of the network for a day's work, as a validator.
    Reward(RewardArgs),
    /// List the movements of an account's balance, the newest first.
    History(AccountArgs),
    /// Make a key file for a wallet, or show the DID of one.
    Key(KeyArgs),
    /// Fetch a proof of a balance into a file.
    Prove(ProveArgs),
    /// Check a proof in a file against validators that you know, without asking anybody.
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(super) struct AccountArgs {
    /// The account's DID; this node's own wallet when absent.
    #[arg(value_name = "DID")]
    account: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct OpenArgs {
    /// The account's DID.
    #[arg(value_name = "DID")]
    account: String,
}

#[derive(Args, Debug)]
pub(super) struct SendArgs {
    /// Who receives.
    #[arg(value_name = "TO")]
    to: String,
    /// How many tokens, for example 2.5.
    #[arg(value_name = "TOKENS", value_parser = amount)]
    amount: Amount,
    /// The file of the paying wallet's key. Without one the node signs: for itself, or for an account whose wallet it keeps.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The paying account's DID. Without it the did:key of the key pays, or this node.
    #[arg(long, value_name = "DID")]
    from: Option<String>,
    /// What for, in your words.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Return as soon as the node has taken it.
    #[arg(long, requires = "key")]
    no_wait: bool,
}

#[derive(Args, Debug)]
pub(super) struct RewardArgs {
    /// The node's DID.
    #[arg(value_name = "NODE")]
    to: String,
    /// How many tokens, for example 2.5.
    #[arg(value_name = "TOKENS", value_parser = amount)]
    amount: Amount,
    /// The day that the node worked: how many days ago, in UTC. Each day is paid once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    days_ago: u64,
}

#[derive(Args, Debug)]
pub(super) struct KeyArgs {
    /// The file; made, readable by its owner alone, when it is not there.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct ProveArgs {
    /// Whose balance.
    #[arg(value_name = "DID")]
    account: String,
    /// Where to write the proof.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// The file with the proof.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose balance.
    #[arg(long, value_name = "DID")]
    account: String,
    /// A validator of that height; name each. They are what you have to know from elsewhere.
    #[arg(long = "validator", value_name = "DID", required = true)]
    validators: Vec<String>,
}

/// Reads tokens with up to six decimals.
fn amount(text: &str) -> Result<Amount, String> {
    let wrong = || "an amount of tokens such as 2 or 0.25, with at most six decimals".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || part.len() > 6 || !format!("{whole}{part}").bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    let micro = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(MICRO)?.checked_add(part));
    Amount::new(micro.ok_or_else(wrong)?).map_err(|error| error.to_string())
}

pub(super) fn token(common: &Common, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Balance(args) => balance(common, args.account),
        TokenVerb::Open(args) => open(common, &args),
        TokenVerb::Send(args) => send(common, args),
        TokenVerb::Reward(args) => reward(common, &args),
        TokenVerb::History(args) => history(common, args.account),
        TokenVerb::Key(args) => {
            let key = wallet_key::load_or_create(&args.file)?;
            let answer = json!({ "did": key.did(), "file": args.file.display().to_string() });
            print(common, &answer, vec![key.did().to_string()])?;
            Ok(())
        }
        TokenVerb::Prove(args) => prove(common, &args),
        TokenVerb::Verify(args) => verify(common, &args),
    }
}

fn did(text: &str) -> Result<Did, Failure> {
    Did::from_str(text).map_err(|error| Failure::new(Code::Config, format!("{text} is no DID: {error}")))
}

fn tokens(micro: u64) -> String {
    format!("{}.{:06}", micro / MICRO, micro % MICRO)
}

fn account_or_own(daemon: &Daemon, account: Option<String>) -> String {
    account.unwrap_or_else(|| daemon.did().to_string())
}

fn balance(common: &Common, account: Option<String>) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let account = account_or_own(&daemon, account);
    let answer = block_on(daemon.get(&format!("/xrpc/co.kendev.network.getBalance?account={account}")))??;
    let micro = answer["total"].as_u64().unwrap_or_default();
    print(common, &answer, vec![format!("{} tokens at height {}", tokens(micro), answer["height"])])?;
    Ok(())
}

fn history(common: &Common, account: Option<String>) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let account = account_or_own(&daemon, account);
    let answer = block_on(daemon.get(&format!("/xrpc/co.kendev.network.listTransactions?account={account}")))??;
    let movements = answer["movements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |movement: &Value| {
        let change = movement["change"].as_i64().unwrap_or_default();
        let sign = if change < 0 { "-" } else { "+" };
        format!(
            "{:>8}  {sign}{:<18} {:>18}  {}",
            movement["height"],
            tokens(change.unsigned_abs()),
            tokens(movement["balance"].as_u64().unwrap_or_default()),
            movement["transactionId"].as_str().unwrap_or_default(),
        )
    };
    print(common, &answer, movements.iter().map(line).collect::<Vec<_>>())?;
    Ok(())
}

fn open(common: &Common, args: &OpenArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let wish = json!({ "account": did(&args.account)? });
    let answer = block_on(daemon.post("/admin/ledger/open", &wish))??;
    let key = answer["key"].as_str().unwrap_or_default();
    print(common, &answer, vec![format!("open  {}, signed for by {key}", args.account)])?;
    Ok(())
}

fn send(common: &Common, args: SendArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let (to, from) = (did(&args.to)?, args.from.as_deref().map(did).transpose()?);
    let answer = if let Some(file) = &args.key {
        let key = wallet_key::load(file)?;
        let wallet = from.unwrap_or_else(|| key.did());
        let action = Action::CrossTenantExchange(Exchange {
            to,
            from_tenant: None,
            to_tenant: None,
            amount: args.amount,
            currency: Currency::AngelTokens,
            quote: None,
            reason: args.reason,
        });
        block_on(pay(&daemon, &key, wallet, action, args.no_wait))??
    } else {
        let wish = json!({ "from": from, "to": to, "amount": args.amount.micro(), "reason": args.reason });
        block_on(daemon.post("/admin/ledger/send", &wish))??
    };
    let status = answer["status"].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("{status}  {}", answer["transactionId"].as_str().unwrap_or_default())];
    if let Some(signers) = answer.pointer("/certificate/validatorNodes").and_then(Value::as_array) {
        lines.push(format!("height {}, decided by {} validators", answer["height"], signers.len()));
    }
    print(common, &answer, lines)?;
    if status == "failed" {
        let why = answer["outcomeText"].as_str().unwrap_or_default();
        return Err(Failure::new(Code::Daemon, format!("the network refused the payment: {why}")));
    }
    Ok(())
}

async fn pay(daemon: &Daemon, key: &NodeKey, wallet: Did, action: Action, no_wait: bool) -> Result<Value, Failure> {
    let status = daemon.get("/api/federation/ledger").await?;
    let network = status["network"].as_str().unwrap_or_default();
    let network = NetworkId::from_str(network).map_err(|error| Failure::unexpected(error.to_string()))?;
    let balance = daemon.get(&format!("/xrpc/co.kendev.network.getBalance?account={wallet}")).await?;
    let transaction = Transaction {
        network,
        wallet,
        sequence: balance["sequence"].as_u64().unwrap_or_default(),
        nonce: rand::random(),
        expires: clock::now() + LIFE,
        action,
    };
    let signed = Signed::sign(&transaction, key).map_err(|error| Failure::new(Code::Config, error.to_string()))?;
    let body = json!({ "transaction": { "$bytes": STANDARD_NO_PAD.encode(signed.bytes()) } });
    let mut answer = daemon.post("/api/federation/token-exchange", &body).await?;
    let path = format!("/api/federation/token-exchange/{}", signed.id());
    while !no_wait && answer["status"] == "pending" {
        tokio::time::sleep(ASK_EVERY).await;
        answer = daemon.get(&path).await?;
    }
    Ok(answer)
}

/// The daemon signs: a reward is the validator's word.
fn reward(common: &Common, args: &RewardArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let today = clock::now().as_millis() / DAY;
    let day = today.saturating_sub(args.days_ago);
    let wish = json!({ "to": did(&args.to)?, "micro": args.amount.micro(), "day": day });
    let answer = block_on(daemon.post("/admin/ledger/reward", &wish))??;
    print(common, &answer, vec![format!("confirmed  {}", answer["transactionId"].as_str().unwrap_or_default())])?;
    Ok(())
}

fn prove(common: &Common, args: &ProveArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let answer = block_on(daemon.get(&format!("/xrpc/co.kendev.network.getProof?account={}", args.account)))??;
    let text = format!("{answer:#}\n");
    std::fs::write(&args.file, text)
        .map_err(|error| Failure::new(Code::DataDir, format!("cannot write {}: {error}", args.file.display())))?;
    print(
        common,
        &answer,
        vec![format!("height {}, root {}", answer["height"], answer["root"].as_str().unwrap_or_default())],
    )?;
    Ok(())
}

fn verify(common: &Common, args: &VerifyArgs) -> Result<(), Failure> {
    let path = args.file.display();
    let unusable = |why: String| Failure::new(Code::DamagedData, format!("{path} proves nothing: {why}"));
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::new(Code::DataDir, format!("cannot read {path}: {error}")))?;
    let shown: Value = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let bytes = shown["proof"]["$bytes"].as_str().ok_or_else(|| unusable("it has no field proof".to_owned()))?;
    let bytes = STANDARD_NO_PAD.decode(bytes.trim_end_matches('=')).map_err(|error| unusable(error.to_string()))?;
    let proof = LedgerProof::decode(&bytes).map_err(|error| unusable(error.to_string()))?;
    let validators = args.validators.iter().map(|text| did(text)).collect::<Result<_, _>>()?;
    let account = did(&args.account)?;
    let balance =
        proof.balance(&ValidatorSet::new(validators), &account, None).map_err(|error| unusable(error.to_string()))?;
    let (height, network) = (proof.header.height, &proof.header.network);
    let total = balance.total().micro();
    let answer = json!({ "account": account, "network": network, "height": height, "total": total });
    print(common, &answer, vec![format!("proved: {} tokens at height {height} of {network}", tokens(total))])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_at_most_six_decimals() {
        let micro = |text| amount(text).map(|amount| amount.micro()).ok();
        assert_eq!(micro("2"), Some(2_000_000));
        assert_eq!(micro("0.25"), Some(250_000));
        assert_eq!(micro("1.000001"), Some(1_000_001));
        for wrong in ["", ".5", "1.0000001", "-1", "1e3", "1,5", "99999999999999999999"] {
            assert_eq!(micro(wrong), None, "{wrong}");
        }
    }
}
