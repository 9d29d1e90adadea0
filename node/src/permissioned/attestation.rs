//! Which app asks: an app that has keys of its own says so in a token, and its keys are where its name leads (proposal
//! 0016, "Client attestation"; AT Protocol "OAuth", client metadata).

use angel_protocol::crypto::{KeyKind, VerifyingKey};
use angel_protocol::ids::Did;
use angel_protocol::permissioned::wire::token::{Claims, Kind, SignedToken, Token, TokenRefusal};
use angel_protocol::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use url::Url;

use crate::fetch::{FetchError, Fetcher};

/// Most bytes of an app's metadata, or of its keys.
const METADATA_BYTES_MAX: usize = 64 * 1024;

/// An app that proved who it is.
#[derive(Debug)]
pub(super) struct Attested {
    pub(super) client_id: String,
    /// What it proved it with; it counts once.
    pub(super) token: Token,
}

/// Why an app is not believed to be who it says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttestationError {
    /// Its token is not believed.
    #[error("the client attestation is not believed: {0}")]
    Token(#[from] TokenRefusal),
    /// It is for another authority.
    #[error("the client attestation is for another host")]
    Audience,
    /// Its metadata or keys cannot be fetched.
    #[error("the keys of the app cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    /// Its metadata is not that of the app, or names no such key.
    #[error("the app publishes no such key")]
    NoKey,
}

#[derive(Deserialize)]
struct Metadata {
    client_id: String,
    jwks: Option<KeySet>,
    jwks_uri: Option<Url>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

/// The app that made `text` for the spaces of `authority`.
///
/// # Errors
/// [`AttestationError`], by what is wrong.
pub(super) async fn verify(
    fetcher: &Fetcher,
    text: &str,
    authority: &Did,
    now: Timestamp,
) -> Result<Attested, AttestationError> {
    let signed = SignedToken::read(Kind::Attestation, text)?;
    signed.token.check(now)?;
    let Claims::Attestation { client_id, authority: meant, key } = &signed.token.claims else {
        return Err(AttestationError::NoKey);
    };
    if meant != authority {
        return Err(AttestationError::Audience);
    }
    let url: Url = client_id.parse().map_err(|_| AttestationError::NoKey)?;
    let metadata: Metadata = read(fetcher, &url).await?;
    if metadata.client_id != *client_id {
        return Err(AttestationError::NoKey);
    }
    let keys = match (metadata.jwks, metadata.jwks_uri) {
        (Some(keys), _) => keys,
        (None, Some(url)) if url.scheme() == "https" => read(fetcher, &url).await?,
        (None, _) => return Err(AttestationError::NoKey),
    };
    let named = keys.keys.iter().find(|one| one.kid.as_deref() == Some(key)).ok_or(AttestationError::NoKey)?;
    signed.verify(public(named).ok_or(AttestationError::NoKey)?)?;
    Ok(Attested { client_id: client_id.clone(), token: signed.token })
}

async fn read<T: for<'a> Deserialize<'a>>(fetcher: &Fetcher, url: &Url) -> Result<T, AttestationError> {
    let body = fetcher.get(url, METADATA_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|_| AttestationError::NoKey)
}

/// The key of a JSON Web Key on P-256 (RFC 7518, section 6.2), the curve that clients of AT Protocol sign with.
fn public(key: &Key) -> Option<VerifyingKey> {
    let coordinate = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|bytes| bytes.len() == 32);
    let point = [vec![4], coordinate(&key.x)?, coordinate(&key.y)?].concat();
    if key.crv == "P-256" { VerifyingKey::from_sec1(KeyKind::P256, &point).ok() } else { None }
}

#[cfg(test)]
mod tests;
