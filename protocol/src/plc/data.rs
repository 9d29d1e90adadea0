//! What an identity consists of, apart from its history.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::data::Value;
use crate::did_document::{ATPROTO_KEY, ATPROTO_PDS, ATPROTO_PDS_TYPE, DidDocument, DocumentKey, DocumentService};
use crate::ids::{Did, Handle};

/// The state of an identity. Every operation holds all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcData {
    /// Keys that may change the identity, as `did:key`, the most powerful first.
    pub rotation_keys: Vec<Did>,
    /// Keys of services by name, as `did:key`. They have no say over the identity.
    pub verification_methods: BTreeMap<String, Did>,
    /// Other names, the first `at://` one being the handle.
    pub also_known_as: Vec<String>,
    /// Services by name.
    pub services: BTreeMap<String, PlcService>,
}

/// A service of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcService {
    /// Its type.
    pub kind: String,
    /// Its URL.
    pub endpoint: String,
}

impl PlcData {
    /// An AT Protocol account: its rotation keys, its signing key, its handle, and the URL of its host.
    #[must_use]
    pub fn account(rotation_keys: Vec<Did>, signing_key: Did, handle: &Handle, pds: String) -> Self {
        let service = PlcService { kind: ATPROTO_PDS_TYPE.to_owned(), endpoint: pds };
        Self {
            rotation_keys,
            verification_methods: BTreeMap::from([(ATPROTO_KEY.to_owned(), signing_key)]),
            also_known_as: vec![format!("at://{handle}")],
            services: BTreeMap::from([(ATPROTO_PDS.to_owned(), service)]),
        }
    }

    /// The DID document of `did` with this state.
    #[must_use]
    pub fn document(&self, did: Did) -> DidDocument {
        let key = |(fragment, key): (&String, &Did)| DocumentKey { fragment: fragment.clone(), key: key.clone() };
        let service = |(fragment, service): (&String, &PlcService)| DocumentService {
            fragment: fragment.clone(),
            kind: service.kind.clone(),
            endpoint: service.endpoint.clone(),
        };
        DidDocument {
            id: did,
            also_known_as: self.also_known_as.clone(),
            keys: self.verification_methods.iter().map(key).collect(),
            services: self.services.iter().map(service).collect(),
        }
    }

    /// The answer of a directory to `/{did}/data`.
    #[must_use]
    pub fn to_json(&self, did: &Did) -> Json {
        let mut json = Json::Object(self.json_fields());
        json["did"] = did.as_str().into();
        json
    }

    pub(super) fn json_fields(&self) -> serde_json::Map<String, Json> {
        let service = |(name, service): (&String, &PlcService)| {
            (name.clone(), json!({"type": service.kind, "endpoint": service.endpoint}))
        };
        let key = |(name, key): (&String, &Did)| (name.clone(), Json::from(key.as_str()));
        let keys: Vec<&str> = self.rotation_keys.iter().map(Did::as_str).collect();
        serde_json::Map::from_iter([
            ("rotationKeys".to_owned(), keys.into()),
            ("verificationMethods".to_owned(), self.verification_methods.iter().map(key).collect()),
            ("alsoKnownAs".to_owned(), self.also_known_as.clone().into()),
            ("services".to_owned(), self.services.iter().map(service).collect()),
        ])
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (String, Value)> {
        let text = |text: &str| Value::String(text.to_owned());
        let key = |(name, key): (&String, &Did)| (name.clone(), text(key.as_str()));
        let service = |(name, service): (&String, &PlcService)| {
            let fields = [("type", &service.kind), ("endpoint", &service.endpoint)];
            (name.clone(), Value::Map(fields.map(|(field, value)| (field.to_owned(), text(value))).into()))
        };
        let fields = [
            ("rotationKeys", Value::List(self.rotation_keys.iter().map(|key| text(key.as_str())).collect())),
            ("verificationMethods", Value::Map(self.verification_methods.iter().map(key).collect())),
            ("alsoKnownAs", Value::List(self.also_known_as.iter().map(|name| text(name)).collect())),
            ("services", Value::Map(self.services.iter().map(service).collect())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value))
    }
}
