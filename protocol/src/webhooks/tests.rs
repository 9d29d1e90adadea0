use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::data::from_json;
use crate::ids::{Did, RepoPath};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_call_is_signed_as_the_convention_has_it() {
    // The example of the convention.
    let key = data_encoding::BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
    let at = Timestamp::from_millis(1_614_265_330_999);
    let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn each_hook_and_salt_has_a_secret_of_its_own() {
    let root = [7; 32];
    let texts: std::collections::BTreeSet<String> =
        [("a", 0), ("a", 1), ("b", 0)].map(|(hook, salt)| secret(&root, hook, &[salt; 16]).text().to_string()).into();
    assert_eq!(texts.len(), 3);
    assert_ne!(secret(&[8; 32], "a", &[0; 16]).text(), secret(&root, "a", &[0; 16]).text());
    let text = secret(&root, "a", &[0; 16]).text();
    let key = data_encoding::BASE64.decode(text.strip_prefix("whsec_").expect("its form").as_bytes()).expect("base64");
    assert_eq!(
        sign(&key, "id", START, b"body"),
        secret(&root, "a", &[0; 16]).sign("id", START, b"body"),
        "what staff are told"
    );
    assert_eq!(format!("{:?}", secret(&root, "a", &[0; 16])), "Secret");
}

#[test]
fn what_fails_for_a_day_is_paused_and_a_success_begins_anew() {
    let mut track = Track::default();
    track.answered(START, Answer::Refused, u64::MAX);
    assert_eq!((track.next_at(), track.failing_since()), (Some(START + Duration::from_secs(1)), Some(START)));
    track.answered(START + HOUR * 23, Answer::Refused, u64::MAX);
    assert_eq!(track.paused(), None);
    track.answered(START + HOUR * 23, Answer::Accepted, 0);
    assert_eq!((track.next_at(), track.failing_since()), (None, None));

    // Shortly after a success that did not last the steps go on; the day begins anew.
    let again = START + HOUR * 23 + Duration::from_secs(1);
    track.answered(again, Answer::Refused, u64::MAX);
    assert_eq!(track.next_at(), Some(again + Duration::from_secs(4)));
    track.answered(again + GIVE_UP_AFTER - Duration::from_millis(1), Answer::Refused, u64::MAX);
    assert_eq!((track.paused(), track.next_at()), (None, Some(again + GIVE_UP_AFTER)), "the last try is at the end");
    track.answered(again + GIVE_UP_AFTER, Answer::Refused, 0);
    assert_eq!(track.paused(), Some(Paused { at: again + GIVE_UP_AFTER, why: Why::Failing }));
    track.resume();
    assert_eq!(track, Track::default());
}

#[test]
fn who_is_gone_is_called_no_more_and_what_staff_pause_stays_so() {
    let mut track = Track::default();
    track.answered(START, Answer::of_status(410), 0);
    assert_eq!(track.paused(), Some(Paused { at: START, why: Why::Gone }));
    track.resume();
    track.pause(START, Why::Staff);
    for answer in [Answer::Refused, Answer::Gone, Answer::Accepted] {
        track.answered(START + HOUR, answer, 0);
        assert_eq!(track.paused(), Some(Paused { at: START, why: Why::Staff }), "{answer:?}");
    }
    let statuses = [200, 204, 301, 400, 404, 429, 500].map(Answer::of_status);
    assert_eq!(statuses.map(|answer| answer == Answer::Accepted), [true, true, false, false, false, false, false]);
    assert!(!statuses.contains(&Answer::Gone));
}

proptest! {
    /// Whatever is answered when: waits are bounded, a pause for failing comes after a whole day of failures and not later
    /// than the first try behind it, and a success ends what failed.
    #[test]
    fn calls_are_bounded(steps in prop::collection::vec((0_u64..7_200_000, 0_u8..8, any::<u64>()), 1..200)) {
        let (mut track, mut now, mut first_failure) = (Track::default(), START, None);
        for (late, what, random) in steps {
            // A node may be away and come late; it never comes early.
            now = track.next_at().map_or(now, |next| next.max(now)) + Duration::from_millis(late);
            let answer = if what == 0 { Answer::Accepted } else { Answer::Refused };
            track.answered(now, answer, random);
            if answer == Answer::Accepted {
                first_failure = None;
                prop_assert_eq!(track.failing_since(), None);
                prop_assert_eq!(track.next_at(), None);
                continue;
            }
            let since = *first_failure.get_or_insert(now);
            if let Some(paused) = track.paused() {
                prop_assert_eq!(paused, Paused { at: now, why: Why::Failing });
                prop_assert!(now.since(since) >= GIVE_UP_AFTER);
                return Ok(());
            }
            prop_assert!(now.since(since) < GIVE_UP_AFTER);
            let next = track.next_at().expect("it is tried again");
            prop_assert!(next >= now && next.since(now) <= Policy::default().ceiling);
            prop_assert!(next <= since + GIVE_UP_AFTER);
        }
    }
}

#[test]
fn a_place_is_kept_by_revisions_and_looked_for_from_before_its_time() {
    let rev = Tid::new(1_000_000_000_000, 5);
    let at = Position { rev, rkey: "3k".to_owned() };
    assert!(Position::start() < at && at < Position::behind(rev));
    assert!(Position::behind(rev) < Position { rev: Tid::new(1_000_000_000_001, 0), rkey: String::new() });
    assert_eq!(at.first_key(), Tid::new(1_000_000_000_000 - 120_000_000, 0));
    assert_eq!(Position::start().first_key(), Tid::new(0, 0));
}

fn facts() -> (Did, RepoPath) {
    let path = "co.kendev.spaces.message/3kznmn7xqxl22".parse().expect("a path");
    ("did:web:shop.example".parse().expect("a DID"), path)
}

fn body(call: &Call) -> Json {
    serde_json::from_slice(&call.body).expect("JSON")
}

#[test]
fn an_event_is_told_as_its_message_tells_it() {
    let (tenant, path) = facts();
    let facts = Facts { tenant: &tenant, path: &path };
    let message = json!({
        "messageType": "system", "priority": "high", "createdAt": "2026-11-21T09:00:00.000Z",
        "content": { "type": "system", "text": "order.placed",
            "systemData": { "event": "order.placed", "subject": "at://did:web:shop.example/a.b.c/1",
                "actor": "did:web:ada.example", "data": "{\"node\":\"x\"}" },
            "metadata": "{\"department\":\"sales\",\"other\":1}" },
    });
    let message = from_json(&message).expect("a record");
    let call = of_message(facts, &message, &[]).expect("it is told");
    assert_eq!(call.event, "order.placed");
    assert_eq!(
        body(&call),
        json!({ "type": "order.placed", "timestamp": "2026-11-21T09:00:00.000Z", "data": {
            "tenant": "did:web:shop.example", "message": "at://did:web:shop.example/co.kendev.spaces.message/3kznmn7xqxl22",
            "subject": "at://did:web:shop.example/a.b.c/1", "actor": "did:web:ada.example", "details": { "node": "x" },
            "department": "sales", "priority": "high" } })
    );
    assert_eq!(of_message(facts, &message, &["order.placed".to_owned()]), Some(call.clone()), "and the same each time");
    assert_eq!(of_message(facts, &message, &["order.shipped".to_owned()]), None);
    assert!(call.id.starts_with("msg_") && call.id.len() == 36, "{}", call.id);
    let other: RepoPath = "co.kendev.spaces.message/3kznmn7xqxl2a".parse().expect("a path");
    assert_ne!(of_message(Facts { path: &other, ..facts }, &message, &[]).expect("told").id, call.id);
    let said =
        json!({ "createdAt": "2026-11-21T09:00:00.000Z", "content": { "type": "text", "text": "order.placed" } });
    assert_eq!(of_message(facts, &from_json(&said).expect("a record"), &[]), None, "what people say is no event");
}

#[test]
fn answers_are_brought_to_the_receiver_of_their_form_alone() {
    let (tenant, _) = facts();
    let path: RepoPath = "co.kendev.content.formSubmission/3kznmn7xqxl22".parse().expect("a path");
    let facts = Facts { tenant: &tenant, path: &path };
    let form = "at://did:web:shop.example/co.kendev.content.form/3kznmn7xqxl2a";
    let submission = json!({
        "form": { "uri": form, "cid": "x" }, "answers": [{ "name": "name", "value": "Ada" }], "consentGiven": true,
        "assignedTo": "did:web:ada.example", "lead": "at://x", "createdAt": "2026-11-21T09:00:00.000Z",
    });
    let submission = from_json(&submission).expect("a record");
    let call = of_submission(facts, &submission, form).expect("it is told");
    assert_eq!(
        body(&call)["data"],
        json!({ "tenant": "did:web:shop.example", "form": form, "consentGiven": true,
            "submission": "at://did:web:shop.example/co.kendev.content.formSubmission/3kznmn7xqxl22",
            "answers": [{ "name": "name", "value": "Ada" }] })
    );
    assert_eq!(of_submission(facts, &submission, "at://did:web:shop.example/co.kendev.content.form/other"), None);
}

#[test]
fn a_url_to_call_is_https_and_holds_no_password() {
    for fits in [
        "https://hooks.example/x?token=1",
        "https://hooks.example:8443",
        "https://[2001:db8::1]/x",
        "http://localhost:80/x",
        "http://127.0.0.1/",
        "http://[::1]:3/",
    ] {
        assert_eq!(target_flaw(fits), None, "{fits}");
    }
    for (broken, flaw) in [
        ("http://hooks.example/", TargetFlaw::Scheme),
        ("http://10.0.0.1/", TargetFlaw::Scheme),
        ("ftp://hooks.example/", TargetFlaw::Scheme),
        ("hooks.example", TargetFlaw::Scheme),
        ("https:///x", TargetFlaw::Host),
        ("https://ada:secret@hooks.example/", TargetFlaw::Login),
        ("https://hooks.example/#x", TargetFlaw::Characters),
        ("https://hooks.example\\@10.0.0.1/", TargetFlaw::Characters),
        ("https://hooks.example/a b", TargetFlaw::Characters),
    ] {
        assert_eq!(target_flaw(broken), Some(flaw), "{broken}");
    }
    assert_eq!(target_flaw(&format!("https://hooks.example/{}", "x".repeat(2048))), Some(TargetFlaw::TooLong));
}
