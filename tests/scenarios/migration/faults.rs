//! What goes wrong while a tenant's files are copied to where it moves: the cable is pulled in the middle of one, and one
//! is not at the source what its name says.

use std::path::{Path, PathBuf};

use angel_harness::peers::QUICK;
use angel_harness::tenancy::{COLLECTION, LONG, Tenancy};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// Larger than what is read at once, and than what a source sends before it is paced.
const FILE_BYTES: usize = 5 * 1024 * 1024;

fn content() -> Vec<u8> {
    (0..FILE_BYTES as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Puts a file into the tenant's repository. Answers its CID.
async fn with_file(tenancy: &Tenancy) -> Result<String> {
    let caller = tenancy.caller(SOURCE);
    let token = caller.log_in().await?;
    let blob = caller.upload(&token, content()).await?;
    let record = json!({ "$type": COLLECTION, "text": "with a file", "file": blob });
    let body = json!({ "repo": tenancy.did(), "collection": COLLECTION, "rkey": "file", "record": record });
    let (status, answer) = caller.call("com.atproto.repo.createRecord", Some(&token), &body).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(blob["ref"]["$link"].as_str().context("a CID")?.to_owned())
}

async fn begin(tenancy: &Tenancy) -> Result<String> {
    let wish = json!({ "tenant": tenancy.did(), "toNode": tenancy.node(TARGET) });
    let (status, view) = tenancy.operate(SOURCE, Method::POST, "/api/federation/migrate-tenant", Some(&wish)).await?;
    ensure!(status == 200, "{status} {view}");
    Ok(view["id"].as_str().context("an id")?.to_owned())
}

/// Waits until the move is in its grace, or over.
async fn until_over(tenancy: &Tenancy, id: &str) -> Result<Value> {
    let path = format!("/api/federation/migrate-tenant/{id}");
    let mut last = Value::Null;
    let waited = until("the move is over", LONG, async || {
        last = tenancy.operate(SOURCE, Method::GET, &path, None).await?.1;
        Ok(last["phase"].as_str().filter(|phase| ["grace", "ended"].contains(phase)).map(drop))
    });
    waited.await.with_context(|| {
        let log = |index| tenancy.validators.daemon(index).log().join("\n");
        format!("{last:#}\nthe source:\n{}\nthe target:\n{}", log(SOURCE), log(TARGET))
    })?;
    Ok(last)
}

/// The files under a directory whose names hold a word.
fn named(dir: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(named(&entry.path(), word));
        } else if entry.file_name().to_string_lossy().contains(word) {
            found.push(entry.path());
        }
    }
    found
}

async fn has_file(tenancy: &Tenancy, index: usize, cid: &str) -> Result<()> {
    let path = format!("com.atproto.sync.getBlob?did={}&cid={cid}", tenancy.did());
    let (status, bytes) = tenancy.caller(index).file(&path, None).await?;
    ensure!(status == 200 && bytes == content(), "{status}, {} bytes", bytes.len());
    Ok(())
}

/// `spec/network.md` 6.2, check 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_its_name_says_is_never_switched_to() -> Result<()> {
    let tenancy = Tenancy::on_loopback().await?;
    let cid = with_file(&tenancy).await?;
    let endpoint = tenancy.endpoint(SOURCE).await?;
    let [file] = &named(&tenancy.validators.dir(SOURCE).join("blobs"), &cid)[..] else { anyhow::bail!("one file") };
    let mut flipped = content();
    flipped[FILE_BYTES / 2] ^= 1;
    for (what, damaged) in [("flipped", &flipped[..]), ("cut short", &content()[..FILE_BYTES - 1])] {
        std::fs::write(file, damaged)?;
        let over = until_over(&tenancy, &begin(&tenancy).await?).await?;
        ensure!(over["status"] == "failed" && over["reason"] == "DigestMismatch", "{what}: {over:#}");
        let report = tenancy.report(SOURCE).await?.unwrap_or_default();
        ensure!(report["role"] == "primary", "{what}: {report}");
        ensure!(tenancy.endpoint(SOURCE).await? == endpoint, "{what}: the identity leads where it led");
        let caller = tenancy.caller(SOURCE);
        let (status, body) = caller.write(&caller.log_in().await?, &what.replace(' ', "-"), "goes on").await?;
        ensure!(status == 200, "{what}: {status} {body}");
    }
    // Put right, it moves, with everything that was written meanwhile.
    std::fs::write(file, content())?;
    let over = until_over(&tenancy, &begin(&tenancy).await?).await?;
    ensure!(over["status"] == "completed", "{over:#}");
    has_file(&tenancy, TARGET, &cid).await?;
    for rkey in ["flipped", "cut-short"] {
        ensure!(tenancy.caller(TARGET).has(rkey).await?, "{rkey}");
    }
    Ok(())
}

/// `spec/network.md` 6.2, check 2.
#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_pulled_in_the_middle_of_a_file_costs_nothing_that_has_come() -> Result<()> {
    let Some(mut tenancy) = Tenancy::on_hosts().await? else { return Ok(()) };
    // Slow enough to be in the middle of it, with peers that are missed soon.
    tenancy.validators.set_for(SOURCE, "ANGEL_REPLICAS_COPY_RATE", "1MiB");
    for (name, value) in QUICK {
        tenancy.validators.set_for(SOURCE, name, value);
    }
    tenancy.validators.stop(SOURCE)?;
    tenancy.validators.start(SOURCE)?;
    let cid = with_file(&tenancy).await?;
    let id = begin(&tenancy).await?;
    let copies = tenancy.validators.dir(TARGET).join("copies");
    let come = || named(&copies, &cid).first().and_then(|path| std::fs::metadata(path).ok()).map(|file| file.len());
    until("some of the file has come", LONG, async || Ok(come().filter(|bytes| *bytes > 1 << 20))).await?;
    tenancy.cut(TARGET, true)?;
    let target = tenancy.node(TARGET);
    until("the source misses the target", LONG, async || {
        let (_, nodes) = tenancy.caller(SOURCE).get("/api/federation/nodes?limit=10").await?;
        let nodes = nodes["nodes"].as_array().cloned().unwrap_or_default();
        Ok(nodes.iter().any(|node| node["did"] == target.as_str() && node["status"] == "offline").then_some(()))
    })
    .await?;
    let kept = come().context("what has come is kept")?;
    ensure!(kept < FILE_BYTES as u64 / 2, "it was in the middle: {kept}");
    tenancy.cut(TARGET, false)?;
    until("more of it has come", LONG, async || {
        let bytes = come().context("the file is whole too soon")?;
        ensure!(bytes >= kept, "it begins anew: {bytes} of {kept}");
        Ok((bytes > kept + (1 << 20)).then_some(()))
    })
    .await?;
    // A stream may outlive a cut. It does not outlive its process.
    tenancy.validators.kill(TARGET)?;
    let kept = come().context("what has come is kept")?;
    tenancy.validators.start(TARGET)?;
    let path = format!("/api/federation/migrate-tenant/{id}");
    let mut least = u64::MAX;
    let moved = until("the tenant has moved", LONG, async || {
        least = least.min(come().unwrap_or(u64::MAX));
        let view = tenancy.operate(SOURCE, Method::GET, &path, None).await?.1;
        ensure!(view["phase"] == "grace", "{view}");
        Ok(Some(()))
    });
    moved.await.with_context(|| tenancy.validators.daemon(TARGET).log().join("\n"))?;
    ensure!(least >= kept, "it began anew: {least} of {kept}");
    println!("{kept} bytes had come before it was killed");
    has_file(&tenancy, TARGET, &cid).await
}
