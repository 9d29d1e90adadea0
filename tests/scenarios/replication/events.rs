//! What happens to a business while nothing can be written into it is told once it takes writes again.

use angel_harness::tenancy::{LONG, Tenancy};
use angel_harness::wait::until;
use angel_protocol::ledger::action::Exchange;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_nothing_can_be_written_is_told_afterwards() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    let made = tenancy.angel(0, &["tenant", "create", "--template", "ecommerce-store", "hays"])?;
    let text = |path: &str| made.pointer(path).and_then(Value::as_str).map(ToOwned::to_owned).context("as it says");
    let (tenant, handle, password) = (text("/tenant/did")?, text("/owner/handle")?, text("/owner/password")?);
    let standby = tenancy.node(1);
    tenancy.angel(0, &["tenant", "place", &tenant, "--strategy", "load-balanced", "--node", &standby])?;
    let is_whole = |report: &Value| report["complete"].is_u64() && report["copying"].is_null();
    tenancy.until_reported_of(&tenant, "the copy is whole", 1, is_whole).await?;
    tenancy.until_reported_of(&tenant, "the primary is confirmed", 0, |report| report["writable"] == true).await?;

    // Without its standby it takes no writes, while the others decide that it is paid.
    tenancy.validators.kill(1)?;
    tenancy.until_reported_of(&tenant, "nobody confirms the primary", 0, |report| report["writable"] == false).await?;
    let exchange = Exchange { to: tenant.parse()?, ..tenancy.validators.exchange(0, 2_500_000) };
    let payment = tenancy.validators.sign(0, &tenancy.validators.draft(0, 0, exchange));
    let (status, taken) = tenancy.validators.hand_in(0, &payment).await?;
    ensure!(status < 300, "{status} {taken}");
    let decided = tenancy.validators.decided(0, &payment).await?;
    ensure!(decided["status"] == "confirmed", "{decided}");
    until("the news waits", LONG, async || {
        let log = tenancy.validators.daemon(0).log();
        let waits = |line: &&String| line.contains("waits until it takes writes") && line.contains("token.confirmed");
        Ok(log.iter().find(waits).map(drop))
    })
    .await?;

    tenancy.validators.start(1)?;
    let owner = tenancy.caller(0).log_in_as(&handle, &password).await?;
    let told = tenancy.until_told(0, &owner, &tenant, "token.confirmed", 1, |_| true).await?;
    ensure!(told["change"] == 2_500_000 && told["balance"] == 2_500_000, "{told}");
    Ok(())
}
