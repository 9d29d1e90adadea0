use serde_json::{Value, json};

use super::super::ast::Document;
use super::super::catalog::Catalog;
use super::super::flags::Constraints;
use super::*;
use crate::data::from_json;
use crate::interop;

fn schemas(documents: &[Value], constraints: &Constraints) -> Schemas {
    let mut catalog = Catalog::default();
    for document in documents {
        catalog.insert(Document::from_json(document).expect("well written")).expect("one of each");
    }
    Schemas::compile(&catalog, constraints)
}

/// A collection with the one field `a`, and a few definitions to refer to.
fn with_field(field: &Value) -> Schemas {
    let object = json!({ "type": "object", "properties": { "a": field }, "nullable": ["n"] });
    let document = json!({
        "lexicon": 1,
        "id": "co.example.thing",
        "defs": {
            "main": { "type": "record", "key": "tid", "record": object },
            "one": { "type": "object", "required": ["x"], "properties": { "x": { "type": "integer" } } },
            "two": { "type": "object", "properties": { "more": { "type": "ref", "ref": "#two" } } },
        },
    });
    schemas(&[document], &Constraints::default())
}

/// Validates `{"a": value}` in both encodings, which must agree.
fn judge(schemas: &Schemas, value: &Value) -> Result<(), (String, Rule)> {
    let record = json!({ "$type": "co.example.thing", "a": value });
    let schema = schemas.record("co.example.thing").expect("compiled");
    let in_json = schema.validate(&record);
    if let Ok(data) = from_json(&record) {
        assert_eq!(schema.validate(&data), in_json, "both encodings of {record}");
    }
    in_json.map_err(|violation| (violation.path.to_string(), violation.rule))
}

fn assert_field(field: &Value, accepted: &[Value], refused: &[(Value, Rule)]) {
    let schemas = with_field(field);
    for value in accepted {
        assert_eq!(judge(&schemas, value), Ok(()), "{field} must accept {value}");
    }
    for (value, rule) in refused {
        assert_eq!(judge(&schemas, value), Err(("/a".to_owned(), rule.clone())), "{field} must refuse {value}");
    }
}

fn wrong_type(expected: &'static str, found: &'static str) -> Rule {
    Rule::WrongType { expected, found }
}

#[test]
fn follows_the_published_vectors() {
    let mut catalog = Catalog::default();
    for file in ["permission-set", "procedure", "query", "record", "subscription"] {
        let Some(text) = interop::text(&format!("lexicon/catalog/{file}.json")) else { return };
        catalog.insert(Document::parse(text.as_bytes()).expect("well written")).expect("one of each");
    }
    let schemas = Schemas::compile(&catalog, &Constraints::default());
    let record = schemas.record("example.lexicon.record").expect("compiled");
    let judge = |case: &Value| {
        let rkey = case["rkey"].as_str().expect("a record key");
        record.validate_key(rkey).and_then(|()| record.validate(&case["data"]))
    };
    for case in interop::json("lexicon/record-data-valid.json") {
        assert_eq!(judge(&case), Ok(()), "{}", case["name"]);
    }
    for case in interop::json("lexicon/record-data-invalid.json") {
        assert!(judge(&case).is_err(), "{}", case["name"]);
    }
}

#[test]
fn scalars() {
    assert_field(
        &json!({ "type": "boolean", "const": true }),
        &[json!(true)],
        &[(json!(false), Rule::Constant), (json!(1), wrong_type("a boolean", "an integer"))],
    );
    assert_field(
        &json!({ "type": "integer", "minimum": -1, "maximum": 5 }),
        &[json!(-1), json!(5), json!(3.0)],
        &[
            (json!(-2), Rule::Minimum(-1)),
            (json!(6), Rule::Maximum(5)),
            (json!(0.5), Rule::Malformed(Malformed::Float)),
            (json!(u64::MAX), Rule::Malformed(Malformed::IntegerRange)),
            (json!("1"), wrong_type("an integer", "text")),
            (json!(null), wrong_type("an integer", "null")),
        ],
    );
    assert_field(&json!({ "type": "integer", "enum": [4, 9] }), &[json!(9)], &[(json!(5), Rule::Enum)]);
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    assert_field(
        &json!({ "type": "cid-link" }),
        &[json!({ "$link": cid })],
        &[(json!({ "$link": "x" }), Rule::Malformed(Malformed::Link)), (json!(cid), wrong_type("a link", "text"))],
    );
    assert_field(
        &json!({ "type": "bytes", "minLength": 1, "maxLength": 2 }),
        &[json!({ "$bytes": "YQ" }), json!({ "$bytes": "YWI=" })],
        &[
            (json!({ "$bytes": "" }), Rule::MinBytes(1)),
            (json!({ "$bytes": "YWJj" }), Rule::MaxBytes(2)),
            (json!({ "$bytes": "!" }), Rule::Malformed(Malformed::Bytes)),
            (json!("YQ"), wrong_type("bytes", "text")),
        ],
    );
}

#[test]
fn texts() {
    let family = "👩‍👩‍👦‍👦";
    assert_field(
        &json!({ "type": "string", "minLength": 2, "maxLength": 60, "minGraphemes": 1, "maxGraphemes": 2 }),
        &[json!("ab"), json!(family), json!(family.repeat(2)), json!("\r\n\r\n"), json!("e\u{301}e\u{301}")],
        &[
            (json!("a"), Rule::MinBytes(2)),
            (json!("abc"), Rule::MaxGraphemes(2)),
            (json!(family.repeat(3)), Rule::MaxBytes(60)),
            (json!("e\u{301}".repeat(3)), Rule::MaxGraphemes(2)),
        ],
    );
    assert_field(
        &json!({ "type": "string", "minGraphemes": 2 }),
        &[json!("ab"), json!(family.repeat(2))],
        &[(json!(family), Rule::MinGraphemes(2)), (json!(""), Rule::MinGraphemes(2))],
    );
    assert_field(
        &json!({ "type": "string", "enum": ["rock", "fish"] }),
        &[json!("rock"), json!("fish")],
        &[(json!("tree"), Rule::Enum)],
    );
    assert_field(&json!({ "type": "string", "const": "x" }), &[json!("x")], &[(json!("y"), Rule::Constant)]);
    assert_field(
        &json!({ "type": "string", "format": "datetime" }),
        &[json!("2026-11-21T09:00:00Z")],
        &[(json!("2026-11-21"), Rule::Format(Format::Datetime))],
    );
}

#[test]
fn lists_and_maps() {
    let schemas =
        with_field(&json!({ "type": "array", "minLength": 1, "maxLength": 2, "items": { "type": "integer" } }));
    assert_eq!(judge(&schemas, &json!([1, 2])), Ok(()));
    assert_eq!(judge(&schemas, &json!([])), Err(("/a".to_owned(), Rule::MinItems(1))));
    assert_eq!(judge(&schemas, &json!([1, 2, 3])), Err(("/a".to_owned(), Rule::MaxItems(2))));
    assert_eq!(judge(&schemas, &json!([1, true])), Err(("/a/1".to_owned(), wrong_type("an integer", "a boolean"))));

    let schemas = with_field(&json!({ "type": "ref", "ref": "#one" }));
    assert_eq!(judge(&schemas, &json!({ "x": 1, "other": [null, { "y": "z" }] })), Ok(()));
    assert_eq!(judge(&schemas, &json!({ "y": 1 })), Err(("/a/x".to_owned(), Rule::Required)));
    assert_eq!(judge(&schemas, &json!({ "x": null })), Err(("/a/x".to_owned(), wrong_type("an integer", "null"))));
    assert_eq!(judge(&schemas, &json!([])), Err(("/a".to_owned(), wrong_type("a map", "a list"))));
}

#[test]
fn unknown_fields_must_still_be_data() {
    let schemas = with_field(&json!({ "type": "ref", "ref": "#two" }));
    let refused = |value: Value, path: &str, reason: Malformed| {
        assert_eq!(judge(&schemas, &value), Err((path.to_owned(), Rule::Malformed(reason))));
    };
    refused(json!({ "extra": [1, 0.5] }), "/a/extra/1", Malformed::Float);
    refused(json!({ "extra": { "$bytes": 1 } }), "/a/extra", Malformed::Bytes);
    refused(json!({ "extra": { "$type": "" } }), "/a/extra/$type", Malformed::TypeTag);
    refused(json!({ "extra": { "$type": "blob", "size": 1 } }), "/a/extra", Malformed::Blob);
    refused(json!({ "$type": 1 }), "/a/$type", Malformed::TypeTag);
}

#[test]
fn unions() {
    let open = with_field(&json!({ "type": "union", "refs": ["#one", "#two"] }));
    let one = "co.example.thing#one";
    assert_eq!(judge(&open, &json!({ "$type": one, "x": 1 })), Ok(()));
    assert_eq!(judge(&open, &json!({ "$type": one })), Err(("/a/x".to_owned(), Rule::Required)));
    assert_eq!(judge(&open, &json!({ "$type": "co.example.other", "x": "anything" })), Ok(()));
    assert_eq!(judge(&open, &json!({ "x": 1 })), Err(("/a".to_owned(), Rule::TypeRequired)));
    assert_eq!(judge(&open, &json!(1)), Err(("/a".to_owned(), wrong_type("a map with a $type", "an integer"))));
    let foreign = json!({ "$type": "co.example.other", "x": 0.5 });
    assert_eq!(judge(&open, &foreign), Err(("/a/x".to_owned(), Rule::Malformed(Malformed::Float))));
    let closed = with_field(&json!({ "type": "union", "refs": ["#one"], "closed": true }));
    assert_eq!(judge(&closed, &json!({ "$type": "co.example.thing#two" })), Err(("/a/$type".to_owned(), Rule::Union)));
}

#[test]
fn unknown_is_any_map_but_no_link_and_no_blob() {
    let schemas = with_field(&json!({ "type": "unknown" }));
    assert_eq!(judge(&schemas, &json!({ "x": [1, null, { "y": "z" }] })), Ok(()));
    for (value, found) in [(json!(false), "a boolean"), (json!({ "$bytes": "123" }), "bytes"), (json!([]), "a list")] {
        assert_eq!(judge(&schemas, &value), Err(("/a".to_owned(), wrong_type("a map", found))));
    }
    assert_eq!(judge(&schemas, &json!({ "$type": "blob" })), Err(("/a".to_owned(), wrong_type("a map", "a map"))));
}

#[test]
fn blobs() {
    let link = json!({ "$link": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku" });
    let blob = |kind: &str, size: i64| json!({ "$type": "blob", "ref": link, "mimeType": kind, "size": size });
    assert_field(
        &json!({ "type": "blob", "accept": ["image/*", "text/plain"], "maxSize": 20 }),
        &[blob("image/png", 20), blob("text/plain; charset=utf-8", 1)],
        &[
            (blob("image/png", 21), Rule::BlobSize(20)),
            (blob("image/png", 0), Rule::Malformed(Malformed::Blob)),
            (blob("", 1), Rule::Malformed(Malformed::Blob)),
            (blob("image/", 1), Rule::BlobType),
            (blob("text/html", 1), Rule::BlobType),
            (json!({ "ref": link, "mimeType": "image/png", "size": 1 }), Rule::Malformed(Malformed::Blob)),
            (json!("x"), wrong_type("a blob", "text")),
        ],
    );
}

#[test]
fn nesting_is_bounded_even_where_a_type_contains_itself() {
    let schemas = with_field(&json!({ "type": "ref", "ref": "#two" }));
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "more": inner }));
    // The record itself and the innermost map are levels too.
    assert_eq!(judge(&schemas, &nested(DATA_DEPTH_MAX - 2)), Ok(()));
    let (_, rule) = judge(&schemas, &nested(DATA_DEPTH_MAX - 1)).expect_err("too deep");
    assert_eq!(rule, Rule::Depth(DATA_DEPTH_MAX));
}

#[test]
fn a_record_names_its_type_and_its_key() {
    let schemas = with_field(&json!({ "type": "integer" }));
    let schema = schemas.record("co.example.thing").expect("compiled");
    let rule = |record: Value| schema.validate(&record).expect_err("refused");
    assert_eq!(rule(json!({})).rule, Rule::TypeRequired);
    assert_eq!(rule(json!({ "$type": "co.example.other" })).rule, Rule::TypeMismatch("co.example.thing".into()));
    assert_eq!(
        rule(json!({ "$type": "co.example.other" })).to_string(),
        "/$type: must have the $type co.example.thing"
    );
    assert_eq!(rule(json!([])).to_string(), "the value: must be a map, not a list");
    assert_eq!(schema.validate_key("3kznmn7xqxl22"), Ok(()));
    assert_eq!(schema.validate_key("self").expect_err("no TID").rule, Rule::RecordKey("a timestamp identifier".into()));
    assert!(schemas.record("co.example.other").is_none());
}

#[test]
fn a_dangling_reference_refuses_the_value_that_needs_it() {
    let schemas = with_field(&json!({ "type": "ref", "ref": "co.example.elsewhere#x" }));
    let rule = Rule::UnknownDefinition("co.example.elsewhere#x".into());
    assert_eq!(judge(&schemas, &json!({})), Err(("/a".to_owned(), rule)));
}

#[test]
fn constraints_bind_texts_and_references() {
    let strong = json!({
        "lexicon": 1,
        "id": "co.example.strong",
        "defs": { "main": { "type": "object", "required": ["uri"], "properties": { "uri": { "type": "string", "format": "at-uri" } } } },
    });
    let field = json!({ "type": "string" });
    let strong_ref = json!({ "type": "ref", "ref": "co.example.strong" });
    let list = json!({ "type": "array", "items": { "type": "string", "format": "at-uri" } });
    let properties = json!({ "slug": field, "pinned": strong_ref, "loose": strong_ref, "list": list });
    let record = json!({ "type": "record", "key": "tid", "record": { "type": "object", "properties": properties } });
    let thing = json!({ "lexicon": 1, "id": "co.example.thing", "defs": { "main": record } });
    let constraints: Constraints = serde_json::from_value(json!({
        "texts": { "co.example.thing#main.slug": "slug" },
        "references": { "co.example.thing#main.pinned": "co.example.thing", "co.example.thing#main.list": "co.example.thing" },
    }))
    .expect("constraints");
    let schemas = schemas(&[strong, thing], &constraints);
    let schema = schemas.record("co.example.thing").expect("compiled");
    let judge = |field: &str, value: Value| {
        let violation = schema.validate(&json!({ "$type": "co.example.thing", field: value }));
        violation.map_err(|violation| (violation.path.to_string(), violation.rule))
    };
    let (right, wrong) = ("at://did:plc:x/co.example.thing/a", "at://did:plc:x/co.example.other/a");
    let collection = || Rule::Collection("co.example.thing".into());
    assert_eq!(judge("slug", json!("a-b")), Ok(()));
    let rule = Rule::Text(super::super::TextCheck::Slug);
    assert_eq!(judge("slug", json!("A")), Err(("/slug".to_owned(), rule)));
    assert_eq!(judge("pinned", json!({ "uri": right })), Ok(()));
    assert_eq!(judge("pinned", json!({ "uri": wrong })), Err(("/pinned/uri".to_owned(), collection())));
    assert_eq!(judge("loose", json!({ "uri": wrong })), Ok(()));
    assert_eq!(judge("list", json!([right])), Ok(()));
    assert_eq!(judge("list", json!([right, wrong])), Err(("/list/1".to_owned(), collection())));
    let whole = "at://did:plc:x/co.example.thing";
    assert_eq!(judge("list", json!([whole])), Err(("/list/0".to_owned(), collection())));
}
