//! The ledger of a node alone, for tests of what is decided there: the real engine and mempool, and no peers.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::NetworkId;
use angel_protocol::ledger::action::Region;
use angel_protocol::ledger::parameters::Admission;
use angel_storage::Store;
use tokio::sync::mpsc;
use tracing::Span;

use super::genesis::{self, Founder};
use super::{Ledger, NodeWallet, Shared};
use crate::clock;
use crate::consensus::{self, Timing};
use crate::data_dir::Layout;
use crate::health::{Health, Importance, ServiceState};
use crate::mempool;
use crate::network::{self, Gossip};
use crate::tasks::Tasks;

/// A running ledger. Its tasks end with the test.
pub(crate) struct Alone {
    pub(crate) ledger: Ledger,
    /// Gossip that never comes.
    _gossip: [mpsc::Sender<Gossip>; 2],
    _tasks: Tasks,
}

impl Alone {
    /// Founds a ledger in `store`, or goes on with the one that is there.
    pub(crate) async fn start(store: &Store, layout: &Layout) -> Self {
        let key = Arc::new(NodeKey::from_seed(&[7; 32]));
        let id: NetworkId = "alone-dev".parse().expect("a network id");
        let founder = Founder {
            network: id.clone(),
            did: key.did(),
            name: "alone".parse().expect("a node name"),
            region: Region::Europe,
            admission: Admission::Open,
        };
        genesis::ensure(layout, &founder, store.reader(), store.writer(), clock::now()).expect("a genesis");
        let shared = Shared::new(id.clone(), key.did(), store.reader().clone(), store.writer().clone());
        let shared = Arc::new(shared.expect("a ledger"));
        let tasks = Tasks::new(Span::current());
        let spawner = tasks.spawner();
        let mut config = network::Config::new(id, key.seed());
        config.scope = network::Scope::Loopback;
        let (network, mut events, task) = network::start(config).expect("a network");
        spawner.spawn("network", |stop| async move { Ok(task.run(stop).await?) });
        spawner.spawn("events", |stop| async move {
            while events.recv().await.is_some() {}
            stop.cancelled().await;
            Ok(())
        });
        let (mempool, inbox) = mempool::Handle::new();
        let (transactions, gossip) = mpsc::channel(1);
        let pool = mempool::Driver::new(Arc::clone(&shared), inbox, network.clone(), "transactions".to_owned(), gossip);
        spawner.spawn("mempool", |stop| pool.run(stop));
        let ledger = Ledger::new(Arc::clone(&shared), mempool.clone());
        let (votes, gossip) = mpsc::channel(1);
        let wait = Duration::from_secs(2);
        let parts = consensus::Parts {
            timing: Timing { propose: wait, propose_absent: wait, vote: wait },
            shared,
            mempool,
            wallet: NodeWallet::new(ledger.clone(), Arc::clone(&key)),
            key,
            dir: layout.consensus(),
            last_vote: layout.secrets().join("last-vote"),
            returning: crate::backup::returning::Returning::never(),
            network,
            topic: "consensus".to_owned(),
            gossip,
            service: Health::default().register("consensus", Importance::Vital, ServiceState::Ok),
        };
        spawner.spawn("consensus", |stop| consensus::run(parts, stop));
        Self { ledger, _gossip: [transactions, votes], _tasks: tasks }
    }
}
