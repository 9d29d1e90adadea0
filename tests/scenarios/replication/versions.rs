//! More conflicts than are kept: what does not fit stays with the node that has it, until somebody has looked at the others
//! and dismissed them. Nothing is lost on the way, and nothing that was dismissed comes back.

use std::collections::BTreeSet;

use angel_harness::tenancy::{COLLECTION, Caller, LONG, Tenancy};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{prefer, preferred};

/// As many as one commit takes.
const IN_A_COMMIT: usize = 200;

/// Records that both primaries write: more than are kept (500), in three commits.
const RECORDS: usize = 3 * IN_A_COMMIT;

async fn write_all(caller: &Caller, token: &str, text: &str) -> Result<()> {
    for commit in 0..RECORDS / IN_A_COMMIT {
        let write = |at: usize| {
            json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": COLLECTION,
                "rkey": format!("both-{:03}", commit * IN_A_COMMIT + at),
                "value": { "$type": COLLECTION, "text": text } })
        };
        let body = json!({ "repo": caller.did(), "writes": (0..IN_A_COMMIT).map(write).collect::<Vec<_>>() });
        let (status, answer) = caller.call("com.atproto.repo.applyWrites", Some(token), &body).await?;
        ensure!(status == 200, "commit {commit}: {status} {answer}");
    }
    Ok(())
}

fn paths(report: &Value) -> Result<Vec<String>> {
    let versions = report["versions"].as_array().context("a list")?;
    versions.iter().map(|it| Ok(it["path"].as_str().context("a path")?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_waits_with_the_former_primary() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    tenancy.place(false).await?;
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    // Killed, as in the scenario of unseen writes: the lease goes on for a while.
    tenancy.validators.kill(1)?;
    tenancy.validators.kill(2)?;
    write_all(&caller, &token, "by the old primary").await?;
    prefer(&caller, &token, "by the old primary").await?;
    tenancy.validators.kill(0)?;
    tenancy.validators.start(1)?;
    tenancy.validators.start(2)?;
    let new = tenancy.until_primary(&[1, 2]).await?;
    let other = 3 - new;
    let caller = tenancy.caller(new);
    let token = caller.log_in().await?;
    write_all(&caller, &token, "by the new primary").await?;
    prefer(&caller, &token, "by the new primary").await?;

    // It comes back, tells until no more is kept, and stays what it is, with what it has; over a restart too.
    tenancy.validators.start(0)?;
    let stuck = |report: &Value| {
        report["role"] == "giving way" && report["stopped"].as_str().is_some_and(|why| why.contains("second versions"))
    };
    tenancy.until_reported("no more is kept", 0, stuck).await?;
    tenancy.until_reported("as many are kept as may be", new, |report| report["keptVersions"] == 500).await?;
    tenancy.validators.kill(0)?;
    tenancy.validators.start(0)?;
    tenancy.until_reported("no more is kept", 0, stuck).await?;

    // One by its name, then all that is shown, again and again.
    let shown = paths(&tenancy.angel(new, &["tenant", "backups", tenancy.did()])?)?;
    ensure!(shown.len() == IN_A_COMMIT, "{}", shown.len());
    let mut seen = BTreeSet::from([shown[0].clone()]);
    let mut again = BTreeSet::new();
    let gone = tenancy.angel(new, &["tenant", "dismiss", tenancy.did(), &shown[0]])?;
    ensure!(gone["dismissed"] == 1, "{gone}");
    ensure!(tenancy.angel(new, &["tenant", "dismiss", tenancy.did(), &shown[0]]).is_err(), "it is gone");
    let elsewhere = tenancy.angel(other, &["tenant", "dismiss", tenancy.did(), "--all"]);
    ensure!(elsewhere.is_err(), "only the primary dismisses: {elsewhere:?}");
    until("all were told and dismissed", LONG, async || {
        let gone = tenancy.angel(new, &["tenant", "dismiss", tenancy.did(), "--all"])?;
        for path in paths(&gone)? {
            if !seen.insert(path.clone()) {
                again.insert(path);
            }
        }
        // All records, and the preferences.
        ensure!(seen.len() == RECORDS + 1 && seen.contains("preferences"), "{} of {RECORDS}", seen.len());
        Ok(Some(()))
    })
    .await?;
    ensure!(again.is_empty(), "dismissed, and told again: {again:?}");

    tenancy
        .until_reported("it is a standby", 0, |report| report["role"] == "standby" && report["stopped"].is_null())
        .await?;
    tenancy.until_equal(&[0, 1, 2]).await?;
    ensure!(preferred(&caller, &token).await? == "by the new primary");
    let records = tenancy.caller(new).records().await?;
    ensure!(records.len() == RECORDS && records.iter().all(|(_, text)| text == "by the new primary"));

    // Copies have followed: whoever is primary next has none.
    tenancy.angel(other, &["tenant", "promote", tenancy.did()])?;
    ensure!(tenancy.until_primary(&[other]).await? == other);
    let after = tenancy.angel(other, &["tenant", "backups", tenancy.did()])?;
    ensure!(after["keptVersions"] == 0, "{after}");
    Ok(())
}
