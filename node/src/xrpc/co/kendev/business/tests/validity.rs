//! Records of this network's collections fit their lexicon and stay small, whatever a client wants, in private as in
//! public; records of others are the client's to judge.

use super::*;

#[tokio::test]
async fn what_is_written_for_a_business_fits_its_lexicon_in_private_and_in_public() {
    let world = World::new().await;
    let space = format!("at://{}/space/co.kendev.tenants.workspace/self", world.tenant);
    let (project, page) = ("co.kendev.business.project", "co.kendev.content.page");
    let made = "2026-11-21T09:00:00.000Z";
    let record = |collection: &str, what: &Value| match collection {
        "co.kendev.content.page" => {
            json!({ "$type": collection, "title": what, "slug": "crane", "tenant": world.tenant,
            "published": true, "pageType": "about", "content": { "text": "A crane." }, "createdAt": made })
        }
        _ => json!({ "$type": collection, "name": what, "status": "planning", "priority": "medium",
            "budget": { "currency": "EUR" }, "tenant": world.tenant, "createdAt": made }),
    };
    let body = |collection: &str, what: &Value, validate: Option<bool>| {
        let mut body = json!({ "repo": world.tenant, "collection": collection, "record": record(collection, what) });
        if collection == page {
            body["record"]["slug"] =
                format!("crane-{}", validate.map_or("as-it-is", |it| if it { "yes" } else { "no" })).into();
        }
        body["space"] = space.as_str().into();
        if let Some(validate) = validate {
            body["validate"] = validate.into();
        }
        body
    };
    for validate in [None, Some(true), Some(false)] {
        for (collection, area) in [(project, "space"), (page, "repo")] {
            let method = format!("com.atproto.{area}.createRecord");
            let right = body(collection, &json!("Crane"), validate);
            let (status, answer) = world.send(Some(&world.owner), &method, Some(&right)).await;
            assert_eq!((status, &answer["validationStatus"]), (200, &json!("valid")), "{answer}");
            let wrong = body(collection, &json!(7), validate);
            let (status, answer) = world.send(Some(&world.owner), &method, Some(&wrong)).await;
            assert_eq!((status, &answer["error"]), (400, &json!("InvalidRequest")), "{area} {validate:?}: {answer}");

            // Nor by the methods that write where something is, or several at once.
            let mut put = wrong.clone();
            put["rkey"] = "3l3aaaaaaaaaa".into();
            let put = world.send(Some(&world.owner), &format!("com.atproto.{area}.putRecord"), Some(&put)).await;
            let write = json!({ "$type": format!("com.atproto.{area}.applyWrites#create"), "collection": collection,
                "value": wrong["record"] });
            let mut several = json!({ "repo": world.tenant, "space": space, "writes": [write] });
            if let Some(validate) = validate {
                several["validate"] = validate.into();
            }
            let several =
                world.send(Some(&world.owner), &format!("com.atproto.{area}.applyWrites"), Some(&several)).await;
            assert_eq!((put.0, several.0), (400, 400), "{area} {validate:?}: {} {}", put.1, several.1);
        }
    }

    // 256 KiB for records of this network, in a field that no lexicon knows; a block for those of others.
    for (collection, area) in [(project, "space"), (page, "repo")] {
        let mut large = body(collection, &json!("Crane"), None);
        large["record"]["more"] = "x".repeat(300 * 1024).into();
        let method = format!("com.atproto.{area}.createRecord");
        let (status, answer) = world.send(Some(&world.owner), &method, Some(&large)).await;
        let told = answer["message"].as_str().unwrap_or_default();
        assert!(status == 400 && told.contains("at most 262144"), "{area}: {status} {told}");
    }
    world.at.stop().await;
}

#[tokio::test]
async fn records_of_others_are_the_clients_to_judge_in_private_as_well() {
    let world = World::new().await;
    let owner = &world.owner;
    let space = json!({ "spaceType": "com.example.notes", "skey": "self",
        "readPolicy": { "$type": "com.atproto.simplespace.defs#memberListPolicy" },
        "writePolicy": { "$type": "com.atproto.simplespace.defs#memberListPolicy" },
        "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
    let (status, space) = world.send(Some(owner), "com.atproto.simplespace.createSpace", Some(&space)).await;
    assert_eq!(status, 200, "{space}");
    let write = async |collection: &str, record: Value, validate: Option<bool>| {
        let mut body = json!({ "space": space["uri"], "repo": owner.did, "collection": collection, "record": record });
        if let Some(validate) = validate {
            body["validate"] = validate.into();
        }
        world.send(Some(owner), "com.atproto.space.createRecord", Some(&body)).await
    };
    let large = json!({ "text": "x".repeat(300 * 1024) });
    let (status, answer) = write("com.example.note", large, None).await;
    assert_eq!((status, &answer["validationStatus"]), (200, &json!("unknown")), "{answer}");
    // Nobody publishes that lexicon, which is found out before it is refused.
    let (status, answer) = write("invalid.example.note", json!({ "text": "a" }), Some(true)).await;
    let told = answer["message"].as_str().unwrap_or_default();
    assert!(status == 400 && told.starts_with("Lexicon not found: lex:invalid.example.note"), "{told}");
    let (status, answer) = write("invalid.example.note", json!({ "text": "a" }), Some(false)).await;
    assert_eq!((status, answer.get("validationStatus")), (200, None), "{answer}");
    world.at.stop().await;
}
