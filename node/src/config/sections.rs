//! The settings, section by section. The doc comments are also the words of `config/angel.toml`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use angel_protocol::backup::Keep;
use angel_protocol::ids::{Did, NetworkId, NodeName};
use angel_protocol::membership::{Capability, Invite, NodeType, OVERLAP, Region, ScalingModel};
use angel_storage::engine::EngineKind;
use url::Url;

use super::section::section;
use super::value::{ByteSize, HandleDomain, PlcDirectory, Secret, choice};
use crate::backup::Place;
use crate::network::Multiaddr;

choice! {
    /// Which defaults fit the machine.
    pub enum Profile {
        /// A person's machine on a home network.
        Home = "home",
        /// A service on a server.
        Service = "service",
    }
}

section! {
    /// What stands at the top of the file, before any section.
    pub struct General in "" {
        /// Which defaults fit the machine: "home" (a person's machine: data in the user's data directory, neighbours
        /// found by multicast, ports opened by UPnP) or "service" (a server: data in /var/lib/angel, neither of them).
        profile: Profile = Profile::Home,
        /// Where everything is kept. Unset: "angel" in the XDG data directory, or /var/lib/angel as a service.
        data_dir: Option<PathBuf> = None,
    }
}

section! {
    /// What this node says about itself to its peers.
    pub struct NodeConfig in "node" {
        /// The node's own id on its network: lower-case letters, digits and single hyphens. The first node to use an
        /// id keeps it. Unset: derived from the node's key.
        node_id: Option<NodeName> = None,
        /// A name for people. Unset: the node id.
        name: Option<String> = None,
        /// The URL under which the world reaches this node's HTTP, for example "https://angel.example.org". With a
        /// host name the node also answers as did:web of that name. Unset: the node is not reachable from outside.
        public_url: Option<Url> = None,
        /// Where the node stands: "us-east", "us-west", "europe", "asia" or "australia".
        region: Region = Region::Europe,
        /// "genesis", "production_cluster", "single_instance", "edge_cluster", "development" or "ai_specialized".
        /// A development node joins only networks whose id ends in "-dev".
        node_type: NodeType = NodeType::SingleInstance,
        /// "single_server", "k8s_cluster", "cloudflare_lb" or "vercel_serverless".
        scaling_model: ScalingModel = ScalingModel::SingleServer,
        /// Any of "tenant_hosting", "ai_processing", "media_storage", "realtime_comm" and "blockchain_services".
        capabilities: Vec<Capability> = vec![Capability::TenantHosting, Capability::MediaStorage, Capability::RealtimeComm],
        /// Most tenants this node takes.
        max_tenants: u32 = 100,
        /// Most user accounts this node takes.
        max_users: u32 = 10_000,
        /// Most disk this node fills. Unset: what its file system holds.
        storage_capacity: Option<ByteSize> = None,
        /// How to reach the person who runs this node: an e-mail address or a URL. Shown to everybody.
        operator_contact: Option<String> = None,
    }
}

choice! {
    /// Who may read the metrics.
    pub enum MetricsAccess {
        /// Whoever reaches the port.
        Open = "open",
        /// Whoever has the admin password.
        Admin = "admin",
        /// Nobody.
        Off = "off",
    }
}

section! {
    /// The HTTP server.
    pub struct HttpConfig in "http" {
        /// Address and port to listen on; port 0 takes a free one. Put a proxy with TLS in front of anything public.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 2583)),
        /// Most connections held at once; more wait to be accepted.
        connections_max: u32 = 1024,
        /// How long a client may take to send the header of a request; also how long an idle connection is kept.
        header_timeout: Duration = Duration::from_secs(15),
        /// How long a request may take, its body included, before it is answered with RequestTimeout.
        request_timeout: Duration = Duration::from_secs(30),
        /// How long a client may read nothing of an answer before it is dropped.
        write_stall_timeout: Duration = Duration::from_secs(30),
        /// Largest body accepted, unless a method sets its own limit.
        body_max: ByteSize = ByteSize::from_mib(1),
        /// How long a request may take whose body or answer is large, such as an import.
        transfer_timeout: Duration = Duration::from_secs(600),
        /// Whether clients are limited in how often they may log in, sign up, write and ask.
        rate_limits: bool = true,
        /// Proxies whose X-Forwarded-For header tells a client's address.
        trusted_proxies: Vec<IpAddr> = vec![],
        /// Who may read /metrics: "open", "admin" (with the admin password) or "off".
        metrics: MetricsAccess = MetricsAccess::Open,
    }
}

choice! {
    /// Which unknown nodes are admitted.
    pub enum Admission {
        /// Every node with a valid DID.
        Open = "open",
        /// Nodes with a token signed by a member.
        Invite = "invite",
        /// The DIDs in `network.allow`.
        Allowlist = "allowlist",
    }
}

choice! {
    /// Which addresses count on a network.
    pub enum AddressScope {
        /// As the addresses listened on suggest.
        Auto = "auto",
        /// Addresses of the internet.
        Public = "public",
        /// Those and private ones.
        Private = "private",
        /// Those and loopback.
        Loopback = "loopback",
    }
}

section! {
    /// The peer-to-peer network.
    pub struct NetworkConfig in "network" {
        /// Which network this node belongs to; messages of any other are refused. Ids that end in "-dev" are for
        /// development.
        id: NetworkId = "angel".parse().expect("a valid network id"),
        /// Which unknown nodes are admitted: "open", "invite" (with a token signed by a member) or "allowlist" (those
        /// in allow).
        admission: Admission = Admission::Open,
        /// Multiaddresses to listen on; port 0 takes a free one.
        listen: Vec<Multiaddr> = [
            "/ip4/0.0.0.0/tcp/2584",
            "/ip4/0.0.0.0/udp/2584/quic-v1",
        ].iter().map(|address| address.parse().expect("a valid multiaddress")).collect(),
        /// Multiaddresses to announce, when the machine cannot find them out itself (behind a forwarded port).
        external: Vec<Multiaddr> = vec![],
        /// Which addresses may be dialled because another node named them, and are told to others: "public" (those of
        /// the internet), "private" (those of a VPN or local network too), "loopback" (this machine too) or "auto"
        /// (the narrowest that fits the addresses listened on).
        scope: AddressScope = AddressScope::Auto,
        /// The invitation that lets this node into a network by invitation: the word that `angel peer invite` printed
        /// on a node of that network.
        invitation: Option<Invite> = None,
        /// URLs of nodes to exchange heartbeats with over HTTP, where peer-to-peer connections do not get through.
        endpoints: Vec<Url> = vec![],
        /// Nodes to ask first for other nodes.
        bootstrap: Vec<Multiaddr> = vec![],
        /// Nodes to stay connected to, dialled again whenever they are lost.
        persistent_peers: Vec<Multiaddr> = vec![],
        /// DIDs that are always admitted.
        allow: Vec<Did> = vec![],
        /// DIDs that are always refused.
        block: Vec<Did> = vec![],
        /// Find nodes on the local network by multicast. The service profile turns it off.
        mdns: bool = true,
        /// Ask the router to forward a port. The service profile turns it off.
        upnp: bool = true,
        /// Relay connections for nodes that cannot be reached directly.
        relay_server: bool = false,
        /// Relays to be reachable through.
        relays: Vec<Multiaddr> = vec![],
        /// Most connections held at once.
        connections_max: u32 = 128,
        /// Most connections held with one peer.
        connections_per_peer_max: u32 = 4,
        /// Most memory the process may hold before new connections are refused.
        memory_max: ByteSize = ByteSize::from_mib(512),
        /// Most gossip messages taken from one peer in a second; more are dropped and counted.
        messages_per_second_max: u32 = 100,
    }
}

section! {
    /// How peers are watched. Nodes of one network should agree on these; change them for tests.
    pub struct MembershipConfig in "membership" {
        /// How often a heartbeat is sent.
        heartbeat_interval: Duration = Duration::from_secs(30),
        /// Largest random shift of a heartbeat, earlier or later.
        heartbeat_jitter: Duration = Duration::from_secs(5),
        /// Silence after which a peer counts as degraded.
        degraded_after: Duration = Duration::from_secs(90),
        /// Silence after which a peer counts as offline.
        offline_after: Duration = Duration::from_secs(300),
        /// Heartbeats in a row that bring a peer back online.
        online_after_heartbeats: u32 = 2,
        /// Heartbeats of one node that follow faster than this are dropped and counted.
        heartbeat_min_gap: Duration = Duration::from_secs(5),
        /// How often the HTTP of another node is asked how it is; each time another one's.
        health_interval: Duration = Duration::from_secs(15),
        /// How far back the view of links and the judgement of being cut off look.
        window: Duration = Duration::from_secs(600),
    }
}

section! {
    /// What survives a restart.
    pub struct StorageConfig in "storage" {
        /// The engine of a new data directory: "sled" or "fjall". An existing one keeps its engine until
        /// `angel storage convert`.
        engine: EngineKind = EngineKind::Sled,
        /// Memory meant for the store; it grows towards it with use. More makes a large store read faster.
        memory: ByteSize = ByteSize::from_mib(64),
    }
}

section! {
    /// Deciding the ledger together. Each node has its own patience; nothing breaks where they differ.
    pub struct ConsensusConfig in "consensus" {
        /// How long a round waits for its proposal.
        propose_timeout: Duration = Duration::from_secs(2),
        /// The same where the proposer has not been heard of for some heights.
        propose_timeout_absent: Duration = Duration::from_millis(150),
        /// How long a round waits for votes that are still on their way.
        vote_timeout: Duration = Duration::from_millis(200),
    }
}

choice! {
    /// How log lines look.
    pub enum LogFormat {
        /// For people.
        Pretty = "pretty",
        /// One JSON object a line.
        Json = "json",
    }
}

section! {
    /// The log, on standard error.
    pub struct LogConfig in "log" {
        /// What is logged: a level ("error", "warn", "info", "debug" or "trace"), or directives by module such as
        /// "info,angel_node::http=debug". Libraries stay quiet unless they are named.
        filter: String = "info".to_owned(),
        /// "pretty" for people, "json" for collectors.
        format: LogFormat = LogFormat::Pretty,
    }
}

section! {
    /// Identities: the node's own, and those of the accounts it hosts.
    pub struct IdentityConfig in "identity" {
        /// How long the node's previous key stays valid after a rotation.
        rotation_overlap: Duration = OVERLAP,
        /// Where did:plc identities are kept: "federation" (this network's own directory) or the URL of another, such
        /// as "https://plc.directory".
        plc: PlcDirectory = PlcDirectory::Federation,
        /// The key with which this node changes the did:plc identities of its accounts: 32 bytes in hexadecimal, of
        /// secp256k1. Unset: one is made in the data directory.
        plc_rotation_key: Option<Secret> = None,
        /// A did:key that may take back every identity made here, ahead of this node. Unset: only the recovery key
        /// that an owner gives or is given.
        recovery_key: Option<Did> = None,
        /// Domains under which accounts get handles, the preferred one first. Unset: the host name of
        /// node.public_url, or ".test" without one.
        handle_domains: Vec<HandleDomain> = vec![],
        /// The DNS server that answers for handles, for example "1.1.1.1:53". Unset: the system's.
        dns_server: Option<SocketAddr> = None,
    }
}

section! {
    /// Accounts: who may sign up, and how they log in.
    pub struct AccountsConfig in "accounts" {
        /// Whether signing up needs an invite code.
        invites_required: bool = false,
        /// How often an account gets another invite code to give away. Unset: never.
        invite_interval: Option<Duration> = None,
        /// From when on the interval counts, in seconds since 1970, for accounts older than that.
        invite_epoch: u32 = 0,
        /// The secret that signs session tokens. Changing it logs everybody out. Unset: one is made in the data
        /// directory.
        session_secret: Option<Secret> = None,
        /// Who has the last word on this node, by DID: what only a super admin sets for a business, they set where they
        /// are members of it.
        super_admins: Vec<Did> = vec![],
        /// Where the terms of service are.
        terms_url: Option<Url> = None,
        /// Where the privacy policy is.
        privacy_url: Option<Url> = None,
    }
}

section! {
    /// Mail to account owners: confirmations and codes.
    pub struct MailConfig in "mail" {
        /// The mail server, such as "smtps://user:password@mail.example.org". Unset: nothing is sent, and the operator
        /// reads codes with `angel account code`.
        smtp_url: Option<Secret> = None,
        /// The sender. Unset: "angel@" and the host name of node.public_url.
        from: Option<String> = None,
    }
}

section! {
    /// Pictures and other files of accounts.
    pub struct BlobsConfig in "blobs" {
        /// Largest file an account may upload.
        size_max: ByteSize = ByteSize::from_mib(50),
    }
}

section! {
    /// The event stream of all repositories, and who follows it.
    pub struct FirehoseConfig in "firehose" {
        /// How far back a follower can catch up. Older events are dropped from the log.
        backfill: Duration = Duration::from_secs(7 * 86_400),
        /// Most followers at once.
        subscribers_max: u32 = 2048,
        /// Relays that are asked to follow, such as "https://bsky.network".
        relays: Vec<Url> = vec![],
    }
}

choice! {
    /// From whom copies of tenants are taken.
    pub enum AcceptTenants {
        /// From nobody.
        Nobody = "nobody",
        /// From the nodes in `replicas.accept_from`.
        Listed = "listed",
        /// From every node of the network.
        Network = "network",
    }
}

section! {
    /// Copies of tenants: this node's of others, and others' of this node's.
    pub struct ReplicasConfig in "replicas" {
        /// From whom copies are taken: "nobody", "listed" (the nodes in accept_from) or "network" (every node of it).
        accept_tenants: AcceptTenants = AcceptTenants::Nobody,
        /// The nodes whose tenants are taken where accept_tenants is "listed", by DID.
        accept_from: Vec<Did> = vec![],
        /// What all copies together may take: records and files of other nodes' tenants, and archives of them.
        quota: ByteSize = ByteSize::from_mib(10 * 1024),
        /// How long a write waits for a standby, for tenants that ask for that, before it is answered with
        /// ReplicationUnavailable.
        ack_timeout: Duration = Duration::from_secs(5),
        /// For how long writes may wait while a tenant is moved, before it is tried again later.
        freeze_max: Duration = Duration::from_secs(5),
        /// For how long the node that a tenant is moved to may be silent before the move is undone.
        move_patience: Duration = Duration::from_mins(10),
        /// How much is sent to other nodes in bulk, a second: first copies, files, comparisons. What is written now does not
        /// wait for it.
        copy_rate: ByteSize = ByteSize::from_mib(100),
        /// How old the archive becomes that vaults keep of a tenant of this node, 1s to 90d. Each is made whole, and sealed to
        /// the owner's recovery key.
        archive_every: Duration = Duration::from_hours(24),
        /// How often a vault has to prove that it still has it, 100ms to 90d.
        vault_check: Duration = Duration::from_hours(1),
        /// Whether this node, when it has been full for a while (a load above 85), moves tenants that have copies to nodes with
        /// room (below 60) that agree: the quietest first, one at a time, three a day at most, each at most once a week. A
        /// tenant on this node alone stays.
        rebalance: bool = false,
        /// For how long it has to be full, without having room (below 60) in between.
        rebalance_after: Duration = Duration::from_hours(1),
        /// Whether a standby of a tenant of this node that has no room for more of it is replaced by another node that agrees
        /// and has room (a load below 60, and a quarter more than the copy takes): the other is copied to first, one at a
        /// time, three a day at most.
        replace_full: bool = true,
        /// For how long it must have had no room.
        replace_after: Duration = Duration::from_hours(1),
    }
}

choice! {
    /// How names of tenants that are moved are changed.
    pub enum NamesAdapter {
        /// By whoever has the domain; this node says what to set, and looks.
        Manual = "manual",
        /// In a zone that this node may change (RFC 2136).
        Zone = "zone",
        /// By a command.
        Command = "command",
    }
}

section! {
    /// Names of tenants that are moved: for browsers. Where a tenant is, its identity says.
    pub struct NamesConfig in "names" {
        /// How they are changed: "manual" (this node says which records to set), "zone" or "command".
        adapter: NamesAdapter = NamesAdapter::Manual,
        /// The primary server of the zone, for example "192.0.2.1:53".
        server: Option<SocketAddr> = None,
        /// The zone that may be changed, for example "angel.example".
        zone: Option<String> = None,
        /// The name of its TSIG key (HMAC-SHA256). Unset: changes are not signed.
        key_name: Option<String> = None,
        /// The file that holds the key in base64.
        key_file: Option<PathBuf> = None,
        /// The command with its arguments; ANGEL_DNS_NAME, _TYPE, _VALUE and _TTL are in its environment.
        command: Vec<String> = vec![],
    }
}

section! {
    /// Backups of this node. They are sealed to recovery keys, which `angel backup key FILE` makes; without one, none is
    /// made.
    pub struct BackupConfig in "backup" {
        /// Where backups go: a directory, or a bucket such as "s3://backups/angel", for which the environment says who may
        /// (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY). Another machine or another disk, or they are lost with this one.
        to: Option<Place> = None,
        /// How often one is made. Unset: only on request.
        every: Option<Duration> = None,
        /// Which are kept: the newest few, and the newest of each of the last days, weeks and months on which there is
        /// one.
        keep: Keep = Keep::default(),
        /// The recovery keys that open them, as age recipients ("age1…"). Empty: all that were proved.
        recipients: Vec<String> = vec![],
        /// Whether each is verified at once by restoring it into a scratch store, which takes as much room as the store.
        verify: bool = true,
        /// Where the bucket is, for others than Amazon, such as "https://s3.example.org".
        s3_endpoint: Option<Url> = None,
        /// The region of the bucket.
        s3_region: Option<String> = None,
    }
}

section! {
    /// Services of others that clients reach through this node.
    pub struct ServicesConfig in "services" {
        /// The URL of the moderation service that gets reports. Unset: the operator gets them.
        moderation_url: Option<Url> = None,
        /// Its DID.
        moderation_did: Option<Did> = None,
        /// The URL of the service that answers for app.bsky methods. Unset: clients name one themselves.
        app_view_url: Option<Url> = None,
        /// Its DID.
        app_view_did: Option<Did> = None,
    }
}
