//! A lexicon document as types. Parsing is in `parse`; nothing here checks anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::format::Format;

/// One lexicon file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The NSID of the document.
    pub id: Arc<str>,
    /// What the whole document is about.
    pub description: Option<String>,
    /// The definitions by name. Never empty.
    pub definitions: BTreeMap<String, Definition>,
}

/// A reference to a definition, resolved: `nsid#name`, where the name `main` is not written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionId {
    /// The NSID of the document.
    pub document: Arc<str>,
    /// The name of the definition in it.
    pub name: Arc<str>,
}

/// What a name in `defs` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// A record type of a repository.
    Record(Record),
    /// A method that reads (HTTP GET).
    Query(Method),
    /// A method that changes something (HTTP POST).
    Procedure(Method),
    /// An event stream.
    Subscription(Subscription),
    /// A bundle of permissions for OAuth.
    PermissionSet(PermissionSet),
    /// A kind of space (AT Protocol proposal 0016, "Space type declarations").
    Space(Space),
    /// A name with a meaning and no data.
    Token(Option<String>),
    /// A type other definitions refer to.
    Type(Schema),
}

/// A `record` definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the record is.
    pub description: Option<String>,
    /// What its keys look like.
    pub key: RecordKeyType,
    /// Its fields.
    pub object: Object,
}

/// What the keys of a collection look like (AT Protocol "Record Key" specification).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKeyType {
    /// Timestamp identifiers.
    Tid,
    /// NSIDs.
    Nsid,
    /// Any record key.
    Any,
    /// One fixed key.
    Literal(Box<str>),
}

/// A `query` or `procedure` definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// What the method does.
    pub description: Option<String>,
    /// Its URL parameters.
    pub parameters: Option<Params>,
    /// Its request body. Always absent on a query.
    pub input: Option<Body>,
    /// Its answer.
    pub output: Option<Body>,
    /// The errors it names.
    pub errors: Vec<ErrorName>,
}

/// A `subscription` definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What the stream carries.
    pub description: Option<String>,
    /// Its URL parameters.
    pub parameters: Option<Params>,
    /// What a message may be.
    pub message: Option<Union>,
    /// The errors it names.
    pub errors: Vec<ErrorName>,
}

/// A body of a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// What it holds.
    pub description: Option<String>,
    /// Its media type.
    pub encoding: String,
    /// Its schema, when it is described: an object, a reference or a union.
    pub schema: Option<Schema>,
}

/// One named error of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorName {
    /// The name in the `error` field of the answer.
    pub name: String,
    /// When it is given.
    pub description: Option<String>,
}

/// The URL parameters of a method: booleans, integers, strings, and arrays of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// What they are.
    pub description: Option<String>,
    /// Names that must be given.
    pub required: BTreeSet<String>,
    /// The parameters by name.
    pub properties: BTreeMap<String, Schema>,
}

/// A `permission-set` definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionSet {
    /// A few words for the person who is asked.
    pub title: Option<String>,
    /// The title by language.
    pub titles: BTreeMap<String, String>,
    /// A sentence or two for the person who is asked.
    pub detail: Option<String>,
    /// The detail by language.
    pub details: BTreeMap<String, String>,
    /// The permissions.
    pub permissions: Vec<Permission>,
}

/// A `space` definition: a kind of space for permissioned data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// What the spaces are for, to developers.
    pub description: Option<String>,
    /// What the keys of such spaces look like; a recommendation.
    pub key: RecordKeyType,
    /// What a person reads who is asked for access to them.
    pub name: String,
    /// The name by language.
    pub names: BTreeMap<String, String>,
    /// The collections to expect in them. Others may be there, too.
    pub collections: Vec<String>,
}

/// One permission of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Writing records.
    Repo {
        /// The collections.
        collections: Vec<String>,
        /// The actions; empty means all.
        actions: Vec<String>,
    },
    /// Calling methods of another service.
    Rpc {
        /// The methods, or `*`.
        methods: Vec<String>,
        /// The service, or `*`; absent when it is inherited.
        audience: Option<String>,
        /// Whether the audience comes from whoever includes the set.
        inherit_audience: bool,
    },
    /// A resource or a parameter this version does not know. It must grant nothing.
    Unrecognised,
}

/// A type with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// What the value means.
    pub description: Option<String>,
    /// What the value is.
    pub ty: Type,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Boolean(Boolean),
    /// A signed integer of 64 bits.
    Integer(Integer),
    /// Text.
    String(Text),
    /// Bytes.
    Bytes(Length),
    /// A link by content hash.
    CidLink,
    /// A reference to an uploaded file.
    Blob(Blob),
    /// A list.
    Array(Array),
    /// A map with known fields.
    Object(Object),
    /// Another definition.
    Ref(DefinitionId),
    /// One of several definitions, told apart by `$type`.
    Union(Union),
    /// Any map.
    Unknown,
}

/// A `boolean` type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boolean {
    /// What an absent value means.
    pub default: Option<bool>,
    /// The only value allowed.
    pub constant: Option<bool>,
}

/// An `integer` type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Integer {
    /// The smallest value allowed.
    pub minimum: Option<i64>,
    /// The largest value allowed.
    pub maximum: Option<i64>,
    /// The only values allowed.
    pub allowed: Option<Vec<i64>>,
    /// What an absent value means.
    pub default: Option<i64>,
    /// The only value allowed.
    pub constant: Option<i64>,
}

/// A `string` type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The form the text must have.
    pub format: Option<Format>,
    /// Length in bytes of UTF-8.
    pub bytes: Length,
    /// Length in extended grapheme clusters.
    pub graphemes: Length,
    /// The only values allowed.
    pub allowed: Option<Vec<String>>,
    /// Values that are common; others are allowed.
    pub known: Vec<String>,
    /// What an absent value means.
    pub default: Option<String>,
    /// The only value allowed.
    pub constant: Option<String>,
}

/// Bounds of a length; absent means unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// The shortest allowed.
    pub min: Option<usize>,
    /// The longest allowed.
    pub max: Option<usize>,
}

/// A `blob` type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob {
    /// Media types allowed, for example `image/*`; absent means any.
    pub accept: Option<Vec<String>>,
    /// The largest file allowed, in bytes.
    pub size_max: Option<u64>,
}

/// An `array` type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// What each element is.
    pub items: Box<Schema>,
    /// How many elements there may be.
    pub length: Length,
}

/// An `object` type. Fields that it does not name are allowed and ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The fields by name.
    pub properties: BTreeMap<String, Schema>,
    /// Fields that must be present.
    pub required: BTreeSet<String>,
    /// Fields that may be `null`.
    pub nullable: BTreeSet<String>,
}

/// A `union` type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Union {
    /// The definitions known today.
    pub refs: Vec<DefinitionId>,
    /// Whether no other `$type` is allowed.
    pub closed: bool,
}

impl Document {
    /// The definition named `main`.
    #[must_use]
    pub fn main(&self) -> Option<&Definition> {
        self.definitions.get(MAIN)
    }
}

/// The name of a document's primary definition.
pub const MAIN: &str = "main";

impl DefinitionId {
    /// Reads a reference as it stands in the document `base`: `nsid`, `nsid#name` or `#name`.
    #[must_use]
    pub fn resolve(reference: &str, base: &Arc<str>) -> Self {
        let (document, name) = reference.split_once('#').unwrap_or((reference, MAIN));
        let document = if document.is_empty() { Arc::clone(base) } else { document.into() };
        Self { document, name: name.into() }
    }
}

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.name == MAIN { f.write_str(&self.document) } else { write!(f, "{}#{}", self.document, self.name) }
    }
}

impl Definition {
    /// The word in the definition's `type` field.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Record(_) => "record",
            Self::Query(_) => "query",
            Self::Procedure(_) => "procedure",
            Self::Subscription(_) => "subscription",
            Self::PermissionSet(_) => "permission-set",
            Self::Space(_) => "space",
            Self::Token(_) => "token",
            Self::Type(schema) => schema.ty.name(),
        }
    }

    /// Whether only `main` may be this.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        !matches!(self, Self::Token(_) | Self::Type(_))
    }
}

impl Type {
    /// The word in the type's `type` field.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::CidLink => "cid-link",
            Self::Blob(_) => "blob",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Ref(_) => "ref",
            Self::Union(_) => "union",
            Self::Unknown => "unknown",
        }
    }
}
