//! The documents that this node ships: everything under `lexicons/`, embedded when the crate is built.

use std::sync::LazyLock;

use super::ast::Document;
use super::catalog::Catalog;
use super::compile::Schemas;
use super::flags::Flags;

include!(concat!(env!("OUT_DIR"), "/lexicons.rs"));

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = Catalog::default();
    for (path, text) in DOCUMENTS {
        let document = Document::parse(text.as_bytes());
        let document =
            document.unwrap_or_else(|error| panic!("lexicons/{path}, which a test reads, is broken: {error}"));
        catalog.replace(document);
    }
    catalog
});

static FLAGS: LazyLock<Flags> =
    LazyLock::new(|| Flags::parse(FLAGS_JSON).unwrap_or_else(|error| panic!("lexicons/flags.json is broken: {error}")));

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| Schemas::compile(&CATALOG, &FLAGS.constraints));

impl Catalog {
    /// The documents this node ships.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &CATALOG
    }
}

impl Catalog {
    /// The text of a document that this node ships, as it lies in its source.
    #[must_use]
    pub fn builtin_text(nsid: &str) -> Option<&'static str> {
        let path = format!("{}.json", nsid.replace('.', "/"));
        DOCUMENTS.iter().find(|(at, _)| *at == path).map(|(_, text)| *text)
    }
}

impl Flags {
    /// The flags of the documents this node ships.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &FLAGS
    }
}

impl Schemas {
    /// The documents this node ships, compiled on first use.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &SCHEMAS
    }
}

#[cfg(test)]
pub(crate) mod tests;
