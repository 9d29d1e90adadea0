//! What the people of a business do with its webhooks.

use angel_protocol::tenants::Feature;
use angel_protocol::time::Timestamp;
use angel_protocol::webhooks::{self as rules, Answer, TargetFlaw, Track, Why};
use angel_storage::tenants::WebhookRow;
use url::Url;
use zeroize::Zeroizing;

use super::deliver::Outcome;
use super::{OF_FORM, WebhookError, Webhooks, new_row};
use crate::fetch::FetchError;
use crate::network::Scope;
use crate::tenants::{Actor, Tenant, TenantError};
use crate::{blocking, clock};

/// A webhook for events that is to be made.
#[derive(Debug)]
pub(crate) struct NewWebhook {
    /// What is called.
    pub(crate) url: String,
    /// Of which events; of all without any.
    pub(crate) events: Vec<String>,
}

/// What is to be changed of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// What is called from now on.
    pub(crate) url: Option<String>,
    /// Of which events from now on; of all without any.
    pub(crate) events: Option<Vec<String>>,
    /// Whether it makes no calls.
    pub(crate) paused: Option<bool>,
    /// Whether what waits to be told is passed over.
    pub(crate) skip: bool,
}

/// What came of a call that was made to see whether it is taken.
#[derive(Debug)]
pub(crate) struct Tried {
    /// Whether it was taken.
    pub(crate) delivered: bool,
    /// The status that was answered, if any was.
    pub(crate) status: Option<u16>,
    /// What went wrong, in words.
    pub(crate) why: Option<String>,
}

impl Webhooks {
    /// Makes a webhook for events. Answers with its name and its secret, which is told this once.
    ///
    /// # Errors
    /// [`WebhookError`], by what stands in the way.
    pub(crate) async fn create(
        &self,
        tenant: &Tenant,
        by: Actor,
        wish: NewWebhook,
    ) -> Result<(String, WebhookRow, Zeroizing<String>), WebhookError> {
        self.0.tenants.check_feature(tenant.did(), Feature::Webhooks)?;
        self.check_target(&wish.url).await?;
        let name = self.0.repos.next_tid()?.to_string();
        let (this, did) = (self.clone(), tenant.did().clone());
        let (public, seed) = blocking::run(move || this.0.accounts.webhooks_seed_blocking(&did)).await?;
        let now = clock::now();
        let mut row = new_row(Some(wish.url), wish.events, public, now);
        row.created_by = by.did().cloned();
        row.is_secret_told = true;
        row.told = self.here(tenant.did(), &row).await?;
        let secret = rules::secret(&seed, &name, &row.salt).text();
        let (tenants, did, kept, at) = (self.0.tenants.clone(), tenant.did().clone(), row.clone(), name.clone());
        blocking::run(move || tenants.add_webhook_blocking(&did, &by, &at, &kept, now)).await?;
        Ok((name, row, secret))
    }

    /// The webhooks of a tenant, by their names: those for events, and those of forms.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn list(&self, tenant: &Tenant) -> Result<Vec<(String, WebhookRow)>, WebhookError> {
        let (tenants, tenant) = (self.0.tenants.clone(), tenant.clone());
        Ok(blocking::run(move || tenants.webhooks_blocking(&tenant)).await?)
    }

    /// Changes a webhook: what it calls, of what, whether it does. Whatever is changed, one that failed begins anew.
    ///
    /// # Errors
    /// [`WebhookError`], by what stands in the way.
    pub(crate) async fn update(
        &self,
        tenant: &Tenant,
        by: Actor,
        name: &str,
        wishes: Wishes,
    ) -> Result<WebhookRow, WebhookError> {
        self.0.tenants.check_feature(tenant.did(), Feature::Webhooks)?;
        if let Some(url) = &wishes.url {
            self.check_target(url).await?;
        }
        let before = self.row(tenant, name).await?;
        if before.url.is_none() && (wishes.url.is_some() || wishes.events.is_some()) {
            return Err(WebhookError::OfForm);
        }
        let here = if wishes.skip { Some(self.here(tenant.did(), &before).await?) } else { None };
        let now = clock::now();
        let act = move |row: &mut WebhookRow| {
            if let Some(url) = &wishes.url {
                row.url = Some(url.clone());
            }
            if let Some(events) = &wishes.events {
                row.events.clone_from(events);
            }
            if let Some(here) = &here {
                row.told = row.told.clone().max(here.clone());
            }
            let is_paused = row.track.paused().is_some();
            match wishes.paused.unwrap_or(is_paused) {
                true if !is_paused => row.track.pause(now, Why::Staff),
                true => {}
                false => {
                    row.track.resume();
                    row.is_noticed = false;
                }
            }
        };
        let row = self.change(tenant, by, (name, "change webhook"), now, act).await?;
        self.ring(tenant.did());
        Ok(row)
    }

    /// Takes a webhook away. That of a form comes back with the next answers, while the form's settings name a URL.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub(crate) async fn delete(&self, tenant: &Tenant, by: Actor, name: &str) -> Result<(), WebhookError> {
        let (tenants, did, name) = (self.0.tenants.clone(), tenant.did().clone(), name.to_owned());
        let delete = move || tenants.delete_webhook_blocking(&did, &by, &name, clock::now());
        Ok(blocking::run(delete).await?)
    }

    /// Gives a webhook another secret, told this once; the one before signs nothing any more. That of a form that sends its
    /// answers to a URL is made with it, when there is none yet.
    ///
    /// # Errors
    /// [`WebhookError`], by what stands in the way.
    pub(crate) async fn rotate(
        &self,
        tenant: &Tenant,
        by: Actor,
        name: &str,
    ) -> Result<Zeroizing<String>, WebhookError> {
        self.0.tenants.check_feature(tenant.did(), Feature::Webhooks)?;
        if let Some(form) = name.strip_prefix(OF_FORM) {
            self.prepare_form(tenant, form).await?;
        }
        self.row(tenant, name).await?;
        let (this, did) = (self.clone(), tenant.did().clone());
        let (public, seed) = blocking::run(move || this.0.accounts.webhooks_seed_blocking(&did)).await?;
        let salt = rand::random();
        let act = move |row: &mut WebhookRow| {
            (row.salt, row.key, row.is_secret_told) = (salt, public.clone(), true);
            if row.track.paused().is_some_and(|paused| paused.why == Why::SecretLost) {
                row.track = Track::default();
            }
        };
        self.change(tenant, by, (name, "renew webhook secret"), clock::now(), act).await?;
        self.ring(tenant.did());
        Ok(rules::secret(&seed, name, &salt).text())
    }

    /// Calls a webhook once, whether it is paused or not, with something that says that it is a test.
    ///
    /// # Errors
    /// [`WebhookError`]; that the call is not taken is none.
    pub(crate) async fn try_out(&self, tenant: &Tenant, name: &str) -> Result<Tried, WebhookError> {
        self.0.tenants.check_feature(tenant.did(), Feature::Webhooks)?;
        let row = self.row(tenant, name).await?;
        let url = self.target(tenant.did(), name, &row).await?.ok_or(TenantError::NoWebhook)?;
        let Some(secret) = self.secret(tenant.id(), name, &row).await? else {
            let why = "its secret was lost with the node that had it: make another one".to_owned();
            return Ok(Tried { delivered: false, status: None, why: Some(why) });
        };
        let call = rules::test(tenant.did(), name, clock::now());
        let Outcome { answer, status, why } = self.post(&url, &secret, &call).await;
        Ok(Tried { delivered: answer == Answer::Accepted, status, why })
    }

    async fn row(&self, tenant: &Tenant, name: &str) -> Result<WebhookRow, WebhookError> {
        let (tenants, tenant, name) = (self.0.tenants.clone(), tenant.clone(), name.to_owned());
        Ok(blocking::run(move || tenants.webhook_blocking(&tenant, &name)).await?)
    }

    async fn change(
        &self,
        tenant: &Tenant,
        by: Actor,
        (name, what): (&str, &'static str),
        now: Timestamp,
        act: impl Fn(&mut WebhookRow) + Send + 'static,
    ) -> Result<WebhookRow, WebhookError> {
        let (tenants, did, name) = (self.0.tenants.clone(), tenant.did().clone(), name.to_owned());
        Ok(blocking::run(move || tenants.change_webhook_blocking(&did, &by, (&name, what), now, act)).await?)
    }

    /// Whether a URL may be called from here. A name that nobody knows now may be known later.
    ///
    /// # Errors
    /// [`WebhookError::Target`] or [`WebhookError::Private`].
    pub(crate) async fn check_target(&self, url: &str) -> Result<(), WebhookError> {
        match self.0.fetcher.admits(&parsed(url, self.0.scope)?).await {
            Err(FetchError::Forbidden { host }) => Err(WebhookError::Private { host }),
            _ => Ok(()),
        }
    }

    /// Whether anybody was told the secret by which answers to a form are signed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn is_form_secret_told(&self, tenant: &Tenant, rkey: &str) -> Result<bool, WebhookError> {
        match self.row(tenant, &format!("{OF_FORM}{rkey}")).await {
            Ok(row) => Ok(row.is_secret_told),
            Err(WebhookError::Tenant(TenantError::NoWebhook)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A URL that may be called, as far as it says itself: http where the node is run on loopback alone.
pub(super) fn parsed(url: &str, scope: Scope) -> Result<Url, TargetFlaw> {
    if let Some(flaw) = rules::target_flaw(url) {
        return Err(flaw);
    }
    let url: Url = url.parse().map_err(|_| TargetFlaw::Characters)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if scope == Scope::Loopback => Ok(url),
        _ => Err(TargetFlaw::Scheme),
    }
}
