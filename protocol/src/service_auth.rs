//! Tokens by which one service speaks to another for an account: JWTs of the account's signing key (AT Protocol "XRPC",
//! section "Inter-Service Authentication (JWT)").
//!
//! A token names who speaks, to whom, until when and about which method. Whose key counts is for whoever resolves the
//! issuer's DID; whether a token was seen before is not asked, as elsewhere in the protocol: it lives for a minute.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::crypto::{SigningKey, VerifyingKey};
use crate::ids::{Did, Nsid};
use crate::limits::{SERVICE_TOKEN_BYTES_MAX, SERVICE_TOKEN_LIFE_MAX};
use crate::time::Timestamp;

/// Types of tokens that mean something else and could otherwise be passed off as service tokens (RFC 9068, RFC 9449,
/// that of refresh tokens, and those of proposal 0016).
const OTHER_TYPES: [&str; 6] = [
    "at+jwt",
    "refresh+jwt",
    "dpop+jwt",
    "atproto-space-delegation+jwt",
    "atproto-space-credential+jwt",
    "atproto-client-attestation+jwt",
];

/// A DID, perhaps with one of its services: `did:web:example.org#bsky_appview`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// Whose service.
    pub did: Did,
    /// What follows `#`, when there is a `#`. Never empty.
    pub fragment: Option<String>,
}

/// A string is no DID, nor one with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a service is named by a DID, perhaps with # and the name of one of its services")]
pub struct InvalidServiceId;

impl FromStr for ServiceId {
    type Err = InvalidServiceId;

    fn from_str(text: &str) -> Result<Self, InvalidServiceId> {
        let (did, fragment) = match text.split_once('#') {
            Some((did, fragment)) => (did, Some(fragment)),
            None => (text, None),
        };
        let is_fragment =
            |fragment: &str| !fragment.is_empty() && fragment.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !fragment.is_none_or(is_fragment) {
            return Err(InvalidServiceId);
        }
        Ok(Self { did: did.parse().map_err(|_| InvalidServiceId)?, fragment: fragment.map(str::to_owned) })
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fragment {
            Some(fragment) => write!(f, "{}#{fragment}", self.did),
            None => self.did.fmt(f),
        }
    }
}

impl From<Did> for ServiceId {
    fn from(did: Did) -> Self {
        Self { did, fragment: None }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: who speaks. With a fragment, not the account itself but one of its services.
    pub issuer: ServiceId,
    /// `aud`: who is spoken to.
    pub audience: ServiceId,
    /// `exp`: the last second in which it counts, since 1970.
    pub expires_at: u64,
    /// `iat`: when it was made, in seconds since 1970.
    pub issued_at: Option<u64>,
    /// `lxm`: the only method it is good for; any when absent.
    pub method: Option<Nsid>,
    /// `jti`: what makes it unlike any other.
    pub nonce: Option<String>,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`SERVICE_TOKEN_BYTES_MAX`].
    #[error("a service token has at most {SERVICE_TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of base64url, the first two being JSON objects with the fields that are needed.
    #[error("not a service token: {0}")]
    Form(&'static str),
    /// A token of another purpose.
    #[error("a token of type {0} is no service token")]
    Type(String),
    /// Signed with none of the two algorithms.
    #[error("service tokens are signed with ES256K or ES256")]
    Algorithm,
    /// `iss` is no DID.
    #[error("iss is no DID")]
    Issuer,
    /// `aud` is no DID.
    #[error("aud is no DID")]
    InvalidAudience,
    /// Meant for another service.
    #[error("jwt audience does not match service did: the token is for {found}, not for {expected}")]
    Audience {
        /// Who is spoken to.
        found: ServiceId,
        /// Who was asked.
        expected: Did,
    },
    /// Meant for another method, or for none in particular.
    #[error("the token is for {}, not for {expected}", found.as_ref().map_or("no method in particular", Nsid::as_str))]
    Method {
        /// The method named.
        found: Option<Nsid>,
        /// The method called.
        expected: Nsid,
    },
    /// Past its time.
    #[error("the token has expired")]
    Expired,
    /// Good for longer than [`SERVICE_TOKEN_LIFE_MAX`].
    #[error("the token would be valid for more than {} hours", SERVICE_TOKEN_LIFE_MAX.as_secs() / 3600)]
    LastsTooLong,
    /// Not signed by that key.
    #[error("jwt signature does not match jwt issuer")]
    Signature,
}

impl Refusal {
    /// The name of the error on the wire, as the reference implementation has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLong | Self::Form(_) => "BadJwt",
            Self::Type(_) => "BadJwtType",
            Self::Issuer => "BadJwtIss",
            Self::InvalidAudience | Self::Audience { .. } => "BadJwtAudience",
            Self::Method { .. } => "BadJwtLexiconMethod",
            Self::Expired => "JwtExpired",
            Self::LastsTooLong => "BadJwtExp",
            Self::Algorithm | Self::Signature => "BadJwtSignature",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(default)]
    typ: Option<String>,
    alg: String,
    /// Extensions that must be understood (RFC 7515, section 4.1.11). None is.
    #[serde(default, skip_serializing)]
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<NumericDate>,
    iss: String,
    aud: String,
    exp: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lxm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

/// Seconds since 1970. RFC 7519 allows fractions; they are dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct NumericDate(serde_json::Number);

impl NumericDate {
    fn seconds(&self) -> Option<u64> {
        let fraction = || self.0.as_f64().filter(|seconds| (0.0..9_007_199_254_740_992.0).contains(seconds));
        self.0.as_u64().or_else(|| fraction().map(|seconds| seconds as u64))
    }
}

impl Claims {
    /// The token that says this, signed with the issuer's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let header = Header { typ: Some("JWT".to_owned()), alg: key.public().jwt_algorithm().to_owned(), crit: None };
        let payload = Payload {
            iat: self.issued_at.map(|seconds| NumericDate(seconds.into())),
            iss: self.issuer.to_string(),
            aud: self.audience.to_string(),
            exp: NumericDate(self.expires_at.into()),
            lxm: self.method.as_ref().map(ToString::to_string),
            jti: self.nonce.clone(),
        };
        let message = format!("{}.{}", part(&header), part(&payload));
        let signature = BASE64URL_NOPAD.encode(&key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn part(value: &impl Serialize) -> String {
    BASE64URL_NOPAD.encode(&serde_json::to_vec(value).expect("text and numbers are JSON"))
}

/// A token that was read. Nothing in it is believed before [`ServiceToken::verify`].
#[derive(Clone, Debug)]
pub struct ServiceToken {
    claims: Claims,
    algorithm: String,
    message: String,
    signature: Vec<u8>,
}

impl FromStr for ServiceToken {
    type Err = Refusal;

    fn from_str(token: &str) -> Result<Self, Refusal> {
        if token.len() > SERVICE_TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Form("it has not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Form("it has not three parts"))?;
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Refusal::Form("no base64url"));
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Form("the header names no algorithm"))?;
        if header.crit.is_some() {
            return Err(Refusal::Form("it has extensions that are not understood"));
        }
        if let Some(other) = header.typ.filter(|kind| OTHER_TYPES.iter().any(|other| other.eq_ignore_ascii_case(kind)))
        {
            return Err(Refusal::Type(other));
        }
        if !matches!(header.alg.as_str(), "ES256K" | "ES256") {
            return Err(Refusal::Algorithm);
        }
        let payload: Payload = serde_json::from_slice(&decode(payload)?)
            .map_err(|_| Refusal::Form("iss, aud and exp are needed, iat, lxm and jti may be there"))?;
        let seconds = |date: NumericDate| date.seconds().ok_or(Refusal::Form("a time is out of range"));
        let method = payload.lxm.map(|method| method.parse().map_err(|_| Refusal::Form("lxm is no NSID")));
        Ok(Self {
            claims: Claims {
                issuer: payload.iss.parse().map_err(|_| Refusal::Issuer)?,
                audience: payload.aud.parse().map_err(|_| Refusal::InvalidAudience)?,
                expires_at: seconds(payload.exp)?,
                issued_at: payload.iat.map(seconds).transpose()?,
                method: method.transpose()?,
                nonce: payload.jti,
            },
            algorithm: header.alg,
            message: message.to_owned(),
            signature: decode(signature)?,
        })
    }
}

impl ServiceToken {
    /// What it says. Not believed yet.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Whether it would count here and now, if it is genuine: asked first, because a signature costs a look-up.
    ///
    /// `audience` is who was asked; the token may name one of its services. `method` is what was called; a token
    /// without a method does not count for it.
    ///
    /// # Errors
    /// [`Refusal`], by what does not fit.
    pub fn check(&self, audience: &Did, method: &Nsid, now: Timestamp) -> Result<(), Refusal> {
        let claims = &self.claims;
        let now = now.as_millis() / 1000;
        if now > claims.expires_at {
            return Err(Refusal::Expired);
        }
        if claims.expires_at - now > SERVICE_TOKEN_LIFE_MAX.as_secs() {
            return Err(Refusal::LastsTooLong);
        }
        if claims.audience.did != *audience {
            return Err(Refusal::Audience { found: claims.audience.clone(), expected: audience.clone() });
        }
        if claims.method.as_ref() != Some(method) {
            return Err(Refusal::Method { found: claims.method.clone(), expected: method.clone() });
        }
        Ok(())
    }

    /// Whether the owner of `key` signed it.
    ///
    /// # Errors
    /// [`Refusal::Signature`].
    pub fn verify(&self, key: VerifyingKey) -> Result<(), Refusal> {
        if self.algorithm != key.jwt_algorithm() {
            return Err(Refusal::Signature);
        }
        key.verify_either_s(self.message.as_bytes(), &self.signature).map_err(|_| Refusal::Signature)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::crypto::{P256Key, Secp256k1Key};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);

    fn keys() -> [SigningKey; 2] {
        [
            Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into(),
            P256Key::from_bytes(&[1; 32]).expect("a scalar").into(),
        ]
    }

    fn claims() -> Claims {
        Claims {
            issuer: "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid"),
            audience: "did:web:host.example".parse().expect("valid"),
            expires_at: 1_700_000_060,
            issued_at: Some(1_700_000_000),
            method: Some(method()),
            nonce: Some("0123456789abcdef".to_owned()),
        }
    }

    fn method() -> Nsid {
        "com.atproto.server.createAccount".parse().expect("valid")
    }

    fn host() -> Did {
        "did:web:host.example".parse().expect("valid")
    }

    /// A token with any header and payload, properly signed.
    fn signed(header: &Json, payload: &Json, key: &SigningKey) -> String {
        let message = format!("{}.{}", part(header), part(payload));
        format!("{message}.{}", BASE64URL_NOPAD.encode(&key.sign(message.as_bytes())))
    }

    fn read(edit: impl FnOnce(&mut Json, &mut Json)) -> Result<ServiceToken, Refusal> {
        let mut header = json!({"typ": "JWT", "alg": "ES256K"});
        let mut payload = json!({
            "iss": "did:plc:yk4dd2qkboz2yv6tpubpc6co", "aud": "did:web:host.example", "exp": 1_700_000_060,
            "lxm": "com.atproto.server.createAccount",
        });
        edit(&mut header, &mut payload);
        signed(&header, &payload, &keys()[0]).parse()
    }

    #[test]
    fn says_what_was_signed_on_both_curves() {
        for (key, algorithm) in keys().iter().zip(["ES256K", "ES256"]) {
            let text = claims().sign(key);
            let header = BASE64URL_NOPAD.decode(text.split('.').next().expect("a part").as_bytes()).expect("base 64");
            let header: Json = serde_json::from_slice(&header).expect("JSON");
            assert_eq!(header, json!({"typ": "JWT", "alg": algorithm}));
            let token: ServiceToken = text.parse().expect("own form");
            assert_eq!(token.claims(), &claims());
            assert_eq!(token.check(&host(), &method(), NOW), Ok(()));
            assert_eq!(token.verify(key.public()), Ok(()));
        }
        let [k256, p256] = keys();
        let token: ServiceToken = claims().sign(&k256).parse().expect("own form");
        assert_eq!(token.verify(p256.public()), Err(Refusal::Signature));
        let mut bare = claims();
        (bare.issued_at, bare.method, bare.nonce) = (None, None, None);
        let token: ServiceToken = bare.sign(&k256).parse().expect("own form");
        assert_eq!(token.claims(), &bare);
    }

    #[test]
    fn counts_for_its_audience_method_and_time_alone() {
        let token: ServiceToken = claims().sign(&keys()[0]).parse().expect("own form");
        let other: Did = "did:web:other.example".parse().expect("valid");
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000 + 999);
        assert!(matches!(token.check(&other, &method(), NOW), Err(Refusal::Audience { .. })));
        let another = "com.atproto.server.getSession".parse().expect("valid");
        assert!(matches!(token.check(&host(), &another, NOW), Err(Refusal::Method { found: Some(_), .. })));
        assert_eq!(token.check(&host(), &method(), at(1_700_000_060)), Ok(()));
        assert_eq!(token.check(&host(), &method(), at(1_700_000_061)), Err(Refusal::Expired));
        assert_eq!(token.check(&host(), &method(), at(1_699_000_000)), Err(Refusal::LastsTooLong));
        let any = read(|_, payload| drop(payload.as_object_mut().expect("an object").remove("lxm"))).expect("a token");
        assert!(matches!(any.check(&host(), &method(), NOW), Err(Refusal::Method { found: None, .. })));
        let service = read(|_, payload| payload["aud"] = "did:web:host.example#atproto_pds".into()).expect("a token");
        assert_eq!(service.check(&host(), &method(), NOW), Ok(()));
    }

    #[test]
    fn refuses_by_reason() {
        let refusal = |edit: fn(&mut Json, &mut Json)| read(edit).expect_err("no token");
        assert_eq!(refusal(|header, _| header["alg"] = "none".into()), Refusal::Algorithm);
        assert_eq!(refusal(|header, _| header["alg"] = "HS256".into()), Refusal::Algorithm);
        assert_eq!(refusal(|header, _| header["typ"] = "AT+jwt".into()), Refusal::Type("AT+jwt".to_owned()));
        assert!(matches!(refusal(|header, _| header["crit"] = json!(["exp"])), Refusal::Form(_)));
        assert_eq!(refusal(|_, payload| payload["iss"] = "alice.example".into()), Refusal::Issuer);
        assert_eq!(refusal(|_, payload| payload["iss"] = "did:web:a.example#".into()), Refusal::Issuer);
        assert_eq!(refusal(|_, payload| payload["iss"] = "did:web:a.example#b#c".into()), Refusal::Issuer);
        assert_eq!(refusal(|_, payload| payload["aud"] = "https://a.example".into()), Refusal::InvalidAudience);
        for exp in [json!("1700000060"), json!(-1), json!(1e300), json!(null)] {
            let mut token = Err(Refusal::Expired);
            let _ = read(|_, payload| payload["exp"] = exp.clone()).map_err(|refusal| token = Err::<(), _>(refusal));
            assert!(matches!(token, Err(Refusal::Form(_))), "{exp}: {token:?}");
        }
        assert!(matches!(refusal(|_, payload| payload["lxm"] = "no method".into()), Refusal::Form(_)));
        assert!(read(|_, payload| payload["exp"] = json!(1_700_000_060.25)).is_ok(), "RFC 7519 allows fractions");
        let text = claims().sign(&keys()[0]);
        let (message, _) = text.rsplit_once('.').expect("three parts");
        for broken in ["", "a.b", "a.b.c", &format!("{message}."), &format!("{text}="), &format!("{text}.{text}")] {
            let verdict = broken.parse::<ServiceToken>().and_then(|token| token.verify(keys()[0].public()));
            assert!(matches!(verdict, Err(Refusal::Form(_) | Refusal::Signature)), "{broken}");
        }
        assert_eq!(
            "a".repeat(SERVICE_TOKEN_BYTES_MAX + 1).parse::<ServiceToken>().expect_err("long"),
            Refusal::TooLong
        );
    }

    #[test]
    fn reads_a_token_of_the_reference_implementation() {
        // Made by createServiceJwt of @atproto/xrpc-server with the key whose 32 bytes are all 1.
        let text = include_str!("service_auth/reference.jwt").trim();
        let token: ServiceToken = text.parse().expect("a token");
        assert_eq!(token.claims().issuer.to_string(), "did:plc:yk4dd2qkboz2yv6tpubpc6co");
        assert_eq!(token.verify(keys()[0].public()), Ok(()));
        assert_eq!(token.check(&host(), &method(), NOW), Ok(()));
    }

    proptest! {
        #[test]
        fn one_changed_character_is_noticed(at in 0..300_usize, to in "[A-Za-z0-9_-]") {
            let key = &keys()[0];
            let text = claims().sign(key);
            let at = at % text.len();
            prop_assume!(text[at..=at] != to && &text[at..=at] != ".");
            let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
            prop_assert!(changed.parse::<ServiceToken>().and_then(|token| token.verify(key.public())).is_err());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,90}") {
            let _ = text.parse::<ServiceToken>();
            let _ = text.parse::<ServiceId>();
        }
    }
}
