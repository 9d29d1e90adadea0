//! What the network's documents mean beyond what the lexicon language can say.
//!
//! Strict lexicon tooling refuses unknown keys in a document, so these facts lie beside the documents in
//! `lexicons/flags.json`. Two kinds: [`Constraints`] bind single fields and are enforced by the compiled schemas;
//! [`Collection`] says about a whole collection who holds it, who may see it and who may write what, and is for the
//! write path and the read path to enforce. Network specification, `records.md` 1.1 to 1.5 and section 12.

mod field_path;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ast::{DefinitionId, MAIN};
use super::text_check::TextCheck;
use super::value::{DataModel, View};
use crate::ids::Datetime;
use crate::time::Timestamp;

pub use field_path::{FieldPath, InvalidFieldPath};

/// Everything in `lexicons/flags.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Flags {
    /// Per field: the form of its text and where it points.
    pub constraints: Constraints,
    /// Per collection: who holds, sees and writes it.
    pub collections: BTreeMap<Box<str>, Collection>,
}

/// What single fields must meet. Keys read `nsid#definition` or `nsid#definition.field`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Constraints {
    /// The form of a text.
    pub texts: BTreeMap<Box<str>, TextCheck>,
    /// The collection that an AT URI, or the `uri` of a strong reference, points into.
    pub references: BTreeMap<Box<str>, Box<str>>,
}

/// Who holds, sees and writes the records of one collection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Collection {
    /// Whose repository, or whose partition of the permissioned store, holds the records.
    pub held_in: Vec<Holder>,
    /// Who may see them.
    pub class: Class,
    /// For [`Class::Conditional`]: what must hold in the record for it to be public. All of it.
    #[serde(default)]
    pub public_when: Vec<Condition>,
    /// For [`Class::Conditional`]: fields that refer to records which must be public as well.
    #[serde(default)]
    pub follows: Vec<FieldPath>,
    /// For [`Class::Conditional`]: what else decides and is not in the record, in words.
    #[serde(default)]
    pub elsewhere: Option<Box<str>>,
    /// Who may write the records.
    pub writer: Writer,
    /// Fields that only the node writes. A client that supplies one is refused, unless it is what the node would write.
    #[serde(default)]
    pub node_written: Vec<FieldPath>,
    /// Fields of this name are computed when the record is read and stored in none; a client that supplies one is
    /// refused.
    #[serde(default)]
    pub view_only: Vec<FieldPath>,
    /// Fields that hold the name of a secret, never the secret.
    #[serde(default)]
    pub secrets: Vec<FieldPath>,
}

/// Whose records they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Holder {
    /// A node, in its own service account.
    Node,
    /// The operator of a node.
    Operator,
    /// A tenant.
    Tenant,
    /// A user; an agent is a user with an owner.
    User,
}

/// Who may see the records of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// Everybody: they are in a public repository.
    Public,
    /// Those whom the rules allow: they are in the permissioned store.
    Permissioned,
    /// Depends on the record.
    Conditional,
}

/// Who may write the records of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Writer {
    /// Whoever holds them, or acts for them, by a plain record write.
    Holder,
    /// A person, but only through a method that checks more than the record.
    Procedure,
    /// The node alone.
    Node,
}

/// Something a record must say for it to be public.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Condition {
    /// The field.
    pub field: FieldPath,
    /// The values of which it must have one.
    #[serde(default)]
    pub any_of: Vec<Scalar>,
    /// Whether the field must only be there.
    #[serde(default)]
    pub present: bool,
    /// Whether the field is a time that must have come.
    #[serde(default)]
    pub reached: bool,
}

/// A value of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// Text.
    Text(Box<str>),
}

/// Who may see one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility<'f> {
    /// Everybody.
    Public,
    /// Those whom the rules allow.
    Permissioned,
    /// Everybody, provided that the records these fields refer to are public (a field that is absent asks for nothing)
    /// and that what is said in words holds.
    Depends {
        /// Fields with references.
        follows: &'f [FieldPath],
        /// What else decides.
        elsewhere: Option<&'f str>,
    },
}

impl Flags {
    /// Reads the flags from JSON.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The facts about one collection, if it is one of this network's.
    #[must_use]
    pub fn collection(&self, nsid: &str) -> Option<&Collection> {
        self.collections.get(nsid)
    }
}

impl Constraints {
    /// The form that a text must have.
    #[must_use]
    pub fn text_check(&self, definition: &DefinitionId, property: Option<&str>) -> Option<TextCheck> {
        self.texts.get(&*address(definition, property)).copied()
    }

    /// The collection that a reference must point into.
    #[must_use]
    pub fn collection(&self, definition: &DefinitionId, property: Option<&str>) -> Option<&str> {
        self.references.get(&*address(definition, property)).map(|nsid| &**nsid)
    }
}

/// How the keys of [`Constraints`] name a field; `main` is written out there.
fn address(definition: &DefinitionId, property: Option<&str>) -> String {
    let name = if definition.name.is_empty() { MAIN } else { &definition.name };
    match property {
        Some(property) => format!("{}#{name}.{property}", definition.document),
        None => format!("{}#{name}", definition.document),
    }
}

impl Collection {
    /// Who may see `record`. What cannot be read counts as not said, so a doubtful record is permissioned.
    #[must_use]
    pub fn visibility<V: DataModel>(&self, record: &V, now: Timestamp) -> Visibility<'_> {
        match self.class {
            Class::Public => Visibility::Public,
            Class::Permissioned => Visibility::Permissioned,
            Class::Conditional if !self.public_when.iter().all(|condition| condition.holds(record, now)) => {
                Visibility::Permissioned
            }
            Class::Conditional if self.follows.is_empty() && self.elsewhere.is_none() => Visibility::Public,
            Class::Conditional => Visibility::Depends { follows: &self.follows, elsewhere: self.elsewhere.as_deref() },
        }
    }

    /// The fields of `record` that no client may supply: node-written and view-only ones. The write path refuses them,
    /// except for a node-written one that says what the node would write.
    pub fn computed_in<'f, V: DataModel>(&'f self, record: &V) -> impl Iterator<Item = &'f FieldPath> {
        self.node_written.iter().chain(&self.view_only).filter(|path| !path.find(record).is_empty())
    }
}

impl Condition {
    fn holds<V: DataModel>(&self, record: &V, now: Timestamp) -> bool {
        let found = self.field.find(record);
        let [value] = found.as_slice() else { return false };
        match value.view() {
            View::Null => false,
            _ if self.present => true,
            View::String(text) if self.reached => has_come(text, now),
            View::String(text) => self.any_of.contains(&Scalar::Text(text.into())),
            View::Boolean(value) => self.any_of.contains(&Scalar::Boolean(value)),
            _ => false,
        }
    }
}

/// Whether a moment is not after `now`. Before 1970 everything has come.
fn has_come(text: &str, now: Timestamp) -> bool {
    text.parse::<Datetime>().is_ok_and(|moment| moment.timestamp().is_none_or(|moment| moment <= now))
}

#[cfg(test)]
mod tests;
