//! Of small documents, types as they should be; and the sample of every kind is compiled and reads.

use angel_protocol::lexicon::{Catalog, Document};
use serde_json::{Value, json};

use super::names::{camel, field, serde_camel, snake};
use super::prose::{comment, plain, sentences};
use super::{Refused, types};
use crate::xrpc::types::choices::{Choices, Words, reads};

#[allow(dead_code, reason = "not every field is looked at")]
mod sample;

const NONE: Choices = Choices { words: &[], as_it_came: &[], by_hand: &[] };

fn catalog(documents: &[Value]) -> Catalog {
    let mut catalog = Catalog::default();
    for document in documents {
        let document = Document::parse(document.to_string().as_bytes()).expect("a document");
        catalog.insert(document).expect("one of a name");
    }
    catalog
}

/// A procedure that takes an object with these fields.
fn procedure(properties: &Value, required: &Value, others: &[(&str, Value)]) -> Catalog {
    let schema = json!({ "type": "object", "required": required, "properties": properties });
    let main = json!({ "type": "procedure", "input": { "encoding": "application/json", "schema": schema } });
    let mut document = json!({ "lexicon": 1, "id": "a.b.doIt", "defs": { "main": main } });
    for (name, definition) in others {
        document["defs"][name] = definition.clone();
    }
    catalog(&[document])
}

/// What is written of a body with the field `x`, without the lines around it.
fn field_of(schema: &Value, required: bool) -> String {
    let required = if required { json!(["x"]) } else { json!([]) };
    let file = types(&procedure(&json!({ "x": schema }), &required, &[]), "a.b", NONE).expect("has a type");
    let (_, fields) = file.split_once("pub(crate) struct DoItInput {\n").unwrap_or_else(|| panic!("{file}"));
    fields.split_once("}\n").unwrap_or_else(|| panic!("{file}")).0.to_owned()
}

#[test]
fn each_kind_of_value_has_its_type() {
    for (schema, ty) in [
        (json!({ "type": "boolean" }), "bool"),
        (json!({ "type": "string" }), "String"),
        (json!({ "type": "string", "format": "at-identifier" }), "AtIdentifier"),
        (json!({ "type": "string", "format": "cid" }), "CidString"),
        (json!({ "type": "string", "format": "datetime" }), "Datetime"),
        (json!({ "type": "string", "format": "did" }), "Did"),
        (json!({ "type": "string", "format": "handle" }), "Handle"),
        (json!({ "type": "string", "format": "language" }), "Language"),
        (json!({ "type": "string", "format": "nsid" }), "Nsid"),
        (json!({ "type": "string", "format": "record-key" }), "RecordKey"),
        (json!({ "type": "string", "format": "space-ref" }), "SpaceUri"),
        (json!({ "type": "string", "format": "space-uri" }), "SpaceRecordUri"),
        (json!({ "type": "string", "format": "tid" }), "Tid"),
        (json!({ "type": "string", "format": "uri" }), "Uri"),
        (json!({ "type": "bytes" }), "Bytes"),
        (json!({ "type": "unknown" }), "Value"),
        (json!({ "type": "cid-link" }), "Value"),
        (json!({ "type": "blob" }), "Value"),
        (json!({ "type": "array", "items": { "type": "boolean" } }), "Vec<bool>"),
    ] {
        let (needed, optional) = (field_of(&schema, true), field_of(&schema, false));
        assert_eq!(needed.lines().last(), Some(&*format!("    pub(crate) x: {ty},")), "{schema}");
        assert_eq!(optional.lines().last(), Some(&*format!("    pub(crate) x: Option<{ty}>,")), "{schema}");
    }
}

#[test]
fn integers_have_as_much_room_as_they_need() {
    for (bounds, ty) in [
        (json!({}), "i64"),
        (json!({ "maximum": 5 }), "i64"),
        (json!({ "minimum": -1, "maximum": 5 }), "i64"),
        (json!({ "minimum": 0, "maximum": 255 }), "u8"),
        (json!({ "minimum": 1, "maximum": 256 }), "u16"),
        (json!({ "minimum": 0, "maximum": 65_536 }), "u32"),
        (json!({ "minimum": 0, "maximum": 4_294_967_296_i64 }), "u64"),
        (json!({ "minimum": 0 }), "u64"),
    ] {
        let mut schema = bounds.clone();
        schema["type"] = "integer".into();
        let field = field_of(&schema, true);
        assert_eq!(field.lines().last(), Some(&*format!("    pub(crate) x: {ty},")), "{bounds}");
    }
}

#[test]
fn bounds_are_told() {
    let told = |schema: Value| {
        let field = field_of(&schema, false);
        let lines: Vec<_> = field.lines().filter_map(|line| line.strip_prefix("    /// ")).collect();
        lines.join(" ")
    };
    let text = json!({ "type": "string", "description": "A <b> word", "maxLength": 64, "knownValues": ["a", "b"] });
    assert_eq!(told(text), r"A \<b\> word. At most 64 bytes. For example `a`, `b`.");
    let text = json!({ "type": "string", "format": "at-uri", "minLength": 4, "maxLength": 4, "maxGraphemes": 1 });
    assert_eq!(told(text), "An AT URI. Exactly 4 bytes. At most 1 grapheme.");
    let number = json!({ "type": "integer", "minimum": 1, "maximum": 9, "enum": [1, 9] });
    assert_eq!(told(number), "From 1 to 9. One of `1`, `9`.");
    let list = json!({ "type": "array", "minLength": 1, "maxLength": 3, "items": { "type": "string", "enum": ["a"] } });
    assert_eq!(told(list), "From 1 to 3 entries. Each: One of `a`.");
    assert_eq!(told(json!({ "type": "bytes", "minLength": 2 })), "At least 2 bytes.");
    assert_eq!(told(json!({ "type": "integer", "default": 7 })), "When absent, `7`.");
}

#[test]
fn references_are_followed_to_what_has_a_type() {
    let others = [
        ("word", json!({ "type": "string", "format": "did", "description": "Who." })),
        ("token", json!({ "type": "token" })),
        ("list", json!({ "type": "array", "items": { "type": "ref", "ref": "#one" } })),
        ("one", json!({ "type": "object", "properties": { "more": { "type": "ref", "ref": "#list" } } })),
    ];
    let reference = |name: &str| json!({ "type": "ref", "ref": format!("#{name}") });
    let properties =
        json!({ "w": reference("word"), "t": reference("token"), "l": reference("list"), "o": reference("one") });
    let file = types(&procedure(&properties, &json!(["w"]), &others), "a.b", NONE).expect("has a type");
    for line in [
        "    /// Who.\n    pub(crate) w: Did,\n",
        "pub(crate) t: Option<String>,\n",
        "pub(crate) l: Option<Vec<DoItOne>>,\n",
        "pub(crate) o: Option<DoItOne>,\n",
        "pub(crate) struct DoItOne {\n    pub(crate) more: Option<Vec<DoItOne>>,\n}\n",
    ] {
        assert!(file.contains(line), "{line} is not in\n{file}");
    }
    assert_eq!(file.matches("struct DoItOne").count(), 1, "once for all who refer to it");
}

#[test]
fn what_has_no_type_is_refused_by_name() {
    let refusal = |properties: Value, others: &[(&str, Value)], choices: Choices| {
        types(&procedure(&properties, &json!([]), others), "a.b", choices).expect_err("has no type")
    };
    let reference = json!({ "x": { "type": "ref", "ref": "#none" } });
    let (at, to) = ("a.b.doIt/x".to_owned(), "a.b.doIt#none".to_owned());
    assert_eq!(refusal(reference, &[], NONE), Refused::Dangling { at: at.clone(), to });
    let reference = json!({ "x": { "type": "ref", "ref": "a.b.doIt" } });
    let to = "a.b.doIt".to_owned();
    assert_eq!(refusal(reference, &[], NONE), Refused::NoData { at: at.clone(), to, kind: "procedure" });
    let twice = json!({ "x": { "type": "object", "properties": {} }, "o": { "type": "ref", "ref": "#inputX" } });
    let others = [("inputX", json!({ "type": "object", "properties": {} }))];
    assert!(matches!(refusal(twice, &others, NONE), Refused::NameTaken(_, _, name) if name == "DoItInputX"));
    let default = json!({ "x": { "type": "string", "format": "did", "default": "did:web:a.example" } });
    assert_eq!(refusal(default, &[], NONE), Refused::Default(at.clone()));

    let words = json!({ "x": { "type": "string", "enum": ["1", "one"] } });
    let chosen: &[Words] =
        &[Words { place: "a.b.doIt/x", path: "a::Number", reads: |word| word.parse::<u8>().is_ok() }];
    let choices = Choices { words: chosen, ..NONE };
    let word = "one".to_owned();
    assert_eq!(refusal(words, &[], choices), Refused::Word { at: at.clone(), word, path: "a::Number" });
    let open = json!({ "x": { "type": "string", "knownValues": ["1"] } });
    assert_eq!(refusal(open, &[], choices), Refused::NoChoice(at.clone()), "any text may come there");
    let other = json!({ "y": { "type": "string" } });
    assert_eq!(refusal(other.clone(), &[], choices), Refused::NoChoice(at.clone()), "nothing is there");
    let choices = Choices { as_it_came: &["a.b.doIt/x"], ..NONE };
    assert_eq!(refusal(other.clone(), &[], choices), Refused::NoChoice(at));
    let choices = Choices { by_hand: &["a.b.doNothing"], ..NONE };
    assert_eq!(refusal(other, &[], choices), Refused::NoChoice("a.b.doNothing".to_owned()));

    let union = json!({ "type": "union", "refs": [] });
    let main = json!({ "type": "procedure", "input": { "encoding": "application/json", "schema": union } });
    let document = json!({ "lexicon": 1, "id": "a.b.doIt", "defs": { "main": main } });
    assert_eq!(types(&catalog(&[document]), "a.b", NONE), Err(Refused::NoObject("a.b.doIt".to_owned())));
}

#[test]
fn what_is_chosen_counts() {
    let properties = json!({
        "words": { "type": "array", "items": { "type": "string", "enum": ["1", "2"] } },
        "whole": { "type": "object", "properties": { "a": { "type": "string" } } },
    });
    let numbers: &[Words] =
        &[Words { place: "a.b.doIt/words", path: "a::Number", reads: |word| word.parse::<u8>().is_ok() }];
    let choices = Choices { words: numbers, as_it_came: &["a.b.doIt/whole"], by_hand: &[] };
    let catalog = procedure(&properties, &json!(["words"]), &[]);
    let file = types(&catalog, "a.b", choices).expect("has a type");
    assert!(file.contains("use a::Number;\nuse serde::Deserialize;\nuse serde_json::Value;\n"), "{file}");
    assert!(file.contains("pub(crate) words: Vec<Number>,\n"), "{file}");
    assert!(file.contains("pub(crate) whole: Option<Value>,\n") && !file.contains("DoItInputWhole"), "{file}");
    let file = types(&catalog, "a.b", Choices { by_hand: &["a.b.doIt"], ..NONE }).expect("nothing to do");
    assert!(!file.contains("struct"), "{file}");
    assert!(types(&catalog, "a.bc", NONE).is_ok_and(|file| !file.contains("struct")), "of another group");
    assert!(reads::<angel_protocol::spaces::Role>("owner") && !reads::<angel_protocol::spaces::Role>("king"));
}

#[test]
fn names_come_back_as_they_were() {
    for (name, rust) in [("a", "a"), ("toNode", "to_node"), ("last4", "last4"), ("address1Line", "address1_line")] {
        assert_eq!((snake(name), serde_camel(&snake(name))), (rust.to_owned(), name.to_owned()));
    }
    assert_eq!((snake("aURL"), snake("4x"), snake("self")), ("a_url".to_owned(), "_4x".to_owned(), "self_".to_owned()));
    assert_eq!((field("type"), field("typed")), ("r#type".to_owned(), "typed".to_owned()));
    assert_eq!((camel("getRate"), camel("widget-form")), ("GetRate".to_owned(), "WidgetForm".to_owned()));
}

#[test]
fn comments_keep_within_the_width() {
    let long = "word ".repeat(60);
    let text = comment(&long, "    /// ");
    assert!(text.lines().count() == 3 && text.lines().all(|line| line.len() <= 120), "{text}");
    assert_eq!(text.split_whitespace().filter(|word| *word == "word").count(), 60);
    assert_eq!((comment("", "/// "), plain("a[b]")), (String::new(), r"a\[b\]".to_owned()));
    assert_eq!(sentences([Some("One".to_owned()), None, Some(" Two? ".to_owned()), Some(String::new())]), "One. Two?");
}

/// A document of every kind of value. `sample.rs` is what is written of it; it is written anew as the others are.
fn documents() -> Catalog {
    let fields = json!({
        "type": { "type": "string", "description": "Which.", "enum": ["open", "settled"] },
        "howMany": { "type": "integer", "description": "How many.", "minimum": 1, "maximum": 90, "default": 7 },
        "loud": { "type": "boolean", "description": "Whether.", "default": false },
        "sure": { "type": "boolean", "description": "Whether not.", "default": true },
        "said": { "type": "string", "description": "What is said.", "maxLength": 10, "default": "nothing \"much\"" },
        "aURL": { "type": "string", "description": "Where.", "format": "uri" },
        "gone": { "type": "integer", "description": "Perhaps nothing.", "default": 1 },
        "who": { "type": "array", "description": "Who.", "items": { "type": "string", "format": "did" }, "maxLength": 2 },
        "signed": { "type": "bytes", "description": "The signature.", "maxLength": 64 },
        "inside": {
            "type": "object",
            "description": "Something inside.",
            "required": ["self"],
            "properties": { "self": { "type": "integer", "description": "A number." } }
        },
        "one": { "type": "union", "description": "One of them.", "refs": ["#left", "a.b.defs#right"] },
        "only": { "type": "union", "description": "One of these alone.", "refs": ["#left"], "closed": true },
        "any": { "type": "unknown", "description": "Anything." },
    });
    let schema = json!({
        "type": "object", "required": ["type", "who", "gone"], "nullable": ["gone"], "properties": fields
    });
    let left = json!({
        "type": "object", "description": "Left.", "required": ["n"],
        "properties": { "n": { "type": "integer", "description": "How far." } }
    });
    let right = json!({ "type": "object", "description": "Right.", "properties": {} });
    let parameters = json!({
        "type": "params",
        "description": "Which page",
        "properties": {
            "limit": { "type": "integer", "description": "Most.", "minimum": 1, "maximum": 100, "default": 50 },
            "cursor": { "type": "string", "description": "What the page before gave.", "format": "tid" },
        }
    });
    let procedure = json!({ "type": "procedure", "input": { "encoding": "application/json", "schema": schema } });
    catalog(&[
        json!({ "lexicon": 1, "id": "a.b.doIt", "defs": { "main": procedure, "left": left } }),
        json!({ "lexicon": 1, "id": "a.b.list", "defs": { "main": { "type": "query", "parameters": parameters } } }),
        json!({ "lexicon": 1, "id": "a.b.ask", "defs": { "main": { "type": "query" } } }),
        json!({ "lexicon": 1, "id": "a.b.defs", "defs": { "right": right } }),
    ])
}

#[test]
fn the_sample_is_what_is_written() {
    let generated = types(&documents(), "a.b", NONE).expect("has types");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/xrpc/types/generator/tests/sample.rs");
    if std::env::var_os("ANGEL_WRITE_TYPES").is_some() {
        std::fs::write(&path, &generated).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("readable"), generated, "run scripts/types");
}

#[test]
fn the_sample_reads_what_its_document_allows() {
    let body = json!({
        "type": "open", "who": ["did:web:a.example"], "gone": null, "aURL": "https://a.example/",
        "signed": { "$bytes": "YWI=" }, "inside": { "self": 3 }, "any": [1, null], "unknown": 1,
        "one": { "$type": "a.b.doIt#left", "n": 4 }, "only": { "$type": "a.b.doIt#left", "n": 5 },
    });
    let read: sample::DoItInput = serde_json::from_value(body.clone()).expect("fits");
    assert_eq!((read.how_many, read.loud, read.sure, &*read.said), (7, false, true, "nothing \"much\""));
    assert_eq!((&*read.r#type, read.who.len(), read.gone), ("open", 1, None));
    assert_eq!(read.a_url.map(String::from).as_deref(), Some("https://a.example/"));
    assert_eq!(read.signed.and_then(|bytes| bytes.decode()).as_deref(), Some(&b"ab"[..]));
    assert_eq!((read.inside.map(|inside| inside.self_), read.any), (Some(3), Some(json!([1, null]))));
    assert!(matches!(read.one, Some(sample::DoItInputOne::DoItLeft(sample::DoItLeft { n: 4 }))));
    assert!(matches!(read.only, Some(sample::DoItInputOnly::DoItLeft(sample::DoItLeft { n: 5 }))));
    let one = |tag: &str| {
        let mut body = body.clone();
        body["one"] = json!({ "$type": tag });
        serde_json::from_value::<sample::DoItInput>(body).expect("open").one
    };
    assert!(matches!(one("a.b.defs#right"), Some(sample::DoItInputOne::Right(_))));
    assert!(matches!(one("x.y.z"), Some(sample::DoItInputOne::Other)));
    let mut closed = body;
    closed["only"]["$type"] = "x.y.z".into();
    assert!(serde_json::from_value::<sample::DoItInput>(closed).is_err());
    let page: sample::ListParameters = serde_json::from_value(json!({ "limit": 9 })).expect("fits");
    assert_eq!((page.limit, page.cursor), (9, None));
}
