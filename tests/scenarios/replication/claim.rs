//! Every node that hosted a tenant is gone, and its owner takes it from them with the recovery key of the account: from a
//! backup of a tenant that was never placed, and from the one copy that is left without a majority. Whoever has stolen the
//! host takes nothing, and the host that comes back gives way.

mod crash;
mod vault;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use angel_harness::binary::{command, verb};
use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::ids::Did;
use angel_protocol::ledger::proof::LedgerProof;
use angel_protocol::ledger::rows::Placement;
use angel_protocol::ledger::validators::ValidatorSet;
use angel_protocol::plc::{PlcOperation, PlcStatement};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use super::*;

/// Hosts the tenant, and burns.
const GONE: usize = 0;

/// Takes it.
const NEW: usize = 1;

/// Only looks on.
const OTHER: usize = 3;

/// A key of an identity, and the file in which somebody has written it down.
struct Written {
    key: SigningKey,
    file: PathBuf,
}

impl Written {
    fn new(dir: &Path, name: &str, secret: [u8; 32]) -> Result<Self> {
        let key = SigningKey::from(Secp256k1Key::from_bytes(&secret).context("a scalar")?);
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = dir.join(name);
        fs::write(&file, digits)?;
        Ok(Self { key, file })
    }

    /// What the burned node had among its secrets.
    fn stolen_from(node: &Path, dir: &Path) -> Result<Self> {
        let text = fs::read_to_string(node.join("secrets/plc-rotation.key"))?;
        let digits = text.lines().find_map(|line| line.strip_prefix("secret: ")).context("a secret")?;
        let bytes = (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>()?;
        Self::new(dir, "stolen.key", bytes.try_into().map_err(|_| anyhow::anyhow!("32 bytes"))?)
    }
}

/// The account of a baker on the node that will burn, with six public records and a private one, and its owner's key.
struct Bakery {
    tenancy: Tenancy,
    /// Where the owner keeps what is not on any node.
    away: tempfile::TempDir,
    did: String,
    owner: Written,
    old: Caller,
    token: String,
    orders: Orders,
}

impl Bakery {
    /// On nodes with these settings besides.
    async fn open(settings: &[(&str, &str)]) -> Result<Self> {
        let tenancy = Tenancy::on_loopback_with(settings).await?;
        let away = tempfile::tempdir()?;
        let owner = Written::new(away.path(), "owner.key", [7; 32])?;
        let did = tenancy.sign_up_with("bakery", Some(&owner.key.did())).await?.did;
        let old = tenancy.caller(GONE).of(&did);
        let token = old.log_in().await?;
        for number in 0..6 {
            write(&old, &token, &format!("note-{number}")).await?;
        }
        let orders = Orders::open(&old, &token).await?;
        orders.put(&old, &token, "n1", "twelve looms").await?;
        Ok(Self { tenancy, away, did, owner, old, token, orders })
    }

    /// Makes the key that opens its backups, in a file away from the node.
    fn key_of_backups(&self) -> Result<PathBuf> {
        let file = self.away.path().join("opens.key");
        self.tenancy.angel(GONE, &["backup", "key", file.to_str().context("text")?])?;
        Ok(file)
    }
}

fn claim(tenancy: &Tenancy, did: &str, key: &Path, words: &[&str]) -> Result<Output> {
    let file = key.to_str().context("text")?;
    let verb_words = [&["tenant", "claim", did, "--key", file, "--json"], words].concat();
    verb(&tenancy.validators.dir(NEW), &verb_words)
}

fn answered(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn refused(output: &Output, word: &str) -> Result<()> {
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && words.contains(word), "{word} is not in: {words}");
    Ok(())
}

fn restore(tenancy: &Tenancy, index: usize, did: &str, place: &Path, key: &Path, words: &[&str]) -> Result<Output> {
    let dir = tenancy.validators.dir(index);
    let mut restore = command(&dir);
    restore.args(["restore", "--tenant", did, "--json", "--from"]).arg(place).arg("--key").arg(key);
    Ok(restore.args(words).arg("--data-dir").arg(&dir).output()?)
}

/// Where a tenant is, as a node proves it to somebody who knows the validators.
async fn placed(tenancy: &Tenancy, index: usize, did: &str) -> Result<Option<Placement>> {
    let path = format!("/xrpc/co.kendev.network.getProof?tenant={did}");
    // A node that has only just started, or is about to decide, proves nothing for a moment.
    let (answer, _) =
        until("the node proves it", LONG, async || Ok(Some(tenancy.validators.get(index, &path).await?))).await?;
    let proof = STANDARD_NO_PAD.decode(answer["proof"]["$bytes"].as_str().context("a proof")?)?;
    let proof = LedgerProof::decode(&proof)?;
    let validators: Vec<Did> = serde_json::from_value(answer["validators"].clone())?;
    Ok(proof.placement(&ValidatorSet::new(validators), &did.parse()?)?)
}

/// A thief who has the host's key puts it in the place of the owner's.
async fn steal(tenancy: &Tenancy, did: &str, stolen: &Written) -> Result<()> {
    let (_, log) = tenancy.caller(OTHER).get(&format!("/plc/{did}/log/last")).await?;
    let last = PlcOperation::from_json(&log)?;
    let mut data = last.statement().data().context("a state")?;
    data.rotation_keys = vec![stolen.key.did()];
    let operation = PlcStatement::State { data, prev: Some(last.cid()) }.sign(&stolen.key);
    let (status, body) = tenancy.caller(OTHER).post(&format!("/plc/{did}"), &operation.to_json()).await?;
    ensure!(status == 200, "a weaker key may change an identity: {status} {body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_burns_and_the_business_goes_on_from_its_backup() -> Result<()> {
    let bakery = Bakery::open(&[]).await?;
    let opens = bakery.key_of_backups()?;
    let Bakery { mut tenancy, away, did, owner, old, token, orders } = bakery;
    let (did, place) = (did.as_str(), away.path().join("backups"));
    let (place_text, opens_text) = (place.to_str().context("text")?, opens.to_str().context("text")?);
    let made = tenancy.angel(GONE, &["backup", "create", "--to", place_text])?;
    write(&old, &token, "late").await?;
    orders.put(&old, &token, "late", "after the backup").await?;
    prefer(&old, &token, "late").await?;
    ensure!(placed(&tenancy, OTHER, did).await?.is_none(), "it was never placed");
    tenancy.validators.kill(GONE)?;

    // It comes back on another node of the network, for nobody yet.
    tenancy.validators.stop(NEW)?;
    let restored = answered(&restore(&tenancy, NEW, did, &place, &opens, &["--claim"])?)?;
    ensure!(restored["records"] == 6 && restored["active"] == false, "{restored}");
    tenancy.validators.start(NEW)?;
    let new = tenancy.caller(NEW).of(did);
    ensure!(!new.has("note-0").await?, "it is nobody's yet");

    // Whoever found a key claims nothing, nor does the key of the burned machine, not even when it puts itself first.
    let stranger = Written::new(away.path(), "stranger.key", [9; 32])?;
    refused(&claim(&tenancy, did, &stranger.file, &[])?, "NotTheOwnersKey")?;
    let stolen = Written::stolen_from(&tenancy.validators.dir(GONE), away.path())?;
    refused(&claim(&tenancy, did, &stolen.file, &[])?, "NotTheOwnersKey")?;
    steal(&tenancy, did, &stolen).await?;
    until("the node has heard of it", LONG, async || {
        let last = tenancy.caller(NEW).get(&format!("/plc/{did}/data")).await?.1;
        Ok((last["rotationKeys"] == json!([stolen.key.did()])).then_some(()))
    })
    .await?;
    refused(&claim(&tenancy, did, &stolen.file, &[])?, "BadClaim")?;
    ensure!(placed(&tenancy, OTHER, did).await?.is_none(), "nothing has changed");

    // The owner's word counts at once, and takes the theft back.
    let claimed = answered(&claim(&tenancy, did, &owner.file, &[])?)?;
    ensure!(claimed["role"] == "primary" && claimed["epoch"] == 2, "{claimed}");
    ensure!(claimed["droppedKeys"].as_array().is_some_and(|keys| keys.len() == 1), "{claimed}");
    let expected = tenancy.validators.daemon(NEW).fact("httpUrl").replace("127.0.0.1", "localhost");
    for index in [NEW, OTHER] {
        until("the identity leads to the new host", LONG, async || {
            let leads = tenancy.endpoint_of(index, did).await?;
            Ok((leads.as_deref() == Some(expected.as_str())).then_some(()))
        })
        .await?;
        let row = placed(&tenancy, index, did).await?.context("placed")?;
        ensure!(row.epoch == 2 && row.primary.as_str() == tenancy.node(NEW) && row.standbys.is_empty(), "{row:?}");
    }
    let (_, data) = tenancy.caller(OTHER).get(&format!("/plc/{did}/data")).await?;
    let keys = data["rotationKeys"].as_array().context("keys")?;
    ensure!(keys[0] == json!(owner.key.did()) && !keys.contains(&json!(stolen.key.did())), "{data}");

    // It serves: the login as ever, what the backup had, private and public, and new writes.
    let fresh = new.log_in().await?;
    for number in 0..6 {
        ensure!(new.has(&format!("note-{number}")).await?, "note {number} is lost");
    }
    ensure!(orders.note(&new, &fresh, "n1").await?.as_deref() == Some("twelve looms"), "what is private");
    ensure!(!new.has("late").await?, "it was in no backup");
    ensure!(orders.note(&new, &fresh, "late").await?.is_none(), "nor was what is private");
    write(&new, &fresh, "after").await?;
    refused(&claim(&tenancy, did, &owner.file, &[])?, "serves")?;
    // Whoever followed the burned node under the same name has seen nothing that comes now.
    tenancy.angel(NEW, &["backup", "key", opens_text])?;
    let later = away.path().join("later");
    let ahead = tenancy.angel(NEW, &["backup", "create", "--to", later.to_str().context("text")?])?;
    let number = |made: &Value| made.pointer("/snapshot/sequence").and_then(Value::as_u64).context("a number");
    ensure!(number(&ahead)? > number(&made)?, "{ahead} behind {made}");

    // The old host comes back with what it had. It hears that it is none, gives way, and tells what it alone had.
    tenancy.validators.start(GONE)?;
    tenancy
        .until_reported_of(did, "the old host has given way", GONE, |report| report["role"] == "former host")
        .await?;
    let (status, body) = old.write(&token, "too-late", "").await?;
    println!("the old host answers a write with {status} {body}");
    ensure!(status >= 400 && body["error"].is_string(), "{status} {body}");
    ensure!(!old.has("too-late").await?, "it was written");
    until("what only the old host had is told", LONG, async || Ok(new.has("late").await?.then_some(()))).await?;
    until("and what is private of it", LONG, async || {
        let note = orders.note(&new, &fresh, "late").await?;
        Ok((note.as_deref() == Some("after the backup")).then_some(()))
    })
    .await?;
    until("and what its owner prefers", LONG, async || Ok((preferred(&new, &fresh).await? == "late").then_some(())))
        .await?;

    // And it may be a backup again, as any other node.
    tenancy.angel(NEW, &["tenant", "place", did, "--node", &tenancy.node(GONE)])?;
    let whole = |report: &Value| report["complete"].is_u64() && report["copying"].is_null();
    tenancy.until_reported_of(did, "the old host holds a whole copy", GONE, whole).await?;
    let root = tenancy.report_of(NEW, did).await?.context("a report")?["root"].clone();
    tenancy.until_reported_of(did, "both have the same", GONE, |report| report["root"] == root).await?;
    Ok(())
}

/// An account whose identity names no key of an owner is given one by its host, into a file; answers that.
async fn given_a_key(tenancy: &Tenancy, did: &str, file: &Path) -> Result<PathBuf> {
    let rotation_keys = async || {
        let (_, data) = tenancy.caller(OTHER).get(&format!("/plc/{did}/data")).await?;
        serde_json::from_value::<Vec<String>>(data["rotationKeys"].clone()).context("keys")
    };
    let before = rotation_keys().await?;
    ensure!(before.len() == 1, "the host's alone: {before:?}");
    let text = file.to_str().context("text")?;
    let unused = [file.with_extension("first"), file.with_extension("second")];
    let set_at = |index: usize, file: &Path| {
        let text = file.to_str().context("text")?;
        verb(&tenancy.validators.dir(index), &["tenant", "recovery", "set", did, "--to", text])
    };
    refused(&set_at(NEW, &unused[0])?, "not the primary")?;
    let set = tenancy.angel(GONE, &["tenant", "recovery", "set", did, "--to", text])?;
    ensure!(set["atOnce"] == true && set["recoverySecret"].is_null(), "{set}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file)?.permissions());
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let key = set["key"].as_str().context("a key")?.to_owned();
    until("the identity has it first everywhere", LONG, async || {
        Ok((rotation_keys().await? == [key.clone(), before[0].clone()]).then_some(()))
    })
    .await?;
    let tested = tenancy.angel(GONE, &["account", "recovery", "test", did, "--key", text])?;
    ensure!(tested["result"] == "first", "{tested}");
    // Where there is an owner's key, the host is nobody to put another before it.
    refused(&set_at(GONE, &unused[1])?, "only an operation that this key itself has signed")?;
    ensure!(rotation_keys().await?[0] == key, "it stays");
    Ok(file.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_takes_the_last_copy_where_there_is_no_majority() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    let away = tempfile::tempdir()?;
    let shop = tenancy.sign_up("bakery").await?;
    let did = shop.did.as_str();
    let place = ["tenant", "place", did, "--strategy", "load-balanced", "--node", &tenancy.node(NEW)];
    tenancy.angel(GONE, &place)?;
    let whole = |report: &Value| report["complete"].is_u64() && report["copying"].is_null();
    tenancy.until_reported_of(did, "the copy is whole", NEW, whole).await?;
    tenancy.until_reported_of(did, "the primary is confirmed", GONE, |report| report["writable"] == true).await?;
    let old = tenancy.caller(GONE).of(did);
    let token = old.log_in().await?;
    write(&old, &token, "one").await?;
    let owner = given_a_key(&tenancy, did, &away.path().join("owner.key")).await?;
    let root = tenancy.report_of(GONE, did).await?.context("a report")?["root"].clone();
    tenancy.until_reported_of(did, "the copy has it", NEW, |report| report["root"] == root).await?;

    // As long as the primary answers there are ways that lose nothing.
    refused(&claim(&tenancy, did, &owner, &[])?, "answer")?;
    let (backups, opens) = (away.path().join("backups"), away.path().join("opens.key"));
    tenancy.angel(GONE, &["backup", "key", opens.to_str().context("text")?])?;
    tenancy.angel(GONE, &["backup", "create", "--to", backups.to_str().context("text")?])?;
    tenancy.validators.kill(GONE)?;
    let refusal = restore(&tenancy, GONE, did, &backups, &opens, &["--claim"])?;
    refused(&refusal, "AccountExists")?;
    let before = tenancy.report_of(NEW, did).await?.context("a report")?;
    ensure!(before["role"] == "standby" && before["epoch"] == 1, "{before}");
    let claimed = until("the primary counts as gone, and the owner's word is heard", LONG, async || {
        let output = claim(&tenancy, did, &owner, &[])?;
        if !output.status.success() {
            refused(&output, "answer")?;
            return Ok(None);
        }
        Ok(Some(answered(&output)?))
    });
    let (claimed, _) = claimed.await?;
    ensure!(claimed["role"] == "primary" && claimed["epoch"] == 2, "{claimed}");
    tenancy.until_reported_of(did, "the new host takes writes", NEW, |report| report["writable"] == true).await?;
    let new = tenancy.caller(NEW).of(did);
    ensure!(new.has("one").await?, "the copy had it");
    let fresh = new.log_in().await?;
    write(&new, &fresh, "two").await?;
    let row = placed(&tenancy, OTHER, did).await?.context("placed")?;
    ensure!(row.epoch == 2 && row.primary.as_str() == tenancy.node(NEW) && row.hosts().count() == 1, "{row:?}");

    tenancy.validators.start(GONE)?;
    tenancy
        .until_reported_of(did, "the old primary has given way", GONE, |report| report["role"] == "former host")
        .await?;
    let (status, body) = old.write(&token, "too-late", "").await?;
    ensure!(status >= 400 && body["error"].is_string(), "{status} {body}");
    Ok(())
}
