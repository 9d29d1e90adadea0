//! Daemons at home: behind routers that translate addresses, reached through a relay, and cut off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use angel_harness::binary::{Daemon, Launch};
use angel_harness::hosts::{Host, Lab, Mapping};
use angel_harness::peers::{QUICK, Sight};
use angel_harness::wait::until;
use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// On a busy machine the packets that punch a hole may miss each other; the next try comes a minute later.
const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon on a host of the lab.
struct Node {
    daemon: Daemon,
    host: Host,
    dir: PathBuf,
}

impl Node {
    fn start(root: &Path, name: &str, host: Host, settings: &[(&str, &str)]) -> Result<Self> {
        let dir = root.join(name);
        let listen = format!("/ip4/{0}/tcp/2584,/ip4/{0}/udp/2584/quic-v1", host.address());
        let launch = Launch::under(&host.wrapper(), &dir).envs(QUICK).env("ANGEL_NODE_NODE_ID", name);
        let launch = launch.env("ANGEL_NETWORK_LISTEN", listen).env("ANGEL_NETWORK_SCOPE", "public");
        let daemon = launch.envs(settings.iter().copied()).start()?;
        Ok(Self { daemon, host, dir })
    }

    fn did(&self) -> &str {
        self.daemon.fact("did")
    }

    fn sight(&self) -> Result<Sight> {
        Sight::by_command_under(&self.host.wrapper(), &self.dir)
    }

    /// Waits until this node's view is as it should be, and says how long that took.
    async fn until(&self, what: &str, mut fits: impl FnMut(&Sight) -> bool) -> Result<Duration> {
        let look = async || {
            let sight = self.sight()?;
            if fits(&sight) {
                return Ok(Some(()));
            }
            let seen = sight.nodes().iter();
            let seen: Vec<_> =
                seen.map(|n| format!("{} {} {}", n["declared"]["nodeId"], n["status"], n["connection"])).collect();
            bail!("{seen:?}")
        };
        let waited = until(what, PATIENCE, look).await;
        waited.map(|(_, took)| took).with_context(|| self.daemon.log().join("\n"))
    }
}

/// A lab, or nothing and a word why where there can be none.
fn lab() -> Option<Lab> {
    Lab::new().map_err(|unavailable| println!("skipped: {unavailable}")).ok()
}

async fn until_each_sees_the_other(nodes: [&Node; 2]) -> Result<()> {
    for (here, there) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
        let online = |sight: &Sight| sight.status(there.did()) == Some("online");
        let took = here.until("the other is online", online).await?;
        println!("{} sees the other after {took:?}", here.dir.display());
        assert_eq!(here.sight()?.connection(there.did()), Some("direct"));
    }
    Ok(())
}

/// Nobody introduces the two: the stranger dials the router's own address.
#[tokio::test]
async fn a_router_that_opens_ports_makes_a_home_reachable() -> Result<()> {
    let Some(mut lab) = lab() else { return Ok(()) };
    let root = tempfile::tempdir()?;
    let router = lab.router("router", Mapping::KeepsPorts)?;
    let service = router.serve_ports()?;
    let host = lab.host_behind(&router, "home", 0)?;
    let home = Node::start(root.path(), "home", host, &[("ANGEL_NETWORK_UPNP", "true")])?;
    let opened = until("the router opens both ports", PATIENCE, async || {
        Ok((router.rules()?.matches("dport 2584 dnat ip to").count() == 2).then_some(()))
    });
    let (_, took) = opened.await.with_context(|| {
        format!("{}\n{}\n{}", router.rules().unwrap_or_default(), service.log(), home.daemon.log().join("\n"))
    })?;
    println!("ports open after {took:?}");
    let outside = format!("/ip4/{}/udp/2584/quic-v1", router.address());
    let stranger =
        Node::start(root.path(), "stranger", lab.host("stranger")?, &[("ANGEL_NETWORK_BOOTSTRAP", &outside)])?;
    until_each_sees_the_other([&home, &stranger]).await
}

/// Over IPv6 alone, and found by a name.
#[tokio::test]
async fn nodes_meet_over_ipv6_by_name() -> Result<()> {
    let Some(mut lab) = lab() else { return Ok(()) };
    let root = tempfile::tempdir()?;
    let mut node = |name: &str, bootstrap: &str| {
        let host = lab.host(name)?;
        let address = host.address_v6().context("it is on the internet")?;
        host.knows("first.angel.test", "2001:db8::1")?;
        let listen = format!("/ip6/{address}/tcp/2584,/ip6/{address}/udp/2584/quic-v1");
        let settings = [("ANGEL_NETWORK_LISTEN", listen.as_str()), ("ANGEL_NETWORK_BOOTSTRAP", bootstrap)];
        Node::start(root.path(), name, host, &settings)
    };
    let (first, second) = (node("first", "")?, node("second", "/dns6/first.angel.test/udp/2584/quic-v1")?);
    until_each_sees_the_other([&first, &second]).await
}

/// A public relay and two nodes behind a router each. What runs ends before the lab is taken down.
struct Homes {
    a: Node,
    b: Node,
    relay: Node,
    _root: TempDir,
    _lab: Lab,
}

impl Homes {
    /// Nothing, and a word why, where there can be no namespaces.
    fn build(mapping: Mapping) -> Result<Option<Self>> {
        let Some(mut lab) = lab() else { return Ok(None) };
        let root = tempfile::tempdir()?;
        let relay = Node::start(root.path(), "relay", lab.host("relay")?, &[("ANGEL_NETWORK_RELAY_SERVER", "true")])?;
        let address = relay.daemon.facts()["p2p"].as_array().and_then(|all| all.iter().find_map(|one| one.as_str()));
        let address = address.context("the relay listens")?.to_owned();
        let mut home = |name: &str| {
            let router = lab.router(&format!("router-{name}"), mapping)?;
            let host = lab.host_behind(&router, name, 0)?;
            let settings = [("ANGEL_NETWORK_BOOTSTRAP", address.as_str()), ("ANGEL_NETWORK_RELAYS", address.as_str())];
            Node::start(root.path(), name, host, &settings)
        };
        let (a, b) = (home("a")?, home("b")?);
        Ok(Some(Self { a, b, relay, _root: root, _lab: lab }))
    }

    async fn until_all_see_all(&self) -> Result<()> {
        let nodes = [&self.relay, &self.a, &self.b];
        for observer in nodes {
            let others: Vec<&str> = nodes.iter().map(|node| node.did()).filter(|did| *did != observer.did()).collect();
            let all_online = |sight: &Sight| others.iter().all(|did| sight.status(did) == Some("online"));
            let took = observer.until("all are online", all_online).await?;
            println!("{} sees all online after {took:?}", observer.dir.display());
        }
        Ok(())
    }
}

#[tokio::test]
async fn two_homes_meet_by_a_relay_and_punch_a_hole() -> Result<()> {
    let Some(homes) = Homes::build(Mapping::KeepsPorts)? else { return Ok(()) };
    homes.until_all_see_all().await?;
    for (here, there) in [(&homes.a, &homes.b), (&homes.b, &homes.a)] {
        let took = here.until("a direct connection", |sight| sight.connection(there.did()) == Some("direct")).await?;
        println!("direct after another {took:?}");
    }

    // A cable is pulled: the others miss the node, and it knows why it sees nobody.
    homes.a.host.cut()?;
    for observer in [&homes.relay, &homes.b] {
        // One of two others is enough to go on; on a busy machine that one may be late once, too.
        let misses_one = |sight: &Sight| sight.status(homes.a.did()) == Some("offline") && !sight.isolated();
        observer.until("the cut one alone is offline", misses_one).await?;
    }
    homes.a.until("it knows itself cut off", |sight| sight.isolated()).await?;
    homes.a.host.mend()?;
    homes.until_all_see_all().await?;
    homes.a.until("it is no longer cut off", |sight| !sight.isolated()).await?;
    Ok(())
}

#[tokio::test]
async fn where_no_hole_can_be_punched_the_relay_carries() -> Result<()> {
    let Some(homes) = Homes::build(Mapping::RandomPorts)? else { return Ok(()) };
    homes.until_all_see_all().await?;
    for (here, there) in [(&homes.a, &homes.b), (&homes.b, &homes.a)] {
        here.until("a relayed connection", |sight| sight.connection(there.did()) == Some("relayed")).await?;
    }
    for (here, there) in [(&homes.a, &homes.b), (&homes.b, &homes.a)] {
        let before = here.sight()?.node(there.did()).context("listed")?["measured"]["lastSeen"].clone();
        let heard = |sight: &Sight| {
            sight
                .node(there.did())
                .is_some_and(|node| node["measured"]["lastSeen"] != before && node["status"] == "online")
        };
        here.until("another heartbeat", heard).await?;
        assert_eq!(here.sight()?.connection(there.did()), Some("relayed"));
    }
    Ok(())
}
