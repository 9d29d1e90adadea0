//! A claim that is cut short, at whatever moment, is finished by the node when it starts again, or can be made again: nothing
//! of what the owner signed is lost once the ledger has decided, and nothing is served before.

use std::process::{Child, Stdio};

use super::*;

/// Without it there is no majority.
const LATE: usize = 2;

/// The account of a baker with public and private records, a backup of it away from the node, and its owner's key.
struct Burned {
    tenancy: Tenancy,
    _away: tempfile::TempDir,
    did: String,
    owner: Written,
    orders: Orders,
    place: PathBuf,
    opens: PathBuf,
}

impl Burned {
    /// Its only node is gone, and the account has not been restored anywhere.
    async fn new() -> Result<Self> {
        let bakery = Bakery::open(&[]).await?;
        let opens = bakery.key_of_backups()?;
        let Bakery { mut tenancy, away, did, owner, orders, .. } = bakery;
        let place = away.path().join("backups");
        tenancy.angel(GONE, &["backup", "create", "--to", place.to_str().context("text")?])?;
        tenancy.validators.kill(GONE)?;
        Ok(Self { tenancy, _away: away, did, owner, orders, place, opens })
    }

    fn restore(&self) -> Result<Output> {
        restore(&self.tenancy, NEW, &self.did, &self.place, &self.opens, &["--claim"])
    }

    /// The verb, not waited for.
    fn begin_claim(&self) -> Result<Child> {
        let dir = self.tenancy.validators.dir(NEW);
        let mut claim = command(&dir);
        claim.args(["tenant", "claim", &self.did, "--key"]).arg(&self.owner.file).arg("--data-dir").arg(&dir);
        Ok(claim.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Kills the node under the verb, which says that it has lost it.
    fn kill_under(&mut self, mut verb: Child) -> Result<()> {
        self.tenancy.validators.kill(NEW)?;
        ensure!(!verb.wait()?.success(), "the verb has heard of no end");
        Ok(())
    }

    /// Everything is there, for its owner as ever, and new writes are taken.
    async fn goes_on(&self) -> Result<()> {
        let (tenancy, did) = (&self.tenancy, self.did.as_str());
        tenancy
            .until_reported_of(did, "it serves", NEW, |report| {
                report["role"] == "primary" && report["writable"] == true
            })
            .await?;
        let expected = tenancy.validators.daemon(NEW).fact("httpUrl").replace("127.0.0.1", "localhost");
        for index in [NEW, OTHER] {
            let row = placed(tenancy, index, did).await?.context("placed")?;
            ensure!(row.epoch == 2 && row.primary.as_str() == tenancy.node(NEW), "{row:?}");
            ensure!(
                tenancy.endpoint_of(index, did).await?.as_deref() == Some(expected.as_str()),
                "the identity leads there"
            );
        }
        let (_, data) = tenancy.caller(OTHER).get(&format!("/plc/{did}/data")).await?;
        ensure!(data["rotationKeys"][0] == json!(self.owner.key.did()), "{data}");
        let new = tenancy.caller(NEW).of(did);
        let token = new.log_in().await?;
        for number in 0..6 {
            ensure!(new.has(&format!("note-{number}")).await?, "note {number} is lost");
        }
        ensure!(self.orders.note(&new, &token, "n1").await?.as_deref() == Some("twelve looms"), "what is private");
        write(&new, &token, "after").await?;
        refused(&claim(tenancy, did, &self.owner.file, &[])?, "serves")
    }
}

/// As soon as others have it that the ledger has decided, and once more as soon as they have it that the identity has moved: at
/// either moment the node has yet to write that it serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_behind_the_decision_finishes_the_claim() -> Result<()> {
    let mut burned = Burned::new().await?;
    let did = burned.did.clone();
    burned.tenancy.validators.stop(NEW)?;
    answered(&burned.restore()?)?;
    burned.tenancy.validators.start(NEW)?;
    let node = burned.tenancy.node(NEW);
    let verb = burned.begin_claim()?;
    at_once("the ledger has decided", async || {
        let row = placed(&burned.tenancy, OTHER, &did).await?;
        Ok(row.is_some_and(|row| row.epoch == 2 && row.primary.as_str() == node))
    })
    .await?;
    burned.kill_under(verb)?;
    let moved = leads_to(&burned.tenancy, &did).await?;
    println!("killed behind the decision; the identity {} moved", if moved { "had" } else { "had not" });

    burned.tenancy.validators.start(NEW)?;
    at_once("the identity has moved", async || leads_to(&burned.tenancy, &did).await).await?;
    burned.tenancy.validators.kill(NEW)?;
    burned.tenancy.validators.start(NEW)?;
    burned.goes_on().await
}

/// Asks without a pause, so that what follows comes as close behind it as it can.
async fn at_once(what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let asking = async {
        while !is_so().await? {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    tokio::time::timeout(LONG, asking).await.with_context(|| what.to_owned())?
}

/// Whether others have it that the former host's key has left the identity.
async fn leads_to(tenancy: &Tenancy, did: &str) -> Result<bool> {
    let stolen = fs::read_to_string(tenancy.validators.dir(GONE).join("secrets/plc-rotation.key"))?;
    let key = stolen.lines().find_map(|line| line.strip_prefix("did: ")).context("a key")?.to_owned();
    let (_, data) = tenancy.caller(OTHER).get(&format!("/plc/{did}/data")).await?;
    Ok(!data["rotationKeys"].as_array().context("keys")?.contains(&json!(key)))
}

/// While no majority decides, the node dies with the owner's word and operation. Whether the others heard of its transaction
/// or not, the claim is carried out once or can be made again. A restore that is cut short before is nobody's account.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_before_the_decision_has_claimed_nothing_yet() -> Result<()> {
    let mut burned = Burned::new().await?;
    let did = burned.did.clone();
    burned.tenancy.validators.stop(NEW)?;
    let dir = burned.tenancy.validators.dir(NEW);
    let mut cut_short = command(&dir);
    cut_short
        .args(["restore", "--tenant", &did, "--claim", "--from"])
        .arg(&burned.place)
        .arg("--key")
        .arg(&burned.opens);
    let mut cut_short = cut_short.arg("--data-dir").arg(&dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while !dir.join("restore-beside").exists() && cut_short.try_wait()?.is_none() {
        tokio::task::yield_now().await;
    }
    cut_short.kill()?;
    // On a machine that looks away it may have come to its end.
    if cut_short.wait()?.success() {
        println!("the restore was not cut short");
    } else {
        burned.tenancy.validators.start(NEW)?;
        let half = claim(&burned.tenancy, &did, &burned.owner.file, &["--anyway"])?;
        ensure!(!half.status.success(), "half an account was claimed: {}", String::from_utf8_lossy(&half.stdout));
        burned.tenancy.validators.stop(NEW)?;
        let restored = answered(&burned.restore()?)?;
        ensure!(restored["records"] == 6 && restored["active"] == false, "{restored}");
    }
    burned.tenancy.validators.start(NEW)?;

    // Two of four decide nothing.
    burned.tenancy.validators.kill(LATE)?;
    let verb = burned.begin_claim()?;
    burned.tenancy.validators.daemon(NEW).wait_for_log("its owner claims the tenant for this node")?;
    burned.kill_under(verb)?;
    burned.tenancy.validators.start(LATE)?;
    ensure!(placed(&burned.tenancy, OTHER, &did).await?.is_none(), "nobody could decide");
    burned.tenancy.validators.start(NEW)?;
    until("the claim is made, or was", LONG, async || {
        let again = claim(&burned.tenancy, &did, &burned.owner.file, &[])?;
        // The nodes find each other again first.
        Ok((again.status.success() || String::from_utf8_lossy(&again.stderr).contains("serves")).then_some(()))
    })
    .await?;
    burned.goes_on().await
}
