//! What the methods are made of.

use std::sync::Arc;

use angel_protocol::ids::Did;
use url::Url;

use crate::accounts::Accounts;
use crate::backup::Backups;
use crate::blobs::Blobs;
use crate::business::Business;
use crate::config::{AccountsConfig, Config};
use crate::facts::NodeFacts;
use crate::firehose::Firehose;
use crate::handles::Handles;
use crate::identities::Identities;
use crate::invites::Invites;
use crate::ledger::custody::Submitter;
use crate::lexicons::Lexicons;
use crate::lifecycle::Lifecycle;
use crate::mail::Mail;
use crate::migration::Migrations;
use crate::passwords::Passwords;
use crate::permissioned::Permissioned;
use crate::permissioned::credentials::Credentials;
use crate::preferences::Preferences;
use crate::proxy::Proxy;
use crate::rate_limits::RateLimits;
use crate::replication::Replication;
use crate::reports::Reports;
use crate::repos::Repos;
use crate::resolver::Resolver;
use crate::roadmap::Roadmap;
use crate::secrets::AdminPassword;
use crate::service_account::ServiceAccount;
use crate::sessions::Sessions;
use crate::spaces::Spaces;
use crate::takedowns::Takedowns;
use crate::tenants::{Provisioner, Rulebook, Tenants};
use crate::webhooks::Webhooks;

/// The handles that methods act through. Shared by all requests.
pub(crate) struct Host {
    /// What this host is to its clients.
    pub(crate) service: Service,
    /// What the operator chose.
    pub(crate) settings: Settings,
    /// Who lives here.
    pub(crate) accounts: Accounts,
    /// What they wrote.
    pub(crate) repos: Repos,
    /// What they wrote for certain people.
    pub(crate) permissioned: Permissioned,
    /// Who may read that.
    pub(crate) credentials: Credentials,
    /// Their pictures and other files.
    pub(crate) blobs: Blobs,
    /// What happens to them, for whoever follows.
    pub(crate) firehose: Firehose,
    /// Their did:plc identities.
    pub(crate) identities: Identities,
    /// Their handles.
    pub(crate) handles: Handles,
    /// Everybody's handles and DIDs.
    pub(crate) resolver: Resolver,
    /// What others' records have to be.
    pub(crate) lexicons: Lexicons,
    /// The way to other services.
    pub(crate) proxy: Proxy,
    /// Who is logged in.
    pub(crate) sessions: Sessions,
    /// How accounts come and go.
    pub(crate) lifecycle: Lifecycle,
    /// Mail to their owners.
    pub(crate) mail: Mail,
    /// Who may sign up.
    pub(crate) invites: Invites,
    /// What apps keep for them.
    pub(crate) preferences: Preferences,
    /// What people complain about.
    pub(crate) reports: Reports,
    /// Records and blobs that the operator took down.
    pub(crate) takedowns: Takedowns,
    /// Backups of all of it.
    pub(crate) backups: Backups,
    /// Which of them are businesses, and who may do what there.
    pub(crate) tenants: Tenants,
    /// What a record has to be, for this network's collections.
    pub(crate) rulebook: Rulebook,
    /// Their orders and leads.
    pub(crate) business: Business,
    /// What people vote for.
    pub(crate) roadmap: Roadmap,
    /// Their wallets.
    pub(crate) submitter: Submitter,
    /// The node's own account.
    pub(crate) service_account: ServiceAccount,
    /// Makes tenants.
    pub(crate) provisioner: Provisioner,
    /// Copies of tenants, here and elsewhere.
    pub(crate) replication: Replication,
    /// Moves of tenants to other nodes, and back.
    pub(crate) migrations: Migrations,
    /// Hashes passwords.
    pub(crate) passwords: Passwords,
    /// How often is too often.
    pub(crate) limits: RateLimits,
    /// Spaces, their members and what is said there.
    pub(crate) spaces: Spaces,
    /// Whom they tell of it.
    pub(crate) webhooks: Webhooks,
    /// What opens the operator's methods.
    pub(crate) admin_password: Arc<AdminPassword>,
}

/// What the operator chose and methods go by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Who may sign up.
    pub(crate) accounts: AccountsConfig,
    /// Largest blob, in bytes.
    pub(crate) blob_size_max: u64,
    /// How to reach the operator.
    pub(crate) contact: Option<String>,
    /// The service whose word counts like the operator's about what is taken down.
    pub(crate) moderation_did: Option<Did>,
}

impl Settings {
    /// From the configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            accounts: config.accounts.clone(),
            blob_size_max: config.blobs.size_max.bytes(),
            contact: config.node.operator_contact.clone(),
            moderation_did: config.services.moderation_did.clone(),
        }
    }
}

/// How this host is called from outside.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its DID, the audience of tokens: `did:web` of the host in [`Self::url`].
    pub(crate) did: Did,
    /// Where it answers: `node.public_url`, or its own port on this machine without one.
    pub(crate) url: Url,
    /// The domains under which its accounts have handles, each with its leading dot, the preferred one first.
    pub(crate) handle_domains: Vec<String>,
}

impl Service {
    /// From the settings, and the port that was taken.
    #[must_use]
    pub(crate) fn new(config: &Config, facts: &NodeFacts) -> Self {
        let local = || {
            let url = format!("http://localhost:{}", facts.http_addr.port());
            url.parse().expect("a host and a port make a URL")
        };
        let url: Url = facts.public_url.clone().unwrap_or_else(local);
        let host = url.host_str().unwrap_or("localhost");
        let port = url.port().map(|port| format!("%3A{port}")).unwrap_or_default();
        let did = format!("did:web:{host}{port}").parse().expect("a host name makes a did:web");
        let chosen: Vec<_> = config.identity.handle_domains.iter().map(ToString::to_string).collect();
        let handle_domains = match (chosen.is_empty(), facts.public_url.as_ref().and_then(Url::domain)) {
            (false, _) => chosen,
            (true, Some(domain)) if domain.contains('.') => vec![format!(".{domain}")],
            // Reserved for development: such a handle means nothing outside this machine, and nobody can own it.
            (true, _) => vec![".test".to_owned()],
        };
        Self { did, url, handle_domains }
    }

    /// Its host name, without a port.
    #[must_use]
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or("localhost")
    }

    /// The URL as services are named in DID documents: without a slash at its end.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}
