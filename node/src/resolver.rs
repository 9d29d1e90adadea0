//! From DIDs to their documents and from handles to their DIDs (AT Protocol "DID", "Handle"; did:plc; did:web).
//!
//! | who | is asked |
//! |---|---|
//! | did:plc | the node's own directory, or the one that the operator named |
//! | did:web | `https://HOST/.well-known/did.json`, without redirects |
//! | a handle under a domain of this host | the accounts alone |
//! | any other handle | the texts at `_atproto.HANDLE`, then `https://HANDLE/.well-known/atproto-did` |
//!
//! Hosts that others named are reached through the guarded `Fetcher`. Answers are kept for a while: an old one is
//! given at once and renewed behind the back of whoever asked, a "no" is kept for a minute. The node's own rows are read
//! each time, so what a hosted account changed is true at once.

mod cache;
mod lexicons;
mod records;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::did_document::{ATPROTO_KEY, DidDocument};
use angel_protocol::ids::{AtIdentifier, Did, Handle, Nsid};
use angel_protocol::service_auth::{Refusal, ServiceId, ServiceToken};
use angel_protocol::time::Timestamp;
use futures::{StreamExt, stream};
use serde_json::Value as Json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::accounts::{AccountError, Accounts};
use crate::directory::{Directory, DirectoryError};
use crate::dns::Dns;
use crate::fetch::{FetchError, Fetcher};
use crate::network::Scope;
use crate::tasks::TaskResult;

pub(crate) use self::cache::Times;
use self::cache::{Cached, Found};
pub use self::records::RecordError;

/// Largest DID document that is read, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Largest answer with a DID that is read, in bytes: the DID and a line break.
const WELL_KNOWN_BYTES_MAX: usize = 4 << 10;

/// Documents and handles that are kept, each: some 20 MB when all are as long as the usual ones.
const KEPT_MAX: u64 = 10_000;

/// Renewals that wait; one more is left for the next time somebody asks.
const RENEWALS_MAX: usize = 256;

/// Renewals under way at once.
const RENEWALS_AT_ONCE: usize = 8;

/// Questions to others under way at once, whoever asked for them: more wait their turn.
const QUESTIONS_AT_ONCE: usize = 64;

/// The key of a labeler, which signs its tokens (AT Protocol "Labels").
const LABEL_KEY: &str = "atproto_label";

/// The service of a labeler.
const LABELER: &str = "atproto_labeler";

/// A DID document as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// As far as it is used here.
    pub document: DidDocument,
    /// The whole of it.
    pub json: Json,
}

/// Somebody, known from both sides.
#[derive(Clone, Debug)]
pub struct Somebody {
    /// The DID.
    pub did: Did,
    /// The handle, when it leads back to the DID; else `handle.invalid`.
    pub handle: Handle,
    /// The DID document.
    pub resolved: Arc<Resolved>,
}

/// Why something does not resolve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nobody has the DID.
    #[error("the DID {0} does not resolve")]
    DidNotFound(Did),
    /// The DID was given up.
    #[error("the DID {0} was given up")]
    DidDeactivated(Did),
    /// A method or a form that AT Protocol does not have.
    #[error("{0} is no did:plc, nor a did:web of a host name")]
    Unsupported(Did),
    /// What is told is no document of that DID.
    #[error("the document of {did}: {why}")]
    Document {
        /// Whose.
        did: Did,
        /// What is wrong.
        why: String,
    },
    /// Nobody has the handle.
    #[error("the handle {0} does not resolve")]
    HandleNotFound(Handle),
    /// Whoever would know did not answer.
    #[error("{what} cannot be resolved now: {why}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// What happened.
        why: String,
    },
}

impl ResolveError {
    /// Whether it may be otherwise in a moment.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Why a service token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token itself.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its issuer.
    #[error(transparent)]
    Issuer(#[from] ResolveError),
    /// The issuer has no key that could have signed it.
    #[error("{0} has no key that signs tokens")]
    NoKey(ServiceId),
}

/// What a resolver is made of.
pub(crate) struct Parts {
    /// Where did:plc identities are kept.
    pub(crate) directory: Directory,
    /// Whose handles need no looking up.
    pub(crate) accounts: Accounts,
    /// The domains whose handles nobody else gives out, each with its leading dot.
    pub(crate) handle_domains: Vec<String>,
    /// Who knows the texts of a name.
    pub(crate) dns: Dns,
    /// For hosts that others named.
    pub(crate) fetcher: Fetcher,
    /// Which addresses count: where loopback does, `localhost` is asked without TLS.
    pub(crate) scope: Scope,
    /// How long answers are kept.
    pub(crate) times: Times,
}

/// Resolves. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    parts: Parts,
    dids: Cached<Did, Resolved>,
    handles: Cached<Handle, Did>,
    questions: Semaphore,
    renewals: mpsc::Sender<Renewal>,
}

/// An answer that has grown old.
#[derive(Clone, Debug)]
enum Renewal {
    Did(Did),
    Handle(Handle),
}

/// Renews old answers.
pub(crate) struct Renewer {
    resolver: Resolver,
    renewals: mpsc::Receiver<Renewal>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// A resolver, and the task that renews what it keeps.
    pub(crate) fn new(parts: Parts) -> (Self, Renewer) {
        let (renewals, receiver) = mpsc::channel(RENEWALS_MAX);
        let (dids, handles) = (Cached::new(KEPT_MAX, parts.times), Cached::new(KEPT_MAX, parts.times));
        let questions = Semaphore::new(QUESTIONS_AT_ONCE);
        let resolver = Self(Arc::new(Shared { parts, dids, handles, questions, renewals }));
        (resolver.clone(), Renewer { resolver, renewals: receiver })
    }

    /// The document of `did`, perhaps an hour old.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn did(&self, did: &Did) -> Result<Arc<Resolved>, ResolveError> {
        if self.is_at_hand(did) {
            return self.look_up_did(did).await.map(Arc::new);
        }
        match self.0.dids.find(did).await {
            Found::New(answer) => answer,
            Found::Old(resolved) => {
                self.renew(Renewal::Did(did.clone()));
                Ok(resolved)
            }
            Found::Nothing => self.0.dids.load(did, None, self.look_up_did(did)).await,
        }
    }

    /// The document of `did` as it is now; as it was last known when nobody answers.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn fresh_did(&self, did: &Did) -> Result<Arc<Resolved>, ResolveError> {
        if self.is_at_hand(did) {
            return self.look_up_did(did).await.map(Arc::new);
        }
        self.0.dids.load(did, Some(Instant::now()), self.look_up_did(did)).await
    }

    /// The DID of `handle`, perhaps an hour old. Whether the DID knows of the handle is another question
    /// ([`Self::somebody`]).
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        if let Some(answer) = self.hosted(handle).await? {
            return answer;
        }
        match self.0.handles.find(handle).await {
            Found::New(answer) => answer.map(|did| Did::clone(&did)),
            Found::Old(did) => {
                self.renew(Renewal::Handle(handle.clone()));
                Ok(Did::clone(&did))
            }
            Found::Nothing => {
                self.0.handles.load(handle, None, self.look_up_handle(handle)).await.map(|did| Did::clone(&did))
            }
        }
    }

    /// The DID of `handle` as it is now; as it was last known when nobody answers.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn fresh_handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        match self.hosted(handle).await? {
            Some(answer) => answer,
            None => self.fresh_foreign_handle(handle).await,
        }
    }

    /// The same, but only the world is asked: for an account that wants to take the handle.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn fresh_foreign_handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        let now = Some(Instant::now());
        self.0.handles.load(handle, now, self.look_up_handle(handle)).await.map(|did| Did::clone(&did))
    }

    /// Who that is, the handle counting only when it leads to the DID and the DID's document to the handle.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn somebody(&self, who: &AtIdentifier, fresh: bool) -> Result<Somebody, ResolveError> {
        let did = match who {
            AtIdentifier::Did(did) => did.clone(),
            AtIdentifier::Handle(handle) if fresh => self.fresh_handle(handle).await?,
            AtIdentifier::Handle(handle) => self.handle(handle).await?,
        };
        let resolved = if fresh { self.fresh_did(&did).await? } else { self.did(&did).await? };
        let claimed = resolved.document.claimed_handle();
        let leads_back = match (&claimed, who) {
            (None, _) => false,
            (Some(claimed), AtIdentifier::Handle(asked)) if claimed == asked => true,
            (Some(claimed), _) => {
                let answer = if fresh { self.fresh_handle(claimed).await } else { self.handle(claimed).await };
                answer.is_ok_and(|found| found == did)
            }
        };
        let handle = claimed.filter(|_| leads_back).unwrap_or_else(Handle::invalid);
        Ok(Somebody { did, handle, resolved })
    }

    /// Whether a service token counts for `method` of the service `audience`, and who speaks. A signature that does not
    /// fit is judged again by the newest document: the key may have changed.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn service_token(
        &self,
        token: &str,
        audience: &Did,
        method: &Nsid,
        now: Timestamp,
    ) -> Result<ServiceId, TokenError> {
        let token = ServiceToken::from_str(token)?;
        token.check(audience, method, now)?;
        let issuer = &token.claims().issuer;
        let known = token_key(issuer, &*self.did(&issuer.did).await?);
        let verified = match &known {
            Ok(key) => token.verify(*key).is_ok(),
            Err(_) => false,
        };
        if !verified {
            let key = token_key(issuer, &*self.fresh_did(&issuer.did).await?)?;
            token.verify(key)?;
        }
        Ok(issuer.clone())
    }

    /// Whether reading is as cheap as remembering.
    fn is_at_hand(&self, did: &Did) -> bool {
        did.method() == "plc" && self.0.parts.directory.is_own()
    }

    fn renew(&self, renewal: Renewal) {
        // When too many wait, whoever asks next will bring it up again.
        drop(self.0.renewals.try_send(renewal));
    }

    async fn look_up_did(&self, did: &Did) -> Result<Resolved, ResolveError> {
        match did.method() {
            "plc" => {
                let found = self.0.parts.directory.document(did).await;
                found.map(|plc| Resolved { document: plc.document, json: plc.json }).map_err(|error| match error {
                    DirectoryError::NotRegistered(did) => ResolveError::DidNotFound(did),
                    DirectoryError::Tombstoned(did) => ResolveError::DidDeactivated(did),
                    other => unreachable(did, &other),
                })
            }
            "web" => self.look_up_did_web(did).await,
            _ => Err(ResolveError::Unsupported(did.clone())),
        }
    }

    async fn look_up_did_web(&self, did: &Did) -> Result<Resolved, ResolveError> {
        let url = did_web_url(did, self.0.parts.scope).ok_or_else(|| ResolveError::Unsupported(did.clone()))?;
        let accept = "application/did+ld+json, application/json";
        let body =
            self.0.parts.fetcher.get_as(&url, accept, DOCUMENT_BYTES_MAX).await.map_err(|error| match error {
                FetchError::Status(404 | 410) => ResolveError::DidNotFound(did.clone()),
                other => unreachable(did, &other),
            })?;
        let wrong = |why: String| ResolveError::Document { did: did.clone(), why };
        let json: Json = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
        let document = DidDocument::from_json(&json).map_err(|error| wrong(error.to_string()))?;
        if document.id != *did {
            return Err(wrong(format!("it is that of {}", document.id)));
        }
        Ok(Resolved { document, json })
    }

    /// The answer of this host: `None` when the handle is not its to give out.
    async fn hosted(&self, handle: &Handle) -> Result<Option<Result<Did, ResolveError>>, ResolveError> {
        let account = self.0.parts.accounts.by_handle(handle).await;
        let account = account.map_err(|error: AccountError| unreachable(handle, &error))?;
        if let Some(account) = account.filter(crate::accounts::Account::is_active) {
            return Ok(Some(Ok(account.did().clone())));
        }
        let is_ours = |domain: &String| handle.as_str().ends_with(domain) || handle.as_str() == &domain[1..];
        let ours = self.0.parts.handle_domains.iter().any(is_ours);
        Ok(ours.then(|| Err(ResolveError::HandleNotFound(handle.clone()))))
    }

    /// Both ways at once, so that the slower one costs no time; the texts count first.
    async fn look_up_handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        if handle.is_reserved() {
            return Err(ResolveError::HandleNotFound(handle.clone()));
        }
        let _turn = self.0.questions.acquire().await;
        let (texts, well_known) = (self.ask_texts(handle), self.ask_well_known(handle));
        tokio::pin!(well_known);
        tokio::pin!(texts);
        let (by_text, mut by_web) = tokio::select! {
            by_text = &mut texts => (by_text, None),
            by_web = &mut well_known => (texts.await, Some(by_web)),
        };
        if let Ok(Some(did)) = by_text {
            return Ok(did);
        }
        let by_web = match by_web.take() {
            Some(by_web) => by_web,
            None => well_known.await,
        };
        match (by_web, by_text) {
            (Ok(Some(did)), _) => Ok(did),
            (Ok(None), Ok(None)) => Err(ResolveError::HandleNotFound(handle.clone())),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (_, Ok(Some(did))) => Ok(did),
        }
    }

    /// The one text at `_atproto.HANDLE` that names a DID. Two of them name nobody.
    async fn ask_texts(&self, handle: &Handle) -> Result<Option<Did>, ResolveError> {
        let texts = self.0.parts.dns.texts(&format!("_atproto.{handle}")).await;
        let texts = texts.map_err(|error| unreachable(handle, &error))?;
        let mut dids = texts.iter().filter_map(|text| text.strip_prefix("did="));
        match (dids.next(), dids.next()) {
            (Some(did), None) => Ok(did.trim().parse().ok()),
            _ => Ok(None),
        }
    }

    async fn ask_well_known(&self, handle: &Handle) -> Result<Option<Did>, ResolveError> {
        let Ok(url) = Url::parse(&format!("https://{handle}/.well-known/atproto-did")) else { return Ok(None) };
        match self.0.parts.fetcher.get_following(&url, "text/plain, */*", WELL_KNOWN_BYTES_MAX).await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body);
                Ok(text.lines().next().and_then(|line| line.trim().parse().ok()))
            }
            // A name without a web server, or one that says no, is an answer; so is one that may not be asked.
            Err(FetchError::Status(_) | FetchError::Forbidden { .. } | FetchError::TooLarge(_)) => Ok(None),
            Err(error) => Err(unreachable(handle, &error)),
        }
    }
}

fn unreachable(what: &dyn fmt::Display, why: &dyn std::error::Error) -> ResolveError {
    ResolveError::Unreachable { what: what.to_string(), why: why.to_string() }
}

/// The key that signs the tokens of `issuer`.
fn token_key(issuer: &ServiceId, resolved: &Resolved) -> Result<VerifyingKey, TokenError> {
    let fragment = if issuer.fragment.as_deref() == Some(LABELER) { LABEL_KEY } else { ATPROTO_KEY };
    let key = resolved.document.keys.iter().find(|key| key.fragment == fragment);
    key.and_then(|key| VerifyingKey::from_did(&key.key).ok()).ok_or_else(|| TokenError::NoKey(issuer.clone()))
}

/// Where the document of a did:web lies. AT Protocol has no paths in a did:web; a port is for development.
fn did_web_url(did: &Did, scope: Scope) -> Option<Url> {
    let host = did.identifier();
    let (name, port) = match host.split_once("%3A").or_else(|| host.split_once("%3a")) {
        Some((name, port)) => (name, Some(port.parse::<u16>().ok()?)),
        None => (host, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) && !name.is_empty();
    let is_local = scope == Scope::Loopback && name.eq_ignore_ascii_case("localhost");
    if !is_name || (port.is_some() && !is_local) {
        return None;
    }
    let scheme = if is_local { "http" } else { "https" };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let url: Url = format!("{scheme}://{name}{port}/.well-known/did.json").parse().ok()?;
    // A number with dots is an address to a URL, and no host name.
    url.domain().is_some().then_some(url)
}

impl Renewer {
    /// Renews what has grown old until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let Self { resolver, mut renewals } = self;
        let wanted = stream::poll_fn(|context| renewals.poll_recv(context));
        let renewing = wanted.for_each_concurrent(RENEWALS_AT_ONCE, |renewal| {
            let resolver = &resolver;
            async move {
                // The answer is for those who ask later; a failure leaves what was known.
                match renewal {
                    Renewal::Did(did) => drop(resolver.fresh_did(&did).await),
                    Renewal::Handle(handle) => drop(resolver.fresh_foreign_handle(&handle).await),
                }
            }
        });
        tokio::select! {
            () = renewing => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}
