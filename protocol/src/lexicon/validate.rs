//! Checking a value against a compiled schema.
//!
//! One pass, no allocation unless the value is refused. Fields that a schema does not name are allowed, as the
//! specification demands, but must still be values of the data model: no fractions, no malformed links or blobs.

use unicode_segmentation::UnicodeSegmentation;

use super::ast::RecordKeyType;
use super::compile::{CompiledBody, SubscriptionSchema, TextRule};
use super::compile::{IntegerRule, ListRule, MethodSchema, Node, NodeId, ObjectRule, RecordSchema, Schemas};
use super::format::Format;
use super::value::{DataModel, Malformed, View};
use super::violation::{Rule, Violation};
use crate::limits::DATA_DEPTH_MAX;

type Checked = Result<(), Box<Violation>>;

impl RecordSchema<'_> {
    /// Checks a record. Its `$type` must name the collection.
    pub fn validate<V: DataModel>(&self, record: &V) -> Checked {
        self.schemas.value(self.record.node, record, 0)
    }

    /// Checks a record key against the key type of the collection.
    pub fn validate_key(&self, rkey: &str) -> Checked {
        let key = &self.record.key;
        if key.accepts(rkey) { Ok(()) } else { Err(Rule::RecordKey(key.describe().into()).here()) }
    }
}

impl RecordKeyType {
    /// Whether `key` is one of these.
    #[must_use]
    pub fn accepts(&self, key: &str) -> bool {
        match self {
            Self::Tid => Format::Tid.accepts(key),
            Self::Nsid => Format::Nsid.accepts(key),
            Self::Any => Format::RecordKey.accepts(key),
            Self::Literal(literal) => key == &**literal,
        }
    }

    fn describe(&self) -> &str {
        match self {
            Self::Tid => "a timestamp identifier",
            Self::Nsid => "an NSID",
            Self::Any => "a record key",
            Self::Literal(literal) => literal,
        }
    }
}

impl MethodSchema<'_> {
    /// Checks the body of a request. A body that the lexicon does not describe is not looked at.
    pub fn validate_input<V: DataModel>(&self, body: &V) -> Checked {
        self.schemas.body(self.method.input.as_ref(), body)
    }

    /// Checks the body of an answer, likewise.
    pub fn validate_output<V: DataModel>(&self, body: &V) -> Checked {
        self.schemas.body(self.method.output.as_ref(), body)
    }
}

impl SubscriptionSchema<'_> {
    /// Checks a message of the kind `kind`, which is the type's full name: `nsid#name`.
    pub fn validate_message<V: DataModel>(&self, kind: &str, message: &V) -> Checked {
        match self.stream.messages.binary_search_by(|(name, _)| (**name).cmp(kind)) {
            Ok(found) => {
                self.stream.messages.get(found).map_or(Ok(()), |(_, node)| self.schemas.value(*node, message, 0))
            }
            Err(_) => Err(Rule::Union.here()),
        }
    }
}

impl Schemas {
    fn body<V: DataModel>(&self, described: Option<&CompiledBody>, body: &V) -> Checked {
        match described.and_then(|body| body.node) {
            Some(node) => self.value(node, body, 0),
            None => Ok(()),
        }
    }

    fn value<V: DataModel>(&self, node: NodeId, value: &V, depth: usize) -> Checked {
        let Some(node) = self.nodes.get(node as usize) else { return Ok(()) };
        match (node, value.view()) {
            (_, View::Malformed(reason)) => Err(Rule::Malformed(reason).here()),
            (Node::Boolean(constant), View::Boolean(value)) => check_boolean(*constant, value),
            (Node::Integer(rule), View::Integer(value)) => check_integer(rule, value),
            (Node::Text(rule), View::String(text)) => check_text(rule, text),
            (Node::Bytes { min, max }, View::Bytes(length)) => check_bytes(*min, *max, length),
            (Node::Link, View::Link) => Ok(()),
            (Node::Blob { accept, size_max }, View::Map(map)) => check_blob::<V>(accept.as_deref(), *size_max, map),
            (Node::List { items, rule }, View::List(list)) => self.list(*items, *rule, list, nested(depth)?),
            (Node::Object(rule), View::Map(map)) => self.object::<V>(rule, map, nested(depth)?),
            (Node::Union { variants, closed }, View::Map(map)) => self.union::<V>(variants, *closed, value, map, depth),
            (Node::Unknown, View::Map(map)) if !is_blob::<V>(map) => free(value, depth),
            (Node::Missing(reference), _) => Err(Rule::UnknownDefinition(reference.clone()).here()),
            (node, found) => Err(Rule::WrongType { expected: node.describe(), found: found.describe() }.here()),
        }
    }

    fn list<V: DataModel>(&self, items: NodeId, rule: ListRule, list: &[V], depth: usize) -> Checked {
        check_items(rule, list.len())?;
        for (index, item) in list.iter().enumerate() {
            self.value(items, item, depth).map_err(|violation| violation.under_index(index))?;
        }
        Ok(())
    }

    fn object<V: DataModel>(&self, rule: &ObjectRule, map: &V::Fields, depth: usize) -> Checked {
        match &rule.type_tag {
            Some(expected) => check_type_tag::<V>(map, expected)?,
            None => check_free_type_tag::<V>(map)?,
        }
        let mut required_seen = 0;
        for (key, value) in V::entries(map) {
            if key == "$type" {
                continue;
            }
            let found = rule.properties.binary_search_by(|property| (*property.name).cmp(key));
            let Some(property) = found.ok().and_then(|index| rule.properties.get(index)) else {
                free(value, depth).map_err(|violation| violation.under_key(key))?;
                continue;
            };
            required_seen += usize::from(property.required);
            if property.nullable && matches!(value.view(), View::Null) {
                continue;
            }
            self.value(property.node, value, depth).map_err(|violation| violation.under_key(key))?;
        }
        if required_seen < rule.required {
            let absent = |name: &str| V::get(map, name).is_none();
            if let Some(missing) = rule.properties.iter().find(|property| property.required && absent(&property.name)) {
                return Err(Rule::Required.here().under_key(&missing.name));
            }
        }
        Ok(())
    }

    fn union<V: DataModel>(
        &self,
        variants: &[(Box<str>, NodeId)],
        closed: bool,
        value: &V,
        map: &V::Fields,
        depth: usize,
    ) -> Checked {
        let Some(View::String(tag)) = V::get(map, "$type").map(DataModel::view) else {
            return Err(Rule::TypeRequired.here());
        };
        match variants.binary_search_by(|(name, _)| (**name).cmp(tag)) {
            Ok(found) => variants.get(found).map_or(Ok(()), |(_, node)| self.value(*node, value, depth)),
            Err(_) if closed => Err(Rule::Union.here().under_key("$type")),
            Err(_) => free(value, depth),
        }
    }
}

/// Checks a value that no schema describes: only that it is one of the data model.
fn free<V: DataModel>(value: &V, depth: usize) -> Checked {
    match value.view() {
        View::Malformed(reason) => Err(Rule::Malformed(reason).here()),
        View::List(list) => {
            let depth = nested(depth)?;
            for (index, item) in list.iter().enumerate() {
                free(item, depth).map_err(|violation| violation.under_index(index))?;
            }
            Ok(())
        }
        View::Map(map) => {
            let depth = nested(depth)?;
            check_free_type_tag::<V>(map)?;
            if is_blob::<V>(map) {
                check_blob::<V>(None, u64::MAX, map)?;
            }
            for (key, value) in V::entries(map) {
                free(value, depth).map_err(|violation| violation.under_key(key))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// One level further in, or the refusal to go there.
fn nested(depth: usize) -> Result<usize, Box<Violation>> {
    if depth < DATA_DEPTH_MAX { Ok(depth + 1) } else { Err(Rule::Depth(DATA_DEPTH_MAX).here()) }
}

fn check_type_tag<V: DataModel>(map: &V::Fields, expected: &str) -> Checked {
    match V::get(map, "$type").map(DataModel::view) {
        Some(View::String(tag)) if tag == expected => Ok(()),
        None => Err(Rule::TypeRequired.here()),
        Some(_) => Err(Rule::TypeMismatch(expected.into()).here().under_key("$type")),
    }
}

fn check_free_type_tag<V: DataModel>(map: &V::Fields) -> Checked {
    match V::get(map, "$type").map(DataModel::view) {
        None => Ok(()),
        Some(View::String(tag)) if !tag.is_empty() => Ok(()),
        Some(_) => Err(Rule::Malformed(Malformed::TypeTag).here().under_key("$type")),
    }
}

pub(super) fn check_boolean(constant: Option<bool>, value: bool) -> Checked {
    if constant.is_none_or(|constant| constant == value) { Ok(()) } else { Err(Rule::Constant.here()) }
}

pub(super) fn check_integer(rule: &IntegerRule, value: i64) -> Checked {
    let broken = if value < rule.minimum {
        Rule::Minimum(rule.minimum)
    } else if value > rule.maximum {
        Rule::Maximum(rule.maximum)
    } else if rule.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&value)) {
        Rule::Enum
    } else if rule.constant.is_some_and(|constant| constant != value) {
        Rule::Constant
    } else {
        return Ok(());
    };
    Err(broken.here())
}

pub(super) fn check_text(rule: &TextRule, text: &str) -> Checked {
    let broken = if text.len() < rule.bytes_min {
        Rule::MinBytes(rule.bytes_min)
    } else if text.len() > rule.bytes_max {
        Rule::MaxBytes(rule.bytes_max)
    } else if has_more_graphemes(text, rule.graphemes_max) {
        Rule::MaxGraphemes(rule.graphemes_max)
    } else if rule.graphemes_min > 0 && !has_more_graphemes(text, rule.graphemes_min - 1) {
        Rule::MinGraphemes(rule.graphemes_min)
    } else if let Some(format) = rule.format.filter(|format| !format.accepts(text)) {
        Rule::Format(format)
    } else if rule.allowed.as_ref().is_some_and(|allowed| allowed.binary_search_by(|v| (**v).cmp(text)).is_err()) {
        Rule::Enum
    } else if rule.constant.as_deref().is_some_and(|constant| constant != text) {
        Rule::Constant
    } else if let Some(check) = rule.check.filter(|check| !check.accepts(text)) {
        Rule::Text(check)
    } else if let Some(collection) = rule.collection.as_deref().filter(|collection| !is_in(text, collection)) {
        Rule::Collection(collection.into())
    } else {
        return Ok(());
    };
    Err(broken.here())
}

/// Whether the text has more than `limit` grapheme clusters. Counting stops there, and is spared where the bytes
/// already decide: a cluster has at least one.
fn has_more_graphemes(text: &str, limit: usize) -> bool {
    text.len() > limit && text.graphemes(true).nth(limit).is_some()
}

/// Whether an AT URI names a record of `collection`. The format is checked already, so the parts are where they belong.
fn is_in(uri: &str, collection: &str) -> bool {
    let mut parts = uri.strip_prefix("at://").unwrap_or_default().split('/').skip(1);
    parts.next() == Some(collection) && parts.next().is_some()
}

fn check_bytes(min: usize, max: usize, length: usize) -> Checked {
    if length < min {
        Err(Rule::MinBytes(min).here())
    } else if length > max {
        Err(Rule::MaxBytes(max).here())
    } else {
        Ok(())
    }
}

pub(super) fn check_items(rule: ListRule, count: usize) -> Checked {
    if count < rule.min {
        Err(Rule::MinItems(rule.min).here())
    } else if count > rule.max {
        Err(Rule::MaxItems(rule.max).here())
    } else {
        Ok(())
    }
}

fn is_blob<V: DataModel>(map: &V::Fields) -> bool {
    matches!(V::get(map, "$type").map(DataModel::view), Some(View::String("blob")))
}

/// Checks a blob (Data Model, "blob Type"). The form without `$type` that early records used is not accepted: nothing
/// that this network defines was ever written in it.
fn check_blob<V: DataModel>(accept: Option<&[Box<str>]>, size_max: u64, map: &V::Fields) -> Checked {
    let part = |key| V::get(map, key).map(DataModel::view);
    let (Some(View::Link), Some(View::String(kind)), Some(View::Integer(size))) =
        (part("ref"), part("mimeType"), part("size"))
    else {
        return Err(Rule::Malformed(Malformed::Blob).here());
    };
    let size = u64::try_from(size).ok().filter(|size| *size > 0);
    let (Some(size), true, false) = (size, is_blob::<V>(map), kind.is_empty()) else {
        return Err(Rule::Malformed(Malformed::Blob).here());
    };
    if size > size_max {
        return Err(Rule::BlobSize(size_max).here());
    }
    if accept.is_some_and(|accept| !accept.iter().any(|pattern| matches_media_type(pattern, kind))) {
        return Err(Rule::BlobType.here());
    }
    Ok(())
}

/// Whether a media type, with or without parameters, fits `type/subtype`, `type/*` or `*/*`.
fn matches_media_type(pattern: &str, kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim_end();
    if pattern == "*/*" {
        return true;
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix) && kind.len() > prefix.len(),
        None => kind == pattern,
    }
}

impl Node {
    fn describe(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "text",
            Self::Bytes { .. } => "bytes",
            Self::Link => "a link",
            Self::Blob { .. } => "a blob",
            Self::List { .. } => "a list",
            Self::Object(_) | Self::Unknown | Self::Missing(_) => "a map",
            Self::Union { .. } => "a map with a $type",
        }
    }
}

#[cfg(test)]
mod tests;
