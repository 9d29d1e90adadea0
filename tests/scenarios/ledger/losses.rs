//! Validators that have lost something: their store, the end of their log, or both.

use std::path::Path;

use angel_harness::binary::PATIENCE;
use angel_harness::validators::{GRANT, Validators};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Pays `count` times from daemon 0 and waits until each is confirmed.
async fn pay(validators: &Validators, first: u64, count: u64) -> Result<()> {
    for sequence in first..first + count {
        let payment = validators.payment(0, 1, sequence, 1_000);
        validators.hand_in(0, &payment).await?;
        let decided = validators.decided(0, &payment).await?;
        ensure!(decided["status"] == "confirmed", "{decided:#}");
    }
    Ok(())
}

async fn nobody_contradicted_himself(validators: &Validators) -> Result<()> {
    for index in validators.running() {
        let told = validators.get(index, "/api/federation/ledger/evidence").await?;
        ensure!(told["evidence"].as_array().is_some_and(Vec::is_empty), "at {index}: {told:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_validator_that_lost_its_store_keeps_silent_until_it_has_caught_up() -> Result<()> {
    let mut four = Validators::start_all(4, 2)?;
    pay(&four, 0, 5).await?;
    four.agree().await?;
    four.kill(3)?;
    std::fs::remove_dir_all(four.dir(3).join("storage"))?;
    pay(&four, 5, 3).await?;
    four.start(3)?;
    four.daemon(3).wait_for_log("keeps silent until the others have decided")?;
    pay(&four, 8, 3).await?;
    four.agree().await?;
    ensure!(four.balance(3, 1).await? == GRANT + 11_000);
    nobody_contradicted_himself(&four).await?;
    // It votes again: without another, nothing could be decided otherwise.
    four.kill(2)?;
    pay(&four, 11, 2).await?;
    four.agree().await?;
    Ok(())
}

/// The largest file below a directory.
fn largest(dir: &Path) -> Result<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                found.push((metadata.len(), entry.path()));
            }
        }
    }
    found.into_iter().max().map(|(_, path)| path).context("there are files")
}

/// How many places are tried. More in a campaign: `ANGEL_SOAK_ROUNDS`.
fn rounds() -> u64 {
    std::env::var("ANGEL_SOAK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[tokio::test]
async fn a_log_or_a_store_cut_anywhere_is_recovered_from_or_told_of_and_nobody_votes_twice() -> Result<()> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut four = Validators::start_all(4, 2)?;
    let mut sequence = 0;
    for round in 0..2 * rounds() {
        pay(&four, sequence, 4).await?;
        sequence += 4;
        // Killed with a payment under way, so that the log has something in it.
        let payment = four.payment(0, 1, sequence, 1_000);
        four.hand_in(0, &payment).await?;
        sequence += 1;
        four.kill(3)?;
        let file = match round % 2 {
            0 => four.dir(3).join("consensus/log"),
            _ => largest(&four.dir(3).join("storage"))?,
        };
        let length = std::fs::metadata(&file)?.len();
        let at = random.random_range(0..=length);
        println!("{} is cut at {at} of {length}", file.display());
        std::fs::OpenOptions::new().write(true).open(&file)?.set_len(at)?;
        ensure!(four.decided(0, &payment).await?["status"] == "confirmed");
        if let Err(refusal) = four.start(3) {
            // A store that cannot be opened is told of; the operator gives it up, and keeps the key.
            let words = format!("{refusal:#}");
            ensure!(words.contains("damaged") || words.contains("storage"), "{words}");
            std::fs::remove_dir_all(four.dir(3).join("storage"))?;
            four.start(3)?;
        }
        pay(&four, sequence, 1).await?;
        sequence += 1;
        four.agree().await?;
        nobody_contradicted_himself(&four).await?;
    }
    until("the last one has it all", PATIENCE, async || {
        Ok((four.balance(3, 1).await? == GRANT + 1_000 * sequence).then_some(()))
    })
    .await?;
    Ok(())
}
