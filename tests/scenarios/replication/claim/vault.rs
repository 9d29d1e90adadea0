//! What only a vault is left to have: an owner claims the tenant with two keys, one that opens the archive, and one that owns the
//! identity. Whoever keeps the vault has neither.

use super::*;

/// Keeps an archive that it cannot read.
const VAULT: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_claims_what_a_vault_has_kept() -> Result<()> {
    let settings = [("ANGEL_REPLICAS_ARCHIVE_EVERY", "1h"), ("ANGEL_REPLICAS_VAULT_CHECK", "1s")];
    let bakery = Bakery::open(&settings).await?;
    let opens = bakery.key_of_backups()?;
    let Bakery { mut tenancy, away, did, owner, old, token, orders } = bakery;
    let vault = tenancy.node(VAULT);
    tenancy.angel(GONE, &["tenant", "place", &did, "--strategy", "single-node", "--vault", &vault])?;
    let proved = |report: &Value| report["vaults"][0]["state"] == "proved" && report["vaults"][0]["hasNewest"] == true;
    tenancy.until_reported_of(&did, "the vault proves that it has its archive", GONE, proved).await?;
    tenancy.until_reported_of(&did, "the primary is confirmed", GONE, |report| report["writable"] == true).await?;
    write(&old, &token, "late").await?;
    tenancy.validators.kill(GONE)?;

    let archive = away.path().join("from-the-vault.tar");
    tenancy.angel(VAULT, &["tenant", "vault", "export", &did, archive.to_str().context("text")?])?;
    tenancy.validators.stop(NEW)?;
    refused(&restore(&tenancy, NEW, &did, &archive, &opens, &[])?, "--claim")?;
    let restored = answered(&restore(&tenancy, NEW, &did, &archive, &opens, &["--claim"])?)?;
    ensure!(restored["records"] == 6 && restored["privateRows"].as_u64() > Some(0), "{restored}");
    tenancy.validators.start(NEW)?;
    let stranger = Written::new(away.path(), "stranger.key", [9; 32])?;
    refused(&claim(&tenancy, &did, &stranger.file, &[])?, "NotTheOwnersKey")?;

    // The vault answers, and is no reason to wait: it could never serve what it keeps. The old primary is, until it counts
    // as gone.
    let (claimed, _) = until("the primary counts as gone, and the owner's word is heard", LONG, async || {
        let output = claim(&tenancy, &did, &owner.file, &[])?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!words.contains(&vault), "a vault is taken for a host that could go on: {words}");
            refused(&output, "answer")?;
            return Ok(None);
        }
        Ok(Some(answered(&output)?))
    })
    .await?;
    ensure!(claimed["role"] == "primary" && claimed["epoch"] == 2, "{claimed}");
    let row = placed(&tenancy, OTHER, &did).await?.context("placed")?;
    ensure!(row.hosts().count() == 1 && row.primary.as_str() == tenancy.node(NEW), "{row:?}");
    let new = tenancy.caller(NEW).of(&did);
    let token = new.log_in().await?;
    for number in 0..6 {
        ensure!(new.has(&format!("note-{number}")).await?, "note {number} is lost");
    }
    ensure!(orders.note(&new, &token, "n1").await?.as_deref() == Some("twelve looms"), "what is private");
    ensure!(!new.has("late").await?, "it was in no archive");
    write(&new, &token, "after").await?;

    // The old primary tells what the archive did not have.
    tenancy.validators.start(GONE)?;
    until("what only the old host had is told", LONG, async || Ok(new.has("late").await?.then_some(()))).await?;
    Ok(())
}
