use serde_json::json;

use super::*;
use crate::data::{from_json, record_from_json};
use crate::ids::Nsid;
use crate::lexicon::Schemas;

const NOW: Timestamp = Timestamp::from_millis(1_795_273_200_000);
const DAY: u64 = DAY_MILLIS;

fn ago(millis: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - millis)
}

fn given<'r>(by: &'r str, to: &'r str, content: &'r str, points: u64) -> Recognition<'r> {
    Recognition { by, to, content: Some(content), points, at: ago(40 * DAY), revoked: false }
}

fn wish<'w>(by: &'w str, to: &'w str, content: &'w str) -> Wish<'w> {
    Wish { by, to, kind: "helpful_response", content: Some(content), own_agent: false }
}

fn weigh(wish: Wish<'_>, given: &[Recognition<'_>]) -> Result<Award, Refused> {
    let mut weighing = Weighing::new(wish, NOW)?;
    given.iter().for_each(|one| weighing.add(one));
    weighing.decide()
}

#[test]
fn nobody_recognises_themselves_or_what_is_theirs() {
    assert_eq!(weigh(wish("ada", "ada", "x"), &[]), Err(Refused::Oneself));
    let agent = Wish { own_agent: true, ..wish("ada", "bot", "x") };
    assert_eq!(weigh(agent, &[]), Err(Refused::OwnAgent));
    let unknown = Wish { kind: "applause", ..wish("ada", "bea", "x") };
    assert_eq!(weigh(unknown, &[]), Err(Refused::Unknown));
    let first = Award { points: 20, reciprocal: false, before: 0, after: 20 };
    assert_eq!(weigh(wish("ada", "bea", "x"), &[]), Ok(first));
}

#[test]
fn one_person_recognises_another_once_for_one_thing() {
    let known = [given("ada", "bea", "x", 20)];
    assert_eq!(weigh(wish("ada", "bea", "x"), &known), Err(Refused::Repeated));
    let other_kind = Wish { kind: "quality_content", ..wish("ada", "bea", "x") };
    assert_eq!(weigh(other_kind, &known), Err(Refused::Repeated), "of whichever type");
    for other in [wish("ada", "bea", "y"), wish("ada", "cyd", "x"), wish("cyd", "bea", "x")] {
        assert!(weigh(other, &known).is_ok(), "{other:?}");
    }
    // What is about nothing in particular is one thing.
    let vague = |by| Wish { content: None, ..wish(by, "bea", "") };
    let known = [Recognition { content: None, ..given("ada", "bea", "", 20) }];
    assert_eq!(weigh(vague("ada"), &known), Err(Refused::Repeated));
    assert!(weigh(vague("cyd"), &known).is_ok());
    let back = [Recognition { revoked: true, points: 0, ..known[0] }];
    assert!(weigh(vague("ada"), &back).is_ok(), "what was taken back may be given again");
}

#[test]
fn a_day_has_ten() {
    let people: Vec<_> = (0..10).map(|number| format!("p{number}")).collect();
    let today = |revoked| -> Vec<_> {
        let of = |to| Recognition { at: ago(1), revoked, ..given("ada", to, "x", 20) };
        people.iter().map(|to| of(to.as_str())).collect()
    };
    assert!(weigh(wish("ada", "bea", "x"), &today(false)[..9]).is_ok());
    assert_eq!(weigh(wish("ada", "bea", "x"), &today(false)), Err(Refused::TooMany));
    assert_eq!(weigh(wish("ada", "bea", "x"), &today(true)), Err(Refused::TooMany), "taking back makes no room");
    assert!(weigh(wish("cyd", "bea", "x"), &today(false)).is_ok(), "each has ten");
    // The day is that of UTC, not the last 24 hours.
    let since_midnight = NOW.as_millis() % DAY;
    let mut nine_and_one = today(false);
    nine_and_one[0].at = ago(since_midnight + 1);
    assert!(weigh(wish("ada", "bea", "x"), &nine_and_one).is_ok());
    nine_and_one[0].at = ago(since_midnight);
    assert_eq!(weigh(wish("ada", "bea", "x"), &nine_and_one), Err(Refused::TooMany));
}

#[test]
fn two_who_recognise_each_other_alone_earn_nothing_beyond_the_fifth() {
    let recent = |by, to, content| Recognition { at: ago(29 * DAY), ..given(by, to, content, 20) };
    let mut known = vec![recent("ada", "bea", "1"), recent("bea", "ada", "2"), recent("ada", "bea", "3")];
    known.push(recent("bea", "ada", "4"));
    let fifth = weigh(wish("ada", "bea", "5"), &known).expect("given");
    assert_eq!((fifth.points, fifth.reciprocal), (20, false));
    known.push(recent("ada", "bea", "5"));
    for sixth in [wish("ada", "bea", "6"), wish("bea", "ada", "6")] {
        let award = weigh(sixth, &known).expect("given");
        assert_eq!((award.points, award.reciprocal, award.before), (0, true, award.after), "{sixth:?}");
    }
    // What somebody else does with others, or what is older, makes another story.
    assert!(!weigh(wish("ada", "cyd", "6"), &known).expect("given").reciprocal);
    let mut open = known.clone();
    open.push(recent("bea", "cyd", "7"));
    assert!(!weigh(wish("ada", "bea", "6"), &open).expect("given").reciprocal);
    let mut taken_back = known.clone();
    taken_back.push(Recognition { revoked: true, points: 0, ..recent("bea", "cyd", "7") });
    assert!(weigh(wish("ada", "bea", "6"), &taken_back).expect("given").reciprocal, "a sham is no other");
    let mut older = known.clone();
    older[0].at = ago(30 * DAY);
    assert!(!weigh(wish("ada", "bea", "6"), &older).expect("given").reciprocal);
    let others_about = [known.clone(), vec![recent("cyd", "ada", "8"), recent("cyd", "bea", "8")]].concat();
    assert!(weigh(wish("ada", "bea", "6"), &others_about).expect("given").reciprocal, "what others give is theirs");
    // Thanks that are never returned are no exchange.
    let contents: Vec<_> = (0..9).map(|number| number.to_string()).collect();
    let one_way: Vec<_> = contents.iter().map(|content| recent("ada", "bea", content)).collect();
    assert!(!weigh(wish("ada", "bea", "x"), &one_way).expect("given").reciprocal);
}

#[test]
fn a_thousand_points_make_an_angel() {
    assert!(!is_angel(999) && is_angel(1000));
    let to_bea = |points| [given("cyd", "bea", "y", points), given("cyd", "eve", "y", 5000)];
    let award = |points| weigh(wish("ada", "bea", "x"), &to_bea(points)).expect("given");
    assert_eq!((award(979).after, award(979).makes_angel()), (999, false));
    assert_eq!((award(980).after, award(980).makes_angel()), (1000, true));
    assert!(!award(1000).makes_angel(), "who is one is not made one again");
    let revoked = Recognition { revoked: true, points: 0, ..to_bea(980)[0] };
    assert_eq!(weigh(wish("ada", "bea", "x"), &[revoked]).expect("given").after, 20);
    let most = weigh(wish("ada", "bea", "x"), &to_bea(u64::MAX)).expect("given");
    assert_eq!(most.after, u64::MAX);
}

#[test]
fn what_angels_do_is_recognised_by_angels() {
    let angelic = Wish { kind: ANGELS_OWN, ..wish("ada", "bea", "x") };
    let with = |points| weigh(angelic, &[given("cyd", "ada", "y", points)]);
    assert_eq!(with(999), Err(Refused::NotAnAngel));
    assert_eq!(with(1000).map(|award| award.points), Ok(50));
}

#[test]
fn a_record_says_what_it_counts() {
    let record = json!({ "toUser": "did:web:bea.example", "tenant": "did:web:shop.example", "type": "quality_content",
        "points": 10, "awardedBy": "did:web:ada.example", "awardedAt": "2026-11-21T09:00:00.000Z",
        "createdAt": "2026-11-21T09:00:00.000Z" });
    let value = record_from_json(&record).expect("a record");
    let read = Recognition::read(&value).expect("completed");
    assert_eq!((read.by, read.to, read.content), ("did:web:ada.example", "did:web:bea.example", None));
    assert_eq!((read.points, read.revoked, read.at.to_string()), (10, false, "2026-11-21T09:00:00.000Z".to_owned()));
    let mut back = record.clone();
    back["revokedAt"] = json!("2026-11-22T09:00:00.000Z");
    let value = record_from_json(&back).expect("a record");
    let read = Recognition::read(&value).expect("completed");
    assert_eq!((read.points, read.revoked), (0, true));
    let mut unfinished = record;
    unfinished.as_object_mut().expect("an object").remove("awardedBy");
    assert_eq!(Recognition::read(&record_from_json(&unfinished).expect("a record")), None);
}

#[test]
fn karma_is_told_as_the_person_wants() {
    let account = |privacy| from_json(&json!({ "preferences": { "privacy": privacy } })).expect("of the data model");
    let of = |profile: &str, score: bool| {
        let read = account(json!({ "profileVisibility": profile, "karmaScoreVisible": score }));
        let privacy = Privacy::read(&read);
        (privacy.score, privacy.mark)
    };
    assert_eq!(of("public", true), (true, true));
    assert_eq!(of("members", false), (false, true));
    assert_eq!(of("private", true), (true, false));
    assert_eq!(Privacy::read(&account(json!({}))), Privacy::OPEN);
    assert_eq!(Privacy::OPEN.and(Privacy::CLOSED), Privacy::CLOSED);
    let karma = from_json(&json!({ "score": 7, "guardianAngelStatus": false })).expect("of the data model");
    let told = |privacy: Privacy| {
        let mut figures = Map::from([("karma".to_owned(), karma.clone())]);
        privacy.hide(&mut figures);
        crate::data::to_json(&Value::Map(figures))
    };
    assert_eq!(told(Privacy::OPEN), json!({ "karma": { "score": 7, "guardianAngelStatus": false } }));
    assert_eq!(told(Privacy { score: false, mark: true }), json!({ "karma": { "guardianAngelStatus": false } }));
    assert_eq!(told(Privacy::CLOSED), json!({ "karma": {} }));
}

#[test]
fn every_type_of_the_document_has_its_points() {
    let schema = Schemas::builtin().record(crate::people::RECOGNITION).expect("shipped");
    assert!(crate::people::RECOGNITION.parse::<Nsid>().is_ok());
    let kinds = [
        "helpful_response",
        "quality_content",
        "community_leadership",
        "technical_excellence",
        "guardian_angel_action",
    ];
    assert_eq!(kinds.map(points), [20, 10, 25, 25, 50].map(Some));
    assert_eq!(points("applause"), None);
    for kind in kinds.into_iter().chain(["applause"]) {
        let record = json!({ "$type": crate::people::RECOGNITION, "toUser": "did:web:bea.example",
            "tenant": "did:web:shop.example", "type": kind, "createdAt": "2026-11-21T09:00:00.000Z" });
        let fits = schema.validate(&record_from_json(&record).expect("a record")).is_ok();
        assert_eq!(fits, points(kind).is_some(), "{kind}");
    }
}
