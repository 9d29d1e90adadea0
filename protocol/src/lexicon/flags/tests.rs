use serde_json::{Value, json};

use super::*;

fn collection(json: Value) -> Collection {
    let mut whole = json!({ "heldIn": ["tenant"], "class": "conditional", "writer": "holder" });
    whole.as_object_mut().expect("a map").extend(json.as_object().expect("a map").clone());
    serde_json::from_value(whole).expect("a collection")
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[test]
fn a_record_is_public_only_when_it_says_so() {
    let when = json!([
        { "field": "access.level", "anyOf": ["public"] },
        { "field": "listed", "anyOf": [true] },
        { "field": "space", "present": true },
    ]);
    let collection = collection(json!({ "publicWhen": when }));
    let visibility = |record: Value| collection.visibility(&record, NOW);
    assert_eq!(
        visibility(json!({ "access": { "level": "public" }, "listed": true, "space": "x" })),
        Visibility::Public
    );
    for doubtful in [
        json!({ "access": { "level": "private" }, "listed": true, "space": "x" }),
        json!({ "access": { "level": "public" }, "listed": false, "space": "x" }),
        json!({ "access": { "level": "public" }, "listed": "true", "space": "x" }),
        json!({ "access": { "level": "public" }, "listed": true }),
        json!({ "access": { "level": "public" }, "listed": true, "space": null }),
        json!({ "access": "public", "listed": true, "space": "x" }),
        json!({}),
        json!(null),
    ] {
        assert_eq!(visibility(doubtful), Visibility::Permissioned);
    }
}

#[test]
fn a_time_must_have_come() {
    let collection = collection(json!({ "publicWhen": [{ "field": "at", "reached": true }] }));
    let visibility = |at: &str| collection.visibility(&json!({ "at": at }), NOW);
    assert_eq!(visibility("2023-11-14T22:13:20Z"), Visibility::Public);
    assert_eq!(visibility("2023-11-14T22:13:20.001Z"), Visibility::Permissioned);
    assert_eq!(visibility("1960-01-01T00:00:00Z"), Visibility::Public);
    assert_eq!(visibility("soon"), Visibility::Permissioned);
}

#[test]
fn a_record_may_depend_on_others() {
    let collection = collection(json!({ "follows": ["space"], "elsewhere": "the plan" }));
    let Visibility::Depends { follows, elsewhere } = collection.visibility(&json!({}), NOW) else { panic!("depends") };
    assert_eq!((follows.len(), elsewhere), (1, Some("the plan")));
}

#[test]
fn finds_what_a_client_may_not_write() {
    let collection = collection(json!({ "nodeWritten": ["status", "lines[].total"], "viewOnly": ["stats.views"] }));
    let found = |record: Value| collection.computed_in(&record).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(found(json!({ "lines": [{ "price": 1 }, { "total": 2 }] })), ["lines[].total"]);
    assert_eq!(found(json!({ "status": null, "lines": [] })), ["status"]);
    assert_eq!(found(json!({ "stats": { "views": 1 } })), ["stats.views"]);
    assert!(found(json!({ "lines": [], "stats": {} })).is_empty());
}
