//! A standby whose clock is behind those of the others votes for nothing, and so hears later than they do who is primary
//! and with which key the new primary signs. Its copy goes on all the same.

use angel_harness::tenancy::{HOSTS, Tenancy};
use anyhow::Result;

use super::write_through;

/// Seconds. The others' proposals are from the future for it.
const BEHIND: &str = "-21";

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_behind_follows_the_next_primary() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    tenancy.validators.stop(2)?;
    tenancy.validators.set_for(2, "ANGEL_CLOCK_OFFSET", BEHIND);
    tenancy.validators.start(2)?;
    tenancy.place(false).await?;

    // There and back, so that the one behind it follows every node once.
    for primary in [1, 0] {
        tenancy.angel(primary, &["tenant", "promote", tenancy.did()])?;
        tenancy.until_primary(&[primary]).await?;
        let caller = tenancy.caller(primary);
        let token = caller.log_in().await?;
        write_through(&caller, &token, &format!("with-{primary}")).await?;
        tenancy.until_equal(&HOSTS).await?;
    }
    Ok(())
}
