//! The network as a whole: three nodes that know each other, hold a tenant and decide a payment, and one that is cut off.

use std::time::Duration;

use angel_harness::peers::{QUICK, Sight};
use angel_harness::tenancy::{HOSTS, LONG, NODES, SILENCE, Tenancy};
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// `spec/network.md` 10, check 1.
#[tokio::test]
async fn three_nodes_map_their_network_hold_a_tenant_and_decide_a_payment() -> Result<()> {
    let mut validators = Validators::found(3, 2)?;
    let settings = [
        ("ANGEL_REPLICAS_ACCEPT_TENANTS", "network"),
        ("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test"),
        ("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false"),
    ];
    for (name, value) in settings.into_iter().chain(QUICK) {
        validators.set(name, value);
    }
    for index in 0..3 {
        validators.start(index)?;
    }
    let client = Client::new();
    let nodes: Vec<_> = (0..3).map(|index| validators.daemon(index).fact("did").to_owned()).collect();
    for index in 0..3 {
        until("each has registered the others", LONG, async || {
            let sight = Sight::of(&client, validators.daemon(index)).await?;
            let others = nodes.iter().filter(|did| **did != nodes[index]);
            Ok(others.map(|did| sight.status(did)).all(|status| status == Some("online")).then_some(()))
        })
        .await?;
        until("the map has three links that both ends confirm", LONG, async || {
            let map = validators.get(index, "/api/federation/topology").await?;
            let links = map["links"].as_array().context("links")?;
            let confirmed = links.iter().filter(|link| link["confirmed"] == true).count();
            ensure!(map["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3) && confirmed == 3, "{map}");
            Ok(Some(()))
        })
        .await?;
    }

    let url = validators.daemon(0).fact("httpUrl").to_owned();
    let body = json!({ "handle": "shop.angel.test", "email": "shop@example.com", "password": "correct horse battery" });
    let (made, _) = until("the account is made", LONG, async || {
        let answer = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&body).send().await?;
        let (status, body) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status == StatusCode::OK, "{status} {body}");
        Ok(Some(body))
    })
    .await?;
    let password = std::fs::read_to_string(validators.daemon(0).fact("adminPasswordFile"))?;
    let wish = json!({ "account": made["did"], "wish": { "nodes": nodes[1..] } });
    let place = client.post(format!("{url}/admin/replicas/place")).basic_auth("admin", Some(password.trim()));
    let placed = place.json(&wish).send().await?;
    ensure!(placed.status() == StatusCode::OK, "{}", placed.text().await?);
    until("both backups could follow the primary", LONG, async || {
        let asked = client.get(format!("{url}/admin/replicas")).basic_auth("admin", Some(password.trim()));
        let report: Value = asked.send().await?.json().await?;
        let tenant = &report["tenants"][0];
        let heirs = tenant["heirs"].as_array().is_some_and(|heirs| heirs.len() == 2);
        ensure!(heirs && tenant["writable"] == true && tenant["role"] == "primary", "{report}");
        Ok(Some(()))
    })
    .await?;

    let payment = validators.payment(0, 1, 0, 1_000);
    let (status, taken) = validators.hand_in(1, &payment).await?;
    ensure!(status == 202 && taken["status"] == "pending", "{status} {taken}");
    for index in 0..3 {
        until("the payment is confirmed", LONG, async || {
            let path = format!("/api/federation/token-exchange/{}", payment.signed.id());
            Ok((validators.get(index, &path).await?["status"] == "confirmed").then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn status(tenancy: &Tenancy, index: usize, id: &str) -> Result<Value> {
    Ok(tenancy.caller(index).get(&format!("/api/federation/token-exchange/{id}")).await?.1["status"].take())
}

/// `spec/network.md` 10, check 3: one of the hosts against all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_side_of_a_cut_confirms_nothing_and_takes_no_tenant_over() -> Result<()> {
    const ALONE: usize = 1;
    let Some(tenancy) = Tenancy::on_hosts().await? else { return Ok(()) };
    tenancy.place(false).await?;
    let epoch = tenancy.report(0).await?.context("it is primary")?["epoch"].clone();
    tenancy.cut(ALONE, true)?;
    let payment = tenancy.validators.payment(0, 1, 0, 1_000);
    let id = payment.signed.id().to_string();
    let alone = tenancy.caller(ALONE);
    let (taken, answer) = alone.post("/api/federation/token-exchange", &payment.body).await?;
    ensure!(taken == 202 && answer["status"] == "pending", "{taken} {answer}");
    // Long after the silence for which anybody else would be missed.
    let long = SILENCE * 4;
    tenancy
        .until_reported("the primary has been silent there for long", ALONE, |report| {
            report["silentMs"].as_u64().is_some_and(|silent| Duration::from_millis(silent) > long)
        })
        .await?;
    let report = tenancy.report(ALONE).await?.context("it has a copy")?;
    ensure!(report["role"] == "standby" && report["epoch"] == epoch, "it takes nothing over: {report}");
    ensure!(status(&tenancy, ALONE, &id).await? == "pending", "it decides nothing");
    let (refused, _) = alone.write("no token", "alone", "").await?;
    ensure!(refused != 200, "it takes no writes");
    // The others go on: the primary is confirmed by a majority, and they decide.
    let caller = tenancy.caller(0);
    let (written, answer) = caller.write(&caller.log_in().await?, "meanwhile", "").await?;
    ensure!(written == 200, "{written} {answer}");
    let report = tenancy.report(0).await?.context("it is primary")?;
    ensure!(report["role"] == "primary" && report["epoch"] == epoch, "{report}");

    tenancy.cut(ALONE, false)?;
    for index in 0..NODES {
        until("what was handed in alone is confirmed everywhere", LONG, async || {
            Ok((status(&tenancy, index, &id).await? == "confirmed").then_some(()))
        })
        .await?;
    }
    tenancy.until_equal(&HOSTS).await?;
    let ledger = async |index: usize, at: &str| -> Result<Value> {
        Ok(tenancy.caller(index).get(&format!("/api/federation/ledger{at}")).await?.1)
    };
    let (height, _) = until("all are equally far", LONG, async || {
        let first = ledger(0, "").await?["height"].as_u64();
        for index in 1..NODES {
            if ledger(index, "").await?["height"].as_u64() != first {
                return Ok(None);
            }
        }
        Ok(first)
    })
    .await?;
    for height in 1..=height {
        let first = ledger(0, &format!("/{height}")).await?["root"].take();
        ensure!(first.is_string(), "height {height}");
        for index in 1..NODES {
            let root = ledger(index, &format!("/{height}")).await?["root"].take();
            ensure!(root == first, "height {height} at node {index}: {root}, not {first}");
        }
    }
    Ok(())
}
