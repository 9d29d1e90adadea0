//! DID documents: written in today's form, read in today's and the older one (W3C "Decentralized Identifiers", AT
//! Protocol "DID", section "Representing Key Material").
//!
//! What a document claims is not checked here: whether it is the document of its DID is for whoever fetched it, and a
//! handle counts only when it leads back to the DID.

use multibase::Base;
use serde_json::{Value as Json, json};

use crate::crypto::{KeyKind, VerifyingKey, decode_did_key};
use crate::ids::{Did, Handle, InvalidDid};
use crate::limits::DID_DOCUMENT_ENTRIES_MAX;

/// The fragment of an account's signing key.
pub const ATPROTO_KEY: &str = "atproto";

/// The fragment of an account's host.
pub const ATPROTO_PDS: &str = "atproto_pds";

/// The type of an account's host.
pub const ATPROTO_PDS_TYPE: &str = "AtprotoPersonalDataServer";

/// What a DID document says, as far as it is used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    /// Whose document it is.
    pub id: Did,
    /// Other names, handles among them as `at://` URIs.
    pub also_known_as: Vec<String>,
    /// Keys.
    pub keys: Vec<DocumentKey>,
    /// Services.
    pub services: Vec<DocumentService>,
}

/// A key of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentKey {
    /// What follows `#` in its id.
    pub fragment: String,
    /// The key, as `did:key`.
    pub key: Did,
}

/// A service of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentService {
    /// What follows `#` in its id.
    pub fragment: String,
    /// Its type.
    pub kind: String,
    /// Its URL.
    pub endpoint: String,
}

/// Why JSON is no DID document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDidDocument {
    /// No `id` of text.
    #[error("a DID document has an id")]
    NoId,
    /// The `id` is no DID.
    #[error("the id of the DID document: {0}")]
    Id(#[from] InvalidDid),
    /// More names, keys or services than [`DID_DOCUMENT_ENTRIES_MAX`].
    #[error("a DID document has at most {DID_DOCUMENT_ENTRIES_MAX} names, keys and services each")]
    TooManyEntries,
}

impl DidDocument {
    /// Reads a document. Keys and services of unknown form are passed over.
    ///
    /// # Errors
    /// [`InvalidDidDocument`], by what is wrong.
    pub fn from_json(json: &Json) -> Result<Self, InvalidDidDocument> {
        let id: Did = json["id"].as_str().ok_or(InvalidDidDocument::NoId)?.parse()?;
        let also_known_as = entries(&json["alsoKnownAs"])?.iter().filter_map(Json::as_str).map(str::to_owned).collect();
        let keys = entries(&json["verificationMethod"])?.iter().filter_map(|entry| read_key(&id, entry)).collect();
        let services = entries(&json["service"])?.iter().filter_map(|entry| read_service(&id, entry)).collect();
        Ok(Self { id, also_known_as, keys, services })
    }

    /// The document as JSON, keys in the form `Multikey`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut context = vec!["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];
        for key in &self.keys {
            let suite = match decode_did_key(&key.key) {
                Ok((KeyKind::Secp256k1, _)) => "https://w3id.org/security/suites/secp256k1-2019/v1",
                Ok((KeyKind::P256, _)) => "https://w3id.org/security/suites/ecdsa-2019/v1",
                _ => continue,
            };
            if !context.contains(&suite) {
                context.push(suite);
            }
        }
        let key = |DocumentKey { fragment, key }: &DocumentKey| {
            json!({
                "id": format!("{}#{fragment}", self.id),
                "type": "Multikey",
                "controller": self.id.as_str(),
                "publicKeyMultibase": key.identifier(),
            })
        };
        let service = |DocumentService { fragment, kind, endpoint }: &DocumentService| json!({"id": format!("#{fragment}"), "type": kind, "serviceEndpoint": endpoint});
        json!({
            "@context": context,
            "id": self.id.as_str(),
            "alsoKnownAs": self.also_known_as,
            "verificationMethod": self.keys.iter().map(key).collect::<Vec<_>>(),
            "service": self.services.iter().map(service).collect::<Vec<_>>(),
        })
    }

    /// The key that signs the account's commits: the first one called `atproto`.
    #[must_use]
    pub fn signing_key(&self) -> Option<VerifyingKey> {
        let key = self.keys.iter().find(|key| key.fragment == ATPROTO_KEY)?;
        VerifyingKey::from_did(&key.key).ok()
    }

    /// The URL of the account's host, without a path: the first service called `atproto_pds` of the right type.
    #[must_use]
    pub fn pds(&self) -> Option<&str> {
        let is_pds = |service: &&DocumentService| service.fragment == ATPROTO_PDS && service.kind == ATPROTO_PDS_TYPE;
        let endpoint = self.services.iter().find(is_pds)?.endpoint.as_str();
        is_origin(endpoint).then_some(endpoint)
    }

    /// The handle that the document claims: the first `at://` URI that is one.
    #[must_use]
    pub fn claimed_handle(&self) -> Option<Handle> {
        self.also_known_as.iter().filter_map(|name| name.strip_prefix("at://")).find_map(|name| name.parse().ok())
    }
}

fn entries(json: &Json) -> Result<&[Json], InvalidDidDocument> {
    let entries = json.as_array().map_or(&[][..], Vec::as_slice);
    if entries.len() > DID_DOCUMENT_ENTRIES_MAX { Err(InvalidDidDocument::TooManyEntries) } else { Ok(entries) }
}

/// What follows `#` in the id of an entry, which is relative or starts with the DID of the document.
fn fragment(did: &Did, entry: &Json) -> Option<String> {
    let (base, fragment) = entry["id"].as_str()?.split_once('#')?;
    (base.is_empty() || base == did.as_str()).then(|| fragment.to_owned())
}

fn read_key(did: &Did, entry: &Json) -> Option<DocumentKey> {
    let fragment = fragment(did, entry)?;
    if entry["controller"].as_str()? != did.as_str() {
        return None;
    }
    let text = entry["publicKeyMultibase"].as_str()?;
    let older = |kind: KeyKind| {
        let (base, point) = multibase::decode(text).ok()?;
        let key = VerifyingKey::from_sec1(kind, &point).ok()?;
        (base == Base::Base58Btc).then(|| key.did())
    };
    let key = match entry["type"].as_str()? {
        "Multikey" => format!("did:key:{text}").parse().ok().filter(|key| decode_did_key(key).is_ok())?,
        "EcdsaSecp256k1VerificationKey2019" => older(KeyKind::Secp256k1)?,
        "EcdsaSecp256r1VerificationKey2019" => older(KeyKind::P256)?,
        _ => return None,
    };
    Some(DocumentKey { fragment, key })
}

fn read_service(did: &Did, entry: &Json) -> Option<DocumentService> {
    let fragment = fragment(did, entry)?;
    let text = |field: &str| entry[field].as_str().map(str::to_owned);
    Some(DocumentService { fragment, kind: text("type")?, endpoint: text("serviceEndpoint")? })
}

/// Whether `url` is a scheme, a host and perhaps a port, with nothing behind.
fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(authority) = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else { return false };
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    is_host && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::{P256Key, Secp256k1Key, SigningKey};
    use crate::interop;

    fn document() -> DidDocument {
        let key = SigningKey::from(Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar"));
        let service = |fragment: &str, kind: &str, endpoint: &str| DocumentService {
            fragment: fragment.into(),
            kind: kind.into(),
            endpoint: endpoint.into(),
        };
        DidDocument {
            id: "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid"),
            also_known_as: vec!["https://a.example".into(), "at://Alice.example".into(), "at://other.example".into()],
            keys: vec![DocumentKey { fragment: "atproto".into(), key: key.did() }],
            services: vec![
                service("other", "Other", "https://other.example"),
                service("atproto_pds", "AtprotoPersonalDataServer", "https://pds.example"),
            ],
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let document = document();
        assert_eq!(DidDocument::from_json(&document.to_json()), Ok(document.clone()));
        assert_eq!(document.pds(), Some("https://pds.example"));
        assert_eq!(document.claimed_handle(), Some("alice.example".parse().expect("valid")));
        assert_eq!(document.signing_key().map(VerifyingKey::did), Some(document.keys[0].key.clone()));
    }

    #[test]
    fn is_written_as_the_directory_writes_it() {
        let DidDocument { id, keys, .. } = document();
        let expected = json!({
            "@context": [
                "https://www.w3.org/ns/did/v1",
                "https://w3id.org/security/multikey/v1",
                "https://w3id.org/security/suites/secp256k1-2019/v1",
            ],
            "id": id.as_str(),
            "alsoKnownAs": ["https://a.example", "at://Alice.example", "at://other.example"],
            "verificationMethod": [{
                "id": format!("{id}#atproto"),
                "type": "Multikey",
                "controller": id.as_str(),
                "publicKeyMultibase": keys[0].key.identifier(),
            }],
            "service": [
                {"id": "#other", "type": "Other", "serviceEndpoint": "https://other.example"},
                {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example"},
            ],
        });
        assert_eq!(document().to_json(), expected);
    }

    #[test]
    fn the_older_form_of_keys_is_read() {
        let keys = [
            (
                "EcdsaSecp256k1VerificationKey2019",
                SigningKey::from(Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar")),
            ),
            ("EcdsaSecp256r1VerificationKey2019", SigningKey::from(P256Key::from_bytes(&[1; 32]).expect("a scalar"))),
        ];
        for (kind, key) in keys {
            let mut json = document().to_json();
            let text = multibase::encode(Base::Base58Btc, key.public().to_bytes());
            json["verificationMethod"][0]["id"] = "#atproto".into();
            json["verificationMethod"][0]["type"] = kind.into();
            json["verificationMethod"][0]["publicKeyMultibase"] = text.into();
            let document = DidDocument::from_json(&json).expect("valid");
            assert_eq!(document.signing_key(), Some(key.public()), "{kind}");
        }
        // Published pairs of both forms, the older one uncompressed.
        for case in interop::json("crypto/signature-fixtures.json") {
            let mut json = document().to_json();
            json["verificationMethod"][0]["type"] = case["didDocSuite"].clone();
            json["verificationMethod"][0]["publicKeyMultibase"] = case["publicKeyMultibase"].clone();
            let document = DidDocument::from_json(&json).expect("valid");
            assert_eq!(document.keys[0].key.as_str(), case["publicKeyDid"], "{}", case["comment"]);
        }
    }

    #[test]
    fn what_is_not_the_accounts_is_passed_over() {
        let read = |edit: &dyn Fn(&mut Json)| {
            let mut json = document().to_json();
            edit(&mut json);
            DidDocument::from_json(&json)
        };
        let key = |field: &'static str, value: &'static str| {
            let edited = read(&|json| json["verificationMethod"][0][field] = value.into());
            edited.expect("still a document").signing_key()
        };
        assert_eq!(key("id", "did:plc:other#atproto"), None);
        assert_eq!(key("controller", "did:plc:other"), None);
        assert_eq!(key("type", "JsonWebKey2020"), None);
        assert_eq!(key("publicKeyMultibase", "z123"), None);
        assert_eq!(key("id", "#other"), None);
        for endpoint in ["ftp://a.example", "https://", "https://a.example/path", "https://u@a.example", "https://a:x"]
        {
            let edited = read(&|json| json["service"][1]["serviceEndpoint"] = endpoint.into());
            assert_eq!(edited.expect("still a document").pds(), None, "{endpoint}");
        }
        for endpoint in ["http://localhost:2583", "https://a.example/"] {
            let edited = read(&|json| json["service"][1]["serviceEndpoint"] = endpoint.into());
            assert_eq!(edited.expect("still a document").pds(), Some(endpoint));
        }
        assert_eq!(read(&|json| json["id"] = Json::Null), Err(InvalidDidDocument::NoId));
        assert_eq!(read(&|json| json["id"] = "x".into()), Err(InvalidDidDocument::Id(InvalidDid::Form)));
        let many = vec![json!("at://a.example"); DID_DOCUMENT_ENTRIES_MAX + 1];
        assert_eq!(read(&|json| json["alsoKnownAs"] = many.clone().into()), Err(InvalidDidDocument::TooManyEntries));
        assert!(read(&|json| json["service"] = Json::Null).is_ok());
    }

    proptest! {
        #[test]
        fn no_json_panics(
            id in "(did:plc:yk4d)?#?(atproto|atproto_pds|\\PC{0,8})",
            kind in "Multikey|EcdsaSecp256(k|r)1VerificationKey2019|AtprotoPersonalDataServer|\\PC{0,8}",
            value in "z[1-9A-HJ-NP-Za-km-z]{0,60}|https?://\\PC{0,20}|\\PC{0,20}",
        ) {
            let entry = json!({
                "id": id, "type": kind, "controller": "did:plc:yk4d", "publicKeyMultibase": value, "serviceEndpoint": value,
            });
            let json = json!({
                "id": "did:plc:yk4d", "alsoKnownAs": [value, id], "verificationMethod": [entry, value], "service": [entry, 1],
            });
            let document = DidDocument::from_json(&json).expect("it has an id");
            let _ = (document.signing_key(), document.pds(), document.claimed_handle());
            prop_assert_eq!(DidDocument::from_json(&document.to_json()), Ok(document));
        }
    }
}
