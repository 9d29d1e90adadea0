//! The composition root: what a node is made of, started in one readable order and stopped in the reverse. The only
//! place that knows everyone, and it has no behaviour of its own.
//!
//! Nothing here is global: several nodes live in one process, each with its own data directory, ports, metrics
//! and span.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use angel_protocol::crypto::NodeKey;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tracing::{Instrument, info_span};

use crate::backup::BackupsCollector;
use crate::backup::returning::Returning;
use crate::blobs;
use crate::business::{self, Business};
use crate::checkpoints::Checkpoints;
use crate::config::Config;
use crate::consensus;
use crate::control::Control;
pub use crate::control::Ended;
use crate::crawlers::Crawlers;
use crate::data_dir::DataDirError;
use crate::events::Events;
use crate::facts::VERSION;
pub use crate::facts::{NodeFacts, RunFile};
use crate::federation;
use crate::fetch::Fetcher;
use crate::firehose::{self, Firehose, FirehoseCollector};
use crate::handles::Handles;
use crate::health::{Health, Importance, ServiceState};
use crate::http::admin::Admin;
use crate::http::federation::Federation;
use crate::http::ledger::LedgerRoutes;
use crate::http::router::{self, MetricsPage};
use crate::http::server;
use crate::http::validators::Operations;
use crate::ledger::custody::Submitter;
use crate::ledger::{Ledger, NodeWallet};
use crate::lexicons::Lexicons;
use crate::lifecycle::Lifecycle;
use crate::machine::{self, ProcessCollector};
use crate::mail::Smtp;
use crate::membership;
use crate::mempool;
use crate::migration::{self, Migrations};
use crate::network::{self, NetworkCollector};
use crate::pending::Pending;
use crate::permissioned::credentials::Credentials;
use crate::permissioned::notifier::Notifier;
use crate::permissioned::puller::Puller;
use crate::placement::{HostedCount, Placement};
use crate::proxy::Proxy;
use crate::rate_limits::RateLimits;
use crate::replication::{self, Replication, Sealing};
use crate::resolver::Resolver;
use crate::roadmap::Roadmap;
use crate::service_account::ServiceAccount;
use crate::service_account::publishing::Publishing;
use crate::spaces;
use crate::storage::{self, StorageCollector};
use crate::tasks::Tasks;
use crate::telemetry::LogControl;
use crate::tenants::{Provisioner, Rulebook};
use crate::webhooks::{self, Webhooks};
use crate::xrpc::host::{Host, Service, Settings};

mod disk;
mod error;
mod handle;
mod parts;

use disk::{Disk, write_run_file};
pub use error::{StartError, StopError};
pub use handle::NodeHandle;
use handle::{Built, STOP_LIMIT};

/// Starts nodes.
#[derive(Debug)]
pub struct Node {
    config: Config,
    settings: serde_json::Value,
    genesis: Option<PathBuf>,
    log: Option<LogControl>,
    admin_password: Option<String>,
}

impl Node {
    /// A node with this configuration and nothing from its surroundings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, settings: serde_json::Value::Null, genesis: None, log: None, admin_password: None }
    }

    /// The settings with their origins, for the admin API to show.
    #[must_use]
    pub fn with_settings(self, settings: serde_json::Value) -> Self {
        Self { settings, ..self }
    }

    /// The genesis file of the network, kept in the data directory for the ledger.
    #[must_use]
    pub fn with_genesis(self, genesis: Option<PathBuf>) -> Self {
        Self { genesis, ..self }
    }

    /// The log of the process, for the admin API to change.
    #[must_use]
    pub fn with_log(self, log: LogControl) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The admin password to use instead of the generated one.
    #[must_use]
    pub fn with_admin_password(self, admin_password: Option<String>) -> Self {
        Self { admin_password, ..self }
    }

    /// Starts a node with this configuration alone.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<NodeHandle, StartError> {
        Self::new(config).run().await
    }

    /// Starts the node and returns when it is ready.
    ///
    /// # Errors
    /// [`StartError`], by what stood in the way.
    pub async fn run(self) -> Result<NodeHandle, StartError> {
        let span = info_span!("node", data_dir = %self.config.data_dir().display());
        let tasks = Tasks::new(span.clone());
        // On the heap: it holds everything that a node is made of.
        match Box::pin(self.build(&tasks)).instrument(span.clone()).await {
            Ok(built) => Ok(NodeHandle::supervise(built, tasks, span)),
            Err(error) => {
                tasks.stop(STOP_LIMIT).await;
                Err(error)
            }
        }
    }

    /// The order of construction.
    async fn build(self, tasks: &Tasks) -> Result<Built, StartError> {
        let Self { config, settings, genesis, log, admin_password } = self;
        let started = Instant::now();
        let spawner = tasks.spawner();

        // What is on disk: nothing else is touched before the lock is ours.
        let root = config.data_dir().to_owned();
        let disk = tokio::task::spawn_blocking(move || Disk::open(root, genesis, admin_password));
        let Disk { data_dir, password, identity, node_id, first_load } = disk.await??;
        let layout = data_dir.layout().clone();

        // The port, before anything costly: a taken one is the most common reason not to start.
        let http = server::bind(&config.http).await?;

        // What survives a restart.
        let storage_config = config.storage.clone();
        let storage_dir = layout.storage();
        let opening = tokio::task::spawn_blocking(move || storage::open(&storage_dir, &storage_config));
        let (store, storage_failure) = opening.await??;

        // What counts and what is watched.
        let mut registry = Registry::default();
        let events = Events::new(&mut registry);
        registry.register_collector(Box::new(ProcessCollector::new(started)));
        let health = Health::default();
        let _identity_health = health.register("identity", Importance::Vital, ServiceState::Ok);
        let storage_health = health.register("storage", Importance::Vital, ServiceState::Ok);
        registry.register_collector(Box::new(StorageCollector(store.writer().clone())));
        spawner.spawn("storage", |stop| storage::watch(storage_failure, storage_health, stop));
        let (load_sender, load) = watch::channel(first_load);
        let disk_health = health.register("disk", Importance::Helpful, ServiceState::Ok);
        spawner.spawn("machine", |stop| machine::run(layout.root().to_owned(), load_sender, disk_health, stop));

        // Whether it was put back from a backup, and has to catch up before it speaks.
        let others = !config.network.bootstrap.is_empty() || !config.network.persistent_peers.is_empty();
        let (at_layout, reader) = (layout.clone(), store.reader().clone());
        let reading = tokio::task::spawn_blocking(move || Returning::read(&at_layout, &reader, others));
        let returning = reading.await?.map_err(|source| DataDirError::Access { path: layout.secrets(), source })?;

        // What was decided.
        let opening = parts::open_ledger(&config, &identity, &node_id, &layout, &store);
        let ledger_shared = Arc::new(tokio::task::spawn_blocking(opening).await??);
        let (topics, transaction_gossip, vote_gossip) = parts::ledger_topics(&ledger_shared);

        // Who the others are, and who is alive. The network stops first, and what it says last is still heard.
        let own = parts::own_node(&config, &identity, node_id);
        let (node_id, name) = (own.node_id.clone(), own.name.clone());
        let (network, network_events, network_task) = network::start(parts::network(&config, &identity, &topics))?;
        registry.register_collector(Box::new(NetworkCollector(network.clone())));
        let (membership, commands) = membership::Handle::new();
        let hosted = HostedCount::default();
        let parts = membership::Parts {
            config: parts::membership(&config),
            own,
            scope: parts::scope(&config),
            listeners: config.network.listen.len(),
            key: Arc::new(NodeKey::from_seed(&identity.key().seed())),
            invite: config.network.invitation.clone(),
            rotation: identity.rotation_statement(&config.network.id),
            seed: rand::random(),
            reader: store.reader().clone(),
            writer: store.writer().clone(),
            network: network.clone(),
            network_events,
            load: load.clone(),
            hosted: hosted.clone(),
            events: events.clone(),
            service: health.register("federation", Importance::Helpful, ServiceState::Off("starting".to_owned())),
        };
        let driver = tokio::task::spawn_blocking(move || membership::Driver::new(parts, commands)).await??;
        spawner.spawn("membership", |stop| driver.run(stop));
        spawner.spawn("network", |stop| async move { Ok(network_task.run(stop).await?) });
        network.until_listening(config.network.listen.len()).await;
        let exchange = federation::Exchange::new(&config, parts::scope(&config), membership.clone())?;
        spawner.spawn("federation", |stop| exchange.run(stop));

        // What waits to be decided, and deciding.
        let (mempool, inbox) = mempool::Handle::new();
        let (network_handle, topic) = (network.clone(), topics.transactions.name);
        let pool = mempool::Driver::new(Arc::clone(&ledger_shared), inbox, network_handle, topic, transaction_gossip);
        spawner.spawn("mempool", |stop| pool.run(stop));
        let ledger = Ledger::new(Arc::clone(&ledger_shared), mempool.clone());
        let wallet = NodeWallet::new(ledger.clone(), Arc::new(NodeKey::from_seed(&identity.key().seed())));
        let registration = parts::registration(&config, identity.did(), &node_id, wallet.clone());
        let entry = registration.entry.clone();
        spawner.spawn("registration", |stop| registration.run(stop));
        let deciding = consensus::Parts {
            timing: parts::timing(&config),
            shared: ledger_shared,
            mempool,
            wallet: wallet.clone(),
            key: Arc::new(NodeKey::from_seed(&identity.key().seed())),
            dir: layout.consensus(),
            last_vote: layout.secrets().join("last-vote"),
            returning: returning.clone(),
            network: network.clone(),
            topic: topics.consensus.name,
            gossip: vote_gossip,
            service: health.register("consensus", Importance::Helpful, ServiceState::Off("starting".to_owned())),
        };
        spawner.spawn("consensus", |stop| consensus::run(deciding, stop));

        // What this node is.
        let facts = Arc::new(NodeFacts {
            did: identity.did().clone(),
            peer_id: identity.peer_id(),
            name,
            node_id,
            network: config.network.id.clone(),
            public_url: config.node.public_url.clone(),
            operator_contact: config.node.operator_contact.clone(),
            http_addr: http.addr(),
            p2p: network.listen_addresses(),
            admin_password_file: password.file().map(ToOwned::to_owned),
            version: VERSION,
        });
        let federation =
            Federation { network: config.network.id.clone(), membership: membership.clone(), events: events.clone() };

        // What the accounts of this host and their clients use.
        let service = Service::new(&config, &facts);
        let smtp = Smtp::new(&config.mail, service.host())?;
        let opening = parts::AccountRooms::open(&store, &layout, &config, &service, smtp);
        let rooms = tokio::task::spawn_blocking(opening).await??;
        let parts::AccountRooms { accounts, sessions, passwords, mail, invites, preferences, reports, takedowns } =
            rooms;
        let sending = mail.clone();
        spawner.spawn("mail", |stop| sending.run(stop));
        let opening = parts::repos(&store, &layout);
        let repos = tokio::task::spawn_blocking(opening).await??;
        let sweeping = repos.clone();
        spawner.spawn("repositories", |stop| sweeping.run_sweeper(stop));
        let opening = parts::blobs(&store, &layout, &config);
        let blobs = tokio::task::spawn_blocking(opening).await??;
        spawner.spawn("blobs", |stop| blobs::sweep::run(blobs.clone(), stop));
        let firehose = Firehose::open(store.reader().clone(), store.writer().clone(), &config.firehose)?;
        registry.register_collector(Box::new(FirehoseCollector(firehose.clone())));
        spawner.spawn("firehose-trim", |stop| firehose::trim::run(firehose.clone(), stop));
        spawner.spawn("firehose", |stop| firehose::feed::run(firehose.clone(), stop));
        let crawlers = Crawlers::new(&config, &service, firehose.clone())?;
        spawner.spawn("crawlers", |stop| crawlers.run(stop));
        let opening = parts::identities(&ledger, &layout, &config, &service, &accounts);
        let identities = tokio::task::spawn_blocking(opening).await??;
        let directory = identities.directory().clone();
        let carrying = directory.clone();
        spawner.spawn("directory", |stop| carrying.run(stop));
        let (resolver, renewer) = Resolver::new(parts::resolver(&config, &service, &accounts, &directory)?);
        spawner.spawn("resolver", |stop| renewer.run(stop));
        let permissioned = parts::permissioned(&store, &accounts, &layout);
        let services = parts::space_services(&config, &accounts, &resolver)?;
        let notifier = Notifier::new(permissioned.clone(), services.clone());
        let credentials = Credentials::new(permissioned.clone(), services);
        let (scope, wanted) = (parts::scope(&config), spaces::rooms::WANTED);
        let puller = Puller::new(permissioned.clone(), credentials.clone(), scope, wanted)?;
        let domains = service.handle_domains.clone();
        let handles = Handles::new(accounts.clone(), identities.clone(), resolver.clone(), domains);
        let body_max = config.blobs.size_max.bytes();
        let proxy = Proxy::new(resolver.clone(), &config.services, parts::scope(&config), body_max)?;
        let lifecycle = Lifecycle {
            accounts: accounts.clone(),
            sessions: sessions.clone(),
            repos: repos.clone(),
            permissioned: permissioned.clone(),
            blobs: blobs.clone(),
            identities: identities.clone(),
            resolver: resolver.clone(),
            invites: invites.clone(),
            mail: mail.clone(),
        };
        let sweeping = lifecycle.clone();
        spawner.spawn("accounts", |stop| sweeping.run_sweep(stop));
        let opening = parts::tenants(&store);
        let tenants = tokio::task::spawn_blocking(opening).await??;
        spawner.spawn("tenants", |stop| tenants.clone().run_counters(stop));
        let pending = Pending { lifecycle: lifecycle.clone(), handles: handles.clone() };
        spawner.spawn("identities", |stop| pending.run(stop));
        let rulebook = Rulebook::new(
            (accounts.clone(), repos.clone()),
            (permissioned.clone(), tenants.clone()),
            resolver.clone(),
            &config.accounts.super_admins,
        );
        let (homes, rooms) = ((&accounts, &repos), (&permissioned, &tenants, &rulebook));
        let opening = parts::spaces(&store, homes, rooms, &firehose, &config);
        let spaces = tokio::task::spawn_blocking(opening).await??;
        spawner.spawn("spaces-live", |stop| spaces::live::run(spaces.live().clone(), stop));
        let follower = spaces::follow::Follower::new(spaces.clone(), resolver.clone(), parts::scope(&config))?;
        let webhooks = Webhooks::new(webhooks::Parts {
            reader: store.reader().clone(),
            accounts: accounts.clone(),
            repos: repos.clone(),
            permissioned: permissioned.clone(),
            tenants: tenants.clone(),
            spaces: spaces.clone(),
            fetcher: Fetcher::new(parts::scope(&config))?,
            scope: parts::scope(&config),
        });
        let business = Business::new(business::Parts {
            accounts: accounts.clone(),
            repos: repos.clone(),
            permissioned: permissioned.clone(),
            tenants: tenants.clone(),
            rulebook: rulebook.clone(),
            spaces: spaces.clone(),
            mail: mail.clone(),
            webhooks: webhooks.clone(),
            store: (store.reader().clone(), store.writer().clone()),
        });
        let waiting = business.clone();
        spawner.spawn("form-views", |stop| business.clone().run_views(stop));
        let roadmap = Roadmap::new(store.reader().clone(), accounts.clone(), repos.clone(), tenants.clone());
        let lexicons = Lexicons::new(resolver.clone());
        let service_account = ServiceAccount {
            reader: store.reader().clone(),
            accounts: accounts.clone(),
            repos: repos.clone(),
            lifecycle: lifecycle.clone(),
            rulebook: rulebook.clone(),
            domains: service.handle_domains.clone(),
        };
        let finding = service_account.clone();
        tokio::task::spawn_blocking(move || finding.find_blocking()).await??;
        let publishing = Publishing::new(service_account.clone(), config.node.public_url.as_ref());
        let key = Arc::new(NodeKey::from_seed(&identity.key().seed()));
        let checkpoints = Checkpoints { ledger: ledger.clone(), key, account: service_account.clone() };
        spawner.spawn("checkpoints", |stop| checkpoints.run(stop));
        let provisioner = Provisioner {
            tenants: tenants.clone(),
            accounts: accounts.clone(),
            repos: repos.clone(),
            permissioned: permissioned.clone(),
            lifecycle: lifecycle.clone(),
            handles: handles.clone(),
            rulebook: rulebook.clone(),
            spaces: spaces.clone(),
            domains: service.handle_domains.clone(),
        };

        // Who holds copies of whom. No write passes before it is known which are copies.
        let ack_timeout = config.replicas.ack_timeout;
        let store_handles = (store.reader().clone(), store.writer().clone());
        let placement = Placement::new(store_handles, ledger.clone(), accounts.clone(), ack_timeout, hosted);
        let (loading, at_layout) = (placement.clone(), layout.clone());
        let opening = move || {
            loading.load_blocking()?;
            Ok::<_, StartError>(Sealing::load_or_create(&at_layout)?)
        };
        let sealing = tokio::task::spawn_blocking(opening).await??;
        placement.wait_for(returning);
        repos.guard(placement.clone());
        accounts.guard(placement.clone());
        sessions.guard(placement.clone());
        preferences.guard(placement.clone());
        tenants.guard(placement.clone());
        permissioned.guard(placement.clone());
        let following = placement.clone();
        spawner.spawn("placement", |stop| following.run(stop));
        // Who lives here and of whom there is only a copy is known from here on.
        spawner.spawn("space-notices", |stop| notifier.run(stop));
        spawner.spawn("repositories-elsewhere", |stop| puller.run(stop));
        spawner.spawn("spaces", |stop| spaces::index::run(spaces.clone(), stop));
        let settling = spaces.clone();
        spawner.spawn("staff-of-spaces", |stop| spaces::staff::run(settling, stop));
        let placed = placement.watch();
        spawner.spawn("authors-elsewhere", |stop| follower.run(placed, stop));
        let (telling, of) = (spaces.clone(), placement.clone());
        let beside = firehose.beside_commits();
        spawner.spawn("announcements", |stop| spaces::announcer::run(telling, of, beside, stop));
        let (telling, of) = (spaces.clone(), placement.clone());
        spawner.spawn("announcements-of-the-ledger", |stop| spaces::announcer::ledger::run(telling, of, stop));
        let telling = spaces.clone();
        spawner.spawn("announcements-that-wait", |stop| spaces::untold::run(telling, stop));
        let calling = webhooks.clone();
        spawner.spawn("webhooks", |stop| webhooks::pump::run(calling, stop));
        spawner.spawn("due-records", |stop| business::due::run(waiting, stop));
        let (noting, beside) = (business.clone(), firehose.beside_commits());
        spawner.spawn("customers", |stop| business::customers::run(noting, beside, stop));
        let submitter = Submitter { wallet: wallet.clone(), accounts: accounts.clone(), tenants: tenants.clone() };
        let archives = parts::backup_source(&config, &identity, &layout, &store, &blobs);
        let replication = Replication::new(replication::Parts {
            submitter: submitter.clone(),
            consent: parts::consent(&config),
            placement,
            network: network.clone(),
            membership: membership.clone(),
            reader: store.reader().clone(),
            writer: store.writer().clone(),
            accounts: accounts.clone(),
            repos: repos.clone(),
            blobs: blobs.clone(),
            firehose: firehose.clone(),
            lifecycle: lifecycle.clone(),
            resolver: resolver.clone(),
            permissioned: permissioned.clone(),
            tenants: tenants.clone(),
            preferences: preferences.clone(),
            spaces: spaces.clone(),
            sealing,
            partial_dir: layout.partial_copies(),
            copy_rate: config.replicas.copy_rate.bytes(),
            archives: archives.clone(),
            vaults: parts::vaults(&config, &layout),
            replace_after: config.replicas.replace_full.then_some(config.replicas.replace_after),
            events: events.clone(),
        });
        let copying = replication.clone();
        spawner.spawn("replication", |stop| copying.run(stop));
        // Where the ledger may still decide a move, no write passes.
        let migrations = Migrations::new(migration::Parts {
            replication: replication.clone(),
            sessions: sessions.clone(),
            tenants: tenants.clone(),
            fetcher: Fetcher::streaming(parts::scope(&config))?,
            endpoint: service.endpoint().to_owned(),
            names: parts::names(&config, parts::dns(&config)),
            rebalances: config.replicas.rebalance.then_some(config.replicas.rebalance_after),
            config: parts::migration(&config),
        });
        migrations.resume().await.map_err(|error| StartError::Move(error.to_string()))?;
        let moving = migrations.clone();
        spawner.spawn("migration", |stop| moving.run(stop));

        let opening = parts::backups(&config, archives);
        let (backups, jobs) = tokio::task::spawn_blocking(opening).await??;
        registry.register_collector(Box::new(BackupsCollector(backups.clone())));
        let backup_health = health.register("backup", Importance::Helpful, ServiceState::Off("starting".to_owned()));
        let backing_up = backups.clone();
        spawner.spawn("backup", |stop| backing_up.run(jobs, backup_health, stop));
        let password = Arc::new(password);
        let host = Arc::new(Host {
            service,
            settings: Settings::new(&config),
            accounts,
            repos,
            permissioned,
            credentials,
            blobs,
            firehose,
            identities,
            handles,
            resolver,
            lexicons,
            proxy,
            sessions,
            lifecycle,
            mail,
            invites,
            preferences,
            reports,
            takedowns,
            backups,
            tenants,
            rulebook,
            submitter: submitter.clone(),
            service_account,
            provisioner,
            replication,
            migrations,
            passwords,
            limits: RateLimits::new(&config.http),
            business,
            roadmap,
            spaces,
            webhooks,
            admin_password: Arc::clone(&password),
        });

        // Who asks: last, when there is somebody to answer.
        let control = Control::new();
        let admin = Arc::new(Admin {
            membership,
            password,
            facts: Arc::clone(&facts),
            health: health.clone(),
            load: load.clone(),
            started,
            settings,
            log,
            control: control.clone(),
            layout: layout.clone(),
            rotation_overlap: config.identity.rotation_overlap,
        });
        let operations = Operations { admin: Arc::clone(&admin), submitter, entry };
        let router = router::build(router::Parts {
            config: config.http.clone(),
            facts: Arc::clone(&facts),
            health: health.clone(),
            federation,
            ledger: LedgerRoutes {
                ledger: ledger.clone(),
                key: Arc::new(NodeKey::from_seed(&identity.key().seed())),
                genesis: layout.genesis(),
                firehose: host.firehose.clone(),
            },
            events: events.clone(),
            metrics: MetricsPage {
                registry: Arc::new(registry),
                access: config.http.metrics,
                admin: Arc::clone(&admin),
            },
            admin,
            operations,
            home: router::Home {
                facts: Arc::clone(&facts),
                service: host.service.clone(),
                invites_required: config.accounts.invites_required,
            },
            directory,
            host,
        });
        spawner.spawn("http", |stop| http.serve(router, events, stop));
        spawner.spawn("lexicons", |stop| publishing.run(stop));

        write_run_file(&layout, &facts)?;
        tracing::info!(did = %facts.did, http = %facts.http_addr, took_ms = started.elapsed().as_millis(), "ready");
        Ok(Built { data_dir, store, facts, control, health, load, ledger })
    }
}
