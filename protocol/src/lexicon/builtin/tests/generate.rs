//! Values made from a document: valid ones, and ones that break exactly one rule.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::super::ast::{
    Array, Definition, DefinitionId, Document, Integer, Length, MAIN, Object, Schema, Text, Type,
};
use super::super::super::catalog::Catalog;
use super::super::super::flags::Flags;
use super::super::super::format::Format;
use super::super::super::text_check::TextCheck;
use super::super::super::value::{DataModel, Malformed};
use super::super::super::violation::Rule;

const CID: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

/// Deeper than this only what is required is made.
const FULL_DEPTH: usize = 6;

/// A type with the definition and the field it stands for, references followed.
#[derive(Clone)]
struct Place {
    schema: &'static Schema,
    /// For constraints.
    definition: DefinitionId,
    property: Option<String>,
    /// The collection that the `uri` of a strong reference points into.
    pinned: Option<&'static str>,
}

impl Place {
    fn field(&self, name: &str, schema: &'static Schema) -> Self {
        Self { schema, property: Some(name.to_owned()), ..self.clone() }.followed()
    }

    fn item(&self, array: &'static Array) -> Self {
        Self { schema: &array.items, ..self.clone() }.followed()
    }

    fn followed(self) -> Self {
        let Type::Ref(id) = &self.schema.ty else { return self };
        let pinned = Flags::builtin().constraints.collection(&self.definition, self.property.as_deref());
        match Catalog::builtin().definition(id) {
            Some(Definition::Type(schema)) => Self { schema, definition: id.clone(), property: None, pinned },
            _ => panic!("{id} is no type"),
        }
    }

    fn collection(&self) -> Option<&'static str> {
        let named = Flags::builtin().constraints.collection(&self.definition, self.property.as_deref());
        named.or(self.pinned.filter(|_| self.property.as_deref() == Some("uri")))
    }

    fn text_check(&self) -> Option<TextCheck> {
        Flags::builtin().constraints.text_check(&self.definition, self.property.as_deref())
    }
}

fn record_object(collection: &str) -> (&'static Object, Place) {
    let document: &'static Document = Catalog::builtin().get(collection).expect("shipped");
    let definition = DefinitionId { document: collection.into(), name: MAIN.into() };
    let Some(Definition::Record(record)) = document.main() else { panic!("{collection} is no record") };
    // The schema of the place is never looked at: only what it says about where one is.
    let (_, any) = record.object.properties.iter().next().expect("a record has fields");
    (&record.object, Place { schema: any, definition, property: None, pinned: None })
}

/// Makes valid values, the same ones for the same seed.
pub(crate) struct Generator {
    state: u64,
    /// Whether every field is made, and every list has something in it.
    whole: bool,
}

impl Generator {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed, whole: false }
    }

    /// One that leaves nothing out, and makes nothing very long.
    pub(crate) const fn whole(seed: u64) -> Self {
        Self { state: seed, whole: true }
    }

    /// A number below `end` (SplitMix64).
    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).expect("below a usize")
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }

    pub(crate) fn record(&mut self, collection: &str) -> Value {
        let (object, place) = record_object(collection);
        let mut record = self.object(object, &place, 0);
        record.insert("$type".to_owned(), json!(collection));
        Value::Object(record)
    }

    fn object(&mut self, object: &'static Object, place: &Place, depth: usize) -> Map<String, Value> {
        let mut made = Map::new();
        for (name, schema) in &object.properties {
            if object.required.contains(name) || (depth < FULL_DEPTH && (self.whole || self.below(4) > 0)) {
                made.insert(name.clone(), self.value(&place.field(name, schema), depth));
            }
        }
        if !self.whole && self.below(4) == 0 {
            made.insert("xUnheardOf".to_owned(), json!({ "any": [null, "thing", { "$link": CID }] }));
        }
        made
    }

    fn value(&mut self, place: &Place, depth: usize) -> Value {
        match &place.schema.ty {
            Type::Boolean(_) => json!(self.below(2) == 0),
            Type::Integer(integer) => self.integer(integer),
            Type::String(text) => json!(self.text(text, place)),
            Type::Bytes(length) => {
                let count = self.length(*length, 96);
                json!({ "$bytes": data_encoding::BASE64.encode(&vec![7; count]) })
            }
            Type::CidLink => json!({ "$link": CID }),
            Type::Blob(_) => {
                json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "image/png", "size": 1 + self.below(9) })
            }
            Type::Array(array) => {
                let item = place.item(array);
                if let (true, Type::Union(union)) = (self.whole, &item.schema.ty) {
                    return union.refs.iter().map(|id| self.variant(id, depth + 1)).collect();
                }
                let count =
                    if self.whole { array.length.min.unwrap_or(1).max(1) } else { self.length(array.length, 3) };
                (0..count).map(|_| self.value(&item, depth + 1)).collect()
            }
            Type::Object(object) => Value::Object(self.object(object, place, depth + 1)),
            Type::Union(union) => {
                let id = self.pick(&union.refs).clone();
                self.variant(&id, depth)
            }
            Type::Unknown => json!({ "any": "thing" }),
            Type::Ref(id) => panic!("{id} was not followed"),
        }
    }

    fn variant(&mut self, id: &DefinitionId, depth: usize) -> Value {
        let Some(Definition::Type(schema)) = Catalog::builtin().definition(id) else { panic!("{id}") };
        let variant = Place { schema, definition: id.clone(), property: None, pinned: None };
        let mut made = self.value(&variant, depth);
        made["$type"] = json!(id.to_string());
        made
    }

    fn integer(&mut self, integer: &Integer) -> Value {
        let (low, high) = (integer.minimum.unwrap_or(-5), integer.maximum.unwrap_or(i64::MAX));
        json!(match self.below(3) {
            0 => low,
            1 => high,
            _ => low.saturating_add(i64::try_from(self.below(100)).expect("small")).min(high),
        })
    }

    fn length(&mut self, bounds: Length, most: usize) -> usize {
        let min = bounds.min.unwrap_or_default();
        min + self.below(bounds.max.unwrap_or(usize::MAX).min(min.max(most)) - min + 1)
    }

    fn text(&mut self, text: &Text, place: &Place) -> String {
        if let Some(allowed) = &text.allowed {
            return self.pick(allowed).clone();
        }
        if let Some(check) = place.text_check() {
            return (*self.pick(samples_of(check))).to_owned();
        }
        if let Some(collection) = place.collection() {
            return format!("at://did:plc:l3rouwludahu3ui3bt66mfvj/{collection}/3kznmn7xqxl22");
        }
        if let Some(format) = text.format {
            return (*self.pick(samples_of_format(format))).to_owned();
        }
        if !text.known.is_empty() {
            let word = if self.below(4) == 0 { "sundial" } else { self.pick(&text.known) };
            return word.to_owned();
        }
        // Clusters of one, two, four and nine bytes; a text of ours has room for ten bytes each.
        let cluster = if text.graphemes.max.is_some() { *self.pick(&["a", "é", "🦀", "🇩🇪🇩"]) } else { "a" };
        let cluster = if cluster.len() > 8 { "🇩🇪" } else { cluster };
        let count = match text.graphemes.max {
            // The longest now and then only: some fields have room for 200 KB.
            Some(max) if !self.whole && self.below(8) == 0 => max,
            _ if self.whole => 1,
            _ => self.length(if text.graphemes.max.is_some() { text.graphemes } else { text.bytes }, 40),
        };
        cluster.repeat(count)
    }
}

fn samples_of(check: TextCheck) -> &'static [&'static str] {
    match check {
        TextCheck::Slug => &["a", "a-slug-1", "0"],
        TextCheck::Colour => &["#00ff7F", "#000000"],
        TextCheck::TimeOfDay => &["00:00", "23:59"],
        TextCheck::TimeZone => &["UTC", "Europe/Berlin"],
        TextCheck::Currency => &["EUR", "USD"],
        TextCheck::Email => &["a@b.example"],
        TextCheck::Json => &["{\"a\": [1, null]}", "1"],
        TextCheck::Latitude => &["52.5200066", "-90"],
        TextCheck::Longitude => &["13.404954", "-180.0"],
        TextCheck::Https => &["https://print.example/api"],
        TextCheck::Month => &["2026-11"],
        TextCheck::Domain => &["shop.example", "a-b.c.example"],
        TextCheck::LastFour => &["0042"],
    }
}

fn samples_of_format(format: Format) -> &'static [&'static str] {
    match format {
        Format::AtIdentifier => &["a.example", "did:plc:l3rouwludahu3ui3bt66mfvj"],
        Format::AtUri => &["at://did:plc:x/co.kendev.spaces.message/3kznmn7xqxl22", "at://a.example"],
        Format::Cid => &[CID],
        Format::Datetime => &["2026-11-21T09:00:00.000Z", "1985-04-12T23:20:50+01:00"],
        Format::Did => &["did:plc:l3rouwludahu3ui3bt66mfvj", "did:web:node.example"],
        Format::Handle => &["a.example"],
        Format::Language => &["en", "pt-BR"],
        Format::Nsid => &["co.kendev.spaces.message"],
        Format::RecordKey => &["self", "3kznmn7xqxl22"],
        Format::SpaceRef => &["at://did:plc:x/space/com.example.forum/self"],
        Format::SpaceUri => &["at://did:plc:x/space/com.example.forum/self/did:plc:y/com.example.post/3kznmn7xqxl22"],
        Format::Tid => &["3kznmn7xqxl22"],
        Format::Uri => &["https://a.example/x?y=z", "mailto:a@b.example"],
    }
}

/// One change to a value that breaks one rule.
pub(crate) struct Mutation {
    /// Where the change is made.
    at: String,
    /// What is put there; nothing, when the field is taken away.
    put: Option<Value>,
    /// Where the refusal must point.
    pub(crate) path: String,
    /// What the refusal must say.
    pub(crate) rule: Rule,
}

impl Mutation {
    /// Shows the broken record to `judge`; afterwards the record is whole again.
    pub(crate) fn judge<T>(&self, record: &mut Value, judge: impl FnOnce(&Value) -> T) -> T {
        let Some(value) = &self.put else {
            let (around, name) = self.at.rsplit_once('/').expect("a field");
            let taken = fields(record, around).remove(name).expect("a field that is there");
            let verdict = judge(record);
            fields(record, around).insert(name.to_owned(), taken);
            return verdict;
        };
        let whole = std::mem::replace(record.pointer_mut(&self.at).expect("a place in it"), value.clone());
        let verdict = judge(record);
        *record.pointer_mut(&self.at).expect("just put") = whole;
        verdict
    }
}

/// The fields of the map at a place in the record.
fn fields<'r>(record: &'r mut Value, at: &str) -> &'r mut Map<String, Value> {
    record.pointer_mut(at).and_then(Value::as_object_mut).expect("a map in the record")
}

/// Every way to break one rule at one place of `record`.
pub(crate) fn mutations(collection: &str, record: &Value) -> Vec<Mutation> {
    let mut found = Mutations { list: Vec::new() };
    let (object, place) = record_object(collection);
    found.remove("/$type", Rule::TypeRequired, "");
    found.put("/$type", json!("co.kendev.other"), Rule::TypeMismatch(collection.into()));
    found.object(object, &place, record, "");
    found.list
}

struct Mutations {
    list: Vec<Mutation>,
}

impl Mutations {
    fn put(&mut self, at: &str, value: Value, rule: Rule) {
        self.list.push(Mutation { at: at.to_owned(), put: Some(value), path: at.to_owned(), rule });
    }

    fn remove(&mut self, at: &str, rule: Rule, path: &str) {
        self.list.push(Mutation { at: at.to_owned(), put: None, path: path.to_owned(), rule });
    }

    fn object(&mut self, object: &'static Object, place: &Place, value: &Value, at: &str) {
        let map: BTreeMap<_, _> = value.as_object().expect("a map").iter().collect();
        for (name, schema) in &object.properties {
            let Some(value) = map.get(name) else { continue };
            let at = format!("{at}/{name}");
            if object.required.contains(name) {
                self.remove(&at, Rule::Required, &at);
            }
            self.value(&place.field(name, schema), value, &at);
        }
    }

    fn value(&mut self, place: &Place, value: &Value, at: &str) {
        let expected = described(&place.schema.ty);
        let wrong = if expected == "a boolean" { json!("true") } else { json!(true) };
        for wrong in [wrong, json!(null)] {
            let found = wrong.view().describe();
            self.put(at, wrong, Rule::WrongType { expected, found });
        }
        self.put(at, json!(0.5), Rule::Malformed(Malformed::Float));
        match &place.schema.ty {
            Type::Integer(integer) => self.integer(integer, at),
            Type::String(text) => self.text(text, place, at),
            Type::Bytes(length) => {
                let max = length.max.expect("bounded");
                let bytes = data_encoding::BASE64.encode(&vec![7; max + 1]);
                self.put(at, json!({ "$bytes": bytes }), Rule::MaxBytes(max));
            }
            Type::Blob(blob) => {
                let max = blob.size_max.expect("bounded");
                self.put(&format!("{at}/size"), json!(max + 1), Rule::BlobSize(max));
                self.list.last_mut().expect("just put").path = at.to_owned();
                self.remove(&format!("{at}/ref"), Rule::Malformed(Malformed::Blob), at);
            }
            Type::Array(array) => self.array(array, place, value, at),
            Type::Object(object) => self.object(object, place, value, at),
            Type::Union(_) => {
                self.remove(&format!("{at}/$type"), Rule::TypeRequired, at);
                let tag = value["$type"].as_str().expect("a tag");
                let (document, name) = tag.split_once('#').unwrap_or((tag, "main"));
                let definition = DefinitionId { document: document.into(), name: name.into() };
                let Some(Definition::Type(schema)) = Catalog::builtin().definition(&definition) else {
                    panic!("{tag}")
                };
                let Type::Object(object) = &schema.ty else { panic!("{tag}") };
                self.object(object, &Place { schema, definition, property: None, pinned: None }, value, at);
            }
            Type::Boolean(_) | Type::CidLink | Type::Unknown => {}
            Type::Ref(id) => panic!("{id} was not followed"),
        }
    }

    fn integer(&mut self, integer: &Integer, at: &str) {
        if let Some(minimum) = integer.minimum {
            self.put(at, json!(minimum - 1), Rule::Minimum(minimum));
        }
        if let Some(maximum) = integer.maximum {
            self.put(at, json!(maximum + 1), Rule::Maximum(maximum));
        }
        self.put(at, json!(u64::MAX), Rule::Malformed(Malformed::IntegerRange));
    }

    fn text(&mut self, text: &Text, place: &Place, at: &str) {
        if let Some(max) = text.bytes.max {
            self.put(at, json!("x".repeat(max + 1)), Rule::MaxBytes(max));
        }
        if let Some(max) = text.graphemes.max {
            self.put(at, json!("é".repeat(max + 1)), Rule::MaxGraphemes(max));
        }
        if text.allowed.is_some() {
            self.put(at, json!("no such value"), Rule::Enum);
        }
        if let Some(format) = text.format {
            self.put(at, json!("not of any format"), Rule::Format(format));
        }
        if let Some(check) = place.text_check() {
            // One text is a URI, so that the format lets it through to the check.
            let wrong = if check == TextCheck::Https { "http://a.example" } else { "!" };
            self.put(at, json!(wrong), Rule::Text(check));
        }
        if let Some(collection) = place.collection() {
            self.put(at, json!("at://did:plc:x/co.kendev.other/a"), Rule::Collection(collection.into()));
        }
    }

    fn array(&mut self, array: &'static Array, place: &Place, value: &Value, at: &str) {
        let items = value.as_array().expect("a list");
        let item = place.item(array);
        let sample = items.first().cloned().unwrap_or_else(|| Generator::new(0).value(&item, FULL_DEPTH));
        let max = array.length.max;
        if let Some(max) = max {
            self.put(at, Value::Array(vec![sample.clone(); max + 1]), Rule::MaxItems(max));
        }
        if let Some(min) = array.length.min.filter(|min| *min > 0) {
            self.put(at, Value::Array(vec![sample; min - 1]), Rule::MinItems(min));
        }
        if let Type::Union(_) = &item.schema.ty {
            let each = items.iter().enumerate();
            return each.for_each(|(index, value)| self.value(&item, value, &format!("{at}/{index}")));
        }
        // The last element stands for all: a check that stops at the first would miss it.
        if let Some((value, before)) = items.split_last() {
            self.value(&item, value, &format!("{at}/{}", before.len()));
        }
    }
}

/// How a refusal names the type.
fn described(ty: &Type) -> &'static str {
    match ty {
        Type::Boolean(_) => "a boolean",
        Type::Integer(_) => "an integer",
        Type::String(_) => "text",
        Type::Bytes(_) => "bytes",
        Type::CidLink => "a link",
        Type::Blob(_) => "a blob",
        Type::Array(_) => "a list",
        Type::Object(_) | Type::Unknown => "a map",
        Type::Union(_) => "a map with a $type",
        Type::Ref(id) => panic!("{id} was not followed"),
    }
}
