//! A tenant grows beyond what one of its standbys sets aside for others. Another node that consents gets a copy, and the full
//! one is a standby no more; the other standby has everything all the while. The primary is killed in the middle: it brings that
//! to its end when it has started anew, or its successor does.

use std::time::Duration;

use angel_harness::machine::Machine;
use angel_harness::peers::QUICK;

use super::*;

/// Sets little aside.
const SMALL: usize = 1;
const STAYS: usize = 2;

/// A primary that starts anew stays primary.
const SILENCE: Duration = Duration::from_secs(20);

/// Hosts nothing at first.
const COMES: usize = 3;

async fn upload(caller: &Caller, token: &str, rkey: &str, bytes: usize) -> Result<()> {
    let blob = caller.upload(token, vec![rkey.len() as u8; bytes]).await?;
    let record = json!({ "$type": "com.example.note", "text": "with a file", "file": blob });
    let body = json!({ "repo": caller.did(), "collection": "com.example.note", "rkey": rkey, "record": record });
    let (status, answer) = caller.call("com.atproto.repo.createRecord", Some(token), &body).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

fn standbys(report: &Value) -> BTreeSet<String> {
    report["standbys"].as_object().into_iter().flat_map(|it| it.keys().cloned()).collect()
}

/// A tenant of whose standbys one is full and another is added, whose copy is not whole yet. Nothing, and a word why, where there
/// can be none.
async fn in_the_middle() -> Result<Option<(Tenancy, Machine)>> {
    let Some(idle) = Machine::idle()? else {
        println!("skipped: no mount namespaces here, and how busy this machine is would decide");
        return Ok(None);
    };
    let settings = [&[("ANGEL_REPLICAS_REPLACE_AFTER", "2s")], &QUICK[..]].concat();
    let mut tenancy = Tenancy::on_loopback_silent(SILENCE, &settings).await?;
    tenancy.validators.set_for(SMALL, "ANGEL_REPLICAS_QUOTA", "600KiB");
    tenancy.validators.set_for(COMES, "ANGEL_NODE_STORAGE_CAPACITY", "1024GiB");
    tenancy.validators.set_wrapper(COMES, &idle.wrapper()?);
    // So slow that the copy is not whole before the primary is killed.
    tenancy.validators.set_for(0, "ANGEL_REPLICAS_COPY_RATE", "128KiB");
    for index in [0, SMALL, COMES] {
        tenancy.validators.stop(index)?;
        tenancy.validators.start(index)?;
    }
    let did = tenancy.did().to_owned();
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    upload(&caller, &token, "a", 200_000).await?;
    let [small, stays] = [SMALL, STAYS].map(|index| tenancy.node(index));
    tenancy.angel(0, &["tenant", "place", &did, "--node", &small, "--node", &stays])?;
    tenancy.until_copied(&did).await?;

    // It grows: one of them takes no more, says so to its operator and to the primary, and is replaced.
    upload(&caller, &token, "bb", 500_000).await?;
    let full = |report: &Value| report["stopped"].as_str().is_some_and(|why| why.contains("replicas.quota"));
    tenancy.until_reported("the small one has no room", SMALL, full).await?;
    tenancy.until_reported("another is added", 0, |report| standbys(report).len() == 3).await?;
    Ok(Some((tenancy, idle)))
}

/// Nobody is full any more, and the small one is a standby no more.
async fn until_settled(tenancy: &Tenancy, primary: usize) -> Result<()> {
    // A change of hosts lets the lease lapse for a moment.
    let settled = |report: &Value| {
        report["full"] == json!([])
            && report["writable"] == true
            && report["heirs"].as_array().is_some_and(|it| it.len() == 2)
    };
    tenancy.until_reported("nobody is full, and the primary is confirmed", primary, settled).await?;
    until("the small one is a standby no more", LONG, async || {
        let left = tenancy.report(SMALL).await?;
        Ok(left.is_none_or(|report| report["role"] != "standby").then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_full_is_replaced_by_another() -> Result<()> {
    let Some((mut tenancy, _idle)) = in_the_middle().await? else { return Ok(()) };
    let did = tenancy.did().to_owned();
    let caller = tenancy.caller(0);
    let [stays, comes] = [STAYS, COMES].map(|index| tenancy.node(index));
    tenancy.validators.kill(0)?;
    tenancy.validators.set_for(0, "ANGEL_REPLICAS_COPY_RATE", "100MiB");
    tenancy.validators.start(0)?;
    let both = BTreeSet::from([stays.clone(), comes.clone()]);
    tenancy
        .until_reported("another stands in its place, and no more than that", 0, |report| standbys(report) == both)
        .await?;
    // The full one stayed until then.
    let copy = tenancy.report(COMES).await?.context("a report")?;
    ensure!(copy["complete"].is_u64(), "the full one left before the other was whole: {copy}");
    tenancy.until_equal(&[0, STAYS, COMES]).await?;
    until_settled(&tenancy, 0).await?;
    let shown = tenancy.angel(0, &["tenant", "backups", &did])?;
    ensure!(shown["full"] == json!([]), "{shown}");

    // What was written is safe with the two: the primary dies, and one of them has everything.
    let token = caller.log_in().await?;
    upload(&caller, &token, "ccc", 300_000).await?;
    tenancy.until_equal(&[0, STAYS, COMES]).await?;
    tenancy.validators.kill(0)?;
    let new = tenancy.until_primary(&[STAYS, COMES]).await?;
    let caller = tenancy.caller(new);
    let token = caller.log_in().await?;
    for rkey in ["a", "bb", "ccc"] {
        ensure!(caller.has(rkey).await?, "{rkey} is lost");
    }
    write(&caller, &token, "after").await
}

/// Who succeeds the primary knows how many standbys were wanted: the tenant does not keep one more for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_brings_the_replacement_to_its_end() -> Result<()> {
    let Some((mut tenancy, _idle)) = in_the_middle().await? else { return Ok(()) };
    // The one that stays has heard of it: it follows with everything that is kept for the tenant.
    let begun = |report: &Value| report["copying"].is_object() || report["complete"].is_u64();
    let copy = tenancy.until_reported("the other begins to copy", COMES, begun).await?;
    tenancy.validators.kill(0)?;
    let new = tenancy.until_primary(&[STAYS, COMES]).await?;
    println!("node {new} takes over; the copy that was being made: {}", copy["copying"]);
    let other = if new == STAYS { COMES } else { STAYS };
    tenancy.until_reported("the other has a whole copy", other, |report| report["complete"].is_u64()).await?;

    // The first is a standby when it comes back. With the other that is as many as were wanted, and the full one goes.
    tenancy.validators.start(0)?;
    let both = BTreeSet::from([0, other].map(|index| tenancy.node(index)));
    tenancy.until_reported("the full one has gone, and no other", new, |report| standbys(report) == both).await?;
    until_settled(&tenancy, new).await?;
    tenancy.until_equal(&[0, STAYS, COMES]).await?;
    let caller = tenancy.caller(new);
    let token = caller.log_in().await?;
    for rkey in ["a", "bb"] {
        ensure!(caller.has(rkey).await?, "{rkey} is lost");
    }
    write(&caller, &token, "after").await
}

/// What a tenant writes once its copy is whole takes room like the files that came with it.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_come_one_by_one_fill_a_standby_too() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback_silent(SILENCE, &QUICK).await?;
    tenancy.validators.set_for(SMALL, "ANGEL_REPLICAS_QUOTA", "300KiB");
    tenancy.validators.stop(SMALL)?;
    tenancy.validators.start(SMALL)?;
    let did = tenancy.did().to_owned();
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    let [small, stays] = [SMALL, STAYS].map(|index| tenancy.node(index));
    tenancy.angel(0, &["tenant", "place", &did, "--node", &small, "--node", &stays])?;
    tenancy.until_copied(&did).await?;
    for number in 0..8 {
        let record = json!({ "$type": "com.example.note", "text": "x".repeat(64_000), "number": number });
        let body = json!({ "repo": did, "collection": "com.example.note", "record": record });
        let (status, answer) = caller.call("com.atproto.repo.createRecord", Some(&token), &body).await?;
        ensure!(status == 200, "{status} {answer}");
    }
    let full = |report: &Value| report["stopped"].as_str().is_some_and(|why| why.contains("replicas.quota"));
    let report = tenancy.until_reported("the small one has no room", SMALL, full).await?;
    let bytes = report["bytes"].as_u64().context("how much is here")?;
    ensure!((64_000..300 * 1024).contains(&bytes), "counted: {report}");
    tenancy.until_equal(&[0, STAYS]).await?;
    Ok(())
}
