//! A vault keeps what it cannot read: it proves that it has it, is found out when its disk damages it, and is given a new one.
//! When every machine that could read the tenant is gone, what the vault has comes back with the owner's recovery key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use angel_harness::binary::{Launch, command};
use serde_json::Value;

use super::*;

/// Stands in everything that is written.
const MARK: &str = "Kolibri-4711-sealed";

const PRIMARY: usize = 0;
const VAULT: usize = 3;

/// How often the mark stands in the files under a directory.
fn marks_under(dir: &Path) -> Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found += marks_under(&entry.path())?;
        } else if entry.file_type()?.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            found += bytes.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count();
        }
    }
    Ok(found)
}

/// The archive that the vault keeps of the tenant.
fn kept(tenancy: &Tenancy) -> Result<Value> {
    let listed = tenancy.angel(VAULT, &["tenant", "vault", "list"])?;
    let archives = listed["archives"].as_array().context("a list")?;
    ensure!(archives.len() == 1 && archives[0]["tenant"] == tenancy.did(), "{listed}");
    Ok(archives[0].clone())
}

/// Waits until the vault has proved to have the newest archive, with so many losses counted before.
async fn until_proved(tenancy: &Tenancy, what: &str, losses: u64) -> Result<()> {
    let proved = |report: &Value| {
        let vault = &report["vaults"][0];
        vault["state"] == "proved" && vault["hasNewest"] == true && vault["losses"] == losses
    };
    tenancy.until_reported(what, PRIMARY, proved).await.map(drop)
}

fn refused(output: &Output, word: &str) -> Result<()> {
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && words.contains(word), "{word} is not in: {words}");
    Ok(())
}

fn restore(into: &Path, did: &str, archive: &Path, key: &Path, words: &[&str]) -> Result<Output> {
    let mut restore = command(into);
    restore.args(["restore", "--tenant", did, "--json", "--from"]).arg(archive).arg("--key").arg(key);
    Ok(restore.args(words).arg("--data-dir").arg(into).output()?)
}

/// Writes records, one with a file, and one that is private; answers the file's CID and bytes.
async fn furnish(tenancy: &Tenancy) -> Result<(String, Vec<u8>)> {
    let caller = tenancy.caller(PRIMARY);
    let token = caller.log_in().await?;
    for number in 0..12 {
        let (status, body) = caller.write(&token, &format!("note-{number}"), &format!("{MARK} {number}")).await?;
        ensure!(status == 200, "{status} {body}");
    }
    let file = format!("{MARK} as a file").repeat(2_000).into_bytes();
    let blob = caller.upload(&token, file.clone()).await?;
    let cid = blob["ref"]["$link"].as_str().context("a CID")?.to_owned();
    let record = json!({ "$type": "com.example.note", "text": "with a file", "file": blob });
    let body =
        json!({ "repo": caller.did(), "collection": "com.example.note", "rkey": "with-a-file", "record": record });
    let (status, answer) = caller.call("com.atproto.repo.createRecord", Some(&token), &body).await?;
    ensure!(status == 200, "{status} {answer}");
    let orders = Orders::open(&caller, &token).await?;
    orders.put(&caller, &token, "private", &format!("{MARK} in a space")).await?;
    Ok((cid, file))
}

/// The tenant's repository as a CAR file, as its owner gets it.
async fn repository(caller: &Caller) -> Result<Vec<u8>> {
    let token = caller.log_in().await?;
    let (status, car) = caller.file(&format!("com.atproto.sync.getRepo?did={}", caller.did()), Some(&token)).await?;
    ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&car));
    Ok(car)
}

/// Archives are made when one is lost, not for their age.
const SETTINGS: [(&str, &str); 2] = [("ANGEL_REPLICAS_ARCHIVE_EVERY", "1h"), ("ANGEL_REPLICAS_VAULT_CHECK", "1s")];

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_never_takes_over_and_is_kept_by_whoever_does() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback_with(&SETTINGS).await?;
    let away = tempfile::tempdir()?;
    let key = away.path().join("owner.key");
    tenancy.angel(PRIMARY, &["backup", "key", key.to_str().context("text")?])?;
    let [one, two, vault] = [1, 2, VAULT].map(|index| tenancy.node(index));
    let did = tenancy.did().to_owned();
    let place = ["tenant", "place", &did, "--node", &one, "--node", &two, "--vault", &vault, "--ack", "replicated"];
    tenancy.angel(PRIMARY, &place)?;
    tenancy.until_copied(&did).await?;
    until_proved(&tenancy, "the vault proves that it has its archive", 0).await?;
    let before = kept(&tenancy)?;
    let caller = tenancy.caller(PRIMARY);
    write(&caller, &caller.log_in().await?, "acknowledged").await?;
    tenancy.validators.kill(PRIMARY)?;

    // A standby takes over, with the identity, and has the vault keep an archive of its own for the same recovery key.
    let new = tenancy.until_primary(&[1, 2]).await?;
    ensure!(tenancy.caller(new).has("acknowledged").await?, "it was acknowledged and is lost");
    let proved = |report: &Value| report["vaults"][0]["state"] == "proved" && report["vaults"][0]["hasNewest"] == true;
    let report = tenancy.until_reported("the new primary has the vault prove", new, proved).await?;
    let after = kept(&tenancy)?;
    ensure!(after["digest"] != before["digest"] && after["primary"] == tenancy.node(new), "{after}");
    ensure!(report["archive"]["recovery"].is_string() && report["vaults"][0]["losses"] == 0, "{report}");
    let on_vault = tenancy.angel(VAULT, &["tenant", "backups", &did])?;
    ensure!(on_vault["role"] == "vault" && on_vault["epoch"] == report["epoch"], "{on_vault}");
    let file = away.path().join("of-the-new-one.tar");
    tenancy.angel(VAULT, &["tenant", "vault", "export", &did, file.to_str().context("text")?])?;

    // The key was proved with the first primary: whoever restores says that the other one is meant.
    let elsewhere = away.path().join("elsewhere");
    ensure!(Launch::in_dir(&elsewhere).start()?.stop()?.success(), "it stops in good order");
    refused(&restore(&elsewhere, &did, &file, &key, &[])?, "ForeignBackup")?;
    let restored = restore(&elsewhere, &did, &file, &key, &["--node", &tenancy.node(new)])?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let restored: Value = serde_json::from_slice(&restored.stdout)?;
    ensure!(restored["root"] == report["root"], "{restored}, not {report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_keeps_what_it_cannot_read_and_gives_back_what_burned() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback_with(&SETTINGS).await?;
    let away = tempfile::tempdir()?;
    let (key, other_key) = (away.path().join("owner.key"), away.path().join("other.key"));
    let (cid, file) = furnish(&tenancy).await?;
    let [one, two, vault] = [1, 2, VAULT].map(|index| tenancy.node(index));
    let did = tenancy.did().to_owned();
    let place = ["tenant", "place", &did, "--node", &one, "--node", &two, "--vault", &vault, "--ack", "replicated"];
    let without = tenancy.angel(PRIMARY, &place);
    ensure!(without.is_err(), "nobody has shown to hold a recovery key: {without:?}");
    tenancy.angel(PRIMARY, &["backup", "key", key.to_str().context("text")?])?;
    tenancy.angel(PRIMARY, &place)?;
    tenancy.until_copied(&did).await?;

    // The vault is on the ledger as one, has the archive, and proves it. It holds no copy and nothing that it can read.
    until_proved(&tenancy, "the vault proves that it has its archive", 0).await?;
    let report = tenancy.angel(VAULT, &["tenant", "backups", &did])?;
    ensure!(report["role"] == "vault" && report["complete"].is_null() && report["root"].is_null(), "{report}");
    let first = kept(&tenancy)?;
    ensure!(report["kept"]["digest"] == first["digest"], "{report}");
    ensure!(marks_under(&tenancy.validators.dir(VAULT))? == 0, "the vault can read it");
    ensure!(marks_under(&tenancy.validators.dir(PRIMARY))? > 0, "the search finds what is there");
    tenancy.angel(1, &["backup", "key", other_key.to_str().context("text")?])?;
    let elsewhere = away.path().join("elsewhere");
    ensure!(Launch::in_dir(&elsewhere).start()?.stop()?.success(), "it stops in good order");
    let exported = away.path().join("first.tar");
    tenancy.angel(VAULT, &["tenant", "vault", "export", &did, exported.to_str().context("text")?])?;
    refused(&restore(&elsewhere, &did, &exported, &other_key, &[])?, "does not open")?;

    // What was written since is in the next archive. One byte on the vault's disk is enough for there to be one.
    let caller = tenancy.caller(PRIMARY);
    write(&caller, &caller.log_in().await?, "late").await?;
    let on_disk = PathBuf::from(first["file"].as_str().context("a file")?);
    let mut bytes = fs::read(&on_disk)?;
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    fs::write(&on_disk, bytes)?;
    until_proved(&tenancy, "the loss is noticed, and made good", 1).await?;
    let log = tenancy.validators.daemon(PRIMARY).log().join("\n");
    ensure!(log.contains("the vault has lost its archive"), "{log}");
    let second = kept(&tenancy)?;
    ensure!(second["digest"] != first["digest"], "it was given another: {second}");
    let report = tenancy.report(PRIMARY).await?.context("a report")?;
    ensure!(report["vaults"][0]["lostAt"].is_string(), "{report}");

    // A vault that is away has lost nothing.
    tenancy.validators.kill(VAULT)?;
    let before = report["vaults"][0]["provedAt"].clone();
    tenancy.validators.start(VAULT)?;
    let again = |report: &Value| report["vaults"][0]["provedAt"] != before && report["vaults"][0]["losses"] == 1;
    tenancy.until_reported("it proves again after it was away", PRIMARY, again).await?;

    let (records, car) = (caller.records().await?, repository(&caller).await?);
    let root = report["root"].clone();
    ensure!(records.len() == 14, "{} records", records.len());
    for index in [PRIMARY, 1, 2] {
        tenancy.validators.kill(index)?;
        fs::remove_dir_all(tenancy.validators.dir(index))?;
    }

    // Nobody is left who could read it. The vault's operator hands out a file, and the recovery key opens it.
    let file_out = away.path().join("from-the-vault.tar");
    let out = tenancy.angel(VAULT, &["tenant", "vault", "export", &did, file_out.to_str().context("text")?])?;
    ensure!(out["digest"] == second["digest"], "{out}");
    let as_node = away.path().join("as-a-node");
    let mut whole = command(&as_node);
    whole.args(["restore", "--from"]).arg(&file_out).arg("--key").arg(&key).arg("--data-dir").arg(&as_node);
    refused(&whole.output()?, "OneAccountOnly")?;
    let restored = restore(&elsewhere, &did, &file_out, &key, &[])?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let restored: Value = serde_json::from_slice(&restored.stdout)?;
    ensure!(restored["root"] == root && restored["records"] == 14 && restored["files"] == 1, "{restored}, not {root}");
    ensure!(restored["privateRows"].as_u64() > Some(0) && restored["disagreed"] == 0, "{restored}");

    // It is all there for its owner, who logs in as ever: the same repository to the byte, the file.
    let daemon = Launch::in_dir(&elsewhere).start()?;
    let back = caller.at(daemon.fact("httpUrl"));
    ensure!(repository(&back).await? == car, "the repository is another");
    let token = back.log_in().await?;
    let (status, found) = back.file(&format!("com.atproto.sync.getBlob?did={did}&cid={cid}"), Some(&token)).await?;
    ensure!(status == 200 && found == file, "the file: {status}, {} bytes", found.len());
    Ok(())
}
