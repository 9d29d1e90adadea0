//! The three tokens: by which a user's host says that an app acts for the user, by which a space's authority lets a key
//! read the space, by which an app says who it is (proposal 0016, "Access control").
//!
//! They are JWTs of one shape that differ in their `typ`, in who signs them and in whom they are for. A token is read
//! first, then [`Token::check`] says whether it would count here and now, and only then is a key looked up for
//! [`SignedToken::verify`]. Whether a token was used before, or revoked, is for whoever remembers that.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::SPACE_HOST_SERVICE;
use crate::crypto::{KeyKind, SigningKey, VerifyingKey, decode_did_key};
use crate::ids::Did;
use crate::limits::{
    CLIENT_ID_BYTES_MAX, CREDENTIAL_LIFE_MAX, DELEGATION_LIFE_MAX, SPACE_CLOCK_SKEW, SPACE_TOKEN_BYTES_MAX,
    TOKEN_NONCE_BYTES_MAX,
};
use crate::permissioned::SpaceUri;
use crate::permissioned::policy::is_client_id;
use crate::time::Timestamp;

/// The key of a DID document that signs delegation tokens, and credentials where there is no key for spaces.
const ACCOUNT_KEY: &str = "#atproto";

/// The key of a DID document that signs credentials.
const SPACE_KEY: &str = "#atproto_space";

/// Which of the three a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From a user's host to a space's authority, for an app.
    Delegation,
    /// From a space's authority to whoever holds a repository in the space, for a key.
    Credential,
    /// From an app to a space's authority.
    Attestation,
}

impl Kind {
    /// The `typ` of such a token.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Delegation => "atproto-space-delegation+jwt",
            Self::Credential => "atproto-space-credential+jwt",
            Self::Attestation => "atproto-client-attestation+jwt",
        }
    }

    const fn life_max(self) -> std::time::Duration {
        match self {
            Self::Delegation | Self::Attestation => DELEGATION_LIFE_MAX,
            Self::Credential => CREDENTIAL_LIFE_MAX,
        }
    }
}

/// Which key of an authority's DID document signed a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityKey {
    /// The account's signing key, where there is no key for spaces.
    Account,
    /// The key for spaces.
    Space,
}

/// What a token says, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claims {
    /// `user` lets an app ask for a credential for `space`.
    Delegation {
        /// `iss`.
        user: Did,
        /// `sub`.
        space: SpaceUri,
    },
    /// Whoever holds `key` may read `space`.
    Credential {
        /// `sub`; its authority is `iss`.
        space: SpaceUri,
        /// `cnf.kid`: a `did:key` on P-256.
        key: Did,
        /// `kid`.
        signed_by: AuthorityKey,
    },
    /// The app is `client_id`, which it says to `authority`.
    Attestation {
        /// `iss` and `sub`.
        client_id: String,
        /// `aud`, without the name of the service.
        authority: Did,
        /// `kid`: which of its keys.
        key: String,
    },
}

/// A token that was read, or is to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it says. Of one that was read, not believed before [`SignedToken::verify`].
    pub claims: Claims,
    /// `iat`, in seconds since 1970.
    pub issued_at: u64,
    /// `exp`: the first second in which it counts no more.
    pub expires_at: u64,
    /// `jti`: what makes it unlike any other.
    pub nonce: String,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Longer than [`SPACE_TOKEN_BYTES_MAX`].
    #[error("a token of a space has at most {SPACE_TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of base64url, the first two JSON objects with the fields that are needed.
    #[error("not a token of a space: {0}")]
    Form(&'static str),
    /// Of another kind.
    #[error("not a token of type {}", expected.type_name())]
    Type {
        /// The kind that was to be.
        expected: Kind,
    },
    /// Signed with none of the algorithms that this kind is signed with.
    #[error("the token is not signed with ES256K or ES256")]
    Algorithm,
    /// `kid` names no key that signs such tokens.
    #[error("kid names no key that signs such tokens")]
    KeyId,
    /// `iss` is not who may issue it.
    #[error("iss is not who may issue such a token")]
    Issuer,
    /// `sub` is no space, or another one.
    #[error("sub is not the space that this is about")]
    Subject,
    /// `aud` is somebody else.
    #[error("the token is not for the host of this space")]
    Audience,
    /// `cnf.kid` is no key on P-256.
    #[error("cnf.kid is no did:key on P-256")]
    Confirmation,
    /// Past its time.
    #[error("the token has expired")]
    Expired,
    /// Not valid yet.
    #[error("the token is from the future")]
    FromTheFuture,
    /// Good for longer than its kind may be.
    #[error("the token would be valid for too long")]
    LastsTooLong,
    /// Not signed by that key.
    #[error("the signature is not that of the issuer")]
    Signature,
}

impl TokenRefusal {
    /// The name of the error on the wire, as the reference implementation has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLong | Self::Form(_) | Self::KeyId => "BadJwt",
            Self::Type { .. } => "BadJwtType",
            Self::Issuer => "BadJwtIss",
            Self::Subject => "BadJwtSub",
            Self::Audience => "BadJwtAudience",
            Self::Confirmation => "BadJwtCnf",
            Self::Expired => "JwtExpired",
            Self::FromTheFuture => "BadJwtIat",
            Self::LastsTooLong => "BadJwtExp",
            Self::Algorithm | Self::Signature => "BadJwtSignature",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    typ: Option<String>,
    alg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, section 4.1.11). None is.
    #[serde(default, skip_serializing)]
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    iat: u64,
    exp: u64,
    jti: String,
}

#[derive(Serialize, Deserialize)]
struct Confirmation {
    kid: String,
}

impl Token {
    /// Which of the three it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.claims {
            Claims::Delegation { .. } => Kind::Delegation,
            Claims::Credential { .. } => Kind::Credential,
            Claims::Attestation { .. } => Kind::Attestation,
        }
    }

    /// Who issued it, as `iss` says.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match &self.claims {
            Claims::Delegation { user, .. } => user.as_str(),
            Claims::Credential { space, .. } => space.authority.as_str(),
            Claims::Attestation { client_id, .. } => client_id,
        }
    }

    /// The token that says this, signed with the issuer's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let (kid, iss, sub, aud, cnf) = match &self.claims {
            Claims::Delegation { user, space } => {
                let aud = format!("{}#{SPACE_HOST_SERVICE}", space.authority);
                (ACCOUNT_KEY.to_owned(), user.to_string(), space.to_string(), Some(aud), None)
            }
            Claims::Credential { space, key, signed_by } => {
                let kid = match signed_by {
                    AuthorityKey::Account => ACCOUNT_KEY,
                    AuthorityKey::Space => SPACE_KEY,
                };
                let cnf = Some(Confirmation { kid: key.to_string() });
                (kid.to_owned(), space.authority.to_string(), space.to_string(), None, cnf)
            }
            Claims::Attestation { client_id, authority, key } => {
                let aud = format!("{authority}#{SPACE_HOST_SERVICE}");
                (key.clone(), client_id.clone(), client_id.clone(), Some(aud), None)
            }
        };
        let header = Header {
            typ: Some(self.kind().type_name().to_owned()),
            alg: key.public().jwt_algorithm().to_owned(),
            kid: Some(kid),
            crit: None,
        };
        let payload =
            Payload { iss, sub, aud, cnf, iat: self.issued_at, exp: self.expires_at, jti: self.nonce.clone() };
        let message = format!("{}.{}", part(&header), part(&payload));
        let signature = BASE64URL_NOPAD.encode(&key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// Whether it would count at `now`, if it is genuine.
    ///
    /// # Errors
    /// [`TokenRefusal`], by what is wrong with its times.
    pub fn check(&self, now: Timestamp) -> Result<(), TokenRefusal> {
        let (now, skew) = (now.as_millis() / 1000, SPACE_CLOCK_SKEW.as_secs());
        if now >= self.expires_at.saturating_add(skew) {
            return Err(TokenRefusal::Expired);
        }
        if self.issued_at > now.saturating_add(skew) {
            return Err(TokenRefusal::FromTheFuture);
        }
        if self.expires_at.saturating_sub(self.issued_at) > self.kind().life_max().as_secs() {
            return Err(TokenRefusal::LastsTooLong);
        }
        Ok(())
    }
}

fn part(value: &impl Serialize) -> String {
    BASE64URL_NOPAD.encode(&serde_json::to_vec(value).expect("text and numbers are JSON"))
}

/// A token that was read, with its signature.
#[derive(Clone, Debug)]
pub struct SignedToken {
    /// What it says. Not believed before [`Self::verify`].
    pub token: Token,
    algorithm: String,
    message: String,
    signature: Vec<u8>,
}

impl SignedToken {
    /// Reads a token of this kind.
    ///
    /// # Errors
    /// [`TokenRefusal`], by what is wrong with the form.
    pub fn read(kind: Kind, text: &str) -> Result<Self, TokenRefusal> {
        if text.len() > SPACE_TOKEN_BYTES_MAX {
            return Err(TokenRefusal::TooLong);
        }
        let parts = || TokenRefusal::Form("it has not three parts");
        let (message, signature) = text.rsplit_once('.').ok_or_else(parts)?;
        let (header, payload) = message.split_once('.').ok_or_else(parts)?;
        let decode =
            |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenRefusal::Form("no base64url"));
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| TokenRefusal::Form("the header names no algorithm"))?;
        if header.crit.is_some() {
            return Err(TokenRefusal::Form("it has extensions that are not understood"));
        }
        if header.typ.as_deref() != Some(kind.type_name()) {
            return Err(TokenRefusal::Type { expected: kind });
        }
        if !matches!(header.alg.as_str(), "ES256K" | "ES256") {
            return Err(TokenRefusal::Algorithm);
        }
        let payload: Payload = serde_json::from_slice(&decode(payload)?)
            .map_err(|_| TokenRefusal::Form("iss, sub, iat, exp and jti are needed"))?;
        if payload.jti.is_empty() || payload.jti.len() > TOKEN_NONCE_BYTES_MAX {
            return Err(TokenRefusal::Form("jti is empty or too long"));
        }
        let (issued_at, expires_at, nonce) = (payload.iat, payload.exp, payload.jti.clone());
        let claims = claims(kind, header.kid, payload)?;
        Ok(Self {
            token: Token { claims, issued_at, expires_at, nonce },
            algorithm: header.alg,
            message: message.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Whether the owner of `key` signed it. Either half of `s` will do, as in other tokens.
    ///
    /// # Errors
    /// [`TokenRefusal::Signature`].
    pub fn verify(&self, key: VerifyingKey) -> Result<(), TokenRefusal> {
        if self.algorithm != key.jwt_algorithm() {
            return Err(TokenRefusal::Signature);
        }
        key.verify_either_s(self.message.as_bytes(), &self.signature).map_err(|_| TokenRefusal::Signature)
    }
}

fn claims(kind: Kind, key_id: Option<String>, payload: Payload) -> Result<Claims, TokenRefusal> {
    let authority = |aud: Option<String>| {
        let (did, fragment) = aud.as_deref().and_then(|aud| aud.split_once('#')).ok_or(TokenRefusal::Audience)?;
        let did: Did = did.parse().map_err(|_| TokenRefusal::Audience)?;
        if fragment == SPACE_HOST_SERVICE { Ok(did) } else { Err(TokenRefusal::Audience) }
    };
    let space = |sub: &str| sub.parse::<SpaceUri>().map_err(|_| TokenRefusal::Subject);
    match kind {
        Kind::Delegation => {
            if key_id.as_deref() != Some(ACCOUNT_KEY) {
                return Err(TokenRefusal::KeyId);
            }
            let space = space(&payload.sub)?;
            if authority(payload.aud)? != space.authority {
                return Err(TokenRefusal::Audience);
            }
            Ok(Claims::Delegation { user: payload.iss.parse().map_err(|_| TokenRefusal::Issuer)?, space })
        }
        Kind::Credential => {
            let signed_by = match key_id.as_deref() {
                Some(ACCOUNT_KEY) => AuthorityKey::Account,
                Some(SPACE_KEY) => AuthorityKey::Space,
                _ => return Err(TokenRefusal::KeyId),
            };
            let space = space(&payload.sub)?;
            if payload.iss != space.authority.as_str() {
                return Err(TokenRefusal::Issuer);
            }
            let key = payload.cnf.and_then(|cnf| cnf.kid.parse().ok()).filter(is_p256);
            Ok(Claims::Credential { space, key: key.ok_or(TokenRefusal::Confirmation)?, signed_by })
        }
        Kind::Attestation => {
            let key = key_id.filter(|key| !key.is_empty()).ok_or(TokenRefusal::KeyId)?;
            let client_id = payload.iss;
            if payload.sub != client_id || client_id.len() > CLIENT_ID_BYTES_MAX || !is_client_id(&client_id) {
                return Err(TokenRefusal::Issuer);
            }
            Ok(Claims::Attestation { client_id, authority: authority(payload.aud)?, key })
        }
    }
}

/// Whether a DID is that of a key on P-256.
pub(super) fn is_p256(did: &Did) -> bool {
    matches!(decode_did_key(did), Ok((KeyKind::P256, _))) && VerifyingKey::from_did(did).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::crypto::{P256Key, Secp256k1Key};

    const SECOND: u64 = 1_700_000_000;
    const NOW: Timestamp = Timestamp::from_millis(SECOND * 1000 + 500);

    fn keys() -> [SigningKey; 2] {
        [
            Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into(),
            P256Key::from_bytes(&[1; 32]).expect("a scalar").into(),
        ]
    }

    fn space() -> SpaceUri {
        "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self".parse().expect("a space")
    }

    fn tokens() -> [Token; 3] {
        let [_, holder] = keys();
        let with = |claims, life| Token {
            claims,
            issued_at: SECOND,
            expires_at: SECOND + life,
            nonce: "0123456789abcdef".to_owned(),
        };
        [
            with(Claims::Delegation { user: "did:web:bob.example".parse().expect("a DID"), space: space() }, 60),
            with(Claims::Credential { space: space(), key: holder.did(), signed_by: AuthorityKey::Account }, 600),
            with(
                Claims::Attestation {
                    client_id: "https://app.example/client-metadata.json".to_owned(),
                    authority: space().authority,
                    key: "key-1".to_owned(),
                },
                60,
            ),
        ]
    }

    #[test]
    fn a_token_comes_back_as_it_was_and_counts_for_its_signer() {
        let [signer, stranger] = keys();
        for token in tokens() {
            for key in keys() {
                let read = SignedToken::read(token.kind(), &token.sign(&key)).expect("a token");
                assert_eq!(read.token, token);
                assert_eq!(read.token.check(NOW), Ok(()));
                assert_eq!(read.verify(key.public()), Ok(()));
            }
            let read = SignedToken::read(token.kind(), &token.sign(&signer)).expect("a token");
            assert_eq!(read.verify(stranger.public()), Err(TokenRefusal::Signature));
        }
    }

    #[test]
    fn no_kind_passes_for_another() {
        let [key, _] = keys();
        let kinds = [Kind::Delegation, Kind::Credential, Kind::Attestation];
        for token in tokens() {
            let text = token.sign(&key);
            for kind in kinds.into_iter().filter(|kind| *kind != token.kind()) {
                let refused = SignedToken::read(kind, &text).expect_err("another kind");
                assert_eq!((refused.clone(), refused.name()), (TokenRefusal::Type { expected: kind }, "BadJwtType"));
            }
            assert!(text.parse::<crate::service_auth::ServiceToken>().is_err(), "it is no service token either");
        }
    }

    #[test]
    fn times_are_judged_with_a_little_skew() {
        for token in tokens() {
            let at = |second: u64| Timestamp::from_millis(second * 1000);
            assert_eq!(token.check(at(token.expires_at + 4)), Ok(()));
            assert_eq!(token.check(at(token.expires_at + 5)), Err(TokenRefusal::Expired));
            assert_eq!(token.check(at(SECOND - 5)), Ok(()));
            assert_eq!(token.check(at(SECOND - 6)), Err(TokenRefusal::FromTheFuture));
            let long = Token { expires_at: SECOND + 3601, ..token };
            assert_eq!(long.check(NOW), Err(TokenRefusal::LastsTooLong));
        }
    }

    /// The token with one field of its payload or header replaced; without it where the value is null.
    fn changed(token: &Token, field: &str, value: Json) -> String {
        let [key, _] = keys();
        let text = token.sign(&key);
        let parts: Vec<&str> = text.split('.').collect();
        let read = |part: &str| -> Json {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url")).expect("JSON")
        };
        let (mut header, mut payload) = (read(parts[0]), read(parts[1]));
        let place = if matches!(field, "kid" | "alg" | "crit" | "typ") { &mut header } else { &mut payload };
        let fields = place.as_object_mut().expect("an object");
        fields.remove(field);
        if !value.is_null() {
            fields.insert(field.to_owned(), value);
        }
        format!("{}.{}.{}", part(&header), part(&payload), parts[2])
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let [delegation, credential, attestation] = tokens();
        let other = "at://did:plc:z72i7hdynmk6r22z27h6tvur/space/com.example.forum/self";
        let host = "did:plc:z72i7hdynmk6r22z27h6tvur#atproto_space_host";
        let [k256, _] = keys();
        for (token, field, value, name) in [
            (&delegation, "sub", json!("at://did:plc:a/com.example.forum/self"), "BadJwtSub"),
            (&delegation, "sub", json!(other), "BadJwtAudience"),
            (&delegation, "aud", json!(host), "BadJwtAudience"),
            (&delegation, "aud", json!(null), "BadJwtAudience"),
            (&delegation, "aud", json!("did:plc:yk4dd2qkboz2yv6tpubpc6co"), "BadJwtAudience"),
            (&delegation, "iss", json!("bob.example"), "BadJwtIss"),
            (&delegation, "kid", json!("#atproto_space"), "BadJwt"),
            (&delegation, "jti", json!(null), "BadJwt"),
            (&delegation, "jti", json!(""), "BadJwt"),
            (&delegation, "crit", json!(["x"]), "BadJwt"),
            (&delegation, "alg", json!("none"), "BadJwtSignature"),
            (&credential, "iss", json!("did:web:bob.example"), "BadJwtIss"),
            (&credential, "cnf", json!(null), "BadJwtCnf"),
            (&credential, "cnf", json!({ "kid": k256.did() }), "BadJwtCnf"),
            (&credential, "kid", json!("#other"), "BadJwt"),
            (&attestation, "sub", json!("https://other.example"), "BadJwtIss"),
            (&attestation, "kid", json!(null), "BadJwt"),
        ] {
            let refused = SignedToken::read(token.kind(), &changed(token, field, value.clone()));
            assert_eq!(refused.expect_err("refused").name(), name, "{field} {value}");
        }
        let long = "a".repeat(SPACE_TOKEN_BYTES_MAX + 1);
        assert_eq!(SignedToken::read(Kind::Credential, &long).expect_err("refused"), TokenRefusal::TooLong);
    }

    proptest! {
        #[test]
        fn a_changed_token_never_verifies(at in any::<prop::sample::Index>(), by in 1_u8..=255) {
            let [key, _] = keys();
            let [_, credential, _] = tokens();
            let mut text = credential.sign(&key).into_bytes();
            let at = at.index(text.len());
            text[at] ^= by;
            let Ok(text) = String::from_utf8(text) else { return Ok(()) };
            if let Ok(read) = SignedToken::read(Kind::Credential, &text) {
                // The last character of the signature has bits that stand for nothing; base64url refuses them set.
                prop_assert!(read.verify(key.public()).is_err());
            }
        }
    }
}
