//! Identities of accounts: decided by all, told by each.

use angel_harness::binary::PATIENCE;
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const SIGN_UP: &str = "com.atproto.server.createAccount";

fn wish(handle: &str) -> Value {
    json!({ "handle": handle, "email": format!("{handle}@mail.test"), "password": "correct horse" })
}

/// Waits until every daemon tells the same under `path`, and answers it.
async fn told_alike(validators: &Validators, path: &str) -> Result<String> {
    let (told, _) = until("all tell the same", PATIENCE, async || {
        let mut told = Vec::new();
        for index in validators.running() {
            told.push(validators.text(index, path).await?);
        }
        Ok(told.iter().all(|it| *it == told[0]).then(|| told[0].clone()))
    })
    .await?;
    Ok(told)
}

#[tokio::test]
async fn every_node_tells_the_identities_of_all_accounts() -> Result<()> {
    let mut three = Validators::start_all(3, 1)?;
    let mut owners = Vec::new();
    for index in three.running() {
        let (status, made) = three.call(index, SIGN_UP, None, &wish(&format!("user{index}.test"))).await?;
        ensure!(status == 200, "{made:#}");
        owners.push((made["did"].as_str().context("a DID")?.to_owned(), made["accessJwt"].clone()));
    }
    let change = json!({ "handle": "renamed.test" });
    let token = owners[0].1.as_str();
    let (status, said) = three.call(0, "com.atproto.identity.updateHandle", token, &change).await?;
    ensure!(status == 200, "{said:#}");
    three.start(3)?;
    for (place, (did, _)) in owners.iter().enumerate() {
        for rest in ["", "/data", "/log", "/log/last", "/log/audit"] {
            let told = told_alike(&three, &format!("/{did}{rest}")).await?;
            ensure!(told.contains(if place == 0 { "renamed.test" } else { ".test" }), "{rest}: {told}");
        }
    }
    let export = told_alike(&three, "/export?after=0&count=1000").await?;
    let numbers: Vec<_> = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).map(|line| line["seq"].as_u64()))
        .collect::<Result<_, _>>()?;
    ensure!(numbers == (1..=4).map(Some).collect::<Vec<_>>(), "{export}");
    // By time as by number: nothing is told twice, and nothing is left out.
    let (mut after, mut dids) = (String::from("1970-01-01T00:00:00.000Z"), Vec::new());
    loop {
        let page = three.text(3, &format!("/export?count=1&after={after}")).await?;
        let lines: Vec<Value> = page.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let Some(last) = lines.last() else { break };
        after = last["createdAt"].as_str().context("a time")?.to_owned();
        dids.extend(lines.into_iter().map(|line| line["cid"].clone()));
    }
    dids.dedup();
    ensure!(dids.len() == 4, "{dids:?}");
    Ok(())
}
