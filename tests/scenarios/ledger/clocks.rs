//! Clocks that are ten minutes apart. `ANGEL_CLOCK_OFFSET` has a daemon read its clock with so many seconds added.

use angel_harness::validators::{GRANT, Validators};
use anyhow::{Result, ensure};

#[tokio::test]
async fn a_clock_ten_minutes_off_either_way_stops_nobody_and_moves_no_time_back() -> Result<()> {
    for offset in ["600", "-600"] {
        let mut four = Validators::found(4, 2)?;
        four.set_for(3, "ANGEL_CLOCK_OFFSET", offset);
        for index in 0..4 {
            four.start(index)?;
        }
        for sequence in 0..8 {
            let payment = four.payment(0, 1, sequence, 1_000);
            four.hand_in(usize::try_from(sequence % 3)?, &payment).await?;
            let decided = four.decided(0, &payment).await?;
            ensure!(decided["status"] == "confirmed", "{offset}: {decided:#}");
        }
        let height = four.agree().await?;
        let mut before = String::new();
        for height in 1..=height {
            let shown = four.get(3, &format!("/api/federation/ledger/{height}")).await?;
            let time = shown["time"].as_str().unwrap_or_default().to_owned();
            ensure!(time > before, "height {height} at {time} follows {before}");
            before = time;
        }
        ensure!(four.balance(3, 1).await? == GRANT + 8_000);
        // A transaction that has long expired by one clock is judged by the time of the batch.
        ensure!(four.get(3, "/api/federation/ledger/evidence").await?["evidence"] == serde_json::json!([]));
    }
    Ok(())
}
