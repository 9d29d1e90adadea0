//! A validator that is killed while it takes over what the others have decided. The engine's log may know by then what its
//! store does not.

use angel_harness::validators::{GRANT, Validators};
use anyhow::{Result, ensure};

/// How often it is killed: each time at another moment, for it is as far as it happens to be when it says that it is ready.
const KILLS: u64 = 10;

/// Heights that it has to take over each time.
const MISSED: u64 = 3;

#[tokio::test]
async fn a_validator_killed_while_it_catches_up_starts_again() -> Result<()> {
    let mut four = Validators::start_all(4, 2)?;
    for kill in 0..KILLS {
        four.kill(3)?;
        for place in 0..MISSED {
            let payment = four.payment(0, 1, kill * MISSED + place, 1_000);
            four.hand_in(0, &payment).await?;
            let decided = four.decided(0, &payment).await?;
            ensure!(decided["status"] == "confirmed", "{decided:#}");
        }
        four.start(3)?;
    }
    four.agree().await?;
    ensure!(four.balance(3, 1).await? == GRANT + 1_000 * KILLS * MISSED, "each payment once");
    Ok(())
}
