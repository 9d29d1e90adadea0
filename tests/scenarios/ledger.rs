//! Validators as processes: they agree, one is killed again and again while payments flow, two are killed, one joins late,
//! one lies.

mod byzantine;
mod catching_up;
mod clocks;
mod cuts;
mod identities;
mod kept_wallets;
mod losses;
mod membership;
mod refusals;

use std::time::Duration;

use angel_harness::binary::{PATIENCE, verb};
use angel_harness::validators::{GRANT, Validators};
use angel_harness::wait::until;
use angel_protocol::firehose::{Frame, FrameError};
use angel_protocol::ledger::{LedgerProof, ValidatorSet};
use angel_protocol::lexicon::Schemas;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures::StreamExt as _;

#[tokio::test]
async fn a_node_alone_decides_at_once_and_keeps_it_through_a_kill() -> Result<()> {
    let mut alone = Validators::start_all(1, 2)?;
    let payment = alone.payment(0, 1, 0, 5_000_000);
    let (status, answer) = alone.hand_in(0, &payment).await?;
    ensure!((status, answer["status"].as_str()) == (202, Some("pending")), "{answer:#}");
    let decided = alone.decided(0, &payment).await?;
    ensure!(decided["status"] == "confirmed", "{decided:#}");
    alone.kill(0)?;
    alone.start(0)?;
    ensure!(alone.balance(0, 1).await? == GRANT + 5_000_000);
    ensure!(alone.height(0).await? == 1, "one payment, one height, and none for the restart");
    // The same request again: the same answer, and nothing moves twice.
    let (status, again) = alone.hand_in(0, &payment).await?;
    ensure!((status, again["status"].as_str()) == (202, Some("confirmed")), "{again:#}");
    let second = alone.payment(0, 1, 1, 1_000_000);
    alone.hand_in(0, &second).await?;
    alone.decided(0, &second).await?;
    ensure!(alone.balance(0, 1).await? == GRANT + 6_000_000);
    Ok(())
}

#[tokio::test]
async fn four_agree_with_certificates_and_proofs() -> Result<()> {
    let four = Validators::start_all(4, 3)?;
    let payment = four.payment(0, 1, 0, 7_000_000);
    four.hand_in(2, &payment).await?;
    for index in four.running() {
        let decided = four.decided(index, &payment).await?;
        let signers = decided["certificate"]["validatorNodes"].as_array().map_or(0, Vec::len);
        ensure!(decided["status"] == "confirmed" && signers >= 3, "{decided:#}");
        ensure!(four.balance(index, 1).await? == GRANT + 7_000_000);
        let name = "co.kendev.network.getTransaction";
        let method = Schemas::builtin().method(name).context("documented")?;
        let shown = four.get(index, &format!("/xrpc/{name}?id={}", payment.signed.id())).await?;
        ensure!(method.validate_output(&shown).is_ok(), "{:?} in {shown:#}", method.validate_output(&shown));
    }
    four.agree().await?;
    let url = four.daemon(1).fact("httpUrl").replacen("http", "ws", 1);
    let url = format!("{url}/xrpc/co.kendev.network.subscribeLedger?cursor=0");
    let (mut stream, _) = tokio_tungstenite::connect_async(url).await?;
    let frame = tokio::time::timeout(PATIENCE, stream.next()).await?.context("a frame")??.into_data();
    // The frame of a height, which is none of the event stream of repositories.
    ensure!(Frame::decode(&frame) == Err(FrameError::Kind("#height".to_owned())), "{:?}", Frame::decode(&frame));
    let id = payment.signed.id().to_string();
    ensure!(frame.windows(id.len()).any(|window| window == id.as_bytes()), "it tells of the payment");

    let path = format!("/xrpc/co.kendev.network.getProof?account={}", four.wallet(1));
    let shown = four.get(3, &path).await?;
    let bytes = STANDARD_NO_PAD.decode(shown["proof"]["$bytes"].as_str().context("bytes")?)?;
    let proof = LedgerProof::decode(&bytes)?;
    let validators = shown["validators"].as_array().context("a list")?;
    let validators: Vec<_> = validators.iter().filter_map(|it| it.as_str()?.parse().ok()).collect();
    let balance = proof.balance(&ValidatorSet::new(validators), &four.wallet(1), None)?;
    ensure!(balance.total().micro() == GRANT + 7_000_000);
    let file = four.dir(0).join("proof.json");
    std::fs::write(&file, shown.to_string())?;
    let (file, account) = (file.display().to_string(), four.wallet(1).to_string());
    let mut words = vec!["token", "verify", &file, "--account", &account];
    let known: Vec<_> = four.running().map(|index| four.daemon(index).fact("did").to_owned()).collect();
    for did in &known {
        words.extend(["--validator", did]);
    }
    ensure!(verb(&four.dir(0), &words)?.status.success(), "the proof holds offline");
    ensure!(!verb(&four.dir(0), &words[..7])?.status.success(), "one validator of another set proves nothing");
    Ok(())
}

#[tokio::test]
async fn a_validator_killed_again_and_again_costs_nothing_that_was_confirmed() -> Result<()> {
    let mut four = Validators::start_all(4, 2)?;
    let mut confirmed = Vec::new();
    let mut sequence = 0;
    let kills = std::env::var("ANGEL_SOAK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    for kill in 0..kills {
        let victim = 1 + kill % 3;
        let mut under_way = Vec::new();
        for place in 0..12 {
            let payment = four.payment(0, 1, sequence, 1_000);
            sequence += 1;
            four.hand_in(0, &payment).await?;
            under_way.push(payment);
            if place == 5 {
                four.kill(victim)?;
            }
        }
        for payment in &under_way {
            let decided = four.decided(0, payment).await?;
            ensure!(decided["status"] == "confirmed", "{decided:#}");
        }
        confirmed.extend(under_way);
        four.start(victim)?;
        four.agree().await?;
    }
    for index in four.running() {
        ensure!(four.balance(index, 1).await? == GRANT + 1_000 * sequence, "each payment once, at {index}");
        for payment in &confirmed {
            ensure!(four.status_of(index, payment).await?["status"] == "confirmed");
        }
    }
    Ok(())
}

#[tokio::test]
async fn below_a_quorum_everything_waits_and_nothing_fails() -> Result<()> {
    let mut four = Validators::start_all(4, 2)?;
    let first = four.payment(0, 1, 0, 1_000);
    four.hand_in(0, &first).await?;
    four.decided(0, &first).await?;
    four.agree().await?;
    four.kill(2)?;
    four.kill(3)?;
    let before = four.height(0).await?;
    let second = four.payment(0, 1, 1, 1_000);
    let (status, _) = four.hand_in(0, &second).await?;
    ensure!(status == 202, "it is taken");
    // Two of four cannot decide, however long they have: a few rounds of their time-outs.
    let until = tokio::time::Instant::now() + Duration::from_secs(4);
    while tokio::time::Instant::now() < until {
        ensure!(four.status_of(1, &second).await?["status"] != "confirmed", "two of four decided");
        ensure!(four.height(0).await? == before);
        tokio::task::yield_now().await;
    }
    ensure!(four.status_of(0, &second).await?["status"] == "pending", "it waits and has not failed");
    four.start(2)?;
    ensure!(four.decided(0, &second).await?["status"] == "confirmed");
    four.start(3)?;
    four.agree().await?;
    ensure!(four.balance(3, 1).await? == GRANT + 2_000);
    Ok(())
}

/// What waited for a quorum makes a batch of several parts, each as long as gossip carries: it travels, and is decided.
#[tokio::test]
async fn what_waited_is_decided_in_batches_of_many_parts() -> Result<()> {
    const WALLETS: usize = 24;
    const EACH: u64 = 30;
    let mut four = Validators::found(4, WALLETS)?;
    four.start(0)?;
    four.start(1)?;
    let mut last = Vec::new();
    for sequence in 0..EACH {
        let payments: Vec<_> =
            (0..WALLETS).map(|wallet| four.payment(wallet, (wallet + 1) % WALLETS, sequence, 1_000)).collect();
        let handed = payments.iter().map(|payment| four.hand_in(0, payment));
        for answer in futures::future::join_all(handed).await {
            let (status, answer) = answer?;
            ensure!(status == 202, "{answer:#}");
        }
        last = payments;
    }
    four.start(2)?;
    four.start(3)?;
    for payment in &last {
        ensure!(four.decided(3, payment).await?["status"] == "confirmed");
    }
    let height = four.agree().await?;
    let mut largest = 0;
    for at in 1..=height {
        let told = four.get(0, &format!("/api/federation/ledger/{at}")).await?;
        largest = largest.max(told["transactions"].as_array().map_or(0, Vec::len));
    }
    ensure!(largest > 300, "{largest} transactions are the largest batch");
    Ok(())
}

#[tokio::test]
async fn a_follower_that_joins_late_has_every_height() -> Result<()> {
    let mut four = Validators::start_all(4, 2)?;
    for sequence in 0..20 {
        let payment = four.payment(0, 1, sequence, 1_000);
        four.hand_in(0, &payment).await?;
        four.decided(0, &payment).await?;
    }
    four.start(4)?;
    let height = four.height(0).await?;
    until("the follower has caught up", PATIENCE, async || Ok((four.height(4).await? >= height).then_some(()))).await?;
    four.agree().await?;
    ensure!(four.balance(4, 1).await? == GRANT + 20_000);
    // It takes transactions too, and hears what becomes of them.
    let payment = four.payment(0, 1, 20, 1_000);
    four.hand_in(4, &payment).await?;
    ensure!(four.decided(4, &payment).await?["status"] == "confirmed");
    Ok(())
}
