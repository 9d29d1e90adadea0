//! A standby dies in the middle of its first copy, and the primary too: both copies become whole all the same, and of what had
//! come little comes again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use angel_protocol::data::Cid;

use super::*;

/// A primary that starts anew on a busy machine stays primary.
const SILENCE: Duration = Duration::from_secs(60);

/// So many files, and bytes of each.
const FILES: usize = 4;
const FILE_BYTES: usize = 2 * 1024 * 1024;

/// Smaller files beside them, some of which are whole by then, and bytes of each.
const SMALL_FILES: usize = 24;
const SMALL_FILE_BYTES: usize = 96 * 1024;

/// So much has come to the standby when it dies.
const CUT_AT: u64 = 3 * 1024 * 1024;

/// The standby that dies.
const CUT: usize = 1;

/// So many records, and bytes of each.
const RECORDS: usize = 400;
const RECORD_BYTES: usize = 8 * 1024;

/// So much of the repository has come to the standby when it dies.
const REPOSITORY_CUT_AT: u64 = 1024 * 1024;

/// Bytes that the primary has sent of it in bulk since it started.
async fn sent(tenancy: &Tenancy, what: &str) -> Result<u64> {
    let url = format!("{}/metrics", tenancy.validators.daemon(0).fact("httpUrl"));
    let page = reqwest::get(url).await?.text().await?;
    let name = format!("angel_copied_bytes_total{{what=\"{what}\"}} ");
    let counted = page.lines().find_map(|line| line.strip_prefix(&name));
    counted.map_or(Ok(0), |count| count.parse().context(page.clone()))
}

fn files_under(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files_under(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_that_is_cut_becomes_whole_and_little_comes_again() -> Result<()> {
    // So slow that the copies are not whole before they are cut.
    let slow = [("ANGEL_REPLICAS_COPY_RATE", "512KiB")];
    let mut tenancy = Tenancy::on_loopback_silent(SILENCE, &slow).await?;
    let did = tenancy.did().to_owned();
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    let mut expected = Vec::new();
    for number in 0..FILES + SMALL_FILES {
        let size = if number < FILES { FILE_BYTES } else { SMALL_FILE_BYTES };
        let bytes: Vec<u8> = (0..size).map(|at| ((at + number) % 251) as u8).collect();
        let blob = caller.upload(&token, bytes.clone()).await?;
        let cid: Cid = blob["ref"]["$link"].as_str().context("a link")?.parse()?;
        let record = json!({ "$type": "com.example.note", "text": "with a file", "file": blob });
        let rkey = format!("file-{number}");
        let body = json!({ "repo": did, "collection": "com.example.note", "rkey": rkey, "record": record });
        let (status, answer) = caller.call("com.atproto.repo.createRecord", Some(&token), &body).await?;
        ensure!(status == 200, "{status} {answer}");
        expected.push((cid, bytes));
    }
    let (one, two) = (tenancy.node(1), tenancy.node(2));
    tenancy.angel(0, &["tenant", "place", &did, "--node", &one, "--node", &two])?;
    let files = |report: &Value| {
        let copying = &report["copying"];
        copying["bytes"].as_u64().filter(|_| copying["what"] == "files").unwrap_or(0)
    };
    let cut = tenancy.until_reported("much has come", CUT, |report| files(report) >= CUT_AT).await?;
    tenancy.validators.kill(CUT)?;
    let before = sent(&tenancy, "Files").await?;
    tenancy.validators.kill(0)?;
    ensure!(cut["complete"].is_null(), "it was whole before it was cut: {cut}");

    // Now as fast as can be.
    tenancy.validators.set_for(0, "ANGEL_REPLICAS_COPY_RATE", "100MiB");
    tenancy.validators.start(0)?;
    tenancy.validators.start(CUT)?;
    tenancy.until_copied(&did).await?;
    tenancy.until_equal(&[0, 1, 2]).await?;
    let (came, all) = (files(&cut), (FILES * FILE_BYTES + SMALL_FILES * SMALL_FILE_BYTES) as u64);
    let again = (before + sent(&tenancy, "Files").await?).saturating_sub(2 * all);
    println!("cut when {came} of {all} bytes had come; {again} came again, of both copies");
    // What is gathered for one write of each file is lost in both.
    ensure!(again < came, "{again} bytes came again: all that had come, or more");
    for index in [1, 2] {
        let dir = tenancy.validators.dir(index);
        let (mut there, mut left) = (Vec::new(), Vec::new());
        files_under(&dir.join("blobs"), &mut there)?;
        for (cid, bytes) in &expected {
            let path = there.iter().find(|path| path.ends_with(cid.to_string())).context("a file that is not there")?;
            ensure!(std::fs::read(path)? == *bytes, "node {index} has other bytes in {}", path.display());
        }
        files_under(&dir.join("copies"), &mut left)?;
        ensure!(left.is_empty(), "node {index} keeps parts of what it has: {left:?}");
    }
    // Whatever it had stored when it was killed counts, and nothing counts twice.
    let mut counted = Vec::new();
    for index in [CUT, 2] {
        let report = tenancy.report(index).await?.context("it has a copy")?;
        counted.push(report["bytes"].as_u64().context("they are counted")?);
    }
    println!("bytes that count: {counted:?}, of which {all} are files'");
    let [cut, other] = counted[..] else { bail!("two copies") };
    ensure!(
        cut >= all && cut.abs_diff(other) < SMALL_FILE_BYTES as u64,
        "the killed one counts {cut}, the other {other}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_cut_goes_on_where_it_was() -> Result<()> {
    let slow = [("ANGEL_REPLICAS_COPY_RATE", "512KiB")];
    let mut tenancy = Tenancy::on_loopback_silent(SILENCE, &slow).await?;
    let did = tenancy.did().to_owned();
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    let note = |number: usize, text: &str| {
        let value = json!({ "$type": "com.example.note", "text": text.repeat(RECORD_BYTES / text.len()) });
        json!({
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": "com.example.note",
            "rkey": format!("note-{number:04}"),
            "value": value,
        })
    };
    let write = async |token: &str, writes: Vec<Value>| -> Result<()> {
        let body = json!({ "repo": did, "writes": writes });
        let (status, answer) = caller.call("com.atproto.repo.applyWrites", Some(token), &body).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(())
    };
    for first in (0..RECORDS).step_by(20) {
        write(&token, (first..first + 20).map(|number| note(number, &format!("{number:04} "))).collect()).await?;
    }
    let url = format!("{}/xrpc/com.atproto.sync.getRepo?did={did}", tenancy.validators.daemon(0).fact("httpUrl"));
    let all = reqwest::get(url).await?.bytes().await?.len() as u64;
    let (one, two) = (tenancy.node(1), tenancy.node(2));
    tenancy.angel(0, &["tenant", "place", &did, "--node", &one, "--node", &two])?;
    let came = |report: &Value| {
        let copying = &report["copying"];
        copying["bytes"].as_u64().filter(|_| copying["what"] == "repository").unwrap_or(0)
    };
    let cut = tenancy.until_reported("much has come", CUT, |report| came(report) >= REPOSITORY_CUT_AT).await?;
    tenancy.validators.kill(CUT)?;
    let before = sent(&tenancy, "Repository").await?;
    tenancy.validators.kill(0)?;
    ensure!(cut["rev"].is_null(), "it had a repository before it was whole: {cut}");

    // Now as fast as can be.
    tenancy.validators.set_for(0, "ANGEL_REPLICAS_COPY_RATE", "100MiB");
    tenancy.validators.start(0)?;
    tenancy.validators.start(CUT)?;
    tenancy.until_copied(&did).await?;
    tenancy.until_equal(&[0, 1, 2]).await?;
    let (came, after) = (came(&cut), sent(&tenancy, "Repository").await?);
    let again = (before + after).saturating_sub(2 * all);
    println!("cut when {came} of {all} bytes had come; {again} came again, of both copies");
    // What was on the line in both is lost: far less than what had come.
    ensure!(again < came, "{again} bytes came again: all that had come, or more");
    for index in [1, 2] {
        let mut left = Vec::new();
        files_under(&tenancy.validators.dir(index).join("copies"), &mut left)?;
        ensure!(left.is_empty(), "node {index} keeps parts of what it has: {left:?}");
    }
    Ok(())
}
