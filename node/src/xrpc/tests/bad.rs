//! Values that a document forbids, made from the document: each breaks one rule of it.

use angel_protocol::lexicon::ast::{Params, Schema, Text, Type};
use angel_protocol::lexicon::{Catalog, Definition, Format};
use serde_json::{Value, json};

/// How far into nested maps and lists rules are broken.
const DEPTH_MAX: usize = 3;

/// Longest text that is tried, in bytes: a longer one says nothing more.
const TEXT_MAX: usize = 20_000;

/// Longest query value that is tried, in bytes: a longer query is refused for its length.
const QUERY_VALUE_MAX: usize = 4_000;

/// Bodies that `schema` forbids.
pub(super) fn bodies(schema: &Schema) -> Vec<Value> {
    values(&schema.ty, 0)
}

fn values(ty: &Type, depth: usize) -> Vec<Value> {
    let mut bad = vec![match ty {
        Type::String(_) => json!(7),
        Type::CidLink | Type::Bytes(_) => json!([]),
        _ => json!("of another type"),
    }];
    match ty {
        Type::Integer(integer) => {
            bad.push(json!(1.5));
            bad.extend(integer.minimum.and_then(|minimum| minimum.checked_sub(1)).map(Value::from));
            bad.extend(integer.maximum.and_then(|maximum| maximum.checked_add(1)).map(Value::from));
        }
        Type::String(text) => bad.extend(texts(text, TEXT_MAX).into_iter().map(Value::String)),
        Type::Bytes(length) => {
            let long = length.max.filter(|max| *max <= TEXT_MAX * 2);
            bad.extend(long.map(|max| json!({ "$bytes": "AAAA".repeat(max / 3 + 1) })));
            bad.push(json!({ "$bytes": "!" }));
        }
        Type::CidLink => bad.push(json!({ "$link": "no CID" })),
        Type::Blob(_) => bad.push(json!({})),
        Type::Array(array) => {
            let long = array.length.max.filter(|max| *max <= 5_000);
            bad.extend(long.map(|max| Value::Array(vec![Value::Null; max + 1])));
            if array.length.min.is_some_and(|min| min > 0) {
                bad.push(json!([]));
            }
            if depth < DEPTH_MAX && array.length.min.is_none_or(|min| min <= 1) {
                bad.extend(values(&array.items.ty, depth + 1).into_iter().map(|item| json!([item])));
            }
        }
        Type::Object(object) if depth < DEPTH_MAX => {
            if !object.required.is_empty() {
                bad.push(json!({}));
            }
            for (name, schema) in &object.properties {
                bad.extend(values(&schema.ty, depth + 1).into_iter().map(|value| json!({ name: value })));
            }
        }
        Type::Ref(id) if depth < DEPTH_MAX => {
            if let Some(Definition::Type(schema)) = Catalog::builtin().definition(id) {
                // A reference is no level of its own.
                bad.extend(values(&schema.ty, depth));
            }
        }
        Type::Union(union) => {
            bad.push(json!({}));
            if union.closed {
                bad.push(json!({ "$type": "com.example.other" }));
            }
        }
        _ => {}
    }
    bad
}

fn texts(text: &Text, longest: usize) -> Vec<String> {
    let long = |max: Option<usize>| max.filter(|max| *max < longest).map(|max| "a".repeat(max + 1));
    let short = |min: Option<usize>| min.and_then(|min| min.checked_sub(1)).map(|length| "a".repeat(length));
    let mut bad = Vec::new();
    bad.extend(long(text.bytes.max));
    bad.extend(long(text.graphemes.max));
    bad.extend(short(text.bytes.min));
    bad.extend(short(text.graphemes.min));
    if text.format.is_some() {
        bad.push("%% is of no form".to_owned());
    }
    if text.allowed.is_some() {
        bad.push("none-of-them".to_owned());
    }
    bad
}

/// Queries that `params` forbid, each with the name of the parameter that is wrong in it.
pub(super) fn queries(params: &Params) -> Vec<(String, Vec<(String, String)>)> {
    let whole: Vec<(String, String)> = params
        .properties
        .iter()
        .filter(|(name, _)| params.required.contains(*name))
        .map(|(name, schema)| (name.clone(), sample(&schema.ty)))
        .collect();
    let others = |name: &str| -> Vec<_> { whole.iter().filter(|(other, _)| other != name).cloned().collect() };
    let mut bad = Vec::new();
    for (name, schema) in &params.properties {
        let mut with = |values: &[String]| {
            let given = values.iter().map(|value| (name.clone(), value.clone()));
            bad.push((name.clone(), others(name).into_iter().chain(given).collect()));
        };
        if params.required.contains(name) {
            with(&[]);
        }
        let (item, list) = match &schema.ty {
            Type::Array(array) => (&array.items.ty, Some(array)),
            ty => (ty, None),
        };
        match item {
            Type::Boolean(_) => with(&["maybe".to_owned()]),
            Type::Integer(integer) => {
                with(&["ten".to_owned()]);
                with(&["1.5".to_owned()]);
                let below = integer.minimum.and_then(|minimum| minimum.checked_sub(1));
                let above = integer.maximum.and_then(|maximum| maximum.checked_add(1));
                [below, above].into_iter().flatten().for_each(|value| with(&[value.to_string()]));
            }
            Type::String(text) => texts(text, QUERY_VALUE_MAX).into_iter().for_each(|value| with(&[value])),
            _ => {}
        }
        match list.map(|array| array.length.max) {
            None => with(&[sample(item), sample(item)]),
            Some(Some(max)) if max < 200 => with(&vec![sample(item); max + 1]),
            Some(_) => {}
        }
    }
    bad
}

/// A value as a parameter has it that breaks no rule.
fn sample(ty: &Type) -> String {
    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    let text = match ty {
        Type::Boolean(_) => "true",
        Type::Integer(integer) => return integer.minimum.unwrap_or(1).to_string(),
        Type::Array(array) => return sample(&array.items.ty),
        Type::String(Text { allowed: Some(allowed), .. }) => return allowed.first().expect("one at least").clone(),
        Type::String(Text { format: Some(format), .. }) => match format {
            Format::AtIdentifier | Format::Did => DID,
            Format::AtUri => return format!("at://{DID}/co.kendev.spaces.space/3jzfcijpj2z2a"),
            Format::Cid => "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
            Format::Datetime => "2026-01-02T03:04:05.678Z",
            Format::Handle => "a.example.com",
            Format::Language => "de",
            Format::Nsid => "com.example.some.thing",
            Format::RecordKey => "self",
            Format::SpaceRef => return format!("at://{DID}/space/com.example.forum/main"),
            Format::SpaceUri => {
                return format!("at://{DID}/space/com.example.forum/main/{DID}/com.example.post/3jzfcijpj2z2a");
            }
            Format::Tid => "3jzfcijpj2z2a",
            Format::Uri => "https://a.example.com/",
        },
        _ => "text",
    };
    text.to_owned()
}
