//! Other services: where they answer, which keys speak for them, and calls to them on behalf of hosted accounts.
//!
//! Every address comes from a DID document, which anybody can write, so calls go through the guarded fetcher.

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::did_document::DidDocument;
use angel_protocol::ids::{Did, Nsid};
use angel_protocol::permissioned::wire::{SPACE_HOST_SERVICE, SPACE_KEY};
use angel_protocol::service_auth::{Claims, ServiceId};
use data_encoding::HEXLOWER;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use url::Url;

use super::PermissionedError;
use crate::accounts::Accounts;
use crate::clock;
use crate::fetch::{self, FetchError, Fetcher};
use crate::network::Scope;
use crate::resolver::{ResolveError, Resolver};

/// How long a token for one call is good, in seconds.
const CALL_LIFE: u64 = 60;

/// Most bytes of an answer that is read: what is asked is answered in a word.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The key that signs for an account.
const ACCOUNT_KEY: &str = "atproto";

/// The service of an account's host.
const PDS: &str = "atproto_pds";

/// Ways to other services. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    accounts: Accounts,
    resolver: Resolver,
    fetcher: Fetcher,
    scope: Scope,
}

/// Which key of a DID document is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DocumentKey {
    /// The account's.
    Account,
    /// The one for its spaces.
    Spaces,
}

/// What a call carries.
#[derive(Clone, Debug)]
pub(super) enum Asked<'a> {
    /// The parameters of a query.
    Query(&'a [(&'a str, &'a str)]),
    /// The JSON body of a procedure.
    Body(String),
}

/// Why a service was not called, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Its DID leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Its DID document names no such service, or no address that may be called.
    #[error("{0} is no service that can be called")]
    NoEndpoint(ServiceId),
    /// On whose behalf it was to be called is no account of this node.
    #[error("{0} has no account here")]
    NotHosted(Did),
    /// The account's key cannot be read.
    #[error(transparent)]
    Account(#[from] PermissionedError),
    /// No connection, or no answer in time.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It answered with a refusal.
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl CallError {
    /// Whether asking again may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::Resolve(ResolveError::Unsupported(_)) | Self::NotHosted(_) => false,
            _ => true,
        }
    }
}

impl Services {
    /// By what this node resolves and fetches. `scope` says which addresses count.
    pub(crate) const fn new(accounts: Accounts, resolver: Resolver, fetcher: Fetcher, scope: Scope) -> Self {
        Self { accounts, resolver, fetcher, scope }
    }

    pub(super) const fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Whether `verifies` takes a key of `did`, as its document has it; of a document that may be old, the newest one
    /// is asked as well.
    ///
    /// # Errors
    /// The DID cannot be resolved.
    pub(super) async fn has_key(
        &self,
        did: &Did,
        which: DocumentKey,
        verifies: impl Fn(VerifyingKey) -> bool,
    ) -> Result<bool, CallError> {
        if which == DocumentKey::Account
            && let Some(account) = self.accounts.resident(did).await.map_err(PermissionedError::from)?
        {
            return Ok(VerifyingKey::from_did(&account.row().signing_key).is_ok_and(verifies));
        }
        if key_of(&self.resolver.did(did).await?.document, which).is_some_and(&verifies) {
            return Ok(true);
        }
        Ok(key_of(&self.resolver.fresh_did(did).await?.document, which).is_some_and(&verifies))
    }

    /// Where a service answers. A bare DID is an account, which its host answers for; an authority that names no host of
    /// its spaces has its account's.
    ///
    /// # Errors
    /// [`CallError::Resolve`] or [`CallError::NoEndpoint`].
    pub(super) async fn endpoint(&self, service: &ServiceId) -> Result<Url, CallError> {
        let resolved = self.resolver.did(&service.did).await?;
        let of = |name: &str| resolved.document.services.iter().find(|found| found.fragment == name);
        let found = match service.fragment.as_deref() {
            None => of(PDS),
            Some(SPACE_HOST_SERVICE) => of(SPACE_HOST_SERVICE).or_else(|| of(PDS)),
            Some(name) => of(name),
        };
        let url = found.and_then(|found| self.allowed(&found.endpoint));
        url.ok_or_else(|| CallError::NoEndpoint(service.clone()))
    }

    /// The address, when it is one that may be called: over TLS, except on a development machine.
    fn allowed(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && self.scope == Scope::Loopback);
        (secure && url.has_host() && url.username().is_empty() && url.password().is_none()).then_some(url)
    }

    /// A call of `method` on behalf of the hosted account `issuer`. It is addressed to `service` and sent to the address
    /// of `at`, which is mostly the same.
    pub(super) async fn call(
        &self,
        issuer: &Did,
        service: &ServiceId,
        at: &ServiceId,
        method: &Nsid,
        asked: Asked<'_>,
    ) -> Result<Vec<u8>, CallError> {
        let account = self.accounts.resident(issuer).await.map_err(PermissionedError::from)?;
        let account = account.ok_or_else(|| CallError::NotHosted(issuer.clone()))?;
        let key = self.accounts.signing_key(account.id()).await.map_err(PermissionedError::from)?;
        let mut url = self.endpoint(at).await?;
        url.set_path(&format!("/xrpc/{method}"));
        let now = clock::now().as_millis() / 1000;
        let claims = Claims {
            issuer: issuer.clone().into(),
            audience: service.clone(),
            expires_at: now + CALL_LIFE,
            issued_at: Some(now),
            method: Some(method.clone()),
            nonce: Some(HEXLOWER.encode(&rand::random::<[u8; 16]>())),
        };
        let token = claims.sign(&key);
        let request = match asked {
            Asked::Query(parameters) => {
                url.query_pairs_mut().extend_pairs(parameters);
                self.fetcher.request(Method::GET, &url)?
            }
            Asked::Body(json) => {
                let request = self.fetcher.request(Method::POST, &url)?;
                request.header(CONTENT_TYPE, "application/json").body(json)
            }
        };
        let answer = request.bearer_auth(token).send().await.map_err(fetch::failed)?;
        if !answer.status().is_success() {
            return Err(CallError::Refused(answer.status()));
        }
        Ok(fetch::read(answer, ANSWER_BYTES_MAX).await?)
    }
}

fn key_of(document: &DidDocument, which: DocumentKey) -> Option<VerifyingKey> {
    let name = match which {
        DocumentKey::Account => ACCOUNT_KEY,
        DocumentKey::Spaces => SPACE_KEY,
    };
    let key = document.keys.iter().find(|key| key.fragment == name)?;
    VerifyingKey::from_did(&key.key).ok()
}
