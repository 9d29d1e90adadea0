//! A business on one node talks with people on another and on the reference host: the script that shows it, run to its
//! end against real daemons.

use std::process::{Command, Stdio};

use angel_harness::binary::angel;
use anyhow::{Result, ensure};

#[tokio::test]
async fn people_of_three_hosts_talk_in_one_space() -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo");
    let run = move || Command::new(script).arg("spaces").env("ANGEL_BIN", angel()).stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run).await??;
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the demonstration: {}", output.status);
    Ok(())
}
