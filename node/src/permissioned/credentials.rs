//! Who may read a space: delegation tokens for the users of this host, credentials of the spaces that it answers for,
//! and the check of the credentials that readers bring.
//!
//! What is checked is in the order of its cost, and nothing of it tells a stranger whether there is a space: that is
//! looked up only for whoever has proved to be let in, and refused like a space that does not exist for everybody else.

use angel_protocol::crypto::{P256Key, SigningKey};
use angel_protocol::ids::Did;
use angel_protocol::limits::{CREDENTIAL_LIFE, SPACE_CLOCK_SKEW};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::wire::CREDENTIAL_SCHEME;
use angel_protocol::permissioned::wire::request::{self, RequestRefusal, SignedHeaders};
use angel_protocol::permissioned::wire::token::{AuthorityKey, Claims, Kind, SignedToken, Token, TokenRefusal};
use angel_protocol::service_auth::ServiceId;
use angel_protocol::time::Timestamp;
use angel_storage::permissioned::{self as rows, SpaceRow};
use angel_storage::{Batch, CommitError};
use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::attestation::{self, AttestationError};
use super::notices::ISSUED_MAX;
use super::services::{Asked, CallError, DocumentKey, Services};
use super::{Permissioned, PermissionedError};
use crate::accounts::Account;
use crate::{blocking, clock};

/// How long a delegation token is good, in seconds.
const DELEGATION_LIFE: u64 = 60;

/// Issues and checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    permissioned: Permissioned,
    services: Services,
}

/// Why a request with a token is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The `Authorization` header has no token of the kind that this takes.
    #[error("this takes an Authorization header with a token of a space")]
    Missing,
    /// The token is not believed.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// The signature over the request is not believed.
    #[error(transparent)]
    Request(#[from] RequestRefusal),
    /// The request is addressed to somebody else.
    #[error("the request is signed for another audience")]
    Audience,
    /// The credential is for another space.
    #[error("the credential is for another space")]
    OtherSpace,
    /// The credential was revoked.
    #[error("the credential was revoked")]
    Revoked,
    /// The delegation token is for another space, or was used before.
    #[error("the delegation token is for another space, or was used before")]
    Delegation,
    /// The app did not prove who it is.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    /// The user has as many credentials for the space as can be revoked at once.
    #[error("there are too many credentials of this user for the space; use one for all requests until it expires")]
    TooMany,
    /// The app may not.
    #[error("the space does not let this app in")]
    App,
    /// Whose key counts cannot be found out.
    #[error("whose key counts cannot be found out: {0}")]
    Issuer(CallError),
    /// The managing app was not reached.
    #[error("the app that manages the space does not answer")]
    ManagingApp(#[source] CallError),
    /// The space is not for whoever asks, or something failed.
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
}

impl From<CommitError> for CredentialError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { .. } => Self::Delegation,
            other => Self::Permissioned(other.into()),
        }
    }
}

#[derive(Deserialize)]
struct AppAnswer {
    authorized: bool,
}

impl Credentials {
    pub(crate) const fn new(permissioned: Permissioned, services: Services) -> Self {
        Self { permissioned, services }
    }

    /// The ways to other services.
    pub(crate) const fn services(&self) -> &Services {
        &self.services
    }

    /// A token by which an app asks `space` for a credential on behalf of a hosted account.
    pub(crate) async fn delegate(&self, user: &Account, space: &SpaceUri) -> Result<String, PermissionedError> {
        let key = self.permissioned.key_of(user).await?;
        let claims = Claims::Delegation { user: user.did().clone(), space: space.clone() };
        Ok(token(claims, DELEGATION_LIFE, nonce()).sign(&key))
    }

    /// A credential for `space`, in exchange for a delegation token, bound to the key that signed the request.
    pub(crate) async fn exchange(
        &self,
        headers: &SignedHeaders<'_>,
        space: &SpaceUri,
        attestation: Option<&str>,
    ) -> Result<String, CredentialError> {
        let now = clock::now();
        let signed = SignedToken::read(Kind::Delegation, credentials_of(headers, "Bearer")?)?;
        signed.token.check(now)?;
        let key = request::verify_exchange(headers)?;
        let Claims::Delegation { user, space: delegated } = &signed.token.claims else {
            return Err(CredentialError::Missing);
        };
        if delegated != space {
            return Err(CredentialError::Delegation);
        }
        // Nobody makes this host look up keys for spaces that are not its own.
        let authority = self.permissioned.shared.accounts.resident(&space.authority).await;
        if authority.map_err(PermissionedError::from)?.is_none() {
            return Err(PermissionedError::SpaceNotFound.into());
        }
        let genuine = |key| signed.verify(key).is_ok();
        if !self.services.has_key(user, DocumentKey::Account, genuine).await.map_err(CredentialError::Issuer)? {
            return Err(TokenRefusal::Signature.into());
        }
        let app = match attestation {
            None => None,
            Some(text) => Some(attestation::verify(self.services.fetcher(), text, &space.authority, now).await?),
        };
        // While this is held, nobody is taken off the list: whoever is after it finds the credential to revoke.
        let _unchanged = self.permissioned.shared.changing.read().await;
        let row = self.admit(space, user, app.as_ref().map(|app| app.client_id.as_str())).await?;
        let spent = [Some(&signed.token), app.as_ref().map(|app| &app.token)];
        self.issue(&row, user, key, &spent.into_iter().flatten().cloned().collect::<Vec<_>>(), now).await
    }

    /// A credential by which this node reads in the name of the authority a space that it answers for, and the secret
    /// of the key that it is bound to.
    pub(super) async fn own(&self, space: &SpaceUri) -> Result<(String, [u8; 32]), CredentialError> {
        let (this, at) = (self.permissioned.clone(), space.clone());
        let (_, row) = blocking::run(move || this.hosted_blocking(&at)).await?;
        let (secret, key) = loop {
            let secret = rand::random();
            if let Some(key) = P256Key::from_bytes(&secret) {
                break (secret, SigningKey::from(key).did());
            }
        };
        let _unchanged = self.permissioned.shared.changing.read().await;
        Ok((self.issue(&row, &space.authority, key, &[], clock::now()).await?, secret))
    }

    /// The space, if `user` may read it with this app.
    async fn admit(&self, space: &SpaceUri, user: &Did, app: Option<&str>) -> Result<SpaceRow, CredentialError> {
        let (this, at, whom) = (self.permissioned.clone(), space.clone(), user.clone());
        let decide = move || -> Result<_, PermissionedError> {
            let (row, deleted) = this.row_blocking(&at)?;
            let decision = this.decide_blocking(&row, Access::Read, &whom)?;
            Ok((row, deleted, decision))
        };
        let (row, deleted, decision) = blocking::run(decide).await?;
        let is_admitted = match decision {
            Decision::Yes => true,
            Decision::No => false,
            Decision::Ask(managing) => self.ask(&row, &managing, user, app).await?,
        };
        if !is_admitted {
            return Err(PermissionedError::SpaceNotFound.into());
        }
        if deleted {
            return Err(PermissionedError::SpaceDeleted.into());
        }
        if row.config.admits_app(app) { Ok(row) } else { Err(CredentialError::App) }
    }

    /// What the managing app says.
    async fn ask(
        &self,
        row: &SpaceRow,
        managing: &ServiceId,
        user: &Did,
        app: Option<&str>,
    ) -> Result<bool, CredentialError> {
        let method = "com.atproto.simplespace.checkUserAccess".parse().expect("an NSID");
        let space = row.uri.to_string();
        let mut query = vec![("space", space.as_str()), ("user", user.as_str()), ("access", "read")];
        query.extend(app.map(|app| ("clientId", app)));
        let asked = Asked::Query(&query);
        let answer = self.services.call(&row.uri.authority, managing, managing, &method, asked).await;
        let answer: Option<AppAnswer> =
            serde_json::from_slice(&answer.map_err(CredentialError::ManagingApp)?).unwrap_or(None);
        Ok(answer.is_some_and(|answer| answer.authorized))
    }

    async fn issue(
        &self,
        row: &SpaceRow,
        user: &Did,
        key: Did,
        spent: &[Token],
        now: Timestamp,
    ) -> Result<String, CredentialError> {
        let space = row.uri.clone();
        let authority = self.permissioned.shared.accounts.resident(&space.authority).await;
        let authority = authority.map_err(PermissionedError::from)?.ok_or(PermissionedError::SpaceNotFound)?;
        let nonce = nonce();
        let claims = Claims::Credential { space: space.clone(), key, signed_by: AuthorityKey::Account };
        let credential = token(claims, CREDENTIAL_LIFE.as_secs(), nonce.clone());
        let signed = credential.sign(&*self.permissioned.key_of(&authority).await?);
        let mut batch = Batch::new();
        let (reader, digest, whom) = (self.permissioned.shared.reader.clone(), space.digest(), user.clone());
        let issued = blocking::run(move || rows::issued(&reader, digest, Some(&whom), None, ISSUED_MAX)).await;
        let issued = issued.map_err(PermissionedError::from)?;
        let (live, lapsed): (Vec<_>, Vec<_>) = issued.into_iter().partition(|(_, _, until)| *until > now);
        if live.len() >= ISSUED_MAX / 2 {
            return Err(CredentialError::TooMany);
        }
        let stage = |batch: &mut Batch| {
            for (did, nonce, _) in &lapsed {
                rows::remove_issued(batch, space.digest(), did, nonce)?;
            }
            for token in spent {
                let digest = rows::token_digest(token.kind().type_name(), token.issuer(), &token.nonce);
                rows::put_spent(batch, digest, at(token.expires_at) + SPACE_CLOCK_SKEW, true)?;
            }
            rows::put_issued(batch, space.digest(), user, &nonce, now + CREDENTIAL_LIFE + SPACE_CLOCK_SKEW)
        };
        stage(&mut batch).map_err(PermissionedError::from)?;
        let writer = self.permissioned.shared.writer.clone();
        blocking::run(move || writer.commit(batch)).await?;
        Ok(signed)
    }

    /// Whether the request brings a credential for `space`, addressed to `audience`.
    pub(crate) async fn check(
        &self,
        headers: &SignedHeaders<'_>,
        space: &SpaceUri,
        audience: &Did,
    ) -> Result<(), CredentialError> {
        let signed = SignedToken::read(Kind::Credential, credentials_of(headers, CREDENTIAL_SCHEME)?)?;
        signed.token.check(clock::now())?;
        let Claims::Credential { space: of, key, signed_by } = &signed.token.claims else {
            return Err(CredentialError::Missing);
        };
        if of != space {
            return Err(CredentialError::OtherSpace);
        }
        if request::verify_presentation(headers, key)? != audience.as_str() {
            return Err(CredentialError::Audience);
        }
        let which = match signed_by {
            AuthorityKey::Account => DocumentKey::Account,
            AuthorityKey::Space => DocumentKey::Spaces,
        };
        let genuine = |key| signed.verify(key).is_ok();
        if !self.services.has_key(&of.authority, which, genuine).await.map_err(CredentialError::Issuer)? {
            return Err(TokenRefusal::Signature.into());
        }
        let digest = rows::token_digest(Kind::Credential.type_name(), of.authority.as_str(), &signed.token.nonce);
        let (this, space) = (self.permissioned.clone(), space.clone());
        blocking::run(move || {
            if rows::is_spent(&this.shared.reader, digest).map_err(PermissionedError::from)? {
                return Err(CredentialError::Revoked);
            }
            // Of a space of this host, it has to be there still.
            this.hosting_blocking(&space)?;
            Ok(())
        })
        .await
    }
}

/// The token of an `Authorization` header of this scheme.
fn credentials_of<'a>(headers: &SignedHeaders<'a>, scheme: &str) -> Result<&'a str, CredentialError> {
    let [value] = headers.authorization[..] else { return Err(CredentialError::Missing) };
    let (found, token) = value.trim().split_once(' ').ok_or(CredentialError::Missing)?;
    if found.eq_ignore_ascii_case(scheme) { Ok(token.trim()) } else { Err(CredentialError::Missing) }
}

fn token(claims: Claims, life: u64, nonce: String) -> Token {
    let now = clock::now().as_millis() / 1000;
    Token { claims, issued_at: now, expires_at: now + life, nonce }
}

fn nonce() -> String {
    HEXLOWER.encode(&rand::random::<[u8; 16]>())
}

const fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(second.saturating_mul(1000))
}
