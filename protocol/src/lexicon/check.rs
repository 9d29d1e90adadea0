//! Whether a document makes sense: its references resolve and its bounds can be met.
//!
//! [`check`] is the language's own rules and applies to documents from anywhere. [`check_house_style`] is what we ask
//! of the documents we publish: every value bounded, everything described, nothing anonymous.

mod house_style;

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{
    Array, Blob, Body, Boolean, Definition, DefinitionId, Document, ErrorName, Integer, Length, MAIN, Method, Object,
    Params, Permission, PermissionSet, Schema, Space, Text, Type, Union,
};
use super::catalog::Catalog;
use super::format::Format;
use super::path::{Path, Segment};

pub use house_style::check_house_style;

/// Longest name of a kind of space, in characters (proposal 0016, "Space type declarations").
const SPACE_NAME_CHARS_MAX: usize = 64;

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct CheckError {
    /// Where, from the document's root.
    pub path: Path,
    /// What.
    pub problem: Problem,
}

/// What can be wrong with a document that is well written but makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A record, method, stream, permission set or kind of space under another name than `main`.
    #[error("must be named main")]
    PrimaryNotMain,
    /// A name that cannot be referred to, or that the data model reserves.
    #[error("has a name that is empty, reserved or cannot be referred to")]
    Name,
    /// A reference to a definition that is not there.
    #[error("refers to {0}, which does not exist")]
    Unresolved(DefinitionId),
    /// A reference to something that is no type of data.
    #[error("refers to {0}, which is a {1} and cannot stand here")]
    WrongTarget(DefinitionId, &'static str),
    /// A closed union of nothing.
    #[error("is a closed union that allows nothing")]
    EmptyUnion,
    /// A reference that appears twice in one union.
    #[error("lists {0} twice")]
    DuplicateVariant(DefinitionId),
    /// A lower bound above an upper one.
    #[error("has a lower bound above its upper bound")]
    Bounds,
    /// A closed list of no values.
    #[error("has an empty enum, which nothing can meet")]
    EmptyEnum,
    /// `default` together with `const`.
    #[error("has both a default and a const")]
    DefaultAndConst,
    /// A default, a constant or an enum value that the type itself refuses.
    #[error("names a value that its own rules refuse")]
    Contradiction,
    /// `required` or `nullable` names a field that is not defined.
    #[error("names the field {0:?}, which is not defined")]
    NoSuchField(String),
    /// A media type that is none, or a pattern in it that is not allowed.
    #[error("has the media type {0:?}, which is none")]
    MediaType(String),
    /// An error name with spaces, or twice.
    #[error("has the error name {0:?} twice, or it is no name")]
    ErrorName(String),
    /// A language tag that is none.
    #[error("has the language {0:?}, which is no language tag")]
    Language(String),
    /// The name of a kind of space is empty or too long for a question to a person.
    #[error("has a name of less than 1 or more than {SPACE_NAME_CHARS_MAX} characters")]
    SpaceName,
    /// A collection that is none, or is named twice.
    #[error("names the collection {0:?} twice, or it is no NSID")]
    Collection(String),
    /// A permission that can grant nothing as written.
    #[error("grants nothing: {0}")]
    Permission(&'static str),
    /// A definition or field without a description.
    #[error("has no description")]
    Undescribed,
    /// A text, list or byte string without an upper bound.
    #[error("has no upper bound")]
    Unbounded,
    /// An object inside another one without a name of its own.
    #[error("is an object without a name: define it and refer to it")]
    Anonymous,
    /// `unknown` in a record.
    #[error("may hold anything, which a record of ours may not")]
    Unknown,
    /// A name that is not written like the others.
    #[error("is not written in camelCase")]
    NameStyle,
}

/// Checks a document against the language; its references are looked up in it and in `catalog`.
#[must_use]
pub fn check(document: &Document, catalog: &Catalog) -> Vec<CheckError> {
    let mut checker = Checker { document, catalog, at: vec![Segment::Key("defs".into())], found: Vec::new() };
    for (name, definition) in &document.definitions {
        checker.inside(name, |checker| checker.definition(name, definition));
    }
    checker.found
}

struct Checker<'a> {
    document: &'a Document,
    catalog: &'a Catalog,
    at: Vec<Segment>,
    found: Vec<CheckError>,
}

impl Checker<'_> {
    fn inside(&mut self, key: &str, work: impl FnOnce(&mut Self)) {
        self.at.push(Segment::Key(key.into()));
        work(self);
        self.at.pop();
    }

    fn report(&mut self, problem: Problem) {
        self.found.push(CheckError { path: Path::from_segments(self.at.iter().cloned()), problem });
    }

    fn report_if(&mut self, wrong: bool, problem: Problem) {
        if wrong {
            self.report(problem);
        }
    }

    fn definition(&mut self, name: &str, definition: &Definition) {
        self.report_if(!is_name(name), Problem::Name);
        self.report_if(definition.is_primary() && name != MAIN, Problem::PrimaryNotMain);
        match definition {
            Definition::Record(record) => self.inside("record", |checker| checker.object(&record.object)),
            Definition::Query(method) | Definition::Procedure(method) => self.method(method),
            Definition::Subscription(stream) => {
                self.params(stream.parameters.as_ref());
                if let Some(message) = &stream.message {
                    self.inside("message", |checker| checker.union(message));
                }
                self.error_names(&stream.errors);
            }
            Definition::PermissionSet(set) => self.permission_set(set),
            Definition::Space(space) => self.space(space),
            Definition::Token(_) => {}
            Definition::Type(schema) => self.schema(schema),
        }
    }

    fn method(&mut self, method: &Method) {
        self.params(method.parameters.as_ref());
        for (key, body) in [("input", &method.input), ("output", &method.output)] {
            if let Some(body) = body {
                self.inside(key, |checker| checker.body(body));
            }
        }
        self.error_names(&method.errors);
    }

    fn params(&mut self, params: Option<&Params>) {
        let Some(params) = params else { return };
        self.inside("parameters", |checker| {
            checker.fields(&params.properties);
            checker.named(&params.required, &params.properties);
        });
    }

    fn body(&mut self, body: &Body) {
        self.report_if(!is_media_type(&body.encoding, false), Problem::MediaType(body.encoding.clone()));
        if let Some(schema) = &body.schema {
            self.inside("schema", |checker| checker.schema(schema));
        }
    }

    fn error_names(&mut self, errors: &[ErrorName]) {
        let mut seen = BTreeSet::new();
        for error in errors {
            let wrong = error.name.is_empty() || error.name.contains(char::is_whitespace) || !seen.insert(&error.name);
            self.report_if(wrong, Problem::ErrorName(error.name.clone()));
        }
    }

    fn permission_set(&mut self, set: &PermissionSet) {
        for language in set.titles.keys().chain(set.details.keys()) {
            self.report_if(!Format::Language.accepts(language), Problem::Language(language.clone()));
        }
        for permission in &set.permissions {
            if let Some(reason) = empty_permission(permission) {
                self.report(Problem::Permission(reason));
            }
        }
    }

    fn space(&mut self, space: &Space) {
        let long = |name: &str| !(1..=SPACE_NAME_CHARS_MAX).contains(&name.chars().count());
        self.inside("name", |checker| checker.report_if(long(&space.name), Problem::SpaceName));
        for (language, name) in &space.names {
            self.report_if(!Format::Language.accepts(language), Problem::Language(language.clone()));
            self.inside("name:lang", |checker| checker.report_if(long(name), Problem::SpaceName));
        }
        let mut seen = BTreeSet::new();
        for collection in &space.collections {
            let wrong = !Format::Nsid.accepts(collection) || !seen.insert(collection);
            self.inside("collections", |checker| {
                checker.report_if(wrong, Problem::Collection(collection.clone()));
            });
        }
    }

    fn schema(&mut self, schema: &Schema) {
        match &schema.ty {
            Type::Boolean(boolean) => self.boolean(*boolean),
            Type::Integer(integer) => self.integer(integer),
            Type::String(text) => self.text(text),
            Type::Bytes(length) => self.length(*length),
            Type::CidLink | Type::Unknown => {}
            Type::Blob(blob) => self.blob(blob),
            Type::Array(Array { items, length }) => {
                self.length(*length);
                self.inside("items", |checker| checker.schema(items));
            }
            Type::Object(object) => self.object(object),
            Type::Ref(id) => self.reference(id),
            Type::Union(union) => self.union(union),
        }
    }

    fn boolean(&mut self, boolean: Boolean) {
        self.report_if(boolean.default.is_some() && boolean.constant.is_some(), Problem::DefaultAndConst);
    }

    fn integer(&mut self, integer: &Integer) {
        let minimum = integer.minimum.unwrap_or(i64::MIN);
        let maximum = integer.maximum.unwrap_or(i64::MAX);
        self.report_if(minimum > maximum, Problem::Bounds);
        self.report_if(integer.allowed.as_ref().is_some_and(Vec::is_empty), Problem::EmptyEnum);
        self.report_if(integer.default.is_some() && integer.constant.is_some(), Problem::DefaultAndConst);
        let listed = |value: &i64| integer.allowed.as_ref().is_none_or(|allowed| allowed.contains(value));
        let named = integer.default.iter().chain(&integer.constant).chain(integer.allowed.iter().flatten());
        let refused = named.clone().any(|value| !(minimum..=maximum).contains(value) || !listed(value));
        self.report_if(refused && minimum <= maximum, Problem::Contradiction);
    }

    fn text(&mut self, text: &Text) {
        self.length(text.bytes);
        self.length(text.graphemes);
        // A grapheme has at least one byte.
        let impossible = matches!((text.graphemes.min, text.bytes.max), (Some(least), Some(most)) if least > most);
        self.report_if(impossible, Problem::Bounds);
        self.report_if(text.allowed.as_ref().is_some_and(Vec::is_empty), Problem::EmptyEnum);
        self.report_if(text.default.is_some() && text.constant.is_some(), Problem::DefaultAndConst);
        let listed = |value: &String| text.allowed.as_ref().is_none_or(|allowed| allowed.contains(value));
        let named = text.default.iter().chain(&text.constant).chain(text.allowed.iter().flatten());
        let mut refused = named.map(|value| {
            let fits = text.bytes.contains(value.len()) && text.format.is_none_or(|format| format.accepts(value));
            !fits || !listed(value)
        });
        let refused = refused.any(|refused| refused);
        self.report_if(refused, Problem::Contradiction);
    }

    fn length(&mut self, length: Length) {
        self.report_if(matches!((length.min, length.max), (Some(min), Some(max)) if min > max), Problem::Bounds);
    }

    fn blob(&mut self, blob: &Blob) {
        for pattern in blob.accept.iter().flatten() {
            self.report_if(!is_media_type(pattern, true), Problem::MediaType(pattern.clone()));
        }
    }

    fn object(&mut self, object: &Object) {
        self.fields(&object.properties);
        self.named(&object.required, &object.properties);
        self.named(&object.nullable, &object.properties);
    }

    fn fields(&mut self, properties: &BTreeMap<String, Schema>) {
        for (name, schema) in properties {
            self.inside(name, |checker| {
                checker.report_if(name.is_empty() || name.starts_with('$'), Problem::Name);
                checker.schema(schema);
            });
        }
    }

    fn named(&mut self, names: &BTreeSet<String>, properties: &BTreeMap<String, Schema>) {
        for name in names {
            self.report_if(!properties.contains_key(name), Problem::NoSuchField(name.clone()));
        }
    }

    fn reference(&mut self, id: &DefinitionId) {
        match self.target(id) {
            None => self.report(Problem::Unresolved(id.clone())),
            Some(Definition::Type(_) | Definition::Record(_)) => {}
            Some(other) => {
                let name = other.type_name();
                self.report(Problem::WrongTarget(id.clone(), name));
            }
        }
    }

    fn union(&mut self, union: &Union) {
        self.report_if(union.closed && union.refs.is_empty(), Problem::EmptyUnion);
        let mut seen = BTreeSet::new();
        for id in &union.refs {
            self.report_if(!seen.insert(id), Problem::DuplicateVariant(id.clone()));
            match self.target(id) {
                None => self.report(Problem::Unresolved(id.clone())),
                Some(Definition::Record(_) | Definition::Type(Schema { ty: Type::Object(_), .. })) => {}
                Some(other) => {
                    let name = other.type_name();
                    self.report(Problem::WrongTarget(id.clone(), name));
                }
            }
        }
    }

    fn target(&self, id: &DefinitionId) -> Option<&Definition> {
        if id.document == self.document.id {
            return self.document.definitions.get(&*id.name);
        }
        self.catalog.definition(id)
    }
}

impl Length {
    /// Whether a length is within the bounds.
    pub(super) fn contains(self, length: usize) -> bool {
        self.min.is_none_or(|min| length >= min) && self.max.is_none_or(|max| length <= max)
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// `type/subtype`; where `pattern` says so also `type/*` and `*/*`.
fn is_media_type(text: &str, pattern: bool) -> bool {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let Some((kind, subtype)) = text.split(';').next().and_then(|text| text.split_once('/')) else { return false };
    let all = subtype == "*" && (kind == "*" || token(kind));
    if pattern || text == "*/*" { all || (token(kind) && token(subtype)) } else { token(kind) && token(subtype) }
}

/// Why a permission grants nothing, if it does (Permissions specification).
fn empty_permission(permission: &Permission) -> Option<&'static str> {
    match permission {
        Permission::Repo { collections, .. } if collections.is_empty() => Some("no collection"),
        Permission::Repo { collections, .. } if !collections.iter().all(|text| Format::Nsid.accepts(text)) => {
            Some("a collection is no NSID")
        }
        Permission::Repo { actions, .. }
            if !actions.iter().all(|action| matches!(action.as_str(), "create" | "update" | "delete")) =>
        {
            Some("an action is none of create, update, delete")
        }
        Permission::Rpc { methods, .. } if methods.is_empty() => Some("no method"),
        Permission::Rpc { methods, .. } if !methods.iter().all(|text| text == "*" || Format::Nsid.accepts(text)) => {
            Some("a method is no NSID")
        }
        Permission::Rpc { audience, inherit_audience, .. } if audience.is_some() == *inherit_audience => {
            Some("exactly one of aud and inheritAud is needed")
        }
        Permission::Rpc { methods, audience: Some(audience), .. } => match audience.as_str() {
            "*" if methods.iter().any(|method| method == "*") => Some("any method of any service"),
            "*" => None,
            _ => Some("a set cannot name one service"),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
