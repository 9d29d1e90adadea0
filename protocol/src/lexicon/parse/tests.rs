use serde_json::{Value, json};

use super::*;
use crate::interop;

/// A document with one definition under `main`.
fn document(main: &Value) -> Value {
    json!({ "lexicon": 1, "id": "co.example.test.thing", "defs": { "main": main } })
}

fn refusal(value: &Value) -> (String, Malformation) {
    let error = Document::from_json(value).expect_err("must be refused");
    (error.path.to_string(), error.malformation)
}

fn record(properties: &Value) -> Value {
    document(&json!({ "type": "record", "key": "tid", "record": { "type": "object", "properties": properties } }))
}

#[test]
fn follows_the_published_vectors() {
    for case in interop::json("lexicon/lexicon-valid.json") {
        assert!(Document::from_json(&case["lexicon"]).is_ok(), "{}", case["name"]);
    }
    for file in ["permission-set", "procedure", "query", "record", "subscription"] {
        if let Some(text) = interop::text(&format!("lexicon/catalog/{file}.json")) {
            assert!(Document::parse(text.as_bytes()).is_ok(), "{file}");
        }
    }
}

#[test]
fn reads_every_part_of_a_record() {
    let value = record(&json!({
        "text": { "type": "string", "maxGraphemes": 3, "maxLength": 30, "knownValues": ["a"] },
        "list": { "type": "array", "maxLength": 2, "items": { "type": "ref", "ref": "#other" } },
        "any": { "type": "union", "refs": ["#other", "co.example.defs#thing"], "closed": true },
    }));
    let document = Document::from_json(&value).expect("sound");
    let Some(Definition::Record(record)) = document.main() else { panic!("a record") };
    assert_eq!(record.key, RecordKeyType::Tid);
    let Type::String(text) = &record.object.properties["text"].ty else { panic!("a string") };
    assert_eq!((text.graphemes.max, text.bytes.max, text.known.len()), (Some(3), Some(30), 1));
    let Type::Union(union) = &record.object.properties["any"].ty else { panic!("a union") };
    let names: Vec<_> = union.refs.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["co.example.test.thing#other", "co.example.defs#thing"]);
    assert!(union.closed);
}

#[test]
fn a_misspelt_key_is_refused_where_it_stands() {
    let value = record(&json!({ "text": { "type": "string", "maxLenght": 3 } }));
    let expected = Malformation::UnknownKey("maxLenght".to_owned());
    assert_eq!(refusal(&value), ("/defs/main/record/properties/text".to_owned(), expected));
    let mut value = document(&json!({ "type": "token" }));
    value["x-extension"] = json!({});
    assert_eq!(refusal(&value), (String::new(), Malformation::UnknownKey("x-extension".to_owned())));
}

#[test]
fn refuses_by_reason() {
    let at_main = |main: Value| refusal(&document(&main));
    let main = "/defs/main".to_owned();
    assert_eq!(at_main(json!({ "type": "thing" })), (main.clone(), Malformation::UnknownType("thing".to_owned())));
    assert_eq!(
        at_main(json!({ "type": "ref", "ref": "#a" })),
        (main.clone(), Malformation::MisplacedType("ref".into()))
    );
    assert_eq!(at_main(json!({ "type": "unknown" })), (main.clone(), Malformation::MisplacedType("unknown".into())));
    assert_eq!(at_main(json!({})), (main.clone(), Malformation::MissingKey("type")));
    assert_eq!(at_main(json!({ "type": "record", "record": {} })), (main.clone(), Malformation::MissingKey("key")));
    let format = json!({ "type": "string", "format": "email" });
    assert_eq!(at_main(format), ("/defs/main/format".to_owned(), Malformation::UnknownFormat("email".to_owned())));
    let key = json!({ "type": "record", "key": "literal:", "record": { "type": "object" } });
    assert_eq!(at_main(key), ("/defs/main/key".to_owned(), Malformation::RecordKey));
    let length = json!({ "type": "string", "maxLength": -1 });
    assert_eq!(at_main(length), ("/defs/main/maxLength".to_owned(), Malformation::Kind("a whole number, 0 or more")));
    let object = json!({ "type": "query", "input": {} });
    assert_eq!(at_main(object), (main, Malformation::UnknownKey("input".to_owned())));
    let scalar =
        json!({ "type": "query", "parameters": { "type": "params", "properties": { "a": { "type": "blob" } } } });
    let expected = Malformation::MisplacedType("blob".to_owned());
    assert_eq!(at_main(scalar), ("/defs/main/parameters/properties/a".to_owned(), expected));
    let stream = json!({ "type": "subscription", "message": { "schema": { "type": "object" } } });
    let expected = Malformation::MisplacedType("object".to_owned());
    assert_eq!(at_main(stream), ("/defs/main/message/schema".to_owned(), expected));
}

#[test]
fn a_kind_of_space_says_what_is_in_it() {
    let main = json!({
        "type": "space", "key": "literal:self", "name": "Notes", "name:lang": { "de": "Notizen" },
        "collections": ["com.example.note"],
    });
    let read = Document::from_json(&document(&main)).expect("sound");
    let Some(Definition::Space(space)) = read.main() else { panic!("{read:?}") };
    assert_eq!((space.name.as_str(), space.collections.as_slice()), ("Notes", &["com.example.note".to_owned()][..]));
    assert!(space.key.accepts("self") && !space.key.accepts("other"));
    assert_eq!(space.names.get("de").map(String::as_str), Some("Notizen"));
    for key in ["key", "name", "collections"] {
        let mut cut = main.clone();
        cut.as_object_mut().expect("a map").remove(key);
        assert_eq!(refusal(&document(&cut)), ("/defs/main".to_owned(), Malformation::MissingKey(key)));
    }
    let mut more = main;
    more["members"] = json!([]);
    assert_eq!(refusal(&document(&more)).1, Malformation::UnknownKey("members".to_owned()));
}

#[test]
fn refuses_what_is_no_document_at_all() {
    let mut value = document(&json!({ "type": "token" }));
    value["lexicon"] = json!(2);
    assert_eq!(refusal(&value), ("/lexicon".to_owned(), Malformation::Version));
    value["lexicon"] = json!(1);
    value["id"] = json!("thing");
    assert_eq!(refusal(&value), ("/id".to_owned(), Malformation::Id));
    value["id"] = json!(2);
    assert_eq!(refusal(&value), ("/id".to_owned(), Malformation::Kind("text")));
    let empty = json!({ "lexicon": 1, "id": "co.example.test.thing", "defs": {} });
    assert_eq!(refusal(&empty), ("/defs".to_owned(), Malformation::Empty));
    assert!(matches!(Document::parse(b"{").expect_err("cut").malformation, Malformation::NotJson(_)));
    let huge = vec![b' '; LEXICON_DOCUMENT_BYTES_MAX + 1];
    assert_eq!(Document::parse(&huge).expect_err("huge").malformation, Malformation::TooLarge);
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: u32| {
        let inner = json!({ "type": "integer" });
        document(&(0..levels).fold(inner, |items, _| json!({ "type": "array", "items": items })))
    };
    assert!(Document::from_json(&nested(LEXICON_NESTING_MAX)).is_ok());
    assert_eq!(refusal(&nested(LEXICON_NESTING_MAX + 1)).1, Malformation::Nesting);
}

#[test]
fn a_permission_that_is_not_understood_grants_nothing() {
    let permission = |permission: Value| {
        let value = document(&json!({ "type": "permission-set", "permissions": [permission] }));
        match Document::from_json(&value).expect("sound").main() {
            Some(Definition::PermissionSet(set)) => set.permissions.clone(),
            _ => panic!("a permission set"),
        }
    };
    let repo = json!({ "type": "permission", "resource": "repo", "collection": ["a.b.c"], "action": ["create"] });
    let expected = Permission::Repo { collections: vec!["a.b.c".to_owned()], actions: vec!["create".to_owned()] };
    assert_eq!(permission(repo.clone()), [expected]);
    let mut narrowed = repo;
    narrowed["until"] = json!("2027-01-01");
    assert_eq!(permission(narrowed), [Permission::Unrecognised]);
    assert_eq!(permission(json!({ "type": "permission", "resource": "blob" })), [Permission::Unrecognised]);
}
