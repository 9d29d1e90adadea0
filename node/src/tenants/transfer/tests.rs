use angel_protocol::data::{self, Block, Codec, cbor};

use angel_protocol::permissioned::SpaceConfig;

use super::import::parse;
use super::*;

fn export(lines: &[Line]) -> Vec<u8> {
    let mut put = Lines::default();
    let mut bytes: Vec<u8> = lines.iter().flat_map(|line| put.line(line)).collect();
    bytes.extend(put.end());
    bytes
}

fn tenant() -> Line {
    let row = serde_json::json!({
        "did": "did:web:one.example", "slug": "one", "name": "One", "owner": "did:web:owner.example",
        "status": "active", "allowance": { "plan": "free" }, "template": "custom", "business_type": "other",
        "created_at": 7, "updated_at": 7, "provisioned_at": null, "log": [],
    });
    Line::Tenant { version: VERSION, row: Box::new(serde_json::from_value(row).expect("a row")) }
}

#[test]
fn an_export_is_read_as_it_was_written_and_one_that_was_changed_is_refused() {
    let value = serde_json::json!({ "$type": "com.example.note", "text": "hi" });
    let cid = Block::new(Codec::DagCbor, cbor::encode(&data::record_from_json(&value).expect("a record"))).cid();
    let path: RepoPath = "com.example.note/a".parse().expect("a path");
    let whole = export(&[tenant(), Line::Record { path: path.clone(), cid, value }]);
    let parsed = parse(&whole).expect("whole");
    assert_eq!((parsed.row.slug.as_str(), parsed.public.len()), ("one", 1));

    let text = String::from_utf8(whole.clone()).expect("text");
    let renamed = text.replace("\"One\"", "\"Two\"");
    assert!(matches!(parse(renamed.as_bytes()), Err(ImportError::NotWhole)));
    let short = whole.len() - 200;
    assert!(parse(&whole[..short]).is_err());
    assert!(matches!(parse(b""), Err(ImportError::NotWhole)));
    assert!(matches!(parse(&export(&[])), Err(ImportError::NotWhole)));
    let other = Line::Record { path, cid, value: serde_json::json!({ "$type": "com.example.note" }) };
    assert!(matches!(parse(&export(&[tenant(), other])), Err(ImportError::OtherRecord(_))));
    let newer = text.replace("\"version\":2", "\"version\":3");
    assert!(matches!(parse(newer.as_bytes()), Err(ImportError::Version(3))));
    assert!(matches!(parse(&export(&[tenant(), tenant()])), Err(ImportError::Line(2, _))));
}

#[test]
fn rooms_are_the_tenants_own_and_named_before_what_is_in_them() {
    let line = |json: serde_json::Value| serde_json::from_value::<Line>(json).expect("a line");
    let value = serde_json::json!({ "$type": "com.example.note", "text": "hi" });
    let cid = Block::new(Codec::DagCbor, cbor::encode(&data::record_from_json(&value).expect("a record"))).cid();
    let own = "at://did:web:one.example/space/co.kendev.spaces.room/a";
    let config = serde_json::to_value(SpaceConfig::default()).expect("JSON");
    let room = |uri: &str| line(serde_json::json!({ "kind": "room", "room": uri, "config": config }));
    let private = |uri: Option<&str>| {
        let path = "com.example.note/a";
        let mut json = serde_json::json!({ "kind": "private", "path": path, "cid": cid.to_string(), "value": value });
        if let Some(uri) = uri {
            json["room"] = uri.into();
        }
        line(json)
    };
    let member = serde_json::json!({ "read": true, "write": true });
    let entrant =
        line(serde_json::json!({ "kind": "entrant", "room": own, "did": "did:web:guest.example", "member": member }));
    let parsed = parse(&export(&[tenant(), room(own), entrant.clone(), private(Some(own)), private(None)]));
    let parsed = parsed.expect("sound");
    let held: Vec<_> = parsed.rooms.values().map(|room| (room.entrants.len(), room.records.len())).collect();
    assert_eq!(held, [(1, 1), (0, 1)], "its room, and its workspace as the form of before has it");

    let foreign = "at://did:web:two.example/space/co.kendev.spaces.room/a";
    for lines in
        [vec![tenant(), room(foreign)], vec![tenant(), private(Some(own))], vec![tenant(), entrant], vec![room(own)]]
    {
        let refused = parse(&export(&lines));
        assert!(matches!(refused, Err(ImportError::Line(..))), "{lines:?} {refused:?}");
    }
}

#[test]
fn what_is_known_of_spaces_has_its_own_name_and_is_nothing_that_others_said() {
    let author: Did = "did:web:author.example".parse().expect("a DID");
    let known = |name: &str, fact: serde_json::Value| {
        let json = serde_json::json!({ "kind": "known", "space": "3kznmn7xqxl22", "name": name, "fact": fact });
        parse(&export(&[tenant(), serde_json::from_value(json).expect("a line")]))
    };
    let hidden = serde_json::json!({ "by": "did:web:one.example", "at": 7, "reason": null });
    let path = "co.kendev.spaces.message/a";
    let hides = serde_json::json!({ "hidden": [author, path, hidden] });
    let name = format!("hidden {author} {path}");
    assert_eq!(known(&name, hides.clone()).expect("sound").known.len(), 1);
    assert!(matches!(known("hidden somebody else", hides), Err(ImportError::Line(2, _))));
    // Words are put into nobody's mouth.
    let heard = serde_json::json!({ "heard": { "author": author, "path": path, "part": 0, "at": 7, "bytes": [1] } });
    assert!(matches!(known(&format!("heard {author} {path} 00000"), heard), Err(ImportError::Line(2, _))));
}
