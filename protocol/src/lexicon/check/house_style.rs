//! What we ask of the documents that we publish, beyond the language.

use std::collections::BTreeMap;

use super::super::ast::{Array, Body, Definition, Document, Method, Params, Schema, Type};
use super::super::catalog::Catalog;
use super::super::path::Segment;
use super::{CheckError, Checker, Problem};

/// Checks a document of ours: names in camelCase, everything described, every text, list and byte string bounded, no
/// object without a name and nothing of unknown type in a record.
#[must_use]
pub fn check_house_style(document: &Document) -> Vec<CheckError> {
    let catalog = Catalog::default();
    let mut checker = Checker { document, catalog: &catalog, at: vec![Segment::Key("defs".into())], found: Vec::new() };
    let is_record = matches!(document.main(), Some(Definition::Record(_)));
    for (name, definition) in &document.definitions {
        checker.inside(name, |checker| Style { checker, is_record }.definition(name, definition));
    }
    checker.found
}

struct Style<'c, 'd> {
    checker: &'c mut Checker<'d>,
    is_record: bool,
}

impl Style<'_, '_> {
    fn definition(&mut self, name: &str, definition: &Definition) {
        self.checker.report_if(!is_camel_case(name), Problem::NameStyle);
        self.checker.report_if(description(definition).is_none(), Problem::Undescribed);
        match definition {
            Definition::Record(record) => self.fields(&record.object.properties),
            Definition::Query(method) | Definition::Procedure(method) => self.method(method),
            Definition::Subscription(stream) => self.params(stream.parameters.as_ref()),
            Definition::PermissionSet(_) | Definition::Space(_) | Definition::Token(_) => {}
            Definition::Type(schema) => self.named(schema),
        }
    }

    fn method(&mut self, method: &Method) {
        self.params(method.parameters.as_ref());
        for Body { schema, .. } in [&method.input, &method.output].into_iter().flatten() {
            if let Some(schema) = schema {
                self.named(schema);
            }
        }
    }

    fn params(&mut self, params: Option<&Params>) {
        if let Some(params) = params {
            self.fields(&params.properties);
        }
    }

    /// A type in a place where an object may stand, because the place names it.
    fn named(&mut self, schema: &Schema) {
        match &schema.ty {
            Type::Object(object) => self.fields(&object.properties),
            _ => self.bounded(schema),
        }
    }

    fn fields(&mut self, properties: &BTreeMap<String, Schema>) {
        for (name, schema) in properties {
            let is_record = self.is_record;
            self.checker.inside(name, |checker| {
                checker.report_if(!is_camel_case(name), Problem::NameStyle);
                // A reference is described where it leads.
                let described = schema.description.is_some() || matches!(schema.ty, Type::Ref(_));
                checker.report_if(!described, Problem::Undescribed);
                Style { checker, is_record }.bounded(schema);
            });
        }
    }

    fn bounded(&mut self, schema: &Schema) {
        match &schema.ty {
            Type::String(text) => {
                let closed = text.allowed.is_some() || text.constant.is_some() || text.format.is_some();
                self.checker.report_if(!closed && text.bytes.max.is_none(), Problem::Unbounded);
            }
            Type::Bytes(length) => self.checker.report_if(length.max.is_none(), Problem::Unbounded),
            Type::Blob(blob) => self.checker.report_if(blob.size_max.is_none(), Problem::Unbounded),
            Type::Array(Array { items, length }) => {
                self.checker.report_if(length.max.is_none(), Problem::Unbounded);
                self.bounded(items);
            }
            Type::Object(_) => self.checker.report(Problem::Anonymous),
            Type::Unknown => self.checker.report_if(self.is_record, Problem::Unknown),
            Type::Boolean(_) | Type::Integer(_) | Type::CidLink | Type::Ref(_) | Type::Union(_) => {}
        }
    }
}

fn description(definition: &Definition) -> Option<&String> {
    match definition {
        Definition::Record(record) => record.description.as_ref(),
        Definition::Query(method) | Definition::Procedure(method) => method.description.as_ref(),
        Definition::Subscription(stream) => stream.description.as_ref(),
        Definition::PermissionSet(set) => set.detail.as_ref(),
        Definition::Space(space) => space.description.as_ref(),
        Definition::Token(description) => description.as_ref(),
        Definition::Type(schema) => schema.description.as_ref(),
    }
}

fn is_camel_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
}
