//! Who reads: the owner of a repository by their session, or whoever brings a credential of the space.

use std::sync::Arc;

use angel_protocol::ids::{Did, Nsid};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::wire::request::SignedHeaders;
use angel_protocol::permissioned::wire::{AUDIENCE_HEADER, CREDENTIAL_SCHEME};
use angel_protocol::rules;
use angel_protocol::tenants::Role;
use angel_storage::permissioned::Repo;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::permissioned::PermissionedError;
use crate::tenants::workspace;
use crate::xrpc::auth::{Access, Caller};
use crate::xrpc::com::atproto::sync;
use crate::xrpc::host::Host;

/// What a request says of who reads. Not looked at before it is known what is to be read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// With a session.
    Session(Access),
    /// With what claims to be a credential.
    Credential(HeaderMap),
}

impl FromRequestParts<Arc<Host>> for Reading {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scheme = value.and_then(|value| value.trim().split_once(' ')).map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(CREDENTIAL_SCHEME)) {
            Ok(Self::Credential(parts.headers.clone()))
        } else {
            Access::from_request_parts(parts, host).await.map(Self::Session)
        }
    }
}

impl Reading {
    /// Refuses whoever may not read the repository of `repo` in `space`.
    ///
    /// # Errors
    /// What is wrong with the credential. A session of somebody else is told that there is no such repository.
    pub(crate) async fn allow(&self, host: &Host, space: &SpaceUri, repo: &Did) -> Result<(), XrpcError> {
        match self {
            Self::Session(access) if access.account.did() == repo => Ok(()),
            Self::Session(_) => Err(PermissionedError::RepoNotFound.into()),
            Self::Credential(headers) => Ok(host.credentials.check(&signed_headers(headers), space, repo).await?),
        }
    }

    /// The repository of `repo` in `space`, for whoever may read it.
    ///
    /// # Errors
    /// As [`Self::allow`]; or there is none, or its account is not active.
    pub(crate) async fn repo(&self, host: &Host, space: &SpaceUri, repo: &Did) -> Result<(Account, Repo), XrpcError> {
        self.allow(host, space, repo).await?;
        self.found(host, space, repo).await
    }

    /// The same for whoever reads its records, of one collection or of all. In the workspace of a tenant these are the
    /// tenant's people, too: each reads what their role lets them ([`rules::reading`]), and its admins read everything.
    ///
    /// # Errors
    /// As [`Self::repo`].
    pub(crate) async fn records(
        &self,
        host: &Host,
        space: &SpaceUri,
        repo: &Did,
        collection: Option<&Nsid>,
    ) -> Result<(Account, Repo), XrpcError> {
        match self {
            Self::Session(access) if is_staff(host, access, space, repo, collection) => {
                access.account.is_active().then_some(()).ok_or(PermissionedError::RepoNotFound)?;
            }
            reading => reading.allow(host, space, repo).await?,
        }
        self.found(host, space, repo).await
    }

    async fn found(&self, host: &Host, space: &SpaceUri, repo: &Did) -> Result<(Account, Repo), XrpcError> {
        let (account, found) = host.permissioned.repo(space, repo).await?.ok_or(PermissionedError::RepoNotFound)?;
        match self {
            Self::Session(_) => Ok((account, found)),
            // Of a space that its authority deleted, the author alone still reads.
            Self::Credential(_) if found.space_deleted_at.is_some() => Err(PermissionedError::SpaceDeleted.into()),
            Self::Credential(_) => Ok((sync::seen(Some(account), repo, &Caller::Anyone)?, found)),
        }
    }
}

/// Whether a session is of somebody who may read this of a tenant's workspace.
fn is_staff(host: &Host, access: &Access, space: &SpaceUri, repo: &Did, collection: Option<&Nsid>) -> bool {
    let did = access.account.did();
    if did == repo || *space != workspace(repo) || !host.tenants.may_read(repo, did) {
        return false;
    }
    let needed = collection.and_then(|collection| rules::reading(collection.as_str()));
    match (collection, needed) {
        (Some(_), Some(needed)) => host.tenants.allows(repo, did, needed),
        // Everything, and what nobody writes by a plain write.
        _ => matches!(host.tenants.role(repo, did), Some(Role::Owner | Role::Admin)),
    }
}

/// The headers of a request that a signature covers, or is in.
pub(crate) fn signed_headers(headers: &HeaderMap) -> SignedHeaders<'_> {
    // What is no text is given as none, which nothing accepts.
    let all = |name: HeaderName| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    SignedHeaders {
        authorization: all(header::AUTHORIZATION),
        audience: all(HeaderName::from_static(AUDIENCE_HEADER)),
        signature_input: all(HeaderName::from_static("signature-input")),
        signature: all(HeaderName::from_static("signature")),
    }
}
