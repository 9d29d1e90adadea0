//! A set of lexicon documents in which references resolve.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::ast::{Definition, DefinitionId, Document};

/// Documents by NSID.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    documents: BTreeMap<Arc<str>, Document>,
}

/// A second document under an NSID that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are two lexicon documents with the id {0}")]
pub struct DuplicateDocument(pub Arc<str>);

impl Catalog {
    /// Adds a document. One that is already there stays.
    pub fn insert(&mut self, document: Document) -> Result<(), DuplicateDocument> {
        match self.documents.entry(Arc::clone(&document.id)) {
            Entry::Vacant(place) => {
                place.insert(document);
                Ok(())
            }
            Entry::Occupied(_) => Err(DuplicateDocument(document.id)),
        }
    }

    /// Adds a document or puts it in the place of the one with its id, which is returned.
    pub fn replace(&mut self, document: Document) -> Option<Document> {
        self.documents.insert(Arc::clone(&document.id), document)
    }

    /// The document with this NSID.
    #[must_use]
    pub fn get(&self, nsid: &str) -> Option<&Document> {
        self.documents.get(nsid)
    }

    /// The definition a reference points to.
    #[must_use]
    pub fn definition(&self, id: &DefinitionId) -> Option<&Definition> {
        self.get(&id.document)?.definitions.get(&*id.name)
    }

    /// All documents, in the order of their NSIDs.
    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        self.documents.values()
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }
}
