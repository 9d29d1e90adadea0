//! Identities of accounts: decided by all, told by each, and joined to their accounts again after a kill.

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

#[tokio::test]
async fn a_sign_up_that_a_kill_cuts_short_ends_as_an_account_or_as_nothing() -> Result<()> {
    let mut two = Validators::start_all(2, 1)?;
    for round in 0..3 {
        let handle = format!("cut{round}.test");
        let body = wish(&handle);
        let login = json!({ "identifier": handle, "password": "correct horse" });
        // Both have to agree, so without the other the sign-up is under way for as long as it is alone.
        two.kill(1)?;
        {
            let sign_up = two.call(0, SIGN_UP, None, &body);
            let taken = until("the account is written", PATIENCE, async || {
                let (status, session) = two.call(0, "com.atproto.server.createSession", None, &login).await?;
                ensure!(session["active"] != true, "it is on before anybody has decided: {session:#}");
                Ok((status == 200).then_some(()))
            });
            tokio::select! {
                answered = sign_up => anyhow::bail!("one of two decided: {answered:?}"),
                taken = taken => drop(taken?),
            }
        }
        two.kill(0)?;
        two.start(0)?;
        two.start(1)?;
        let (did, _) = until("the account is on", PATIENCE, async || {
            let (status, session) = two.call(0, "com.atproto.server.createSession", None, &login).await?;
            let on = status == 200 && session["active"] == true;
            Ok(on.then(|| session["did"].as_str().unwrap_or_default().to_owned()))
        })
        .await?;
        let told = told_alike(&two, &format!("/{did}")).await?;
        ensure!(told.contains(&handle), "{told}");
    }
    Ok(())
}
