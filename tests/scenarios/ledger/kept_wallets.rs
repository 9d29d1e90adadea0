//! Wallets whose keys a node keeps: the owner pays with no more than a login, the operator with a verb.

use angel_harness::binary::verb;
use angel_harness::validators::{Payment, Validators};
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Exchange;
use angel_protocol::lexicon::Schemas;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const OPEN: &str = "co.kendev.network.openWallet";
const SEND: &str = "co.kendev.network.sendTokens";
const PASSWORD: &str = "open sesame";

async fn balance(node: &Validators, account: &str) -> Result<(u64, u64)> {
    let found = node.get(0, &format!("/xrpc/co.kendev.network.getBalance?account={account}")).await?;
    Ok((found["total"].as_u64().context("a total")?, found["sequence"].as_u64().context("a number")?))
}

async fn fund(node: &Validators, account: &str, sequence: u64, micro: u64) -> Result<Payment> {
    let to: Did = account.parse()?;
    let payment = node.sign(0, &node.draft(0, sequence, Exchange { to, ..node.exchange(0, micro) }));
    node.hand_in(0, &payment).await?;
    let decided = node.decided(0, &payment).await?;
    ensure!(decided["status"] == "confirmed", "{decided:#}");
    Ok(payment)
}

#[tokio::test]
async fn an_owner_pays_with_a_login_and_the_operator_with_a_verb() -> Result<()> {
    let mut node = Validators::found(1, 1)?;
    for (name, value) in
        [("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test"), ("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false")]
    {
        node.set(name, value);
    }
    node.start(0)?;
    let wish = json!({ "handle": "ada.angel.test", "email": "ada@example.com", "password": PASSWORD });
    let (status, ada) = node.call(0, "com.atproto.server.createAccount", None, &wish).await?;
    ensure!(status == 200, "{ada}");
    let (did, token) = (ada["did"].as_str().context("a DID")?, ada["accessJwt"].as_str());
    let shop = node.wallet(0).to_string();
    let pay = |amount: u64, sequence: Option<u64>| {
        let mut wish = json!({ "to": shop, "amount": amount, "reason": "a cactus" });
        if let Some(sequence) = sequence {
            wish["sequence"] = sequence.into();
        }
        wish
    };

    // No wallet, nothing to pay with; and asked for by many at once, it is opened once.
    let (status, refused) = node.call(0, SEND, token, &pay(1, Some(0))).await?;
    ensure!((status, refused["error"].as_str()) == (409, Some("NoWallet")), "{status} {refused}");
    let nothing = json!({});
    let mut asked = futures::future::join_all((0..8).map(|_| node.call(0, OPEN, token, &nothing))).await;
    asked.push(node.call(0, OPEN, token, &nothing).await);
    for answer in asked {
        let (status, opened) = answer?;
        ensure!(status == 200 && opened["account"] == did && opened["sequence"] == 1, "{status} {opened}");
        let shown = Schemas::builtin().method(OPEN).context("documented")?.validate_output(&opened);
        ensure!(shown.is_ok(), "{shown:?} in {opened:#}");
    }
    let (status, refused) = node.call(0, SEND, token, &pay(1, None)).await?;
    ensure!((status, refused["error"].as_str()) == (402, Some("InsufficientBalance")), "{status} {refused}");
    fund(&node, did, 0, 5_000_000).await?;
    let (status, paid) = node.call(0, SEND, token, &pay(2_000_000, None)).await?;
    ensure!(status == 200 && paid["status"] == "confirmed", "{status} {paid:#}");
    let shown = Schemas::builtin().method(SEND).context("documented")?.validate_output(&paid);
    ensure!(shown.is_ok(), "{shown:?} in {paid:#}");
    let (left, sequence) = balance(&node, did).await?;
    ensure!(left < 5_000_000 && left > 2_900_000, "{left}: two tokens and a fee");

    // Under a number of its own a payment is made once, however often it is asked for.
    let (status, _) = node.call(0, SEND, token, &pay(1_000_000, Some(sequence))).await?;
    ensure!(status == 200, "{status}");
    let after = balance(&node, did).await?;
    let (status, again) = node.call(0, SEND, token, &pay(1_000_000, Some(sequence))).await?;
    ensure!((status, again["error"].as_str()) == (409, Some("BadSequence")), "{status} {again}");
    ensure!(balance(&node, did).await? == after, "it moved nothing");

    // Two payments at once have a number each.
    let wish = pay(1000, None);
    let both = tokio::join!(node.call(0, SEND, token, &wish), node.call(0, SEND, token, &wish));
    for (status, paid) in [both.0?, both.1?] {
        ensure!(status == 200, "{status} {paid:#}");
    }
    let before = after;
    let after = balance(&node, did).await?;
    ensure!(after.1 == before.1 + 2 && after.0 <= before.0 - 2000, "{before:?} {after:?}");

    // Neither a stranger nor an app may pay.
    let (status, _) = node.call(0, SEND, None, &pay(1, None)).await?;
    ensure!(status == 401, "{status}");
    let (_, app) = node.call(0, "com.atproto.server.createAppPassword", token, &json!({ "name": "till" })).await?;
    let login = json!({ "identifier": did, "password": app["password"] });
    let (_, till) = node.call(0, "com.atproto.server.createSession", None, &login).await?;
    let (status, refused) = node.call(0, SEND, till["accessJwt"].as_str(), &pay(1, None)).await?;
    ensure!(status == 400 || status == 403, "{status} {refused}");
    ensure!(balance(&node, did).await? == after, "nothing moved");

    // The operator: for the account, and for the node itself, whose wallet is empty.
    let angel = |words: &[&str]| verb(&node.dir(0), &[words, &["--json"]].concat());
    let output = angel(&["token", "send", &shop, "0.5", "--from", did])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["status"] == "confirmed", "{told:#}");
    let own = node.daemon(0).fact("did").to_owned();
    let output = angel(&["token", "send", &shop, "0.5"])?;
    ensure!(!output.status.success(), "the node has nothing");
    fund(&node, &own, 1, 1_000_000).await?;
    let output = angel(&["token", "send", &shop, "0.5"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = angel(&["token", "open", did])?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["account"] == did && told["key"].as_str().is_some_and(|key| key.starts_with("did:key:")), "{told:#}");
    let output = angel(&["token", "send", &shop, "0.5", "--from", "did:plc:ewvi7nxzyoun6zhxrhs64oiz"])?;
    ensure!(!output.status.success(), "nobody of that name lives here");
    Ok(())
}
