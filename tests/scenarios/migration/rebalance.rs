//! A node that is full hands a tenant over by itself: one that has too much to do to a node that has a copy, one that has
//! too little room to a node that has none.

use angel_harness::machine::Machine;
use angel_harness::peers::QUICK;
use angel_harness::tenancy::{LONG, Tenancy};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;

/// A tenant on nodes 0, 1 and 2 of four that heed how busy they are, and of which node 0 hands over what it can.
struct Network {
    tenancy: Tenancy,
    idle: Machine,
    busy: Machine,
}

impl Network {
    async fn found() -> Result<Option<Self>> {
        let (Some(idle), Some(busy)) = (Machine::idle()?, Machine::busy()?) else {
            println!("skipped: no mount namespaces here, and how busy this machine is would decide");
            return Ok(None);
        };
        // Nobody is missed while it starts anew: what moves the tenant is this.
        let tenancy = Tenancy::under_load().await?;
        tenancy.place(false).await?;
        Ok(Some(Self { tenancy, idle, busy }))
    }

    /// Starts a node anew on a machine of its own, with so much room.
    fn restart(&mut self, index: usize, is_busy: bool, room: &str) -> Result<()> {
        let machine = if is_busy { &self.busy } else { &self.idle };
        let validators = &mut self.tenancy.validators;
        for (name, value) in QUICK {
            validators.set_for(index, name, value);
        }
        validators.set_for(index, "ANGEL_NODE_STORAGE_CAPACITY", room);
        validators.set_wrapper(index, &machine.wrapper()?);
        validators.stop(index)?;
        validators.start(index)
    }

    /// Waits until node 0 sees the others online and with room: it has to choose, and not to take what is left.
    async fn until_seen(&self) -> Result<()> {
        until("the others are seen, with room", LONG, async || {
            let (status, seen) = self.tenancy.caller(0).get("/api/federation/nodes?limit=1000").await?;
            let room = |node: &Value| {
                node["status"] == "online" && node["measured"]["loadScore"].as_u64().is_some_and(|load| load < 60)
            };
            let nodes = seen["nodes"].as_array().cloned().unwrap_or_default();
            ensure!(status == 200 && nodes.iter().filter(|node| room(node)).count() == 3, "{status} {seen:#}");
            Ok(Some(()))
        })
        .await?;
        Ok(())
    }

    /// Lets node 0 hand over, and says where the tenant is then.
    async fn rebalance(&mut self, is_busy: bool, room: &str) -> Result<usize> {
        for index in [1, 2, 3] {
            self.restart(index, false, LARGE)?;
        }
        self.restart(0, is_busy, room)?;
        self.until_seen().await?;
        for (name, value) in [("ANGEL_REPLICAS_REBALANCE", "true"), ("ANGEL_REPLICAS_REBALANCE_AFTER", "2s")] {
            self.tenancy.validators.set_for(0, name, value);
        }
        self.restart(0, is_busy, room)?;
        let new = self.tenancy.until_primary(&[1, 2, 3]).await?;
        let expected = self.tenancy.validators.daemon(new).fact("httpUrl").replace("127.0.0.1", "localhost");
        let (endpoint, _) = until("the identity leads there", LONG, async || {
            let endpoint = self.tenancy.endpoint(3).await?.context("an endpoint")?;
            ensure!(endpoint == expected, "{endpoint}");
            Ok(Some(endpoint))
        })
        .await?;
        ensure!(endpoint == expected);
        Ok(new)
    }

    /// The moves of the tenant that began at node 0.
    async fn moves(&self) -> Result<Vec<Value>> {
        let listed = format!("/xrpc/co.kendev.network.listMigrations?tenant={}", self.tenancy.did());
        let (status, moves) = self.tenancy.operate(0, Method::GET, &listed, None).await?;
        ensure!(status == 200, "{status} {moves:#}");
        Ok(moves["migrations"].as_array().cloned().unwrap_or_default())
    }
}

/// Room for anything, whatever this disk holds.
const LARGE: &str = "1024GiB";

/// Room for nothing.
const NONE: &str = "1MiB";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_too_much_to_do_hands_its_tenant_to_one_that_has_a_copy() -> Result<()> {
    let Some(mut network) = Network::found().await? else { return Ok(()) };
    let new = network.rebalance(true, LARGE).await?;
    ensure!([1, 2].contains(&new), "node {new} has no copy");
    let moves = network.moves().await?;
    ensure!(moves.len() == 1 && moves[0]["migrationType"] == "load_balancing", "{moves:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_room_hands_its_tenant_to_one_that_has_no_copy_yet() -> Result<()> {
    let Some(mut network) = Network::found().await? else { return Ok(()) };
    let new = network.rebalance(false, NONE).await?;
    ensure!(new == 3, "the copy at node 0 would have to stay: its tenant went to node {new}");
    let moves = network.moves().await?;
    ensure!(moves.len() == 1 && moves[0]["migrationType"] == "load_balancing", "{moves:#?}");
    Ok(())
}
