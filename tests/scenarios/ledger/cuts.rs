//! A network cut in two, in namespaces: two and two, three and one.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use angel_harness::hosts::{Host, Lab};
use angel_harness::validators::{GRANT, Payment, Validators};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Connections notice a cut, and its end, in their own time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Four validators, each on a host of its own.
struct Cutting {
    validators: Validators,
    hosts: Vec<Host>,
    _lab: Lab,
}

impl Cutting {
    /// Nothing and a word why where there can be none.
    fn start() -> Result<Option<Self>> {
        let mut lab = match Lab::new() {
            Ok(lab) => lab,
            Err(unavailable) => {
                println!("skipped: {unavailable}");
                return Ok(None);
            }
        };
        let mut validators = Validators::found(4, 2)?;
        let mut hosts = Vec::new();
        for index in 0..4 {
            let host = lab.host(&format!("cut-{index}"))?;
            let listen = format!("/ip4/{0}/tcp/2584,/ip4/{0}/udp/2584/quic-v1", host.address());
            validators.set_for(index, "ANGEL_NETWORK_LISTEN", &listen);
            validators.set_for(index, "ANGEL_NETWORK_SCOPE", "public");
            validators.set_wrapper(index, &host.wrapper());
            validators.start(index)?;
            hosts.push(host);
        }
        Ok(Some(Self { validators, hosts, _lab: lab }))
    }

    /// Asks the daemon `index` from inside its namespace.
    fn ask(&self, index: usize, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}{path}", self.validators.daemon(index).fact("httpUrl"));
        let wrapper = self.hosts[index].wrapper();
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).args(["curl", "-sS", "--max-time", "10", &url]);
        if let Some(body) = body {
            command.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
        }
        let said = command.output().context("curl")?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Ok(serde_json::from_slice(&said.stdout)?)
    }

    fn hand_in(&self, index: usize, payment: &Payment) -> Result<()> {
        let taken = self.ask(index, "/api/federation/token-exchange", Some(&payment.body))?;
        ensure!(taken["status"] == "pending", "{taken:#}");
        Ok(())
    }

    fn status(&self, index: usize, payment: &Payment) -> Result<String> {
        let path = format!("/api/federation/token-exchange/{}", payment.signed.id());
        Ok(self.ask(index, &path, None)?["status"].as_str().unwrap_or_default().to_owned())
    }

    async fn confirmed(&self, indexes: &[usize], payment: &Payment) -> Result<()> {
        for index in indexes {
            until("the payment is confirmed", PATIENCE, async || {
                Ok((self.status(*index, payment)? == "confirmed").then_some(()))
            })
            .await
            .with_context(|| self.validators.daemon(*index).log().join("\n"))?;
        }
        Ok(())
    }

    /// Parts these hosts from the others, or joins them again.
    fn part(&self, ours: &[usize], verb: &str) -> Result<()> {
        for (here, there) in (0..4).flat_map(|here| (0..4).map(move |there| (here, there))) {
            if ours.contains(&here) == ours.contains(&there) {
                continue;
            }
            let wrapper = self.hosts[here].wrapper();
            let address = format!("{}/32", self.hosts[there].address());
            let said = Command::new(wrapper[0])
                .args(&wrapper[1..])
                .args(["ip", "route", verb, "blackhole", &address])
                .output()?;
            ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        Ok(())
    }

    /// Every height is the same everywhere.
    async fn agree(&self) -> Result<()> {
        let (height, _) = until("all are equally far", PATIENCE, async || {
            let heights: Vec<_> = (0..4)
                .map(|index| Ok(self.ask(index, "/api/federation/ledger", None)?["height"].as_u64()))
                .collect::<Result<_>>()?;
            Ok(heights.iter().all(|height| *height == heights[0]).then_some(heights[0]).flatten())
        })
        .await?;
        for height in 1..=height {
            let path = format!("/api/federation/ledger/{height}");
            let first = self.ask(0, &path, None)?;
            for index in 1..4 {
                ensure!(self.ask(index, &path, None)?["root"] == first["root"], "height {height} at {index}");
            }
        }
        Ok(())
    }

    fn received(&self, index: usize) -> Result<u64> {
        let path: PathBuf = format!("xrpc/co.kendev.network.getBalance?account={}", self.validators.wallet(1)).into();
        let told = self.ask(index, &format!("/{}", path.display()), None)?;
        Ok(told["total"].as_u64().context("a balance")? - GRANT)
    }
}

#[tokio::test]
async fn two_and_two_wait_and_three_go_on_without_the_fourth() -> Result<()> {
    let Some(cutting) = Cutting::start()? else { return Ok(()) };
    let payments: Vec<_> = (0..3).map(|sequence| cutting.validators.payment(0, 1, sequence, 1_000)).collect();
    cutting.hand_in(0, &payments[0])?;
    cutting.confirmed(&[0, 1, 2, 3], &payments[0]).await?;

    cutting.part(&[0, 1], "add")?;
    cutting.hand_in(0, &payments[1])?;
    // Neither half has more than two thirds, however long it has: a few rounds of their time-outs.
    let until = tokio::time::Instant::now() + Duration::from_secs(6);
    while tokio::time::Instant::now() < until {
        for index in [0, 3] {
            ensure!(cutting.status(index, &payments[1])? != "confirmed", "half of them decided");
        }
    }
    cutting.part(&[0, 1], "del")?;
    cutting.confirmed(&[0, 1, 2, 3], &payments[1]).await?;
    cutting.agree().await?;

    cutting.part(&[3], "add")?;
    cutting.hand_in(1, &payments[2])?;
    cutting.confirmed(&[0, 1, 2], &payments[2]).await?;
    ensure!(cutting.status(3, &payments[2])? != "confirmed", "it could not have heard of it");
    cutting.part(&[3], "del")?;
    cutting.confirmed(&[3], &payments[2]).await?;
    cutting.agree().await?;
    for index in 0..4 {
        ensure!(cutting.received(index)? == 3_000);
    }
    Ok(())
}
