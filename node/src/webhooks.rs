//! Outgoing webhooks of the businesses on this node (API-01, FRM-02). Of each event that a business is told in its system
//! space, the URLs that its people chose are told as well; answers to a form go to the URL that the form's settings name.
//!
//! Nothing waits in a queue: what is told are records that are kept anyway, and a hook is a place among them
//! (`angel_protocol::webhooks`). So nothing is lost between record and call, a standby that takes over goes on where the hook
//! was, and what waits is bounded by what is kept. What a call says, how it is signed and when it is tried again is for
//! that module to say as well.
//!
//! - [`manage`] makes, changes and tests them;
//! - [`pump`] decides whose turn it is;
//! - [`deliver`] makes one call and takes note of it.
//!
//! Neither URLs nor secrets are in a log: both let whoever has them in.

mod bell;
mod deliver;
mod error;
mod manage;
pub(crate) mod pump;

use std::sync::Arc;

use angel_protocol::business::{FORM_SETTINGS, FORM_SUBMISSION};
use angel_protocol::data::{Value, cbor};
use angel_protocol::forms::FORM;
use angel_protocol::ids::{Did, Nsid, RepoPath};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::spaces::MESSAGE;
use angel_protocol::tenants::Feature;
use angel_protocol::time::Timestamp;
use angel_protocol::webhooks::{Position, Track};
use angel_storage::Reader;
use angel_storage::tenants::{WEBHOOKS, WebhookRow};

use crate::accounts::{AccountError, Accounts};
use crate::fetch::Fetcher;
use crate::network::Scope;
use crate::permissioned::Permissioned;
use crate::repos::Repos;
use crate::spaces::Spaces;
use crate::tenants::{Tenant, Tenants, workspace};
use crate::{blocking, clock};

pub(crate) use self::bell::Bell;
pub(crate) use self::error::WebhookError;
pub(crate) use self::manage::{NewWebhook, Tried, Wishes};

/// With what the names of the hooks of forms begin; the key of the form is behind it.
const OF_FORM: &str = "form.";

/// The webhooks of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<Shared>);

struct Shared {
    reader: Reader,
    accounts: Accounts,
    repos: Repos,
    permissioned: Permissioned,
    tenants: Tenants,
    spaces: Spaces,
    fetcher: Fetcher,
    scope: Scope,
}

/// What they are made of.
pub(crate) struct Parts {
    pub(crate) reader: Reader,
    pub(crate) accounts: Accounts,
    pub(crate) repos: Repos,
    pub(crate) permissioned: Permissioned,
    pub(crate) tenants: Tenants,
    pub(crate) spaces: Spaces,
    /// The way out, to addresses that count in `scope`.
    pub(crate) fetcher: Fetcher,
    pub(crate) scope: Scope,
}

impl Webhooks {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { reader, accounts, repos, permissioned, tenants, spaces, fetcher, scope } = parts;
        Self(Arc::new(Shared { reader, accounts, repos, permissioned, tenants, spaces, fetcher, scope }))
    }

    /// Says that there may be something to tell for a tenant.
    pub(crate) fn ring(&self, tenant: &Did) {
        self.0.spaces.bell().ring(tenant);
    }

    /// Where the records lie that a hook tells of, and of which collection; `None` while there is no such place.
    async fn source(&self, tenant: &Did, row: &WebhookRow) -> Result<Option<(SpaceUri, Nsid)>, WebhookError> {
        let nsid = |collection: &str| collection.parse().expect("collections of ours are NSIDs");
        if row.url.is_none() {
            return Ok(Some((workspace(tenant), nsid(FORM_SUBMISSION))));
        }
        Ok(self.0.spaces.system_room(tenant).await?.map(|room| (room, nsid(MESSAGE))))
    }

    /// Behind all that was told before now.
    async fn here(&self, tenant: &Did, row: &WebhookRow) -> Result<Position, WebhookError> {
        let Some((space, _)) = self.source(tenant, row).await? else { return Ok(Position::start()) };
        let head = self.0.permissioned.head(&space, tenant).await?;
        Ok(head.map_or_else(Position::start, |head| Position::behind(head.rev)))
    }

    /// Where answers to a form are sent, as its settings say now.
    async fn target_of_form(&self, tenant: &Did, rkey: &str) -> Result<Option<String>, WebhookError> {
        let Ok(rkey) = rkey.parse() else { return Ok(None) };
        let path = RepoPath::new(FORM_SETTINGS.parse().expect("a collection of ours"), rkey);
        let found = self.0.permissioned.read(&workspace(tenant), tenant, &path).await?;
        let settings = found.and_then(|record| cbor::decode(&record.bytes).ok());
        let action = settings.as_ref().and_then(|settings| settings.get("submitAction"));
        let says = |field: &str| action.and_then(|action| action.get(field)).and_then(Value::as_str);
        Ok(says("destination").filter(|_| says("type") == Some("webhook")).map(str::to_owned))
    }

    /// Sees to it that answers to a form that come from now on are sent where its settings say, if these name a URL. Where the
    /// plan has no webhooks, or too many forms have one, they are not.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn prepare_form(&self, tenant: &Tenant, rkey: &str) -> Result<(), WebhookError> {
        let has_feature = self.0.tenants.check_feature(tenant.did(), Feature::Webhooks).is_ok();
        if !has_feature || self.target_of_form(tenant.did(), rkey).await?.is_none() {
            return Ok(());
        }
        let key = (tenant.id(), format!("{OF_FORM}{rkey}"));
        let (this, at) = (self.clone(), key.clone());
        if blocking::run(move || this.0.reader.contains(&WEBHOOKS, &at)).await.map_err(AccountError::from)? {
            return Ok(());
        }
        let (this, did) = (self.clone(), tenant.did().clone());
        let (public, _) = blocking::run(move || this.0.accounts.webhooks_seed_blocking(&did)).await?;
        let mut row = new_row(None, vec![], public, clock::now());
        row.told = self.here(tenant.did(), &row).await?;
        let (tenants, of) = (self.0.tenants.clone(), tenant.clone());
        let has_one = blocking::run(move || tenants.add_form_webhook_blocking(&of, &key.1, &row)).await?;
        if !has_one {
            tracing::warn!(tenant = %tenant.did(), form = rkey, "answers are not sent to a URL: too many forms have one");
        }
        Ok(())
    }
}

/// The URI of the form whose hook has this name.
fn form_uri(tenant: &Did, name: &str) -> Option<String> {
    name.strip_prefix(OF_FORM).map(|rkey| format!("at://{tenant}/{FORM}/{rkey}"))
}

/// A hook of which nothing was told yet. Its secret is drawn here.
fn new_row(url: Option<String>, events: Vec<String>, key: Did, now: Timestamp) -> WebhookRow {
    WebhookRow {
        url,
        events,
        created_at: now,
        created_by: None,
        salt: rand::random(),
        key,
        is_secret_told: false,
        told: Position::start(),
        track: Track::default(),
        delivered: 0,
        accepted_at: None,
        failed: None,
        is_noticed: false,
    }
}
