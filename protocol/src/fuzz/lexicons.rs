//! Lexicon documents, records against them, and the parameters of requests.

use bolero::check;

use super::bend::bend;
use crate::data::record_from_json;
use crate::lexicon::flags::Constraints;
use crate::lexicon::{Catalog, Document, Schemas, check as check_soundness};

const MESSAGE: &str = r#"{"$type":"app.bsky.feed.post","text":"The new bay is free from nine.","langs":["en"],"tags":["bay"],
    "facets":[{"index":{"byteStart":0,"byteEnd":3},"features":[{"$type":"app.bsky.richtext.facet#tag","tag":"bay"}]}],
    "reply":{"root":{"uri":"at://did:plc:yk4dd2qkboz2yv6tpubpc6co/app.bsky.feed.post/3kznmn7xqxl22",
    "cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},"parent":{"uri":
    "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/app.bsky.feed.post/3kznmn7xqxl22",
    "cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}},"createdAt":"2026-11-21T09:00:00.000Z"}"#;

const DOCUMENT: &str = r##"{"lexicon":1,"id":"com.example.thing","defs":{"main":{"type":"record","key":"tid","record":{"type":"object",
    "required":["text"],"properties":{"text":{"type":"string","maxLength":30,"maxGraphemes":10},"n":{"type":"integer","minimum":0},
    "part":{"type":"ref","ref":"#part"},"any":{"type":"union","refs":["#part"]},"list":{"type":"array","items":{"type":"ref","ref":"#part"},
    "maxLength":3}}}},"part":{"type":"object","properties":{"self":{"type":"ref","ref":"#part"},"blob":{"type":"blob","accept":["image/*"]}}}}}"##;

#[test]
fn a_record_is_judged_alike_as_json_and_as_data() {
    let schema = Schemas::builtin().record("app.bsky.feed.post").expect("shipped");
    check!().for_each(|input: &[u8]| {
        let Ok(json) = serde_json::from_slice(&bend(MESSAGE.as_bytes(), input)) else { return };
        let verdict = schema.validate(&json);
        if let Ok(data) = record_from_json(&json) {
            assert_eq!(verdict.is_ok(), schema.validate(&data).is_ok(), "{json}");
        }
    });
}

#[test]
fn any_document_is_read_checked_and_compiled_within_bounds() {
    let record = serde_json::json!({ "$type": "com.example.thing", "text": "a", "part": { "self": { "self": {} } } });
    check!().for_each(|input: &[u8]| {
        let Ok(document) = Document::parse(&bend(DOCUMENT.as_bytes(), input)) else { return };
        let mut catalog = Catalog::default();
        drop(check_soundness(&document, &catalog));
        catalog.replace(document);
        let schemas = Schemas::compile(&catalog, &Constraints::default());
        for collection in schemas.collections() {
            drop(schemas.record(collection).map(|schema| schema.validate(&record)));
        }
    });
}

#[test]
fn parameters_are_read_or_refused() {
    let method = Schemas::builtin().method("co.kendev.network.listNodes").expect("shipped");
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let bent = bend(b"limit=50&cursor=did:key:z6Mk&limit=3", input);
        let bent = String::from_utf8_lossy(&bent);
        for query in [&*text, &*bent] {
            if let Ok(parameters) = method.parameters(query.split('&').filter_map(|pair| pair.split_once('='))) {
                assert!(parameters.integer("limit").is_none_or(|limit| (1..=1000).contains(&limit)));
            }
        }
    });
}
