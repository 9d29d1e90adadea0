//! Session tokens: JWTs signed with HMAC-SHA-256, which only this node can make and check. Their claims and types are
//! those that hosts of the network use, so that clients can look into them.

use angel_protocol::ids::Did;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Longest token that is read, in bytes. Ours have about 300, with a long DID 2,500.
const TOKEN_BYTES_MAX: usize = 4096;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    #[serde(rename = "com.atproto.access")]
    Access,
    /// To get new tokens.
    #[serde(rename = "com.atproto.refresh")]
    Refresh,
    /// What an app may do: not the account itself, and no private messages.
    #[serde(rename = "com.atproto.appPass")]
    AppPassword,
    /// What a privileged app may do: not the account itself.
    #[serde(rename = "com.atproto.appPassPrivileged")]
    AppPasswordPrivileged,
    /// What remains to the owner of an account that was taken down: to take everything along and leave.
    #[serde(rename = "com.atproto.takendown")]
    TakenDown,
}

impl Scope {
    /// The type in the token's header.
    const fn token_type(self) -> &'static str {
        match self {
            Self::Refresh => "refresh+jwt",
            _ => "at+jwt",
        }
    }
}

/// What a token says. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) scope: Scope,
    pub(crate) aud: Did,
    pub(crate) sub: Did,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    typ: String,
    alg: String,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Past its time.
    #[error("Token has expired: refresh the session or log in again")]
    Expired,
    /// Its session was ended.
    #[error("Token has been revoked: log in again")]
    Revoked,
    /// Not one of this node's tokens, or not one for this.
    #[error("Token could not be verified: {0}")]
    Invalid(&'static str),
}

/// The key that signs tokens.
pub(super) struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// The token that says this.
    pub(super) fn sign(&self, claims: &Claims) -> String {
        let header = Header { typ: claims.scope.token_type().to_owned(), alg: "HS256".to_owned() };
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = self.0.clone().chain_update(&message).finalize().into_bytes();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a token says, once it is known to be ours and of the type that its scope has. Its time is not looked at.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, TokenRefused> {
        use TokenRefused::Invalid;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid("it is too long"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Invalid("it is no JWT"))?;
        let (header, payload) = message.split_once('.').ok_or(Invalid("it is no JWT"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Invalid("it is no JWT"))?;
        // The signature comes first: nothing else in the token means anything before.
        let verified = self.0.clone().chain_update(message).verify_slice(&signature);
        verified.map_err(|_| Invalid("it is not signed by this node"))?;
        let header: Header = read(header)?;
        let claims: Claims = read(payload)?;
        if header.alg != "HS256" || header.typ != claims.scope.token_type() {
            return Err(Invalid("it is of another type"));
        }
        Ok(claims)
    }
}

fn part(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("text and numbers are JSON"))
}

fn read<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenRefused> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefused::Invalid("it is no JWT"))?;
    serde_json::from_slice(&bytes).map_err(|_| TokenRefused::Invalid("its claims are not those of a session"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(scope: Scope) -> Claims {
        Claims {
            scope,
            aud: "did:web:host.test".parse().expect("a DID"),
            sub: "did:plc:alice".parse().expect("a DID"),
            jti: None,
            iat: 100,
            exp: 200,
        }
    }

    #[test]
    fn a_token_says_what_was_signed_and_nothing_else() {
        let key = TokenKey::new(b"secret");
        for scope in [Scope::Access, Scope::Refresh, Scope::AppPassword, Scope::AppPasswordPrivileged, Scope::TakenDown]
        {
            let token = key.sign(&claims(scope));
            assert_eq!(key.verify(&token), Ok(claims(scope)));
            assert!(TokenKey::new(b"other").verify(&token).is_err());
            for at in 0..token.len() {
                let mut bent = token.clone().into_bytes();
                bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
                let bent = String::from_utf8(bent).expect("text");
                assert!(key.verify(&bent).is_err(), "byte {at} of {token}");
            }
        }
    }

    #[test]
    fn a_signature_by_us_under_another_header_is_no_session_token() {
        let key = TokenKey::new(b"secret");
        let signed = |header: &str, payload: &str| {
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            let signature = key.0.clone().chain_update(&message).finalize().into_bytes();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        let payload = serde_json::to_string(&claims(Scope::Access)).expect("JSON");
        assert!(key.verify(&signed(r#"{"typ":"at+jwt","alg":"HS256"}"#, &payload)).is_ok());
        for header in
            [r#"{"typ":"at+jwt","alg":"none"}"#, r#"{"typ":"refresh+jwt","alg":"HS256"}"#, r#"{"alg":"HS256"}"#]
        {
            assert!(key.verify(&signed(header, &payload)).is_err(), "{header}");
        }
        for token in ["", ".", "..", "a.b", "not.a.token", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(key.verify(token).is_err(), "{token}");
        }
    }

    /// RFC 7515, appendix A.1: the same key and message give the same signature.
    #[test]
    fn follows_the_published_example() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = TokenKey::new(&URL_SAFE_NO_PAD.decode(key).expect("base64"));
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = key.0.chain_update(message).finalize().into_bytes();
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
