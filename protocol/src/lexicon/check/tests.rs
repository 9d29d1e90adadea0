use serde_json::{Value, json};

use super::*;
use crate::interop;

fn problems(defs: &Value) -> Vec<(String, Problem)> {
    let value = json!({ "lexicon": 1, "id": "co.example.test.thing", "defs": defs });
    let document = Document::from_json(&value).expect("well written");
    check(&document, &Catalog::default()).into_iter().map(|error| (error.path.to_string(), error.problem)).collect()
}

/// What is wrong with a type that stands as the field `a` of an object.
fn of_type(ty: &Value) -> Vec<Problem> {
    let token = json!({ "type": "token" });
    let text = json!({ "type": "string" });
    let defs = json!({ "x": { "type": "object", "properties": { "a": ty } }, "token": token, "text": text });
    problems(&defs).into_iter().map(|(_, problem)| problem).collect()
}

fn id(name: &str) -> DefinitionId {
    DefinitionId { document: "co.example.test.thing".into(), name: name.into() }
}

#[test]
fn follows_the_published_vectors() {
    let judge = |value: &Value| Document::from_json(value).ok().map(|document| check(&document, &Catalog::default()));
    for case in interop::json("lexicon/lexicon-valid.json") {
        assert_eq!(judge(&case["lexicon"]), Some(vec![]), "{}", case["name"]);
    }
    for case in interop::json("lexicon/lexicon-invalid.json") {
        assert_ne!(judge(&case["lexicon"]), Some(vec![]), "{}", case["name"]);
    }
}

#[test]
fn references_must_lead_to_data() {
    let reference = |name: &str| of_type(&json!({ "type": "ref", "ref": name }));
    assert_eq!(reference("#x"), []);
    assert_eq!(reference("co.example.test.thing#text"), []);
    assert_eq!(reference("#nowhere"), [Problem::Unresolved(id("nowhere"))]);
    assert_eq!(reference("#token"), [Problem::WrongTarget(id("token"), "token")]);
    let union = |refs: &[&str], closed: bool| of_type(&json!({ "type": "union", "refs": refs, "closed": closed }));
    assert_eq!(union(&["#x"], true), []);
    assert_eq!(union(&[], false), []);
    assert_eq!(union(&[], true), [Problem::EmptyUnion]);
    assert_eq!(union(&["#text"], false), [Problem::WrongTarget(id("text"), "string")]);
    assert_eq!(union(&["#x", "#x"], false), [Problem::DuplicateVariant(id("x"))]);
}

#[test]
fn references_lead_into_the_catalogue() {
    let parse = |value: &Value| Document::from_json(value).expect("well written");
    let other = parse(&json!({ "lexicon": 1, "id": "co.example.defs", "defs": { "a": { "type": "string" } } }));
    let mut catalog = Catalog::default();
    catalog.insert(other.clone()).expect("the first");
    assert_eq!(catalog.insert(other), Err(super::super::DuplicateDocument("co.example.defs".into())));
    let items = json!({ "type": "ref", "ref": "co.example.defs#a" });
    let defs = json!({ "x": { "type": "array", "items": items } });
    let document = parse(&json!({ "lexicon": 1, "id": "co.example.test.thing", "defs": defs }));
    assert_eq!(check(&document, &catalog), []);
    assert_eq!(check(&document, &Catalog::default()).len(), 1);
}

#[test]
fn bounds_must_be_possible() {
    assert_eq!(of_type(&json!({ "type": "integer", "minimum": 2, "maximum": 1 })), [Problem::Bounds]);
    assert_eq!(of_type(&json!({ "type": "string", "minLength": 2, "maxLength": 1 })), [Problem::Bounds]);
    assert_eq!(of_type(&json!({ "type": "string", "minGraphemes": 2, "maxLength": 1 })), [Problem::Bounds]);
    assert_eq!(of_type(&json!({ "type": "bytes", "minLength": 2, "maxLength": 1 })), [Problem::Bounds]);
    let array = json!({ "type": "array", "items": { "type": "boolean" }, "minLength": 2, "maxLength": 1 });
    assert_eq!(of_type(&array), [Problem::Bounds]);
    assert_eq!(of_type(&json!({ "type": "string", "enum": [] })), [Problem::EmptyEnum]);
    assert_eq!(of_type(&json!({ "type": "integer", "enum": [] })), [Problem::EmptyEnum]);
}

#[test]
fn named_values_must_be_allowed() {
    assert_eq!(of_type(&json!({ "type": "integer", "maximum": 3, "default": 4 })), [Problem::Contradiction]);
    assert_eq!(of_type(&json!({ "type": "integer", "enum": [1, 2], "const": 3 })), [Problem::Contradiction]);
    assert_eq!(of_type(&json!({ "type": "string", "enum": ["a"], "default": "b" })), [Problem::Contradiction]);
    assert_eq!(of_type(&json!({ "type": "string", "format": "did", "const": "x" })), [Problem::Contradiction]);
    assert_eq!(of_type(&json!({ "type": "string", "enum": ["abc"], "maxLength": 2 })), [Problem::Contradiction]);
    assert_eq!(of_type(&json!({ "type": "boolean", "default": true, "const": true })), [Problem::DefaultAndConst]);
    assert_eq!(of_type(&json!({ "type": "integer", "default": 1, "const": 1 })), [Problem::DefaultAndConst]);
}

#[test]
fn names_must_be_usable() {
    let record = json!({ "type": "record", "key": "tid", "record": { "type": "object" } });
    assert_eq!(problems(&json!({ "other": record })), [("/defs/other".to_owned(), Problem::PrimaryNotMain)]);
    assert_eq!(problems(&json!({ "a#b": { "type": "token" } })), [("/defs/a#b".to_owned(), Problem::Name)]);
    let reserved = json!({ "x": { "type": "object", "properties": { "$type": { "type": "string" } } } });
    assert_eq!(problems(&reserved), [("/defs/x/$type".to_owned(), Problem::Name)]);
    let required = json!({ "x": { "type": "object", "required": ["a"], "nullable": ["b"] } });
    let missing = |name: &str| ("/defs/x".to_owned(), Problem::NoSuchField(name.to_owned()));
    assert_eq!(problems(&required), [missing("a"), missing("b")]);
}

#[test]
fn media_types_and_error_names() {
    let blob = |accept: &str| of_type(&json!({ "type": "blob", "accept": [accept] }));
    for sound in ["image/*", "*/*", "image/svg+xml", "text/plain"] {
        assert_eq!(blob(sound), [], "{sound}");
    }
    for broken in ["*", "image", "text/ht*", "*/png", ""] {
        assert_eq!(blob(broken), [Problem::MediaType(broken.to_owned())], "{broken}");
    }
    let query = json!({ "main": { "type": "query", "output": { "encoding": "json" }, "errors": [{ "name": "A" }, { "name": "A" }, { "name": "b c" }] } });
    let found: Vec<_> = problems(&query).into_iter().map(|(_, problem)| problem).collect();
    let names = [Problem::ErrorName("A".to_owned()), Problem::ErrorName("b c".to_owned())];
    assert_eq!(found, [&[Problem::MediaType("json".to_owned())], &names[..]].concat());
}

#[test]
fn permissions_must_grant_something() {
    let reason = |permission: &Value| {
        let mut permission = permission.clone();
        permission["type"] = json!("permission");
        problems(&json!({ "main": { "type": "permission-set", "permissions": [permission] } })).pop().map(|(_, p)| p)
    };
    assert_eq!(reason(&json!({ "resource": "repo", "collection": ["a.b.c"] })), None);
    assert_eq!(reason(&json!({ "resource": "rpc", "lxm": ["a.b.c"], "inheritAud": true })), None);
    for broken in [
        json!({ "resource": "repo", "collection": [] }),
        json!({ "resource": "repo", "collection": ["*"] }),
        json!({ "resource": "repo", "collection": ["a.b.c"], "action": ["read"] }),
        json!({ "resource": "rpc", "lxm": ["a.b.c"] }),
        json!({ "resource": "rpc", "lxm": ["*"], "aud": "*" }),
        json!({ "resource": "rpc", "lxm": ["a.b.c"], "aud": "did:web:a.example#x" }),
    ] {
        assert!(matches!(reason(&broken), Some(Problem::Permission(_))), "{broken}");
    }
    let titled = json!({ "main": { "type": "permission-set", "title:lang": { "de_DE": "x" }, "permissions": [] } });
    assert_eq!(problems(&titled), [("/defs/main".to_owned(), Problem::Language("de_DE".to_owned()))]);
}

#[test]
fn house_style_asks_for_bounds_names_and_words() {
    let style = |defs: &Value| {
        let value = json!({ "lexicon": 1, "id": "co.example.test.thing", "defs": defs });
        let found = check_house_style(&Document::from_json(&value).expect("well written"));
        found.into_iter().map(|error| (error.path.to_string(), error.problem)).collect::<Vec<_>>()
    };
    let record = |field: Value| {
        let object = json!({ "type": "object", "properties": { "a": field } });
        style(&json!({ "main": { "type": "record", "description": "x", "key": "tid", "record": object } }))
    };
    let at = |problem: Problem| vec![("/defs/main/a".to_owned(), problem)];
    assert_eq!(record(json!({ "type": "string", "description": "x", "maxLength": 3 })), []);
    assert_eq!(record(json!({ "type": "boolean" })), at(Problem::Undescribed));
    assert_eq!(record(json!({ "type": "string", "description": "x" })), at(Problem::Unbounded));
    assert_eq!(record(json!({ "type": "bytes", "description": "x" })), at(Problem::Unbounded));
    assert_eq!(record(json!({ "type": "object", "description": "x" })), at(Problem::Anonymous));
    assert_eq!(record(json!({ "type": "unknown", "description": "x" })), at(Problem::Unknown));
    let list = json!({ "type": "array", "description": "x", "items": { "type": "object" } });
    assert_eq!(record(list), [at(Problem::Unbounded), at(Problem::Anonymous)].concat());
    let named = json!({ "Thing": { "type": "token" } });
    let at_thing = |problem| ("/defs/Thing".to_owned(), problem);
    assert_eq!(style(&named), [at_thing(Problem::NameStyle), at_thing(Problem::Undescribed)]);
}

#[test]
fn kinds_of_space_are_named_and_list_collections() {
    let of = |name: &str, space: &Value| {
        let mut space = space.clone();
        space["type"] = json!("space");
        space["key"] = json!("any");
        problems(&json!({ name: space })).into_iter().map(|(_, problem)| problem).collect::<Vec<_>>()
    };
    let sound = json!({ "name": "Forum", "name:lang": { "de": "Forum" }, "collections": ["com.example.thread"] });
    assert_eq!(of("main", &sound), []);
    assert_eq!(of("other", &sound), [Problem::PrimaryNotMain]);
    assert_eq!(of("main", &json!({ "name": "", "collections": [] })), [Problem::SpaceName]);
    assert_eq!(of("main", &json!({ "name": "x".repeat(65), "collections": [] })), [Problem::SpaceName]);
    let languages = json!({ "name": "x", "name:lang": { "no language": "x" }, "collections": [] });
    assert_eq!(of("main", &languages), [Problem::Language("no language".to_owned())]);
    let collections = json!({ "name": "x", "collections": ["com.example.a", "com.example.a", "thread"] });
    let expected = ["com.example.a", "thread"].map(|name| Problem::Collection(name.to_owned()));
    assert_eq!(of("main", &collections), expected);
}
