//! Strict reading of a lexicon document.
//!
//! Anything the language does not define is refused with the place and the reason: a misspelt `maxLenght` must not turn
//! into a missing bound. Only permissions are read leniently, as their specification demands: what is not understood
//! grants nothing. Whether a well-read document also makes sense is the business of `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ast::{
    Array, Blob, Body, Boolean, Definition, DefinitionId, Document, ErrorName, Integer, Length, Method, Object, Params,
    Permission, PermissionSet, Record, RecordKeyType, Schema, Space, Subscription, Text, Type, Union,
};
use super::format::Format;
use super::path::Path;
use crate::ids::Nsid;
use crate::limits::{LEXICON_DOCUMENT_BYTES_MAX, LEXICON_NESTING_MAX};

/// Why bytes are no lexicon document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {malformation}", if path.segments().next().is_none() { "the document".to_owned() } else { path.to_string() })]
pub struct DocumentError {
    /// Where.
    pub path: Path,
    /// What.
    pub malformation: Malformation,
}

/// What is wrong with the shape of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// More bytes than a document may have.
    #[error("is larger than {LEXICON_DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes are no JSON.
    #[error("is no JSON: {0}")]
    NotJson(String),
    /// A value is of another kind.
    #[error("must be {0}")]
    Kind(&'static str),
    /// A key that must be there is not.
    #[error("lacks the key {0:?}")]
    MissingKey(&'static str),
    /// A key the language does not define here.
    #[error("has the key {0:?}, which means nothing here")]
    UnknownKey(String),
    /// `lexicon` is not 1.
    #[error("is of a version of the language other than 1")]
    Version,
    /// `id` is no NSID.
    #[error("must be an NSID")]
    Id,
    /// `type` names no type.
    #[error("is of the unknown type {0:?}")]
    UnknownType(String),
    /// A type stands where it may not.
    #[error("must not be of the type {0:?} here")]
    MisplacedType(String),
    /// `format` names no format.
    #[error("asks for the unknown format {0:?}")]
    UnknownFormat(String),
    /// `key` names no type of record key.
    #[error("must be tid, nsid, any or literal:<record key>")]
    RecordKey,
    /// Types within types, too many levels.
    #[error("is nested more than {LEXICON_NESTING_MAX} levels deep")]
    Nesting,
    /// Two definitions or none where exactly one or at least one is asked for.
    #[error("must define something")]
    Empty,
}

type Result<T> = std::result::Result<T, DocumentError>;

impl Document {
    /// Reads a document from JSON bytes of at most [`LEXICON_DOCUMENT_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > LEXICON_DOCUMENT_BYTES_MAX {
            return Err(Malformation::TooLarge.here());
        }
        let value = serde_json::from_slice(bytes).map_err(|error| Malformation::NotJson(error.to_string()).here())?;
        Self::from_json(&value)
    }

    /// Reads a document from JSON that is already parsed.
    pub fn from_json(value: &Value) -> Result<Self> {
        let fields = Fields::of(value)?;
        // `$type` is there when the document was published as a record; `revision` is an old key without meaning.
        fields.only(&["lexicon", "id", "description", "defs", "$type", "revision"])?;
        if fields.required("lexicon")?.as_i64() != Some(1) {
            return Err(Malformation::Version.here().under("lexicon"));
        }
        let id: Arc<str> = fields.text("id")?.ok_or_else(|| Malformation::MissingKey("id").here())?.into();
        if id.parse::<Nsid>().is_err() {
            return Err(Malformation::Id.here().under("id"));
        }
        let definitions = fields.map("defs", |value| definition(value, &id))?;
        let definitions = definitions.ok_or_else(|| Malformation::MissingKey("defs").here())?;
        if definitions.is_empty() {
            return Err(Malformation::Empty.here().under("defs"));
        }
        Ok(Self { description: fields.text("description")?, id, definitions })
    }
}

fn definition(value: &Value, base: &Arc<str>) -> Result<Definition> {
    let fields = Fields::of(value)?;
    match fields.type_name()? {
        "record" => record(&fields, base).map(Definition::Record),
        "query" => method(&fields, base, false).map(Definition::Query),
        "procedure" => method(&fields, base, true).map(Definition::Procedure),
        "subscription" => subscription(&fields, base).map(Definition::Subscription),
        "permission-set" => permission_set(&fields).map(Definition::PermissionSet),
        "space" => space(&fields).map(Definition::Space),
        "token" => {
            fields.only(&["type", "description"])?;
            Ok(Definition::Token(fields.text("description")?))
        }
        name @ ("ref" | "union" | "unknown" | "params" | "permission") => {
            Err(Malformation::MisplacedType(name.to_owned()).here())
        }
        _ => schema(value, base, 0).map(Definition::Type),
    }
}

fn record(fields: &Fields<'_>, base: &Arc<str>) -> Result<Record> {
    fields.only(&["type", "description", "key", "record"])?;
    let key = key_type(fields)?;
    let object = schema(fields.required("record")?, base, 0).and_then(|schema| match schema.ty {
        Type::Object(object) => Ok((schema.description, object)),
        other => Err(Malformation::MisplacedType(other.name().to_owned()).here()),
    });
    let (inner, object) = object.map_err(|error| error.under("record"))?;
    Ok(Record { description: fields.text("description")?.or(inner), key, object })
}

fn key_type(fields: &Fields<'_>) -> Result<RecordKeyType> {
    let key = fields.text("key")?.ok_or_else(|| Malformation::MissingKey("key").here())?;
    Ok(match key.as_str() {
        "tid" => RecordKeyType::Tid,
        "nsid" => RecordKeyType::Nsid,
        "any" => RecordKeyType::Any,
        other => match other.strip_prefix("literal:") {
            Some(literal) if Format::RecordKey.accepts(literal) => RecordKeyType::Literal(literal.into()),
            _ => return Err(Malformation::RecordKey.here().under("key")),
        },
    })
}

/// A kind of space (proposal 0016, "Space type declarations").
fn space(fields: &Fields<'_>) -> Result<Space> {
    fields.only(&["type", "description", "key", "name", "name:lang", "collections"])?;
    let collections = fields.list("collections", text)?;
    Ok(Space {
        description: fields.text("description")?,
        key: key_type(fields)?,
        name: fields.text("name")?.ok_or_else(|| Malformation::MissingKey("name").here())?,
        names: fields.map("name:lang", text)?.unwrap_or_default(),
        collections: collections.ok_or_else(|| Malformation::MissingKey("collections").here())?,
    })
}

fn method(fields: &Fields<'_>, base: &Arc<str>, has_input: bool) -> Result<Method> {
    if has_input {
        fields.only(&["type", "description", "parameters", "input", "output", "errors"])?;
    } else {
        fields.only(&["type", "description", "parameters", "output", "errors"])?;
    }
    Ok(Method {
        description: fields.text("description")?,
        parameters: fields.optional("parameters", |value| params(value, base))?,
        input: fields.optional("input", |value| body(value, base))?,
        output: fields.optional("output", |value| body(value, base))?,
        errors: fields.list("errors", error_name)?.unwrap_or_default(),
    })
}

fn subscription(fields: &Fields<'_>, base: &Arc<str>) -> Result<Subscription> {
    fields.only(&["type", "description", "parameters", "message", "errors"])?;
    let message = |value: &Value| {
        let fields = Fields::of(value)?;
        fields.only(&["description", "schema"])?;
        match schema(fields.required("schema")?, base, 0).map_err(|error| error.under("schema"))?.ty {
            Type::Union(union) => Ok(union),
            other => Err(Malformation::MisplacedType(other.name().to_owned()).here().under("schema")),
        }
    };
    Ok(Subscription {
        description: fields.text("description")?,
        parameters: fields.optional("parameters", |value| params(value, base))?,
        message: fields.optional("message", message)?,
        errors: fields.list("errors", error_name)?.unwrap_or_default(),
    })
}

fn body(value: &Value, base: &Arc<str>) -> Result<Body> {
    let fields = Fields::of(value)?;
    fields.only(&["description", "encoding", "schema"])?;
    let described = |value: &Value| {
        let schema = schema(value, base, 0)?;
        match &schema.ty {
            Type::Object(_) | Type::Ref(_) | Type::Union(_) => Ok(schema),
            other => Err(Malformation::MisplacedType(other.name().to_owned()).here()),
        }
    };
    Ok(Body {
        description: fields.text("description")?,
        encoding: fields.text("encoding")?.ok_or_else(|| Malformation::MissingKey("encoding").here())?,
        schema: fields.optional("schema", described)?,
    })
}

fn error_name(value: &Value) -> Result<ErrorName> {
    let fields = Fields::of(value)?;
    fields.only(&["name", "description"])?;
    let name = fields.text("name")?.ok_or_else(|| Malformation::MissingKey("name").here())?;
    Ok(ErrorName { name, description: fields.text("description")? })
}

fn params(value: &Value, base: &Arc<str>) -> Result<Params> {
    let fields = Fields::of(value)?;
    fields.only(&["type", "description", "required", "properties"])?;
    if fields.type_name()? != "params" {
        return Err(Malformation::Kind("of the type \"params\"").here());
    }
    let parameter = |value: &Value| {
        let schema = schema(value, base, 0)?;
        let simple = |ty: &Type| matches!(ty, Type::Boolean(_) | Type::Integer(_) | Type::String(_));
        match &schema.ty {
            Type::Array(array) if simple(&array.items.ty) => Ok(schema),
            ty if simple(ty) => Ok(schema),
            other => Err(Malformation::MisplacedType(other.name().to_owned()).here()),
        }
    };
    Ok(Params {
        description: fields.text("description")?,
        required: fields.names("required")?,
        properties: fields.map("properties", parameter)?.unwrap_or_default(),
    })
}

fn permission_set(fields: &Fields<'_>) -> Result<PermissionSet> {
    fields.only(&["type", "description", "title", "title:lang", "detail", "detail:lang", "permissions"])?;
    let permissions = fields.list("permissions", permission)?;
    Ok(PermissionSet {
        title: fields.text("title")?,
        titles: fields.map("title:lang", text)?.unwrap_or_default(),
        detail: fields.text("detail")?,
        details: fields.map("detail:lang", text)?.unwrap_or_default(),
        permissions: permissions.ok_or_else(|| Malformation::MissingKey("permissions").here())?,
    })
}

/// A permission with anything this version does not know must be ignored, not refused (Permissions specification).
fn permission(value: &Value) -> Result<Permission> {
    let fields = Fields::of(value)?;
    if fields.type_name()? != "permission" {
        return Err(Malformation::Kind("of the type \"permission\"").here());
    }
    let known: &[&str] = match fields.text("resource")?.as_deref() {
        Some("repo") => &["type", "description", "resource", "collection", "action"],
        Some("rpc") => &["type", "description", "resource", "lxm", "aud", "inheritAud"],
        Some(_) => &[],
        None => return Err(Malformation::MissingKey("resource").here()),
    };
    if fields.only(known).is_err() {
        return Ok(Permission::Unrecognised);
    }
    if let Some(collections) = fields.list("collection", text)? {
        return Ok(Permission::Repo { collections, actions: fields.list("action", text)?.unwrap_or_default() });
    }
    if let Some(methods) = fields.list("lxm", text)? {
        let inherit_audience = fields.boolean("inheritAud")?.unwrap_or_default();
        return Ok(Permission::Rpc { methods, audience: fields.text("aud")?, inherit_audience });
    }
    Ok(Permission::Unrecognised)
}

fn schema(value: &Value, base: &Arc<str>, depth: u32) -> Result<Schema> {
    if depth > LEXICON_NESTING_MAX {
        return Err(Malformation::Nesting.here());
    }
    let fields = Fields::of(value)?;
    let ty = match fields.type_name()? {
        "boolean" => boolean(&fields).map(Type::Boolean),
        "integer" => integer(&fields).map(Type::Integer),
        "string" => string(&fields).map(Type::String),
        "bytes" => {
            fields.only(&["type", "description", "minLength", "maxLength"])?;
            fields.length("minLength", "maxLength").map(Type::Bytes)
        }
        "cid-link" => fields.only(&["type", "description"]).map(|()| Type::CidLink),
        "unknown" => fields.only(&["type", "description"]).map(|()| Type::Unknown),
        "blob" => blob(&fields).map(Type::Blob),
        "array" => {
            fields.only(&["type", "description", "items", "minLength", "maxLength"])?;
            let items = schema(fields.required("items")?, base, depth + 1).map_err(|error| error.under("items"))?;
            let length = fields.length("minLength", "maxLength")?;
            Ok(Type::Array(Array { items: Box::new(items), length }))
        }
        "object" => object(&fields, base, depth).map(Type::Object),
        "ref" => {
            fields.only(&["type", "description", "ref"])?;
            let reference = fields.text("ref")?.ok_or_else(|| Malformation::MissingKey("ref").here())?;
            Ok(Type::Ref(DefinitionId::resolve(&reference, base)))
        }
        "union" => union(&fields, base).map(Type::Union),
        name @ ("record" | "query" | "procedure" | "subscription" | "permission-set" | "space" | "params"
        | "permission" | "token") => Err(Malformation::MisplacedType(name.to_owned()).here()),
        other => Err(Malformation::UnknownType(other.to_owned()).here()),
    }?;
    Ok(Schema { description: fields.text("description")?, ty })
}

fn boolean(fields: &Fields<'_>) -> Result<Boolean> {
    fields.only(&["type", "description", "default", "const"])?;
    Ok(Boolean { default: fields.boolean("default")?, constant: fields.boolean("const")? })
}

fn integer(fields: &Fields<'_>) -> Result<Integer> {
    fields.only(&["type", "description", "minimum", "maximum", "enum", "default", "const"])?;
    Ok(Integer {
        minimum: fields.integer("minimum")?,
        maximum: fields.integer("maximum")?,
        allowed: fields.list("enum", whole)?,
        default: fields.integer("default")?,
        constant: fields.integer("const")?,
    })
}

fn string(fields: &Fields<'_>) -> Result<Text> {
    let lengths = ["minLength", "maxLength", "minGraphemes", "maxGraphemes"];
    fields.only(
        &[&["type", "description", "format", "enum", "knownValues", "default", "const"], &lengths[..]].concat(),
    )?;
    let format = match fields.text("format")? {
        None => None,
        Some(name) => match Format::from_name(&name) {
            Some(format) => Some(format),
            None => return Err(Malformation::UnknownFormat(name).here().under("format")),
        },
    };
    Ok(Text {
        format,
        bytes: fields.length("minLength", "maxLength")?,
        graphemes: fields.length("minGraphemes", "maxGraphemes")?,
        allowed: fields.list("enum", text)?,
        known: fields.list("knownValues", text)?.unwrap_or_default(),
        default: fields.text("default")?,
        constant: fields.text("const")?,
    })
}

fn blob(fields: &Fields<'_>) -> Result<Blob> {
    fields.only(&["type", "description", "accept", "maxSize"])?;
    let size_max = fields.length("maxSize", "maxSize")?.max.map(|bytes| bytes as u64);
    Ok(Blob { accept: fields.list("accept", text)?, size_max })
}

fn object(fields: &Fields<'_>, base: &Arc<str>, depth: u32) -> Result<Object> {
    fields.only(&["type", "description", "properties", "required", "nullable"])?;
    Ok(Object {
        properties: fields.map("properties", |value| schema(value, base, depth + 1))?.unwrap_or_default(),
        required: fields.names("required")?,
        nullable: fields.names("nullable")?,
    })
}

fn union(fields: &Fields<'_>, base: &Arc<str>) -> Result<Union> {
    fields.only(&["type", "description", "refs", "closed"])?;
    let refs = fields.list("refs", text)?.ok_or_else(|| Malformation::MissingKey("refs").here())?;
    let refs = refs.iter().map(|reference| DefinitionId::resolve(reference, base)).collect();
    Ok(Union { refs, closed: fields.boolean("closed")?.unwrap_or_default() })
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| Malformation::Kind("text").here())
}

fn whole(value: &Value) -> Result<i64> {
    value.as_i64().ok_or_else(|| Malformation::Kind("an integer").here())
}

/// The keys of one JSON object, read by kind.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<Self> {
        value.as_object().map(Self).ok_or_else(|| Malformation::Kind("an object").here())
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Malformation::UnknownKey(key.clone()).here()),
            None => Ok(()),
        }
    }

    fn required(&self, key: &'static str) -> Result<&'a Value> {
        self.0.get(key).ok_or_else(|| Malformation::MissingKey(key).here())
    }

    fn optional<T>(&self, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<T>> {
        self.0.get(key).map(|value| read(value).map_err(|error| error.under(key))).transpose()
    }

    fn type_name(&self) -> Result<&'a str> {
        self.required("type")?.as_str().ok_or_else(|| Malformation::Kind("text").here().under("type"))
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        self.optional(key, text)
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.optional(key, |value| value.as_bool().ok_or_else(|| Malformation::Kind("true or false").here()))
    }

    fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.optional(key, whole)
    }

    fn length(&self, min: &str, max: &str) -> Result<Length> {
        let length = |key| {
            self.optional(key, |value| {
                let length = value.as_u64().and_then(|length| usize::try_from(length).ok());
                length.ok_or_else(|| Malformation::Kind("a whole number, 0 or more").here())
            })
        };
        Ok(Length { min: length(min)?, max: length(max)? })
    }

    fn list<T>(&self, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<Vec<T>>> {
        self.optional(key, |value| {
            let items = value.as_array().ok_or_else(|| Malformation::Kind("a list").here())?;
            let element = |(index, item)| read(item).map_err(|error| error.under_index(index));
            items.iter().enumerate().map(element).collect()
        })
    }

    fn names(&self, key: &str) -> Result<BTreeSet<String>> {
        Ok(self.list(key, text)?.unwrap_or_default().into_iter().collect())
    }

    fn map<T>(&self, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<BTreeMap<String, T>>> {
        self.optional(key, |value| {
            let entry = |(key, value): (&'a String, &'a Value)| {
                read(value).map(|value| (key.clone(), value)).map_err(|error| error.under(key))
            };
            Fields::of(value)?.0.iter().map(entry).collect()
        })
    }
}

impl Malformation {
    fn here(self) -> DocumentError {
        DocumentError { path: Path::default(), malformation: self }
    }
}

impl DocumentError {
    fn under(self, key: &str) -> Self {
        Self { path: self.path.under_key(key), ..self }
    }

    fn under_index(self, index: usize) -> Self {
        Self { path: self.path.under_index(index), ..self }
    }
}

#[cfg(test)]
mod tests;
