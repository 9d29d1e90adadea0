//! `com.atproto.repo.importRepo`: a whole repository from a CAR file, in the place of what the account has.

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::repo::car::CarError;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;
use futures::future::{Either, ready};

use super::Shared;
use crate::accounts::Account;
use crate::http::XrpcError;
use crate::repos::ImportRefused;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::com::atproto::sync::CAR;
use crate::xrpc::host::Host;

/// Bytes that are gathered before they are looked at.
const PART_BYTES: usize = 256 * 1024;

pub(crate) async fn handler(
    State(host): State<Shared>,
    FullAccess(account): FullAccess,
    headers: HeaderMap,
    body: Body,
) -> Result<(), XrpcError> {
    check_media_type(&headers)?;
    let owner = super::owner(&host, &account).await?;
    let keys = keys(&host, &account, owner.key.public()).await;
    let mut taking = Either::Left(ready(Ok(host.repos.import(&owner, keys).await)));
    let mut chunks = body.into_data_stream();
    let mut part = Vec::with_capacity(PART_BYTES * 2);
    while let Some(chunk) = chunks.next().await {
        let broken_off = |error: axum::Error| XrpcError::invalid_request(format!("the body broke off: {error}"));
        part.extend_from_slice(&chunk.map_err(broken_off)?);
        if part.len() >= PART_BYTES {
            // The next part is gathered while this one is looked at.
            let part = std::mem::replace(&mut part, Vec::with_capacity(PART_BYTES * 2));
            taking = Either::Right(taking.await?.take(part));
        }
    }
    let import = taking.await?.take(part).await?;
    import.finish(account.is_active()).await?;
    Ok(())
}

/// The keys of which one has to have signed the commit: the one that the account's identity names today, wherever that
/// leads, and the one that this node has for it, so that an export of ours can be brought back.
pub(crate) async fn keys(host: &Host, account: &Account, own: VerifyingKey) -> Vec<VerifyingKey> {
    match host.resolver.fresh_did(account.did()).await {
        Ok(resolved) => resolved.document.signing_key().into_iter().chain([own]).collect(),
        Err(error) => {
            tracing::warn!(did = %account.did(), %error, "an import is checked without the account's identity");
            vec![own]
        }
    }
}

/// Clients that know nothing better send any type; what is something else by its own word is refused.
pub(crate) fn check_media_type(headers: &HeaderMap) -> Result<(), XrpcError> {
    let Some(given) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return Ok(()) };
    match given.split(';').next().unwrap_or_default().trim() {
        CAR | "application/octet-stream" | "*/*" => Ok(()),
        _ => Err(XrpcError::invalid_request(format!("a repository is sent as {CAR}, not {given}"))),
    }
}

impl From<ImportRefused> for XrpcError {
    fn from(error: ImportRefused) -> Self {
        match error {
            ImportRefused::Repo(error) => error.into(),
            ImportRefused::Spool(error) => Self::unexpected(&error),
            ImportRefused::Car(CarError::TooManyBytes(_) | CarError::TooManyBlocks(_)) => {
                Self::payload_too_large(error.to_string())
            }
            refused => Self::invalid_request(refused.to_string()),
        }
    }
}
