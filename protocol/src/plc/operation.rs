//! One operation: its three forms, its bytes, its signature, its name.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use multibase::Base;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::data::{PlcData, PlcService};
use crate::crypto::{DidKeyError, SigningKey, VerifyingKey, decode_did_key};
use crate::data::{Cid, Codec, InvalidCid, Map, Value, cbor};
use crate::did_document::{ATPROTO_KEY, ATPROTO_PDS, ATPROTO_PDS_TYPE};
use crate::ids::{Did, InvalidDid};
use crate::limits::PLC_OPERATION_BYTES_MAX;

/// What an operation says, apart from its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlcStatement {
    /// `plc_operation`: the identity is this from now on.
    State {
        /// The whole state.
        data: PlcData,
        /// The operation before; `None` for the first.
        prev: Option<Cid>,
    },
    /// `plc_tombstone`: the identity is no more.
    Tombstone {
        /// The operation before.
        prev: Cid,
    },
    /// `create`: the older form of a first operation. Read, never made.
    LegacyCreate {
        /// The signing key, also the less powerful rotation key.
        signing_key: Did,
        /// The more powerful rotation key.
        recovery_key: Did,
        /// The handle, without `at://`.
        handle: String,
        /// The host.
        service: String,
    },
}

/// A signed operation. The signature is checked against the keys of the operation before, by the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcOperation {
    statement: PlcStatement,
    /// As written: it is part of the bytes that the CID names.
    sig: String,
}

/// Why JSON or bytes are no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOperation {
    /// Not of one of the three forms, or with a field that none has.
    #[error("not an operation: {0}")]
    Form(String),
    /// A key is no DID.
    #[error("the key {key}: {reason}")]
    Did {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: InvalidDid,
    },
    /// A rotation key is no key on secp256k1 or P-256.
    #[error("the rotation key {key}: {reason}")]
    RotationKey {
        /// The key.
        key: Did,
        /// What is wrong with it.
        reason: DidKeyError,
    },
    /// A verification method is no `did:key` in base 58.
    #[error("the verification method {0} is no did:key")]
    VerificationMethod(Did),
    /// `prev` is no CID.
    #[error("prev: {0}")]
    Prev(#[from] InvalidCid),
    /// Larger than any directory takes.
    #[error("the operation has more than {PLC_OPERATION_BYTES_MAX} bytes")]
    TooLarge,
    /// Another encoding of an operation than the one its CID names.
    #[error("not the canonical DAG-CBOR of an operation")]
    NotCanonical,
}

/// The operation as JSON and DAG-CBOR have it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Wire {
    #[serde(rename = "plc_operation")]
    State(WireState),
    #[serde(rename = "plc_tombstone")]
    Tombstone(WireTombstone),
    #[serde(rename = "create")]
    LegacyCreate(WireCreate),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireState {
    rotation_keys: Vec<String>,
    verification_methods: BTreeMap<String, String>,
    also_known_as: Vec<String>,
    services: BTreeMap<String, WireService>,
    // Null has to be written: the field is part of the bytes.
    #[serde(deserialize_with = "Option::deserialize")]
    prev: Option<String>,
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireService {
    r#type: String,
    endpoint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTombstone {
    prev: String,
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireCreate {
    signing_key: String,
    recovery_key: String,
    handle: String,
    service: String,
    #[serde(deserialize_with = "Option::deserialize")]
    prev: Option<()>,
    sig: String,
}

impl PlcStatement {
    /// Signs with a rotation key.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> PlcOperation {
        let sig = BASE64URL_NOPAD.encode(&key.sign(&self.bytes(None)));
        PlcOperation { statement: self, sig }
    }

    /// The state it leads to; `None` for a tombstone.
    #[must_use]
    pub fn data(&self) -> Option<PlcData> {
        match self {
            Self::State { data, .. } => Some(data.clone()),
            Self::Tombstone { .. } => None,
            Self::LegacyCreate { signing_key, recovery_key, handle, service } => {
                let service = PlcService { kind: ATPROTO_PDS_TYPE.to_owned(), endpoint: with_scheme(service) };
                Some(PlcData {
                    rotation_keys: vec![recovery_key.clone(), signing_key.clone()],
                    verification_methods: BTreeMap::from([(ATPROTO_KEY.to_owned(), signing_key.clone())]),
                    also_known_as: vec![with_at(handle)],
                    services: BTreeMap::from([(ATPROTO_PDS.to_owned(), service)]),
                })
            }
        }
    }

    /// The operation before.
    #[must_use]
    pub const fn prev(&self) -> Option<Cid> {
        match self {
            Self::State { prev, .. } => *prev,
            Self::Tombstone { prev } => Some(*prev),
            Self::LegacyCreate { .. } => None,
        }
    }

    /// The bytes that are signed, or with the signature those that are named.
    fn bytes(&self, sig: Option<&str>) -> Vec<u8> {
        let text = |text: &str| Value::String(text.to_owned());
        let prev = self.prev().map_or(Value::Null, |prev| Value::String(prev.to_string()));
        let mut map = Map::from([("prev".to_owned(), prev)]);
        let kind = match self {
            Self::State { data, .. } => {
                map.extend(data.fields());
                "plc_operation"
            }
            Self::Tombstone { .. } => "plc_tombstone",
            Self::LegacyCreate { signing_key, recovery_key, handle, service } => {
                map.extend([
                    ("signingKey".to_owned(), text(signing_key.as_str())),
                    ("recoveryKey".to_owned(), text(recovery_key.as_str())),
                    ("handle".to_owned(), text(handle)),
                    ("service".to_owned(), text(service)),
                ]);
                "create"
            }
        };
        map.insert("type".to_owned(), text(kind));
        map.extend(sig.map(|sig| ("sig".to_owned(), text(sig))));
        cbor::encode(&Value::Map(map))
    }
}

fn with_scheme(url: &str) -> String {
    if url.starts_with("http://") || url.starts_with("https://") { url.to_owned() } else { format!("https://{url}") }
}

fn with_at(handle: &str) -> String {
    if handle.starts_with("at://") {
        return handle.to_owned();
    }
    format!("at://{}", handle.replacen("http://", "", 1).replacen("https://", "", 1))
}

impl PlcOperation {
    /// What it says.
    #[must_use]
    pub const fn statement(&self) -> &PlcStatement {
        &self.statement
    }

    /// The canonical bytes, signature included.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.statement.bytes(Some(&self.sig))
    }

    /// The name that the next operation has in `prev`.
    #[must_use]
    pub fn cid(&self) -> Cid {
        Cid::of(Codec::DagCbor, &self.to_bytes())
    }

    /// The DID that this operation creates; `None` when it creates none.
    #[must_use]
    pub fn creates(&self) -> Option<Did> {
        if self.statement.prev().is_some() {
            return None;
        }
        let hash = Base::Base32Lower.encode(self.cid().digest());
        Some(format!("did:plc:{}", &hash[..24]).parse().expect("base 32 is within the DID alphabet"))
    }

    /// Which of `keys` signed this: its place, the first if several did. The signature has one spelling: base64url
    /// without padding, 64 bytes, low `s`.
    #[must_use]
    pub fn signer(&self, keys: &[Did]) -> Option<usize> {
        let signature = BASE64URL_NOPAD.decode(self.sig.as_bytes()).ok()?;
        let message = self.statement.bytes(None);
        keys.iter()
            .position(|key| VerifyingKey::from_did(key).is_ok_and(|key| key.verify(&message, &signature).is_ok()))
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let sig = self.sig.clone();
        let wire = match &self.statement {
            PlcStatement::State { data, prev } => {
                let mut json = Json::Object(data.json_fields());
                json["type"] = "plc_operation".into();
                json["prev"] = prev.map(|prev| prev.to_string()).into();
                json["sig"] = sig.into();
                return json;
            }
            PlcStatement::Tombstone { prev } => Wire::Tombstone(WireTombstone { prev: prev.to_string(), sig }),
            PlcStatement::LegacyCreate { signing_key, recovery_key, handle, service } => {
                Wire::LegacyCreate(WireCreate {
                    signing_key: signing_key.to_string(),
                    recovery_key: recovery_key.to_string(),
                    handle: handle.clone(),
                    service: service.clone(),
                    prev: None,
                    sig,
                })
            }
        };
        serde_json::to_value(wire).expect("text and maps of text are JSON")
    }

    /// Reads the JSON form. Whether a directory may take it is for [`admit`](super::admit).
    ///
    /// # Errors
    /// [`InvalidOperation`], by what is wrong.
    pub fn from_json(json: &Json) -> Result<Self, InvalidOperation> {
        Wire::deserialize(json).map_err(|error| InvalidOperation::Form(error.to_string()))?.parse()
    }

    /// Reads the canonical bytes, which are what [`PlcOperation::to_bytes`] writes and nothing else.
    ///
    /// # Errors
    /// [`InvalidOperation`], by what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidOperation> {
        if bytes.len() > PLC_OPERATION_BYTES_MAX {
            return Err(InvalidOperation::TooLarge);
        }
        let wire: Wire = serde_ipld_dagcbor::from_slice(bytes)
            .map_err(|error| InvalidOperation::Form(crate::data::misfit(&error)))?;
        let operation = wire.parse()?;
        if operation.to_bytes() == bytes { Ok(operation) } else { Err(InvalidOperation::NotCanonical) }
    }
}

impl Wire {
    fn parse(self) -> Result<PlcOperation, InvalidOperation> {
        let (statement, sig) = match self {
            Self::State(state) => state.parse()?,
            Self::Tombstone(WireTombstone { prev, sig }) => (PlcStatement::Tombstone { prev: prev.parse()? }, sig),
            Self::LegacyCreate(WireCreate { signing_key, recovery_key, handle, service, sig, prev: _ }) => {
                let (signing_key, recovery_key) = (rotation_key(&signing_key)?, rotation_key(&recovery_key)?);
                (PlcStatement::LegacyCreate { signing_key, recovery_key, handle, service }, sig)
            }
        };
        let operation = PlcOperation { statement, sig };
        if operation.to_bytes().len() > PLC_OPERATION_BYTES_MAX {
            return Err(InvalidOperation::TooLarge);
        }
        Ok(operation)
    }
}

impl WireState {
    fn parse(self) -> Result<(PlcStatement, String), InvalidOperation> {
        let service = |(name, service): (String, WireService)| {
            (name, PlcService { kind: service.r#type, endpoint: service.endpoint })
        };
        let method = |(name, key): (String, String)| Ok((name, verification_method(&key)?));
        let data = PlcData {
            rotation_keys: self.rotation_keys.iter().map(|key| rotation_key(key)).collect::<Result<_, _>>()?,
            verification_methods: self
                .verification_methods
                .into_iter()
                .map(method)
                .collect::<Result<_, InvalidOperation>>()?,
            also_known_as: self.also_known_as,
            services: self.services.into_iter().map(service).collect(),
        };
        let prev = self.prev.map(|prev| prev.parse()).transpose()?;
        Ok((PlcStatement::State { data, prev }, self.sig))
    }
}

fn did(text: &str) -> Result<Did, InvalidOperation> {
    text.parse().map_err(|reason| InvalidOperation::Did { key: text.to_owned(), reason })
}

fn rotation_key(text: &str) -> Result<Did, InvalidOperation> {
    let key = did(text)?;
    match VerifyingKey::from_did(&key) {
        Ok(_) => Ok(key),
        Err(reason) => Err(InvalidOperation::RotationKey { key, reason }),
    }
}

/// A key of any curve: the directory passes on what it does not know.
fn verification_method(text: &str) -> Result<Did, InvalidOperation> {
    let key = did(text)?;
    match decode_did_key(&key) {
        Ok(_) | Err(DidKeyError::Curve) => Ok(key),
        Err(_) => Err(InvalidOperation::VerificationMethod(key)),
    }
}
