//! Who asks: extractors that a method names in its arguments, so that its signature says what it demands.
//!
//! | extractor | lets through |
//! |---|---|
//! | [`Access`] | the owner and their apps, also while the account is deactivated |
//! | [`Uploader`] | the same, and services for which the account made a token: video services bring files so |
//! | [`ActiveAccess`] | the same, of an active account |
//! | [`FullAccess`] | the owner alone |
//! | [`LeavingAccess`] | the owner alone, even of an account that was taken down: whoever is turned out may take their things |
//! | [`AnyAccess`] | the owner and their apps, and the owner of an account that was taken down: the method looks closer |
//! | [`Refresh`] | the bearer of a refresh token |
//! | [`Operator`] | the operator |
//! | [`Moderator`] | the operator, and the moderation service that the operator named |
//! | [`Caller`] | everybody, and tells who it is |

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::service_auth::{ServiceId, ServiceToken};
use angel_storage::accounts::AccountStatus;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::host::Host;
use crate::accounts::Account;
use crate::clock;
use crate::http::XrpcError;
use crate::http::admin::basic_password;
use crate::resolver::TokenError;
use crate::sessions::{RefreshToken, Scope, TokenRefused};

/// The service by which a moderation service signs (AT Protocol "Labels").
const LABELER: &str = "atproto_labeler";

/// Whoever has an access token: the owner, or an app with an app password.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Whose account.
    pub(crate) account: Account,
    /// What the token allows.
    pub(crate) scope: Scope,
}

/// The account for which a file is brought: by whoever has [`Access`], or with a service token for this very method.
#[derive(Clone, Debug)]
pub(crate) struct Uploader(pub(crate) Account);

/// [`Access`] to an active account.
#[derive(Clone, Debug)]
pub(crate) struct ActiveAccess(pub(crate) Access);

/// [`Access`] by the owner with the account's own password.
#[derive(Clone, Debug)]
pub(crate) struct FullAccess(pub(crate) Account);

/// The owner, whether or not the account was taken down.
#[derive(Clone, Debug)]
pub(crate) struct LeavingAccess(pub(crate) Account);

/// Whoever has an access token, whatever it allows.
#[derive(Clone, Debug)]
pub(crate) struct AnyAccess(pub(crate) Access);

/// The bearer of a refresh token. Whether its session lives is for the sessions to say.
#[derive(Clone, Debug)]
pub(crate) struct Refresh(pub(crate) RefreshToken);

/// As [`Refresh`], of any age; `None` when the token names no session.
#[derive(Clone, Debug)]
pub(crate) struct OldRefresh(pub(crate) Option<RefreshToken>);

/// The operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator;

/// The operator, or the moderation service that the operator named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moderator;

/// Whoever it is.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Somebody who does not say who.
    Anyone,
    /// The owner of an account or an app, perhaps of an account that was taken down.
    Account(Access),
    /// The operator.
    Operator,
}

impl Access {
    /// Whether the owner holds the token, who sees everything, and no app.
    pub(crate) fn is_owner(&self) -> bool {
        matches!(self.scope, Scope::Access | Scope::TakenDown)
    }

    async fn of(host: &Host, headers: &HeaderMap) -> Result<Self, XrpcError> {
        let token = host.sessions.access_token(bearer(headers)?, clock::now()).map_err(refused)?;
        let account = host.accounts.by_did(&token.did).await?;
        // Proxies and clients take this name for the end of the session.
        let account = account.ok_or_else(|| {
            XrpcError::new(StatusCode::FORBIDDEN, "AccountNotFound", "Account not found: it is no longer hosted here")
        })?;
        if token.is_void(&account) {
            return Err(refused(TokenRefused::Revoked));
        }
        Ok(Self { account, scope: token.scope })
    }

    /// The account's own word to whoever bears it, for `method` alone.
    async fn of_service(host: &Host, headers: &HeaderMap, method: &str) -> Result<Self, XrpcError> {
        let issuer = service_issuer(host, headers, method).await?;
        let account = host.accounts.by_did(&issuer).await?;
        let account = account.ok_or_else(|| unauthorized("UntrustedIss", "the token is of an account elsewhere"))?;
        Ok(Self { account, scope: Scope::AppPassword })
    }

    /// Refuses tokens that are only good for leaving, and what was taken down or suspended.
    fn staying(self) -> Result<Self, XrpcError> {
        match self.account.status() {
            _ if self.scope == Scope::TakenDown => Err(bad_scope()),
            AccountStatus::TakenDown { .. } => Err(taken_down()),
            AccountStatus::Suspended => Err(unauthorized("AccountSuspended", "Account has been suspended")),
            _ => Ok(self),
        }
    }

    fn active(self) -> Result<Self, XrpcError> {
        let access = self.staying()?;
        if access.account.is_active() {
            Ok(access)
        } else {
            Err(unauthorized("AccountDeactivated", "Account is deactivated"))
        }
    }

    fn with_scope(self, allowed: &[Scope]) -> Result<Account, XrpcError> {
        if allowed.contains(&self.scope) { Ok(self.account) } else { Err(bad_scope()) }
    }
}

impl ActiveAccess {
    /// Who asks.
    pub(crate) fn did(&self) -> &Did {
        self.0.account.did()
    }
}

impl Caller {
    /// Whether it may see an account that is hidden from others: its owner may, and the operator.
    pub(crate) fn may_see(&self, account: &Account) -> bool {
        match self {
            Self::Anyone => false,
            Self::Account(access) => access.account.id() == account.id(),
            Self::Operator => true,
        }
    }
}

type Asked<T> = Result<T, XrpcError>;

impl FromRequestParts<Arc<Host>> for Access {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        Self::of(host, &parts.headers).await?.staying()
    }
}

impl FromRequestParts<Arc<Host>> for Uploader {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        let access = if bearer(&parts.headers)?.parse::<ServiceToken>().is_ok() {
            Access::of_service(host, &parts.headers, method_of(parts)).await?
        } else {
            Access::of(host, &parts.headers).await?
        };
        Ok(Self(access.staying()?.account))
    }
}

impl FromRequestParts<Arc<Host>> for ActiveAccess {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        Access::of(host, &parts.headers).await?.active().map(Self)
    }
}

impl FromRequestParts<Arc<Host>> for FullAccess {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        Access::of(host, &parts.headers).await?.staying()?.with_scope(&[Scope::Access]).map(Self)
    }
}

impl FromRequestParts<Arc<Host>> for LeavingAccess {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        Access::of(host, &parts.headers).await?.with_scope(&[Scope::Access, Scope::TakenDown]).map(Self)
    }
}

impl FromRequestParts<Arc<Host>> for AnyAccess {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        Access::of(host, &parts.headers).await.map(Self)
    }
}

impl FromRequestParts<Arc<Host>> for Refresh {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        let token = host.sessions.refresh_token(bearer(&parts.headers)?, clock::now());
        token.map(Self).map_err(refused)
    }
}

impl FromRequestParts<Arc<Host>> for OldRefresh {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        let token = host.sessions.old_refresh_token(bearer(&parts.headers)?);
        token.map(Self).map_err(refused)
    }
}

impl FromRequestParts<Arc<Host>> for Operator {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        match authorization(&parts.headers)? {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("basic") => operator(host, &parts.headers),
            _ => Err(XrpcError::authentication_required(
                "Authentication Required: this is for the operator, who sends Basic credentials",
            )),
        }
    }
}

impl FromRequestParts<Arc<Host>> for Moderator {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        let scheme = authorization(&parts.headers)?.map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Operator::from_request_parts(parts, host).await.map(|_| Self);
        }
        let untrusted =
            || unauthorized("UntrustedIss", "Untrusted issuer: this is for the operator and their moderation service");
        let trusted = host.settings.moderation_did.as_ref().ok_or_else(untrusted)?;
        let issuer = service(host, &parts.headers, method_of(parts)).await?;
        let is_moderation = issuer.did == *trusted && issuer.fragment.as_deref().is_none_or(|part| part == LABELER);
        if is_moderation { Ok(Self) } else { Err(untrusted()) }
    }
}

impl FromRequestParts<Arc<Host>> for Caller {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Asked<Self> {
        match authorization(&parts.headers)? {
            None => Ok(Self::Anyone),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("basic") => {
                operator(host, &parts.headers).map(|_| Self::Operator)
            }
            Some(_) => Access::of(host, &parts.headers).await.map(Self::Account),
        }
    }
}

/// The name of the method that is asked for.
fn method_of(parts: &Parts) -> &str {
    parts.uri.path().rsplit('/').next().unwrap_or_default()
}

fn operator(host: &Host, headers: &HeaderMap) -> Result<Operator, XrpcError> {
    let offered = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(basic_password);
    if offered.is_some_and(|password| host.admin_password.matches(&password)) {
        Ok(Operator)
    } else {
        Err(XrpcError::authentication_required("Authentication Required: that is not the admin password"))
    }
}

/// Scheme and credentials of the `Authorization` header, if there is one.
fn authorization(headers: &HeaderMap) -> Result<Option<(&str, &str)>, XrpcError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim);
    let parts = text.and_then(|text| text.split_once(' ')).filter(|(_, credentials)| !credentials.contains(' '));
    parts.map(Some).ok_or_else(|| invalid_token("Malformed authorization header: it has a scheme and credentials"))
}

/// Whether a request bears the operator's kind of credentials, right or wrong.
pub(crate) fn is_basic(headers: &HeaderMap) -> bool {
    let scheme = authorization(headers).ok().flatten().map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

/// The token of `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, XrpcError> {
    match authorization(headers)? {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        Some((scheme, _)) => Err(invalid_token(format!("{scheme} is not taken here: send a Bearer token"))),
        None => Err(auth_missing()),
    }
}

/// The account for which another service speaks, by the token that its key signed for `method` of this host.
///
/// # Errors
/// The token is missing, is for something else, or is not the account's.
pub(crate) async fn service_issuer(host: &Host, headers: &HeaderMap, method: &str) -> Result<Did, XrpcError> {
    service_issuer_to(host, headers, &host.service.did, method).await
}

/// The same for a token that is meant for `audience`: a hosted account, which this host answers for.
///
/// # Errors
/// The token is missing, is for something else, or is not the account's.
pub(crate) async fn service_issuer_to(
    host: &Host,
    headers: &HeaderMap,
    audience: &Did,
    method: &str,
) -> Result<Did, XrpcError> {
    let issuer = service_to(host, headers, audience, method).await?;
    match issuer.fragment {
        None => Ok(issuer.did),
        Some(_) => Err(unauthorized("BadJwtIss", "the token is one of the account's services, not of the account")),
    }
}

/// Who signed the service token of a request for `method` of this host.
async fn service(host: &Host, headers: &HeaderMap, method: &str) -> Result<ServiceId, XrpcError> {
    service_to(host, headers, &host.service.did, method).await
}

async fn service_to(host: &Host, headers: &HeaderMap, audience: &Did, method: &str) -> Result<ServiceId, XrpcError> {
    let method = method.parse().map_err(|_| XrpcError::invalid_request("a method is named by an NSID"))?;
    let token = bearer(headers)?;
    let issuer = host.resolver.service_token(token, audience, &method, clock::now()).await;
    issuer.map_err(|error| match error {
        TokenError::Refused(refusal) => unauthorized(refusal.name(), refusal.to_string()),
        TokenError::Issuer(_) | TokenError::NoKey(_) => XrpcError::authentication_required(error.to_string()),
    })
}

fn auth_missing() -> XrpcError {
    unauthorized("AuthMissing", "Authentication Required: log in first, and send the token in the Authorization header")
}

fn bad_scope() -> XrpcError {
    invalid_token("Bad token scope: log in with the account's own password")
}

fn invalid_token(message: impl Into<String>) -> XrpcError {
    XrpcError::new(StatusCode::BAD_REQUEST, "InvalidToken", message)
}

pub(crate) fn taken_down() -> XrpcError {
    unauthorized("AccountTakedown", "Account has been taken down")
}

fn unauthorized(name: &'static str, message: impl Into<String>) -> XrpcError {
    XrpcError::new(StatusCode::UNAUTHORIZED, name, message)
}

/// A token that is not believed. Clients refresh on `ExpiredToken`, which hosts answer with 400.
pub(crate) fn refused(refused: TokenRefused) -> XrpcError {
    let name = match refused {
        TokenRefused::Expired | TokenRefused::Revoked => "ExpiredToken",
        TokenRefused::Invalid(_) => "InvalidToken",
    };
    XrpcError::new(StatusCode::BAD_REQUEST, name, refused.to_string())
}
