//! Who decides changes while payments flow: a node joins with the others' consent, and one leaves.

use std::path::Path;

use angel_harness::binary::{PATIENCE, verb};
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn angel(dir: &Path, words: &[&str]) -> Result<Value> {
    let said = verb(dir, &[words, &["--json"]].concat())?;
    ensure!(said.status.success(), "angel {words:?}: {}", String::from_utf8_lossy(&said.stderr));
    Ok(serde_json::from_slice(&said.stdout)?)
}

async fn pay(validators: &Validators, first: u64, count: u64) -> Result<()> {
    for sequence in first..first + count {
        let payment = validators.payment(0, 1, sequence, 1_000);
        validators.hand_in(0, &payment).await?;
        ensure!(validators.decided(0, &payment).await?["status"] == "confirmed");
    }
    Ok(())
}

async fn deciding(validators: &Validators, index: usize) -> Result<usize> {
    let told = validators.get(index, "/xrpc/co.kendev.network.listValidators").await?;
    told["validators"].as_array().map(Vec::len).context("a list")
}

#[tokio::test]
async fn a_node_becomes_a_validator_with_the_others_consent_and_leaves_again() -> Result<()> {
    let mut nodes = Validators::found_young(3, 2)?;
    for index in 0..4 {
        nodes.start(index)?;
    }
    pay(&nodes, 0, 2).await?;
    let newcomer = nodes.daemon(3).fact("did").to_owned();
    until("the newcomer is registered", PATIENCE, async || {
        let path = format!("/xrpc/co.kendev.network.getBalance?account={newcomer}");
        Ok(nodes.get(0, &path).await.is_ok().then_some(()))
    })
    .await?;
    let file = nodes.dir(0).join("join.json").display().to_string();
    let drafted = angel(&nodes.dir(3), &["validator", "add", &file, "--after", "6"])?;
    ensure!(drafted["approvals"].as_array().is_some_and(Vec::is_empty), "{drafted:#}");
    for index in 0..3 {
        angel(&nodes.dir(index), &["validator", "approve", &file])?;
    }
    let decided = angel(&nodes.dir(3), &["validator", "add", &file])?;
    ensure!(decided["kind"] == "join" && decided["validator"] == newcomer.as_str(), "{decided:#}");
    pay(&nodes, 2, 8).await?;
    until("there are four", PATIENCE, async || Ok((deciding(&nodes, 0).await? == 4).then_some(()))).await?;
    nodes.agree().await?;
    // Four can lose one, where three could not.
    nodes.kill(2)?;
    pay(&nodes, 10, 2).await?;
    nodes.start(2)?;
    nodes.agree().await?;
    angel(&nodes.dir(3), &["validator", "leave"])?;
    pay(&nodes, 12, 4).await?;
    ensure!(deciding(&nodes, 0).await? == 3);
    nodes.agree().await?;

    let reward = angel(&nodes.dir(0), &["token", "reward", &newcomer, "0.5"])?;
    ensure!(reward["transactionId"].is_string(), "{reward:#}");
    let twice = verb(&nodes.dir(1), &["token", "reward", &newcomer, "0.5"])?;
    ensure!(!twice.status.success(), "a day is paid once");
    let told = nodes.agree().await?;
    let roots: Vec<_> = (0..4)
        .map(|index| Ok(angel(&nodes.dir(index), &["ledger", "audit"])?["root"].clone()))
        .collect::<Result<_>>()?;
    ensure!(roots.iter().all(|root| *root == roots[0]) && roots[0].is_string(), "height {told}: {roots:?}");
    Ok(())
}
