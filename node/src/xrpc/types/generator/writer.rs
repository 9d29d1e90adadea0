//! Types, one after another, and what they import.

use std::collections::{BTreeMap, BTreeSet};

use angel_protocol::lexicon::ast::{Body, Definition, DefinitionId, Integer, Object, Schema, Text, Type, Union};
use angel_protocol::lexicon::{Catalog, Format};

use super::Refused;
use super::names::{self, camel, field, serde_camel, snake};
use super::prose::{self, comment, plain, sentences};
use crate::xrpc::types::choices::Choices;

/// Where an object is, which decides who puts defaults in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Parameters come with their defaults.
    Parameters,
    /// A body comes as it was sent.
    Body,
}

/// The fields of an object or of parameters.
#[derive(Clone, Copy)]
pub(super) struct Fields<'c> {
    pub(super) properties: &'c BTreeMap<String, Schema>,
    pub(super) required: &'c BTreeSet<String>,
    pub(super) nullable: Option<&'c BTreeSet<String>>,
    pub(super) kind: Kind,
}

impl<'c> From<&'c Object> for Fields<'c> {
    fn from(object: &'c Object) -> Self {
        let Object { properties, required, nullable } = object;
        Self { properties, required, nullable: Some(nullable), kind: Kind::Body }
    }
}

/// A file of types in the making.
pub(super) struct Writer<'c> {
    catalog: &'c Catalog,
    choices: Choices,
    /// The types as text, in their order.
    items: Vec<String>,
    /// Which place each name is taken by.
    names: BTreeMap<String, String>,
    /// Names by the module that they are imported from.
    imports: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// Places at which something was chosen.
    chosen: BTreeSet<&'static str>,
}

impl<'c> Writer<'c> {
    pub(super) fn new(catalog: &'c Catalog, choices: Choices) -> Self {
        let (names, imports) = (BTreeMap::new(), BTreeMap::new());
        Self { catalog, choices, items: Vec::new(), names, imports, chosen: BTreeSet::new() }
    }

    /// The file.
    pub(super) fn finish(self, group: &str, within: impl Fn(&str) -> bool) -> Result<String, Refused> {
        let words = self.choices.words.iter().map(|words| words.place);
        let unused = words.chain(self.choices.as_it_came.iter().copied());
        if let Some(place) = unused.filter(|place| within(place)).find(|place| !self.chosen.contains(place)) {
            return Err(Refused::NoChoice(place.to_owned()));
        }
        let line = |(module, names): (&&str, &BTreeSet<&str>)| {
            let names: Vec<_> = names.iter().copied().collect();
            match names.as_slice() {
                [one] => format!("use {module}::{one};\n"),
                names => format!("use {module}::{{{}}};\n", names.join(", ")),
            }
        };
        let (ours, others): (Vec<_>, Vec<_>) = self.imports.iter().partition(|(module, _)| module.starts_with("crate"));
        let groups = [others, ours].map(|imports| imports.into_iter().map(line).collect::<String>());
        let head = format!(
            "What the methods of `{group}.*` take. Written by `scripts/types` from their documents under `lexicons/`: change \
             those, and not this."
        );
        let mut file = comment(&head, "//! ");
        for part in groups.iter().chain(&self.items).filter(|part| !part.is_empty()) {
            file.push('\n');
            file.push_str(part);
        }
        Ok(file)
    }

    /// A method's body.
    pub(super) fn body(&mut self, name: &str, at: &str, docs: String, body: &'c Body) -> Result<(), Refused> {
        match body.schema.as_ref().map(|schema| &schema.ty) {
            Some(Type::Object(object)) => self.object(name, at, docs, object.into()),
            Some(Type::Ref(id)) => match self.catalog.definition(id) {
                Some(Definition::Type(Schema { ty: Type::Object(object), .. })) => {
                    self.object(name, &id.to_string(), docs, object.into())
                }
                _ => Err(Refused::NoObject(at.to_owned())),
            },
            _ => Err(Refused::NoObject(at.to_owned())),
        }
    }

    /// An object. What it holds follows it.
    pub(super) fn object(&mut self, name: &str, at: &str, docs: String, fields: Fields<'c>) -> Result<(), Refused> {
        self.take_name(name, at)?;
        self.import("serde", "Deserialize");
        let place = self.items.len();
        self.items.push(String::new());
        let mut lines = String::new();
        let mut defaults = String::new();
        let mut renamed = false;
        for (property, schema) in fields.properties {
            let at = format!("{at}/{property}");
            let mut ty = self.of(schema, &at, &format!("{name}{}", camel(property)))?;
            let short = snake(property);
            let mut attributes = Vec::new();
            if short != *property && serde_camel(&short) == *property {
                renamed = true;
            } else if short != *property || serde_camel(&short) != *property {
                attributes.push(format!("rename = {property:?}"));
            }
            let is_null = fields.nullable.is_some_and(|nullable| nullable.contains(property));
            match default_of(&schema.ty) {
                Some(_) if fields.kind == Kind::Parameters => {}
                Some(Absent::Bool(false)) if !is_null => attributes.push("default".to_owned()),
                Some(default) if !is_null => {
                    let function = format!("{}_{short}", snake(name));
                    if matches!(default, Absent::Text(_)) && ty != "String" {
                        return Err(Refused::Default(at));
                    }
                    defaults.push_str(&default.function(&function, &ty));
                    attributes.push(format!("default = {function:?}"));
                }
                _ if is_null || !fields.required.contains(property) => ty = format!("Option<{ty}>"),
                _ => {}
            }
            lines.push_str(&comment(&self.about(schema), "    /// "));
            if !attributes.is_empty() {
                lines.push_str(&format!("    #[serde({})]\n", attributes.join(", ")));
            }
            lines.push_str(&format!("    pub(crate) {}: {ty},\n", field(&short)));
        }
        let mut item = comment(&docs, "/// ") + "#[derive(Deserialize)]\n";
        if renamed {
            item.push_str("#[serde(rename_all = \"camelCase\")]\n");
        }
        item.push_str(&if lines.is_empty() {
            format!("pub(crate) struct {name} {{}}\n")
        } else {
            format!("pub(crate) struct {name} {{\n{lines}}}\n")
        });
        item.push_str(&defaults);
        self.items[place] = item;
        Ok(())
    }

    /// The type of a value. An object or a union inside is called `name`.
    fn of(&mut self, schema: &'c Schema, at: &str, name: &str) -> Result<String, Refused> {
        if let Some(place) = self.choices.as_it_came.iter().find(|place| **place == at) {
            self.chosen.insert(place);
            return Ok(self.json());
        }
        Ok(match &schema.ty {
            Type::Boolean(_) => "bool".to_owned(),
            Type::Integer(integer) => width(integer).to_owned(),
            Type::String(text) => self.text(text, at)?.to_owned(),
            Type::Bytes(_) => self.import("crate::xrpc::types", "Bytes").to_owned(),
            // What reads these reads them from JSON (`data::from_json`).
            Type::CidLink | Type::Blob(_) | Type::Unknown => self.json(),
            Type::Array(array) => format!("Vec<{}>", self.of(&array.items, at, name)?),
            Type::Object(object) => {
                self.object(name, at, self.about(schema), object.into())?;
                name.to_owned()
            }
            Type::Ref(id) => self.reference(id, at)?,
            Type::Union(union) => {
                self.union(name, at, self.about(schema), union)?;
                name.to_owned()
            }
        })
    }

    fn json(&mut self) -> String {
        self.import("serde_json", "Value").to_owned()
    }

    fn text(&mut self, text: &Text, at: &str) -> Result<&'static str, Refused> {
        if let Some(words) = self.choices.words.iter().find(|words| words.place == at) {
            let allowed = text.allowed.as_deref().ok_or_else(|| Refused::NoChoice(at.to_owned()))?;
            if let Some(word) = allowed.iter().find(|word| !(words.reads)(word)) {
                return Err(Refused::Word { at: at.to_owned(), word: word.clone(), path: words.path });
            }
            self.chosen.insert(words.place);
            let (module, name) = words.path.rsplit_once("::").ok_or_else(|| Refused::NoChoice(at.to_owned()))?;
            return Ok(self.import(module, name));
        }
        const IDS: &str = "angel_protocol::ids";
        const SPACES: &str = "angel_protocol::permissioned";
        let (module, name) = match text.format {
            // Its type takes an address to pieces that are put together otherwise: handles in small letters. What is asked
            // for is looked up, and answered, by the text that was sent.
            None | Some(Format::AtUri) => return Ok("String"),
            Some(Format::AtIdentifier) => (IDS, "AtIdentifier"),
            Some(Format::Cid) => (IDS, "CidString"),
            Some(Format::Datetime) => (IDS, "Datetime"),
            Some(Format::Did) => (IDS, "Did"),
            Some(Format::Handle) => (IDS, "Handle"),
            Some(Format::Language) => (IDS, "Language"),
            Some(Format::Nsid) => (IDS, "Nsid"),
            Some(Format::RecordKey) => (IDS, "RecordKey"),
            Some(Format::SpaceRef) => (SPACES, "SpaceUri"),
            Some(Format::SpaceUri) => (SPACES, "SpaceRecordUri"),
            Some(Format::Tid) => (IDS, "Tid"),
            Some(Format::Uri) => (IDS, "Uri"),
        };
        Ok(self.import(module, name))
    }

    /// The type of what is referred to. Objects and unions have one of their own, written once.
    fn reference(&mut self, id: &DefinitionId, at: &str) -> Result<String, Refused> {
        let (catalog, place) = (self.catalog, id.to_string());
        let no_data = |kind| Err(Refused::NoData { at: at.to_owned(), to: place.clone(), kind });
        let name = names::definition(id);
        match catalog.definition(id) {
            None => Err(Refused::Dangling { at: at.to_owned(), to: place }),
            Some(Definition::Token(_)) => Ok("String".to_owned()),
            Some(Definition::Type(schema)) if !matches!(schema.ty, Type::Object(_) | Type::Union(_)) => {
                self.of(schema, &place, &name)
            }
            Some(Definition::Type(_) | Definition::Record(_)) if self.names.get(&name) == Some(&place) => Ok(name),
            Some(Definition::Type(schema)) => self.of(schema, &place, &name),
            Some(Definition::Record(record)) => {
                let docs = record.description.as_deref().map(plain).unwrap_or_default();
                self.object(&name, &place, docs, (&record.object).into())?;
                Ok(name)
            }
            Some(other) => no_data(other.type_name()),
        }
    }

    /// A union, told apart by `$type`.
    fn union(&mut self, name: &str, at: &str, docs: String, union: &'c Union) -> Result<(), Refused> {
        self.take_name(name, at)?;
        self.import("serde", "Deserialize");
        let place = self.items.len();
        self.items.push(String::new());
        let mut lines = String::new();
        for id in &union.refs {
            let ty = self.reference(id, at)?;
            let variant = names::definition(id);
            let about = match self.catalog.definition(id) {
                Some(Definition::Type(schema)) if matches!(schema.ty, Type::Object(_)) => self.about(schema),
                Some(Definition::Record(record)) => record.description.as_deref().map(plain).unwrap_or_default(),
                other => {
                    let kind = other.map_or("nothing", Definition::type_name);
                    return Err(Refused::NoData { at: at.to_owned(), to: id.to_string(), kind });
                }
            };
            lines.push_str(&comment(&about, "    /// "));
            lines.push_str(&format!("    #[serde(rename = \"{id}\")]\n    {variant}({ty}),\n"));
        }
        if !union.closed {
            lines.push_str("    /// Something that the document does not name.\n    #[serde(other)]\n    Other,\n");
        }
        let head = comment(&docs, "/// ") + "#[derive(Deserialize)]\n#[serde(tag = \"$type\")]\n";
        self.items[place] = format!("{head}pub(crate) enum {name} {{\n{lines}}}\n");
        Ok(())
    }

    /// What is said of a value: its own description or that of what it refers to, and its bounds.
    fn about(&self, schema: &Schema) -> String {
        let mut about = schema;
        let mut description = schema.description.as_deref();
        // References are followed until there is a value; a circle of nothing but references says nothing.
        for _ in 0..8 {
            let Type::Ref(id) = &about.ty else { break };
            let Some(Definition::Type(target)) = self.catalog.definition(id) else { break };
            about = target;
            description = description.or(target.description.as_deref());
        }
        sentences([description.map(plain), Some(prose::bounds(about))])
    }

    fn take_name(&mut self, name: &str, at: &str) -> Result<(), Refused> {
        match self.names.insert(name.to_owned(), at.to_owned()) {
            None => Ok(()),
            Some(before) => Err(Refused::NameTaken(before, at.to_owned(), name.to_owned())),
        }
    }

    fn import(&mut self, module: &'static str, name: &'static str) -> &'static str {
        self.imports.entry(module).or_default().insert(name);
        name
    }
}

/// A default that the document gives.
enum Absent<'c> {
    Bool(bool),
    Integer(i64),
    Text(&'c str),
}

fn default_of(ty: &Type) -> Option<Absent<'_>> {
    match ty {
        Type::Boolean(boolean) => boolean.default.map(Absent::Bool),
        Type::Integer(integer) => integer.default.map(Absent::Integer),
        Type::String(text) => text.default.as_deref().map(Absent::Text),
        _ => None,
    }
}

impl Absent<'_> {
    /// The function that gives it.
    fn function(&self, name: &str, ty: &str) -> String {
        let (keyword, value) = match self {
            Self::Bool(value) => ("const fn", value.to_string()),
            Self::Integer(value) => ("const fn", value.to_string()),
            Self::Text(value) => ("fn", format!("{value:?}.to_owned()")),
        };
        format!("\n{keyword} {name}() -> {ty} {{\n    {value}\n}}\n")
    }
}

/// The smallest type without a sign that has room for what the document allows, from 8 bits; 64 bits with a sign for what
/// may be negative.
fn width(integer: &Integer) -> &'static str {
    const NARROW: [(i64, &str); 3] = [(u8::MAX as i64, "u8"), (u16::MAX as i64, "u16"), (u32::MAX as i64, "u32")];
    let (Some(0..), most) = (integer.minimum, integer.maximum) else { return "i64" };
    let narrow = NARROW.iter().find(|(room, _)| most.is_some_and(|most| most <= *room));
    narrow.map_or("u64", |(_, name)| name)
}
