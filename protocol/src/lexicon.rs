//! AT Protocol lexicons: what a record, a query and an answer must look like, and whether this value does.
//!
//! A [`Document`] is one lexicon file, parsed strictly. A [`Catalog`] is a set of them, in which references resolve.
//! [`Schemas`] is a catalogue compiled for the hot path: it validates JSON and DAG-CBOR values with the same code, and
//! a refusal says where ([`Path`]) and why ([`Rule`]). [`Catalog::builtin`] holds the documents this node ships.
//!
//! Two things the lexicon language cannot say lie beside the documents in `lexicons/flags.json` ([`flags`]): which
//! collection a reference must point into and which texts have an inner form (enforced by the validator), and per
//! collection who holds it, who may see it and which fields only the node may write (enforced by the write path).
//!
//! The module fetches nothing: resolving a lexicon over DNS is the node's business. It changes no value, so bytes that
//! were signed stay the bytes that were signed.
//!
//! Follows the AT Protocol "Lexicon" and "Data Model" specifications.

pub mod ast;
mod builtin;
mod catalog;
mod check;
mod compile;
pub mod flags;
mod format;
mod inspect;
mod parameters;
mod parse;
mod path;
mod references;
mod text_check;
mod validate;
mod value;
mod violation;

#[cfg(test)]
pub(crate) use builtin::tests::generate;

pub use ast::{Definition, Document};
pub use catalog::{Catalog, DuplicateDocument};
pub use check::{CheckError, Problem, check, check_house_style};
pub use compile::{MethodSchema, RecordSchema, Schemas, SubscriptionSchema};
pub use format::Format;
pub use inspect::{RecordError, check_document, validate_record};
pub use parameters::{ParameterValue, Parameters};
pub use parse::{DocumentError, Malformation};
pub use path::{Path, Segment};
pub use references::Reference;
pub use text_check::TextCheck;
pub use value::{DataModel, Malformed, View};
pub use violation::{Rule, Violation};
