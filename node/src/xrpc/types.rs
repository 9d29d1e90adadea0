//! What the methods of `co.kendev.*` take, as Rust types: parameters and JSON bodies. One file for each group of methods,
//! written from the lexicon documents by `scripts/types`; a test tells when a document has changed and its type has not
//! (ADR 116). By the time that one of these is read, the document has judged what was sent (`super::documents`).

pub(crate) mod business;
mod bytes;
pub(crate) mod content;
pub(crate) mod network;
pub(crate) mod people;
pub(crate) mod spaces;
pub(crate) mod tenants;

#[cfg(test)]
mod choices;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod tests;

pub(crate) use bytes::Bytes;
