//! A validator that is killed while it takes over what the others have decided. The engine's log may know by then what its
//! store does not.

use angel_harness::binary::PATIENCE;
use angel_harness::validators::{GRANT, Validators};
use angel_harness::wait::until;
use anyhow::{Result, ensure};

/// How often it is killed: each time at another moment, for it is asked how far it is while it goes on.
const KILLS: u64 = 10;

/// Heights that it has to take over each time.
const MISSED: u64 = 8;

#[tokio::test]
async fn a_validator_killed_while_it_catches_up_starts_again() -> Result<()> {
    let mut four = Validators::start_all(4, 2)?;
    for kill in 0..KILLS {
        let before = four.agree().await?;
        four.kill(3)?;
        for place in 0..MISSED {
            let payment = four.payment(0, 1, kill * MISSED + place, 1_000);
            four.hand_in(0, &payment).await?;
            let decided = four.decided(0, &payment).await?;
            ensure!(decided["status"] == "confirmed", "{decided:#}");
        }
        four.start(3)?;
        until("it takes over what it missed", PATIENCE, async || {
            let is_on_its_way = four.height(3).await? > before + kill % MISSED;
            Ok(is_on_its_way.then_some(()))
        })
        .await?;
        four.kill(3)?;
        four.start(3)?;
    }
    four.agree().await?;
    ensure!(four.balance(3, 1).await? == GRANT + 1_000 * KILLS * MISSED, "each payment once");
    Ok(())
}
