//! Real swarms on loopback. Every wait is for an event or a state, and has a deadline.

mod connections;
mod discovery;
mod gossip;
mod relays;
mod requests;
mod seeking;

use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const TOPIC: &str = "angel/test-dev/heartbeat/1";

/// A running network task with its handle and events.
struct Node {
    handle: Handle,
    events: mpsc::Receiver<Event>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), ReaderGone>>,
}

/// A development node that listens on loopback, over QUIC and TCP, and knows nobody.
fn config(n: u8) -> Config {
    let mut seed = [n; 32];
    seed[0] = 0xa5;
    Config {
        listen: vec![
            "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("a multiaddress"),
            "/ip4/127.0.0.1/tcp/0".parse().expect("a multiaddress"),
        ],
        topics: vec![Topic::new(TOPIC.to_owned(), 64 << 10)],
        scope: Scope::Loopback,
        relays_learned_max: 0,
        backoff: angel_protocol::backoff::Policy {
            base: Duration::from_millis(50),
            ceiling: Duration::from_millis(400),
            ..Default::default()
        },
        ..Config::new("test-dev".parse().expect("a network id"), seed.into())
    }
}

fn peer(n: u8) -> PeerId {
    let mut seed = [n; 32];
    seed[0] = 0xa5;
    identity::keypair(&seed.into()).public().to_peer_id()
}

impl Node {
    fn start(config: Config) -> Self {
        Self::try_start(config).expect("the network starts")
    }

    fn try_start(config: Config) -> Result<Self, StartError> {
        let cancel = CancellationToken::new();
        let (handle, events, task) = start(config)?;
        Ok(Self { handle, events, task: tokio::spawn(task.run(cancel.clone())), cancel })
    }

    /// Starts on an address that another node of this process has just left: its socket may linger.
    async fn start_again(config: Config) -> Self {
        let free = async {
            loop {
                match Self::try_start(config.clone()) {
                    Err(StartError::AddressInUse { .. }) => tokio::task::yield_now().await,
                    other => break other.expect("nothing else is wrong"),
                }
            }
        };
        tokio::time::timeout(DEADLINE, free).await.expect("the address is free in time")
    }

    fn peer(&self) -> PeerId {
        self.handle.local_peer()
    }

    /// Waits until the view of the network is as wanted.
    async fn until(&self, what: &str, mut wanted: impl FnMut(&View) -> bool) -> View {
        let mut view = self.handle.watch();
        let result = tokio::time::timeout(DEADLINE, view.wait_for(|view| wanted(view))).await;
        let found = result.map(|result| result.expect("the task runs").clone());
        found.unwrap_or_else(|_| panic!("{what} did not happen; the view is {:#?}", self.handle.watch().borrow()))
    }

    async fn until_connected(&self, to: &Self) {
        self.until("connecting", |view| view.peers.contains_key(&to.peer())).await;
    }

    /// The next event that `pick` makes something of; others are dropped.
    async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = pick(event) {
                    return found;
                }
            }
            panic!("the task ended while waiting for {what}")
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("{what} did not happen in time"))
    }

    async fn gossip(&mut self) -> Gossip {
        self.event("gossip", |event| match event {
            Event::Gossip(gossip) => Some(gossip),
            _ => None,
        })
        .await
    }

    /// Its addresses with the part `kind` in them, once it listens on all of them.
    async fn addresses(&self, kind: &str) -> Vec<Multiaddr> {
        self.until("listening", |view| view.listening.len() >= 2).await;
        let all = self.handle.listen_addresses();
        all.into_iter().filter(|address| address.to_string().contains(kind)).collect()
    }

    async fn stop(self) {
        self.cancel.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("the task stops in time");
        assert_eq!(ended.expect("without a panic"), Ok(()));
    }
}

/// Two connected nodes; the second dialed the first at its addresses with `kind` in them.
async fn pair(kind: &str) -> (Node, Node) {
    let a = Node::start(config(1));
    let b = Node::start(Config { persistent: a.addresses(kind).await, ..config(2) });
    a.until_connected(&b).await;
    b.until_connected(&a).await;
    (a, b)
}
