//! The signature over a request that brings a token: an HTTP message signature (RFC 9421) of the key that the token is
//! bound to, over the `Authorization` header and, with a credential, over whom it is presented to.
//!
//! It keeps a host that is shown a credential from showing it to others: the audience is signed. It covers neither
//! method nor path, so one signature serves all requests to one audience while the credential lasts. Of the draft's own
//! choice there is one form: the components in one order, ECDSA on P-256, the label `atproto-space`. Signatures under
//! other labels are somebody else's and are passed over.

use sfv::{Dictionary, InnerList, ListEntry, ListSerializer, Parser};

use super::token::is_p256;
use crate::crypto::{P256Key, SigningKey, VerifyingKey};
use crate::ids::Did;
use crate::limits::{SIGNATURE_HEADER_BYTES_MAX, SPACE_TOKEN_BYTES_MAX};

const LABEL: &str = "atproto-space";
const ALGORITHM: &str = "ecdsa-p256-sha256";
const AUTHORIZATION: &str = "authorization";
const AUDIENCE: &str = super::AUDIENCE_HEADER;

/// The headers of a request that count here, each with all its values in their order.
#[derive(Clone, Debug, Default)]
pub struct SignedHeaders<'a> {
    /// `Authorization`.
    pub authorization: Vec<&'a str>,
    /// `Atproto-Space-Audience`.
    pub audience: Vec<&'a str>,
    /// `Signature-Input`.
    pub signature_input: Vec<&'a str>,
    /// `Signature`.
    pub signature: Vec<&'a str>,
}

/// What a signed request carries besides its `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The value of `Signature-Input`.
    pub input: String,
    /// The value of `Signature`.
    pub signature: String,
}

/// Why the signature of a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// A header is missing, too long, or occurs more than once.
    #[error("the request needs exactly one {0} header")]
    Header(&'static str),
    /// There is no signature under the label, or it is not of its form.
    #[error("the request has no signature {LABEL} of the right form")]
    Form,
    /// It covers other components, or in another order.
    #[error("the signature covers other headers than it has to")]
    Components,
    /// It names another algorithm.
    #[error("the algorithm of the signature is not {ALGORITHM}")]
    Algorithm,
    /// The key is no `did:key` on P-256.
    #[error("the key of the signature is no did:key on P-256")]
    Key,
    /// It names another key than the token is bound to.
    #[error("the signature names another key than the credential is bound to")]
    OtherKey,
    /// It does not fit.
    #[error("the signature is not that of the key over these headers")]
    Signature,
}

/// Signs a request. Without an audience it is one for a credential, which will be bound to this key.
#[must_use]
pub fn sign(key: P256Key, authorization: &str, audience: Option<&Did>) -> Signature {
    let key = SigningKey::from(key);
    let input = match audience {
        None => format!("(\"{AUTHORIZATION}\");keyid=\"{}\"", key.did()),
        Some(_) => format!("(\"{AUTHORIZATION}\" \"{AUDIENCE}\")"),
    };
    let signature = key.sign(base(authorization, audience.map(Did::as_str), &input).as_bytes());
    let signature = data_encoding::BASE64.encode(&signature);
    Signature { input: format!("{LABEL}={input}"), signature: format!("{LABEL}=:{signature}:") }
}

/// Verifies the signature of a request that asks for a credential; answers the key that it names.
///
/// # Errors
/// [`RequestRefusal`], by what is wrong.
pub fn verify_exchange(headers: &SignedHeaders<'_>) -> Result<Did, RequestRefusal> {
    verify(headers, None)
}

/// Verifies the signature of a request that brings a credential bound to `key`; answers whom it is presented to, as the
/// request says. Whether that is right is for the caller.
///
/// # Errors
/// [`RequestRefusal`], by what is wrong.
pub fn verify_presentation<'a>(headers: &SignedHeaders<'a>, key: &Did) -> Result<&'a str, RequestRefusal> {
    let audience = one(&headers.audience, "Atproto-Space-Audience")?;
    verify(headers, Some((key, audience)))?;
    Ok(audience)
}

fn verify(headers: &SignedHeaders<'_>, bound: Option<(&Did, &str)>) -> Result<Did, RequestRefusal> {
    let authorization = one(&headers.authorization, "Authorization")?;
    let input = joined(&headers.signature_input, "Signature-Input")?;
    let signature = joined(&headers.signature, "Signature")?;
    let (input, signature) = (dictionary(&input)?, dictionary(&signature)?);
    let Some(ListEntry::InnerList(input)) = input.get(LABEL) else { return Err(RequestRefusal::Form) };
    let Some(ListEntry::Item(signature)) = signature.get(LABEL) else { return Err(RequestRefusal::Form) };
    let bytes = signature.bare_item.as_byte_sequence().filter(|_| signature.params.is_empty());
    let bytes = bytes.ok_or(RequestRefusal::Form)?;

    let expected: &[&str] = if bound.is_some() { &[AUTHORIZATION, AUDIENCE] } else { &[AUTHORIZATION] };
    let covered = input
        .items
        .iter()
        .map(|item| item.bare_item.as_string().filter(|_| item.params.is_empty()).map(sfv::StringRef::as_str));
    if !covered.eq(expected.iter().copied().map(Some)) {
        return Err(RequestRefusal::Components);
    }
    let parameter = |name: &str| {
        input.params.get(name).map(|value| value.as_string().map(sfv::StringRef::as_str).ok_or(RequestRefusal::Form))
    };
    if parameter("alg").transpose()?.is_some_and(|algorithm| algorithm != ALGORITHM) {
        return Err(RequestRefusal::Algorithm);
    }
    let named = parameter("keyid").transpose()?;
    let key = match bound {
        Some((key, _)) if named.is_some_and(|named| named != key.as_str()) => return Err(RequestRefusal::OtherKey),
        Some((key, _)) => key.clone(),
        None => named.and_then(|named| named.parse().ok()).ok_or(RequestRefusal::Key)?,
    };
    if !is_p256(&key) {
        return Err(RequestRefusal::Key);
    }
    let base = base(authorization, bound.map(|(_, audience)| audience), &serialized(input)?);
    let public = VerifyingKey::from_did(&key).map_err(|_| RequestRefusal::Key)?;
    public.verify_either_s(base.as_bytes(), bytes).map_err(|_| RequestRefusal::Signature)?;
    Ok(key)
}

/// What is signed (RFC 9421, section 2.5).
fn base(authorization: &str, audience: Option<&str>, input: &str) -> String {
    let mut base = format!("\"{AUTHORIZATION}\": {}\n", authorization.trim());
    if let Some(audience) = audience {
        base.push_str(&format!("\"{AUDIENCE}\": {}\n", audience.trim()));
    }
    base.push_str(&format!("\"@signature-params\": {input}"));
    base
}

fn one<'a>(values: &[&'a str], name: &'static str) -> Result<&'a str, RequestRefusal> {
    match values {
        [value] if !value.is_empty() && value.len() <= SPACE_TOKEN_BYTES_MAX + 64 => Ok(value),
        _ => Err(RequestRefusal::Header(name)),
    }
}

/// A header that is a list may come in several lines, which count as one.
fn joined(values: &[&str], name: &'static str) -> Result<String, RequestRefusal> {
    let bytes: usize = values.iter().map(|value| value.len() + 2).sum();
    if bytes == 0 || bytes > SIGNATURE_HEADER_BYTES_MAX {
        return Err(RequestRefusal::Header(name));
    }
    Ok(values.join(", "))
}

fn dictionary(text: &str) -> Result<Dictionary, RequestRefusal> {
    Parser::new(text).parse().map_err(|_| RequestRefusal::Form)
}

fn serialized(list: &InnerList) -> Result<String, RequestRefusal> {
    let mut serializer = ListSerializer::new();
    serializer.members([&ListEntry::InnerList(list.clone())]);
    serializer.finish().ok_or(RequestRefusal::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> P256Key {
        P256Key::from_bytes(&[n; 32]).expect("a scalar")
    }

    fn did(n: u8) -> Did {
        SigningKey::from(key(n)).did()
    }

    fn bob() -> Did {
        "did:web:bob.example".parse().expect("a DID")
    }

    const TOKEN: &str = "Atproto-Space header.payload.signature";

    fn presented<'a>(signature: &'a Signature, audience: &'a str) -> SignedHeaders<'a> {
        SignedHeaders {
            authorization: vec![TOKEN],
            audience: vec![audience],
            signature_input: vec![&signature.input],
            signature: vec![&signature.signature],
        }
    }

    #[test]
    fn a_request_for_a_credential_names_its_key() {
        let signature = sign(key(1), "Bearer token", None);
        assert_eq!(signature.input, format!("atproto-space=(\"authorization\");keyid=\"{}\"", did(1)));
        let mut headers = SignedHeaders {
            authorization: vec!["Bearer token"],
            audience: Vec::new(),
            signature_input: vec![&signature.input],
            signature: vec![&signature.signature],
        };
        assert_eq!(verify_exchange(&headers), Ok(did(1)));
        headers.authorization = vec!["Bearer other"];
        assert_eq!(verify_exchange(&headers), Err(RequestRefusal::Signature));
        headers.authorization = vec!["Bearer token", "Bearer token"];
        assert_eq!(verify_exchange(&headers), Err(RequestRefusal::Header("Authorization")));
        let other = signature.input.replace(did(1).as_str(), did(2).as_str());
        headers.authorization = vec!["Bearer token"];
        headers.signature_input = vec![&other];
        assert_eq!(verify_exchange(&headers), Err(RequestRefusal::Signature));
    }

    #[test]
    fn a_presented_credential_counts_for_its_key_and_audience_alone() {
        let signature = sign(key(1), TOKEN, Some(&bob()));
        assert_eq!(signature.input, "atproto-space=(\"authorization\" \"atproto-space-audience\")");
        let headers = presented(&signature, "did:web:bob.example");
        assert_eq!(verify_presentation(&headers, &did(1)), Ok("did:web:bob.example"));
        // One signature serves any number of requests to the audience.
        assert_eq!(verify_presentation(&headers, &did(1)), Ok("did:web:bob.example"));
        assert_eq!(verify_presentation(&headers, &did(2)), Err(RequestRefusal::Signature));
        let elsewhere = presented(&signature, "did:web:eve.example");
        assert_eq!(verify_presentation(&elsewhere, &did(1)), Err(RequestRefusal::Signature));
        let exchange = sign(key(1), TOKEN, None);
        let headers = presented(&exchange, "did:web:bob.example");
        assert_eq!(verify_presentation(&headers, &did(1)), Err(RequestRefusal::Components));
    }

    #[test]
    fn signatures_of_others_are_passed_over_and_repeated_headers_of_ours_are_not() {
        let signature = sign(key(1), TOKEN, Some(&bob()));
        let mut headers = presented(&signature, "did:web:bob.example");
        headers.signature_input.push("other=(\"@method\");keyid=\"x\"");
        headers.signature.push("other=:YWJj:");
        assert!(verify_presentation(&headers, &did(1)).is_ok());
        let mut twice = headers.clone();
        twice.audience.push("did:web:bob.example");
        let refused = Err(RequestRefusal::Header("Atproto-Space-Audience"));
        assert_eq!(verify_presentation(&twice, &did(1)), refused);
        let mut none = headers.clone();
        none.signature.clear();
        assert_eq!(verify_presentation(&none, &did(1)), Err(RequestRefusal::Header("Signature")));
        let mut other = headers;
        other.signature = vec!["other=:YWJj:"];
        assert_eq!(verify_presentation(&other, &did(1)), Err(RequestRefusal::Form));
    }

    #[test]
    fn parameters_are_signed_and_the_wrong_ones_refused() {
        let bound = did(1);
        let signed = |input: &str| {
            let bytes = SigningKey::from(key(1)).sign(base(TOKEN, Some("did:web:bob.example"), input).as_bytes());
            let signature = data_encoding::BASE64.encode(&bytes);
            Signature { input: format!("{LABEL}={input}"), signature: format!("{LABEL}=:{signature}:") }
        };
        let verify = |signature: &Signature| {
            verify_presentation(&presented(signature, "did:web:bob.example"), &bound).map(|_| ())
        };
        let covered = "(\"authorization\" \"atproto-space-audience\")";
        assert_eq!(verify(&signed(&format!("{covered};created=1;alg=\"ecdsa-p256-sha256\""))), Ok(()));
        assert_eq!(verify(&signed(&format!("{covered};keyid=\"{bound}\""))), Ok(()));
        let other = signed(&format!("{covered};keyid=\"{}\"", did(2)));
        assert_eq!(verify(&other), Err(RequestRefusal::OtherKey));
        assert_eq!(verify(&signed(&format!("{covered};alg=\"hmac-sha256\""))), Err(RequestRefusal::Algorithm));
        let turned = signed("(\"atproto-space-audience\" \"authorization\")");
        assert_eq!(verify(&turned), Err(RequestRefusal::Components));
        let sf = signed("(\"authorization\";sf \"atproto-space-audience\")");
        assert_eq!(verify(&sf), Err(RequestRefusal::Components));
        let mut der = signed(covered);
        der.signature = format!("{LABEL}=:{}:", data_encoding::BASE64.encode(&[0x30; 70]));
        assert_eq!(verify(&der), Err(RequestRefusal::Signature));
        let mut unfinished = signed(covered);
        unfinished.input.push(';');
        assert_eq!(verify(&unfinished), Err(RequestRefusal::Form));
    }
}
