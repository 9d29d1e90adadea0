//! Lexicons of others: found by the domain of their name, fetched from the repository that the domain names, believed
//! because that account signed them, and kept for a while (AT Protocol "Lexicon", publication and resolution).
//!
//! A document is as good as its references, so those are fetched too, up to a bound. What this node ships is never asked
//! of others.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::data::{self, Cid, Codec, Value, cbor};
use angel_protocol::ids::{AtUri, Did, Nsid, RepoPath};
use angel_protocol::lexicon::flags::Constraints;
use angel_protocol::lexicon::{Catalog, Document, DocumentError, Schemas};
use angel_protocol::limits::LEXICON_DOCUMENT_BYTES_MAX;
use moka::future::Cache;
use serde_json::Value as Json;

use crate::resolver::{RecordError, ResolveError, Resolver};

/// The collection in which lexicons are published.
pub(crate) const SCHEMA: &str = "com.atproto.lexicon.schema";

/// Documents of others that are kept: some 10 MB when all are as long as the usual ones.
const KEPT_MAX: u64 = 1_000;

/// How long what was found counts; a "no" too, so that a client cannot make us ask again and again.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// Documents that one document may need, itself included: each costs a question to a stranger.
const CLOSURE_MAX: usize = 16;

/// Lexicons. Cheap to clone.
#[derive(Clone)]
pub struct Lexicons {
    resolver: Resolver,
    found: Cache<Nsid, Result<Arc<Published>, Arc<LexiconError>>>,
    compiled: Cache<Nsid, Result<Arc<Schemas>, Arc<LexiconError>>>,
}

impl std::fmt::Debug for Lexicons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lexicons")
    }
}

/// A lexicon as its authority published it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Where.
    pub uri: AtUri,
    /// Which version.
    pub cid: Cid,
    /// The record, with its `$type`.
    pub record: Json,
    /// What it says.
    pub document: Document,
}

/// Why a lexicon is not known.
#[derive(Debug, thiserror::Error)]
pub enum LexiconError {
    /// The domain of its name names nobody.
    #[error("nobody publishes {0}: the domain of its name names no account")]
    NoAuthority(Nsid),
    /// The account has none of that name.
    #[error("{authority} publishes no {nsid}")]
    NotPublished {
        /// Who would.
        authority: Did,
        /// Which.
        nsid: Nsid,
    },
    /// What is published is no lexicon of that name.
    #[error("what is published as {nsid} is none: {why}")]
    Document {
        /// Which.
        nsid: Nsid,
        /// What is wrong.
        why: String,
    },
    /// It needs more others than are fetched.
    #[error("{0} needs more than {CLOSURE_MAX} documents")]
    TooMany(Nsid),
    /// The domain name system.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Lexicons {
    /// With nothing known but what this node ships.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        let found = Cache::builder().max_capacity(KEPT_MAX).time_to_live(KEPT_FOR).build();
        let compiled = Cache::builder().max_capacity(KEPT_MAX / 4).time_to_live(KEPT_FOR).build();
        Self { resolver, found, compiled }
    }

    /// A lexicon as its authority publishes it, perhaps an hour ago. However many ask at once, one goes and looks.
    ///
    /// # Errors
    /// [`LexiconError`].
    pub async fn published(&self, nsid: &Nsid) -> Result<Arc<Published>, Arc<LexiconError>> {
        // On the heap: looking something up at strangers is large, and rare.
        let look = Box::pin(async { self.look_up(nsid).await.map(Arc::new).map_err(Arc::new) });
        self.found.get_with(nsid.clone(), look).await
    }

    /// The schemas by which records of a foreign collection are judged.
    ///
    /// # Errors
    /// [`LexiconError`]: it, or one that it refers to, is not known.
    pub async fn schemas(&self, collection: &Nsid) -> Result<Arc<Schemas>, Arc<LexiconError>> {
        let compile = Box::pin(async { self.compile(collection).await.map(Arc::new) });
        self.compiled.get_with(collection.clone(), compile).await
    }

    async fn look_up(&self, nsid: &Nsid) -> Result<Published, LexiconError> {
        let authority = self.resolver.lexicon_authority(nsid).await?;
        let authority = authority.ok_or_else(|| LexiconError::NoAuthority(nsid.clone()))?;
        let path: RepoPath = format!("{SCHEMA}/{nsid}").parse().expect("an NSID is a record key");
        let record = self.resolver.record(&authority, &path).await?;
        let not_there = || LexiconError::NotPublished { authority: authority.clone(), nsid: nsid.clone() };
        let record = record.ok_or_else(not_there)?;
        let cid = Cid::of(Codec::DagCbor, &cbor::encode(&record));
        let document = document(nsid, &record)?;
        Ok(Published { uri: AtUri::record(authority, path), cid, record: data::to_json(&record), document })
    }

    async fn compile(&self, collection: &Nsid) -> Result<Schemas, Arc<LexiconError>> {
        let mut catalog = Catalog::builtin().clone();
        let mut wanted = VecDeque::from([collection.clone()]);
        let mut asked = BTreeSet::from([collection.clone()]);
        while let Some(nsid) = wanted.pop_front() {
            if asked.len() > CLOSURE_MAX {
                return Err(Arc::new(LexiconError::TooMany(collection.clone())));
            }
            let published = self.published(&nsid).await?;
            for needed in references(&published.record) {
                if catalog.get(needed.as_str()).is_none() && asked.insert(needed.clone()) {
                    wanted.push_back(needed);
                }
            }
            catalog.replace(published.document.clone());
        }
        Ok(Schemas::compile(&catalog, &Constraints::default()))
    }
}

/// The document in a schema record. It must be the one that its name says.
fn document(nsid: &Nsid, record: &Value) -> Result<Document, LexiconError> {
    let wrong = |why: String| LexiconError::Document { nsid: nsid.clone(), why };
    let mut json = data::to_json(record);
    if let Json::Object(map) = &mut json {
        map.remove("$type");
    }
    let bytes = serde_json::to_vec(&json).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > LEXICON_DOCUMENT_BYTES_MAX {
        return Err(wrong("it is too large".to_owned()));
    }
    let document = Document::parse(&bytes).map_err(|error: DocumentError| wrong(error.to_string()))?;
    if *document.id == *nsid.as_str() { Ok(document) } else { Err(wrong(format!("it calls itself {}", document.id))) }
}

/// The names of the documents to which a document refers.
fn references(document: &Json) -> BTreeSet<Nsid> {
    fn look(value: &Json, found: &mut BTreeSet<Nsid>) {
        match value {
            Json::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("ref", Json::String(reference)) => found.extend(name_of(reference)),
                        ("refs", Json::Array(list)) => {
                            found.extend(list.iter().filter_map(Json::as_str).filter_map(name_of));
                        }
                        _ => look(value, found),
                    }
                }
            }
            Json::Array(list) => list.iter().for_each(|value| look(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    look(document, &mut found);
    found
}

/// The document of a reference, unless it is the one that refers.
fn name_of(reference: &str) -> Option<Nsid> {
    reference.split('#').next().filter(|name| !name.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_the_one_that_its_name_says() {
        let nsid: Nsid = "com.example.note".parse().expect("valid");
        let record = |id: &str| {
            let json = json!({
                "$type": SCHEMA, "lexicon": 1, "id": id,
                "defs": { "main": { "type": "record", "key": "tid", "record": { "type": "object", "properties": {} } } },
            });
            data::from_json(&json).expect("of the data model")
        };
        assert!(document(&nsid, &record("com.example.note")).is_ok());
        assert!(matches!(document(&nsid, &record("com.example.other")), Err(LexiconError::Document { .. })));
        assert!(document(&nsid, &data::from_json(&json!({ "$type": SCHEMA })).expect("a value")).is_err());
    }

    #[test]
    fn references_to_other_documents_are_found_wherever_they_are() {
        let document = json!({ "defs": {
            "a": { "type": "ref", "ref": "#here" },
            "b": { "type": "array", "items": { "type": "ref", "ref": "com.example.one#x" } },
            "c": { "type": "union", "refs": ["com.example.two", "#there", "no nsid"] },
        } });
        let names: Vec<_> = references(&document).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["com.example.one", "com.example.two"]);
    }
}
