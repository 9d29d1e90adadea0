//! A dozen whole nodes in one process, on real sockets and real files.

use std::time::{Duration, Instant};

use angel_harness::village::Village;
use anyhow::Result;

/// All but the first know nobody but the first.
const NODES: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_see_all() -> Result<()> {
    let began = Instant::now();
    let mut village = Village::new()?;
    for _ in 0..NODES {
        village.settle().await?;
    }
    let started = began.elapsed();
    let took = village.until_all_see_all(Duration::from_secs(30)).await?;
    println!("{NODES} nodes started within {started:?}; {took:?} later all see all");
    village.stop().await
}
