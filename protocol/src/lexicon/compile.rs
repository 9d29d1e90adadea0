//! A catalogue made ready for the hot path.
//!
//! References are followed once, here: what comes out is an array of nodes that point at each other by index. What the
//! language cannot say ([`Constraints`]) is woven in, so that one pass over a value checks both.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ast::{
    Array, Body, Definition, DefinitionId, Document, Integer, MAIN, Method, Object, Params, RecordKeyType, Schema,
    Text, Type, Union,
};
use super::catalog::Catalog;
use super::flags::Constraints;
use super::format::Format;
use super::text_check::TextCheck;

/// Compiled schemas of every record, method and stream in a catalogue.
#[derive(Debug)]
pub struct Schemas {
    pub(super) nodes: Box<[Node]>,
    records: BTreeMap<Arc<str>, CompiledRecord>,
    methods: BTreeMap<Arc<str>, CompiledMethod>,
    streams: BTreeMap<Arc<str>, CompiledStream>,
}

/// The schema of one collection.
#[derive(Clone, Copy, Debug)]
pub struct RecordSchema<'s> {
    pub(super) schemas: &'s Schemas,
    pub(super) record: &'s CompiledRecord,
}

/// The schema of one query or procedure.
#[derive(Clone, Copy, Debug)]
pub struct MethodSchema<'s> {
    pub(super) schemas: &'s Schemas,
    pub(super) method: &'s CompiledMethod,
}

/// The schema of one event stream.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionSchema<'s> {
    pub(super) schemas: &'s Schemas,
    pub(super) stream: &'s CompiledStream,
}

/// Index into [`Schemas::nodes`].
pub(super) type NodeId = u32;

#[derive(Debug)]
pub(super) struct CompiledRecord {
    pub(super) key: RecordKeyType,
    pub(super) node: NodeId,
}

#[derive(Debug)]
pub(super) struct CompiledMethod {
    pub(super) is_procedure: bool,
    pub(super) parameters: Box<[Parameter]>,
    pub(super) input: Option<CompiledBody>,
    pub(super) output: Option<CompiledBody>,
    pub(super) errors: Box<[Box<str>]>,
}

#[derive(Debug)]
pub(super) struct CompiledBody {
    pub(super) encoding: Box<str>,
    pub(super) node: Option<NodeId>,
}

#[derive(Debug)]
pub(super) struct CompiledStream {
    pub(super) parameters: Box<[Parameter]>,
    /// Message kinds by their full type, sorted.
    pub(super) messages: Box<[(Box<str>, NodeId)]>,
    pub(super) errors: Box<[Box<str>]>,
}

/// One URL parameter. Sorted by name in their list.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: Box<str>,
    pub(super) required: bool,
    pub(super) list: Option<ListRule>,
    pub(super) scalar: Scalar,
}

/// What one value of a parameter is, and what an absent one means.
#[derive(Debug)]
pub(super) enum Scalar {
    Boolean { constant: Option<bool>, default: Option<bool> },
    Integer { rule: IntegerRule, default: Option<i64> },
    Text { rule: TextRule, default: Option<Box<str>> },
}

#[derive(Debug)]
pub(super) enum Node {
    Boolean(Option<bool>),
    Integer(IntegerRule),
    Text(TextRule),
    Bytes {
        min: usize,
        max: usize,
    },
    Link,
    Blob {
        accept: Option<Box<[Box<str>]>>,
        size_max: u64,
    },
    List {
        items: NodeId,
        rule: ListRule,
    },
    Object(ObjectRule),
    Union {
        variants: Box<[(Box<str>, NodeId)]>,
        closed: bool,
    },
    Unknown,
    /// A reference that led nowhere when the catalogue was compiled.
    Missing(Box<str>),
}

#[derive(Debug)]
pub(super) struct IntegerRule {
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) allowed: Option<Box<[i64]>>,
    pub(super) constant: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct TextRule {
    pub(super) bytes_min: usize,
    pub(super) bytes_max: usize,
    pub(super) graphemes_min: usize,
    pub(super) graphemes_max: usize,
    pub(super) format: Option<Format>,
    /// Sorted.
    pub(super) allowed: Option<Box<[Box<str>]>>,
    pub(super) constant: Option<Box<str>>,
    pub(super) check: Option<TextCheck>,
    pub(super) collection: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ListRule {
    pub(super) min: usize,
    pub(super) max: usize,
}

#[derive(Debug)]
pub(super) struct ObjectRule {
    /// Sorted by name.
    pub(super) properties: Box<[Property]>,
    /// How many of them are required.
    pub(super) required: usize,
    /// What `$type` must say; on records only.
    pub(super) type_tag: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: Box<str>,
    pub(super) node: NodeId,
    pub(super) required: bool,
    pub(super) nullable: bool,
}

impl Schemas {
    /// Compiles every document of a catalogue. A reference that does not resolve is no error here: the value that needs
    /// it is refused. [`super::check`] tells beforehand.
    #[must_use]
    pub fn compile(catalog: &Catalog, constraints: &Constraints) -> Self {
        let mut compiler = Compiler { catalog, constraints, nodes: Vec::new(), definitions: HashMap::new() };
        let mut records = BTreeMap::new();
        let mut methods = BTreeMap::new();
        let mut streams = BTreeMap::new();
        for document in catalog.iter() {
            let id = Arc::clone(&document.id);
            match document.main() {
                Some(Definition::Record(record)) => {
                    let node = compiler.definition(&main_of(document));
                    records.insert(id, CompiledRecord { key: record.key.clone(), node });
                }
                Some(Definition::Query(method)) => {
                    methods.insert(id, compiler.method(document, method, false));
                }
                Some(Definition::Procedure(method)) => {
                    methods.insert(id, compiler.method(document, method, true));
                }
                Some(Definition::Subscription(stream)) => {
                    let messages = stream.message.as_ref().map(|union| compiler.variants(union)).unwrap_or_default();
                    let parameters = compiler.parameters(document, stream.parameters.as_ref());
                    let errors = stream.errors.iter().map(|error| error.name.as_str().into()).collect();
                    streams.insert(id, CompiledStream { parameters, messages, errors });
                }
                _ => {}
            }
        }
        Self { nodes: compiler.nodes.into(), records, methods, streams }
    }

    /// The schema of a collection, if its document is in the catalogue.
    #[must_use]
    pub fn record(&self, collection: &str) -> Option<RecordSchema<'_>> {
        self.records.get(collection).map(|record| RecordSchema { schemas: self, record })
    }

    /// The schema of a query or procedure, if its document is in the catalogue.
    #[must_use]
    pub fn method(&self, nsid: &str) -> Option<MethodSchema<'_>> {
        self.methods.get(nsid).map(|method| MethodSchema { schemas: self, method })
    }

    /// The schema of an event stream, if its document is in the catalogue.
    #[must_use]
    pub fn subscription(&self, nsid: &str) -> Option<SubscriptionSchema<'_>> {
        self.streams.get(nsid).map(|stream| SubscriptionSchema { schemas: self, stream })
    }

    /// The collections, sorted.
    pub fn collections(&self) -> impl Iterator<Item = &str> {
        self.records.keys().map(|nsid| &**nsid)
    }
}

impl RecordSchema<'_> {
    /// What the keys of the collection look like.
    #[must_use]
    pub fn key_type(&self) -> &RecordKeyType {
        &self.record.key
    }
}

impl MethodSchema<'_> {
    /// Whether the method is a procedure (HTTP POST); otherwise it is a query (HTTP GET).
    #[must_use]
    pub fn is_procedure(&self) -> bool {
        self.method.is_procedure
    }

    /// The media type of the request body, when the method takes one.
    #[must_use]
    pub fn input_encoding(&self) -> Option<&str> {
        self.method.input.as_ref().map(|body| &*body.encoding)
    }

    /// The media type of the answer, when there is one.
    #[must_use]
    pub fn output_encoding(&self) -> Option<&str> {
        self.method.output.as_ref().map(|body| &*body.encoding)
    }

    /// The errors the method names.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.method.errors.iter().map(|name| &**name)
    }
}

impl SubscriptionSchema<'_> {
    /// The errors the stream names.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.stream.errors.iter().map(|name| &**name)
    }
}

struct Compiler<'a> {
    catalog: &'a Catalog,
    constraints: &'a Constraints,
    nodes: Vec<Node>,
    definitions: HashMap<DefinitionId, NodeId>,
}

/// Where a type stands: its definition, and the field of it, if it is one.
#[derive(Clone, Copy)]
struct Place<'a> {
    definition: &'a DefinitionId,
    property: Option<&'a str>,
}

fn main_of(document: &Document) -> DefinitionId {
    DefinitionId { document: Arc::clone(&document.id), name: MAIN.into() }
}

impl Compiler<'_> {
    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        // A catalogue of four billion types does not fit in memory; the bound on documents comes long before.
        NodeId::try_from(self.nodes.len() - 1).unwrap_or(NodeId::MAX)
    }

    /// The node of a definition. Its place is taken before its contents are compiled, so that types may contain
    /// themselves.
    fn definition(&mut self, id: &DefinitionId) -> NodeId {
        if let Some(node) = self.definitions.get(id) {
            return *node;
        }
        let place = self.add(Node::Missing(id.to_string().into()));
        self.definitions.insert(id.clone(), place);
        let catalog = self.catalog;
        let at = Place { definition: id, property: None };
        let node = match catalog.definition(id) {
            Some(Definition::Record(record)) => {
                let mut object = self.object(&record.object, at);
                object.type_tag = Some(id.to_string().into());
                Some(Node::Object(object))
            }
            Some(Definition::Type(schema)) => Some(self.node(schema, at)),
            _ => None,
        };
        if let (Some(node), Some(slot)) = (node, self.nodes.get_mut(place as usize)) {
            *slot = node;
        }
        place
    }

    fn schema(&mut self, schema: &Schema, at: Place<'_>) -> NodeId {
        match &schema.ty {
            Type::Ref(id) => match self.constraints.collection(at.definition, at.property) {
                Some(collection) => self.pinned(id, collection),
                None => self.definition(id),
            },
            _ => {
                let node = self.node(schema, at);
                self.add(node)
            }
        }
    }

    fn node(&mut self, schema: &Schema, at: Place<'_>) -> Node {
        match &schema.ty {
            Type::Boolean(boolean) => Node::Boolean(boolean.constant),
            Type::Integer(integer) => Node::Integer(integer_rule(integer)),
            Type::String(text) => Node::Text(self.text_rule(text, at)),
            Type::Bytes(length) => {
                Node::Bytes { min: length.min.unwrap_or_default(), max: length.max.unwrap_or(usize::MAX) }
            }
            Type::CidLink => Node::Link,
            Type::Blob(blob) => Node::Blob {
                accept: blob.accept.as_ref().map(|accept| accept.iter().map(|text| text.as_str().into()).collect()),
                size_max: blob.size_max.unwrap_or(u64::MAX),
            },
            Type::Array(array) => {
                let items = self.schema(&array.items, at);
                Node::List { items, rule: list_rule(array) }
            }
            Type::Object(object) => Node::Object(self.object(object, at)),
            // Only a reference inside an array or a body comes here by way of `schema`; a definition is never one.
            Type::Ref(id) => Node::Missing(id.to_string().into()),
            Type::Union(union) => Node::Union { variants: self.variants(union), closed: union.closed },
            Type::Unknown => Node::Unknown,
        }
    }

    fn object(&mut self, object: &Object, at: Place<'_>) -> ObjectRule {
        let mut properties = Vec::with_capacity(object.properties.len());
        for (name, schema) in &object.properties {
            let node = self.schema(schema, Place { property: Some(name), ..at });
            let required = object.required.contains(name);
            properties.push(Property {
                name: name.as_str().into(),
                node,
                required,
                nullable: object.nullable.contains(name),
            });
        }
        let required = properties.iter().filter(|property| property.required).count();
        ObjectRule { properties: properties.into(), required, type_tag: None }
    }

    /// A strong reference whose `uri` must point into `collection`: a copy of the definition with that one field bound.
    fn pinned(&mut self, id: &DefinitionId, collection: &str) -> NodeId {
        let Some(Definition::Type(Schema { ty: Type::Object(object), .. })) = self.catalog.definition(id) else {
            return self.definition(id);
        };
        let mut rule = self.object(object, Place { definition: id, property: None });
        for property in &mut rule.properties {
            let node = self.nodes.get(property.node as usize);
            if let (Some(Node::Text(text)), "uri") = (node, &*property.name) {
                let bound = TextRule { collection: Some(collection.into()), ..text.clone() };
                property.node = self.add(Node::Text(bound));
            }
        }
        self.add(Node::Object(rule))
    }

    fn text_rule(&self, text: &Text, at: Place<'_>) -> TextRule {
        TextRule {
            check: self.constraints.text_check(at.definition, at.property),
            collection: self.constraints.collection(at.definition, at.property).map(Into::into),
            ..plain_text_rule(text)
        }
    }

    fn variants(&mut self, union: &Union) -> Box<[(Box<str>, NodeId)]> {
        let variant = |id: &DefinitionId| (id.to_string().into_boxed_str(), self.definition(id));
        let mut variants: Vec<_> = union.refs.iter().map(variant).collect();
        variants.sort();
        variants.dedup();
        variants.into()
    }

    fn method(&mut self, document: &Document, method: &Method, is_procedure: bool) -> CompiledMethod {
        CompiledMethod {
            is_procedure,
            parameters: self.parameters(document, method.parameters.as_ref()),
            input: method.input.as_ref().map(|body| self.body(document, body)),
            output: method.output.as_ref().map(|body| self.body(document, body)),
            errors: method.errors.iter().map(|error| error.name.as_str().into()).collect(),
        }
    }

    fn body(&mut self, document: &Document, body: &Body) -> CompiledBody {
        let id = main_of(document);
        let at = Place { definition: &id, property: None };
        let node = body.schema.as_ref().map(|schema| self.schema(schema, at));
        CompiledBody { encoding: body.encoding.as_str().into(), node }
    }

    fn parameters(&mut self, document: &Document, params: Option<&Params>) -> Box<[Parameter]> {
        let id = main_of(document);
        let Some(params) = params else { return Box::default() };
        let parameter = |(name, schema): (&String, &Schema)| {
            let at = Place { definition: &id, property: Some(name) };
            let (list, schema) = match &schema.ty {
                Type::Array(array) => (Some(list_rule(array)), &*array.items),
                _ => (None, schema),
            };
            let scalar = match &schema.ty {
                Type::Boolean(boolean) => Scalar::Boolean { constant: boolean.constant, default: boolean.default },
                Type::Integer(integer) => Scalar::Integer { rule: integer_rule(integer), default: integer.default },
                Type::String(text) => {
                    Scalar::Text { rule: self.text_rule(text, at), default: text.default.as_deref().map(Into::into) }
                }
                // The parser lets nothing else in.
                _ => return None,
            };
            Some(Parameter { name: name.as_str().into(), required: params.required.contains(name), list, scalar })
        };
        params.properties.iter().filter_map(parameter).collect()
    }
}

fn integer_rule(integer: &Integer) -> IntegerRule {
    IntegerRule {
        minimum: integer.minimum.unwrap_or(i64::MIN),
        maximum: integer.maximum.unwrap_or(i64::MAX),
        allowed: integer.allowed.as_deref().map(Into::into),
        constant: integer.constant,
    }
}

fn plain_text_rule(text: &Text) -> TextRule {
    let allowed = text.allowed.as_ref().map(|allowed| {
        let mut allowed: Vec<Box<str>> = allowed.iter().map(|value| value.as_str().into()).collect();
        allowed.sort();
        allowed.into()
    });
    TextRule {
        bytes_min: text.bytes.min.unwrap_or_default(),
        bytes_max: text.bytes.max.unwrap_or(usize::MAX),
        graphemes_min: text.graphemes.min.unwrap_or_default(),
        graphemes_max: text.graphemes.max.unwrap_or(usize::MAX),
        format: text.format,
        allowed,
        constant: text.constant.as_deref().map(Into::into),
        check: None,
        collection: None,
    }
}

fn list_rule(array: &Array) -> ListRule {
    ListRule { min: array.length.min.unwrap_or_default(), max: array.length.max.unwrap_or(usize::MAX) }
}
