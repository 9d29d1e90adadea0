use serde_json::{Value, json};

use super::super::ast::Document;
use super::super::catalog::Catalog;
use super::super::compile::Schemas;
use super::super::flags::Constraints;
use super::super::format::Format;
use super::*;

fn schemas() -> Schemas {
    let document: Value = json!({
        "lexicon": 1,
        "id": "co.example.list",
        "defs": {
            "main": {
                "type": "query",
                "parameters": {
                    "type": "params",
                    "required": ["who"],
                    "properties": {
                        "who": { "type": "string", "format": "did" },
                        "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 50 },
                        "deep": { "type": "boolean", "default": false },
                        "cursor": { "type": "string", "maxLength": 3 },
                        "tags": { "type": "array", "maxLength": 2, "items": { "type": "string", "maxLength": 3 } },
                    },
                },
                "output": { "encoding": "application/json" },
                "errors": [{ "name": "NotFound" }],
            },
        },
    });
    let mut catalog = Catalog::default();
    catalog.insert(Document::from_json(&document).expect("well written")).expect("the first");
    Schemas::compile(&catalog, &Constraints::default())
}

fn read(pairs: &[(&str, &str)]) -> Result<Parameters, (String, Rule)> {
    let schemas = schemas();
    let method = schemas.method("co.example.list").expect("compiled");
    let parameters = method.parameters(pairs.iter().copied());
    parameters.map_err(|violation| (violation.path.to_string(), violation.rule))
}

const WHO: (&str, &str) = ("who", "did:plc:x");

#[test]
fn text_becomes_typed_and_defaults_apply() {
    let parameters = read(&[WHO, ("limit", "7"), ("tags", "b"), ("tags", "a"), ("unheard", "x")]).expect("valid");
    assert_eq!(parameters.text("who"), Some("did:plc:x"));
    assert_eq!(parameters.integer("limit"), Some(7));
    assert_eq!(parameters.boolean("deep"), Some(false));
    assert_eq!(parameters.text("cursor"), None);
    assert_eq!(parameters.texts("tags").collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(parameters.get("unheard"), None);
    assert_eq!(read(&[WHO]).expect("valid").integer("limit"), Some(50));
    assert_eq!(read(&[WHO]).expect("valid").texts("tags").count(), 0);
}

#[test]
fn refuses_by_reason() {
    let refused = |pairs: &[(&str, &str)], path: &str, rule: Rule| {
        assert_eq!(read(pairs), Err((path.to_owned(), rule)), "{pairs:?}");
    };
    let not = |expected| Rule::WrongType { expected, found: "text" };
    refused(&[], "/who", Rule::Required);
    refused(&[("who", "x")], "/who", Rule::Format(Format::Did));
    refused(&[WHO, WHO], "/who", Rule::Repeated);
    refused(&[WHO, ("limit", "0")], "/limit", Rule::Minimum(1));
    refused(&[WHO, ("limit", "101")], "/limit", Rule::Maximum(100));
    for text in ["", "1.0", "+1", " 1", "99999999999999999999"] {
        refused(&[WHO, ("limit", text)], "/limit", not("an integer"));
    }
    refused(&[WHO, ("deep", "1")], "/deep", not("true or false"));
    refused(&[WHO, ("cursor", "long")], "/cursor", Rule::MaxBytes(3));
    refused(&[WHO, ("tags", "a"), ("tags", "b"), ("tags", "c")], "/tags", Rule::MaxItems(2));
    refused(&[WHO, ("tags", "a"), ("tags", "long")], "/tags/1", Rule::MaxBytes(3));
    let many = vec![("unheard", "x"); XRPC_PARAMETERS_MAX + 1];
    refused(&many, "", Rule::Parameters(XRPC_PARAMETERS_MAX));
}

#[test]
fn a_method_tells_what_it_takes_and_gives() {
    let schemas = schemas();
    let method = schemas.method("co.example.list").expect("compiled");
    assert!(!method.is_procedure());
    assert_eq!((method.input_encoding(), method.output_encoding()), (None, Some("application/json")));
    assert_eq!(method.errors().collect::<Vec<_>>(), ["NotFound"]);
    assert!(schemas.method("co.example.other").is_none());
}
