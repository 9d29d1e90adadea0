//! From the configuration to what each part wants: the words are the operator's on one side and the part's on the
//! other, and nothing is decided here but defaults that depend on one another.

use std::collections::BTreeSet;
use std::sync::Arc;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::{Did, NodeName};
use angel_protocol::ledger::action::{Region, RegisterNode};
use angel_protocol::ledger::parameters;
use angel_protocol::membership::{self, Capability};
use angel_protocol::placement::{Accept, Consent};
use angel_protocol::time::Timestamp;
use angel_protocol::wire::gossip::Topic;
use angel_storage::Store;
use angel_storage::reader::ReadError;
use tokio::sync::mpsc;

use crate::accounts::{Accounts, AccountsOpenError};
use crate::backup::{Backups, BucketAccess, Inbox, Settings, Source};
use crate::blobs::{BlobError, Blobs};
use crate::clock;
use crate::config::{AcceptTenants, Admission, Config, ConsensusConfig, NamesAdapter, Scope};
use crate::consensus;
use crate::data_dir::Layout;
use crate::directory::Directory;
use crate::dns::Dns;
use crate::dns::moved::{Adapter, Names};
use crate::facts::VERSION;
use crate::fetch::{FetchError, Fetcher};
use crate::firehose::Firehose;
use crate::identities::{Identities, IdentitiesOpenError};
use crate::invites::Invites;
use crate::keys::Identity;
use crate::ledger::genesis::{Founder, GenesisError};
use crate::ledger::{self, Ledger, NodeWallet};
use crate::mail::{Mail, Smtp};
use crate::membership::OwnNode;
use crate::mempool;
use crate::network::{self, Gossip, PeerId};
use crate::passwords::Passwords;
use crate::permissioned::Permissioned;
use crate::permissioned::services::Services;
use crate::preferences::Preferences;
use crate::replication::VaultSettings;
use crate::reports::Reports;
use crate::repos::{RepoError, Repos};
use crate::resolver;
use crate::sessions::Sessions;
use crate::spaces::{self, Spaces};
use crate::takedowns::Takedowns;
use crate::tenants::{Rulebook, Tenants};
use crate::xrpc::host::Service;

/// What may be put aside while a backup is read, where the store has less memory than this, in bytes.
const ASIDE_MIN: usize = 64 << 20;

/// The network's part of the configuration.
pub(super) fn network(config: &Config, identity: &Identity, ledger: &LedgerTopics) -> network::Config {
    let NetworkLists { allow, block } = lists(config);
    let settings = &config.network;
    let mut parts = network::Config::new(settings.id.clone(), identity.key().seed());
    parts.agent = format!("angel/{VERSION}");
    parts.listen = settings.listen.clone();
    parts.external = settings.external.clone();
    parts.bootstrap = settings.bootstrap.clone();
    parts.persistent = settings.persistent_peers.clone();
    let heartbeats = Topic::Heartbeat.name(&settings.id);
    parts.topics = vec![
        network::Topic::new(heartbeats, angel_protocol::limits::ENVELOPE_BYTES_MAX),
        ledger.transactions.clone(),
        ledger.consensus.clone(),
    ];
    parts.scope = scope(config);
    parts.mdns = settings.mdns;
    parts.upnp = settings.upnp;
    parts.relay_server = settings.relay_server.then(network::RelayLimits::default);
    parts.relays = settings.relays.clone();
    parts.allow = allow;
    parts.block = block;
    parts.limits.connections_max = settings.connections_max;
    parts.limits.inbound_max = settings.connections_max - settings.connections_max / 4;
    parts.limits.outbound_max = settings.connections_max / 2;
    parts.limits.per_peer_max = settings.connections_per_peer_max;
    parts.limits.memory_max = Some(settings.memory_max.as_usize());
    parts.limits.gossip_per_second = settings.messages_per_second_max;
    parts
}

/// The gossip of this node's ledger, and who reads it.
pub(super) struct LedgerTopics {
    pub(super) transactions: network::Topic,
    pub(super) consensus: network::Topic,
}

/// Messages that may wait for a reader of the ledger's gossip: some heights of a hundred validators.
const LEDGER_GOSSIP_MAX: usize = 2048;

/// Messages per second that one peer may hand us of the ledger's gossip: it passes on those of all others.
const LEDGER_GOSSIP_PER_SECOND: u32 = 4000;

/// The topics, and their readers' ends: transactions, then consensus.
pub(super) fn ledger_topics(ledger: &ledger::Shared) -> (LedgerTopics, mpsc::Receiver<Gossip>, mpsc::Receiver<Gossip>) {
    let topic = |topic: Topic, bytes_max| {
        let (reader, gossip) = mpsc::channel(LEDGER_GOSSIP_MAX);
        let name = topic.of_ledger(&ledger.network, &ledger.genesis);
        let per_second = Some(LEDGER_GOSSIP_PER_SECOND);
        (network::Topic { name, bytes_max, per_second, reader: Some(reader) }, gossip)
    };
    let (transactions, waiting) = topic(Topic::Transactions, mempool::GOSSIP_BYTES_MAX);
    let (consensus, votes) = topic(Topic::Consensus, consensus::GOSSIP_BYTES_MAX);
    (LedgerTopics { transactions, consensus }, waiting, votes)
}

/// Opens the ledger, or founds one. Blocks.
pub(super) fn open_ledger(
    config: &Config,
    identity: &Identity,
    node_id: &NodeName,
    layout: &Layout,
    store: &Store,
) -> impl FnOnce() -> Result<ledger::Shared, GenesisError> + Send + 'static {
    let founder = Founder {
        network: config.network.id.clone(),
        did: identity.did().clone(),
        name: config.node.node_id.clone().unwrap_or_else(|| node_id.clone()),
        region: region(config),
        admission: match config.network.admission {
            Admission::Open => parameters::Admission::Open,
            Admission::Invite => parameters::Admission::Invite,
            Admission::Allowlist => parameters::Admission::Allowlist(config.network.allow.clone()),
        },
    };
    let (layout, reader, writer) = (layout.clone(), store.reader().clone(), store.writer().clone());
    move || {
        ledger::genesis::ensure(&layout, &founder, &reader, &writer, clock::now())?;
        Ok(ledger::Shared::new(founder.network, founder.did, reader, writer)?)
    }
}

/// Where the ledger has the node stand.
pub(super) const fn region(config: &Config) -> Region {
    match config.node.region {
        membership::Region::UsEast => Region::UsEast,
        membership::Region::UsWest => Region::UsWest,
        membership::Region::Asia => Region::Asia,
        membership::Region::Australia => Region::Australia,
        _ => Region::Europe,
    }
}

/// What the node says of itself on the ledger, where it is not registered.
pub(super) fn registration(config: &Config, own: &Did, name: &NodeName, wallet: NodeWallet) -> ledger::Registration {
    let can = |capability| config.node.capabilities.contains(&capability);
    let entry = RegisterNode {
        name: name.clone(),
        operator: own.clone(),
        region: region(config),
        hosts: can(Capability::TenantHosting),
        validates: can(Capability::BlockchainServices),
        invitation: None,
    };
    ledger::Registration { wallet, entry }
}

/// On which terms this node holds copies of others' tenants.
pub(super) fn consent(config: &Config) -> Consent {
    let settings = &config.replicas;
    Consent {
        accept: match settings.accept_tenants {
            AcceptTenants::Nobody => Accept::Nobody,
            AcceptTenants::Listed => Accept::Listed(settings.accept_from.clone()),
            AcceptTenants::Network => Accept::Network,
        },
        quota: settings.quota.bytes(),
        tenants_max: config.node.max_tenants,
        region: region(config),
    }
}

/// How vaults are cared for.
pub(super) fn vaults(config: &Config, layout: &Layout) -> VaultSettings {
    let settings = &config.replicas;
    VaultSettings { dir: layout.vaults(), every: settings.archive_every, check: settings.vault_check }
}

/// The bounds of a move.
pub(super) fn migration(config: &Config) -> angel_protocol::migration::Config {
    let settings = &config.replicas;
    angel_protocol::migration::Config {
        freeze_max: settings.freeze_max,
        patience: settings.move_patience,
        ..angel_protocol::migration::Config::default()
    }
}

/// How names of tenants are changed.
pub(super) fn names(config: &Config, dns: Dns) -> Names {
    let settings = &config.names;
    let adapter = match (settings.adapter, settings.server, &settings.zone) {
        (NamesAdapter::Zone, Some(server), Some(zone)) => {
            let key = settings.key_name.clone().zip(settings.key_file.clone());
            Adapter::Zone { server, zone: zone.clone(), key }
        }
        (NamesAdapter::Command, ..) => Adapter::Command(settings.command.clone()),
        _ => Adapter::Manual,
    };
    Names { adapter, dns }
}

/// The way to the domain name system.
pub(super) fn dns(config: &Config) -> Dns {
    Dns::new(config.identity.dns_server).unwrap_or_else(|error| {
        tracing::warn!(%error, "handles are resolved over HTTPS alone; set identity.dns_server");
        Dns::nowhere()
    })
}

/// How long rounds of consensus wait.
pub(super) const fn timing(config: &Config) -> consensus::Timing {
    let ConsensusConfig { propose_timeout, propose_timeout_absent, vote_timeout } = config.consensus;
    consensus::Timing { propose: propose_timeout, propose_absent: propose_timeout_absent, vote: vote_timeout }
}

/// Which addresses count. Where nothing but loopback or private addresses is listened on, the operator means such a
/// network.
pub(super) fn scope(config: &Config) -> network::Scope {
    match config.network.scope {
        Scope::Public => network::Scope::Public,
        Scope::Private => network::Scope::Private,
        Scope::Loopback => network::Scope::Loopback,
        Scope::Auto => network::Scope::of_listeners(&config.network.listen),
    }
}

struct NetworkLists {
    allow: BTreeSet<PeerId>,
    block: BTreeSet<PeerId>,
}

/// On a network by list nobody else may even connect.
fn lists(config: &Config) -> NetworkLists {
    let peers = |dids: &[Did]| dids.iter().filter_map(|did| network::peer_id_of(did).ok()).collect();
    let by_list = config.network.admission == Admission::Allowlist;
    NetworkLists {
        allow: if by_list { peers(&config.network.allow) } else { BTreeSet::new() },
        block: peers(&config.network.block),
    }
}

/// Membership's part of the configuration.
pub(super) fn membership(config: &Config) -> membership::Config {
    let (network, times) = (&config.network, &config.membership);
    let named: BTreeSet<Did> = network.allow.iter().cloned().chain(named_peers(config)).collect();
    let defaults = membership::Config::default();
    membership::Config {
        admission: match network.admission {
            Admission::Open => membership::Admission::Open,
            Admission::Invite => membership::Admission::Invite { founders: named },
            Admission::Allowlist => membership::Admission::Allowlist(network.allow.iter().cloned().collect()),
        },
        interval: times.heartbeat_interval,
        jitter: times.heartbeat_jitter,
        degraded_after: times.degraded_after,
        offline_after: times.offline_after,
        online_after: u8::try_from(times.online_after_heartbeats).unwrap_or(u8::MAX),
        rate_limit: times.heartbeat_min_gap,
        spacing: times.heartbeat_min_gap.mul_f64(1.2).min(times.heartbeat_interval),
        topology_window: times.window,
        isolation_window: times.window,
        grain: defaults.grain.min(times.heartbeat_interval / 4),
        settle: defaults.settle.min(times.heartbeat_interval),
        ..defaults
    }
}

/// The nodes that the operator wrote into the configuration by their address: on a network by invitation they are
/// believed from the start.
fn named_peers(config: &Config) -> impl Iterator<Item = Did> {
    let named = config.network.bootstrap.iter().chain(&config.network.persistent_peers);
    named.filter_map(|address| network::did_of(&network::peer_of(address)?))
}

/// This node, as it describes itself.
pub(super) fn own_node(config: &Config, identity: &Identity, default_node_id: NodeName) -> OwnNode {
    let node = &config.node;
    let node_id = node.node_id.clone().unwrap_or(default_node_id);
    OwnNode {
        network: config.network.id.clone(),
        did: identity.did().clone(),
        peer_id: identity.peer_id().to_string(),
        name: node.name.clone().unwrap_or_else(|| node_id.to_string()),
        node_id,
        public_url: node.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        region: node.region.clone(),
        node_type: node.node_type.clone(),
        scaling_model: node.scaling_model.clone(),
        capabilities: node.capabilities.clone(),
        max_tenants: node.max_tenants.into(),
        max_users: node.max_users.into(),
        storage_capacity: node.storage_capacity.map(|size| size.bytes()),
        version: VERSION,
        created_at: Timestamp::EPOCH,
    }
}

/// Who lives here, who is logged in, and what is kept for them besides repositories and files.
pub(super) struct AccountRooms {
    pub(super) accounts: Accounts,
    pub(super) sessions: Sessions,
    pub(super) passwords: Passwords,
    pub(super) mail: Mail,
    pub(super) invites: Invites,
    pub(super) preferences: Preferences,
    pub(super) reports: Reports,
    pub(super) takedowns: Takedowns,
}

impl AccountRooms {
    /// How they are opened, which blocks.
    pub(super) fn open(
        store: &Store,
        layout: &Layout,
        config: &Config,
        service: &Service,
        smtp: Option<Smtp>,
    ) -> impl FnOnce() -> Result<Self, AccountsOpenError> + use<> {
        let (reader, writer) = (store.reader().clone(), store.writer().clone());
        let (layout, settings, service) = (layout.clone(), config.accounts.clone(), service.clone());
        move || {
            let rooms = || (reader.clone(), writer.clone());
            let (reader, writer) = rooms();
            let accounts = Accounts::open(reader, writer, &layout)?;
            let (reader, writer) = rooms();
            let sessions =
                Sessions::open(reader, writer, &layout, settings.session_secret.as_ref(), service.did.clone())?;
            let (reader, writer) = rooms();
            let mail = Mail::open(reader, writer, smtp, service.host().to_owned())?;
            let (reader, writer) = rooms();
            let invites = Invites::new(reader, writer, service.host(), settings);
            let (reader, writer) = rooms();
            let preferences = Preferences::new(reader, writer);
            let (reader, writer) = rooms();
            let takedowns = Takedowns::open(&reader, writer.clone())?;
            let reports = Reports::open(reader, writer)?;
            let passwords = Passwords::new()?;
            Ok(Self { accounts, sessions, passwords, mail, invites, preferences, reports, takedowns })
        }
    }
}

/// How the tenants are read, which blocks.
pub(super) fn tenants(store: &Store) -> impl FnOnce() -> Result<Tenants, ReadError> + use<> {
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    move || Tenants::open(reader, writer)
}

/// How the repositories are opened, which blocks.
pub(super) fn repos(store: &Store, layout: &Layout) -> impl FnOnce() -> Result<Repos, RepoError> + use<> {
    let (reader, writer, spool) = (store.reader().clone(), store.writer().clone(), layout.imports());
    move || {
        // Of the 10 bits that count, another node that writes for the same account has others, most likely.
        let repos = Repos::new(reader, writer, rand::random(), spool);
        repos.recover()?;
        Ok(repos)
    }
}

/// How the spaces are opened, which blocks.
pub(super) fn spaces(
    store: &Store,
    (accounts, repos): (&Accounts, &Repos),
    (permissioned, tenants, rulebook): (&Permissioned, &Tenants, &Rulebook),
    firehose: &Firehose,
    config: &Config,
) -> impl FnOnce() -> Result<Spaces, ReadError> + use<> {
    let parts = spaces::Parts {
        reader: store.reader().clone(),
        writer: store.writer().clone(),
        accounts: accounts.clone(),
        repos: repos.clone(),
        permissioned: permissioned.clone(),
        tenants: tenants.clone(),
        rulebook: rulebook.clone(),
    };
    let (durable, followers_max) = (firehose.happenings(), config.firehose.subscribers_max);
    move || Spaces::open(parts, durable, followers_max)
}

/// Private data. There is one handle, of which all others are clones: it holds the locks of the repositories.
pub(super) fn permissioned(store: &Store, accounts: &Accounts, layout: &Layout) -> Permissioned {
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    // Of the 10 bits that count, another node that writes for the same account has others, most likely.
    Permissioned::new(reader, writer, accounts.clone(), rand::random(), layout.imports())
}

/// The ways to other hosts of private data.
pub(super) fn space_services(
    config: &Config,
    accounts: &Accounts,
    resolver: &resolver::Resolver,
) -> Result<Services, FetchError> {
    let scope = scope(config);
    Ok(Services::new(accounts.clone(), resolver.clone(), Fetcher::new(scope)?, scope))
}

/// How the blobs are opened, which blocks.
pub(super) fn blobs(
    store: &Store,
    layout: &Layout,
    config: &Config,
) -> impl FnOnce() -> Result<Blobs, BlobError> + use<> {
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    let (dir, config) = (layout.blobs(), config.blobs.clone());
    move || Blobs::open(dir, reader, writer, &config)
}

/// How the accounts' identities are opened, which blocks.
pub(super) fn identities(
    ledger: &Ledger,
    layout: &Layout,
    config: &Config,
    service: &Service,
    accounts: &Accounts,
) -> impl FnOnce() -> Result<Identities, IdentitiesOpenError> + use<> {
    let (ledger, layout, no_accounts) = (ledger.clone(), layout.clone(), accounts.none_was_made());
    let (config, endpoint) = (config.identity.clone(), service.endpoint().to_owned());
    move || Identities::open(ledger, &layout, &config, endpoint, no_accounts)
}

/// What handles and DIDs are resolved with.
pub(super) fn resolver(
    config: &Config,
    service: &Service,
    accounts: &Accounts,
    directory: &Directory,
) -> Result<resolver::Parts, FetchError> {
    let (scope, server) = (scope(config), config.identity.dns_server);
    let dns = dns(config);
    let fetcher = if server.is_some() { Fetcher::with_dns(scope, dns.clone())? } else { Fetcher::new(scope)? };
    Ok(resolver::Parts {
        directory: directory.clone(),
        accounts: accounts.clone(),
        handle_domains: service.handle_domains.clone(),
        dns,
        fetcher,
        scope,
        times: resolver::Times::default(),
    })
}

/// What backups are made of, and archives for vaults.
pub(super) fn backup_source(
    config: &Config,
    identity: &Identity,
    layout: &Layout,
    store: &Store,
    blobs: &Blobs,
) -> Source {
    Source {
        reader: store.reader().clone(),
        writer: store.writer().clone(),
        blobs: blobs.clone(),
        layout: layout.clone(),
        key: Arc::new(NodeKey::from_seed(&identity.key().seed())),
        network: config.network.id.clone(),
        aside_max: config.storage.memory.as_usize().max(ASIDE_MIN),
        turn: Arc::default(),
    }
}

/// Where backups go, and what they are made of.
pub(super) fn backups(config: &Config, source: Source) -> impl FnOnce() -> Result<(Backups, Inbox), ReadError> + use<> {
    let set = &config.backup;
    let settings = Settings {
        to: set.to.clone(),
        access: BucketAccess { endpoint: set.s3_endpoint.clone(), region: set.s3_region.clone() },
        every: set.every,
        keep: set.keep,
        recipients: set.recipients.clone(),
        verify: set.verify,
        engine: config.storage.engine,
    };
    move || Backups::open(source, settings)
}
