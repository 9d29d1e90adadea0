use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::data::from_json;
use crate::limits::FORM_ANSWER_CHARS_MAX;

/// 2026-11-21T12:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_262_400_000);

fn form(fields: &Json) -> Value {
    from_json(&json!({ "fields": fields })).expect("of the data model")
}

fn field(name: &str, kind: &str, required: bool, more: Json) -> Json {
    let mut field = json!({ "id": name, "name": name, "label": name, "type": kind, "required": required });
    for (part, value) in more.as_object().into_iter().flatten() {
        field[part] = value.clone();
    }
    field
}

fn said(name: &str, value: &str) -> Answer {
    Answer { name: name.to_owned(), value: Some(value.to_owned()), file: None }
}

/// What is kept of the answer to one question.
fn one(kind: &str, more: Json, value: &str) -> Result<String, String> {
    let kept = check(&form(&json!([field("it", kind, true, more)])), &[said("it", value)], NOW);
    let kept = kept.map_err(|faults| format!("{}: {}", faults[0].path, faults[0].why))?;
    Ok(kept[0].value.clone().expect("a value"))
}

#[test]
fn each_kind_of_question_has_its_answers() {
    let options = json!({ "options": ["red", "blue sky"] });
    for (kind, more, value) in [
        ("text", json!({}), "Ada Lovelace"),
        ("textarea", json!({}), "two\nlines"),
        ("email", json!({}), "ada+forms@mail.example"),
        ("email", json!({}), "ada@bücher.example"),
        ("phone", json!({}), "+49 (30) 123-456"),
        ("select", options.clone(), "blue sky"),
        ("date", json!({}), "2024-02-29"),
        ("checkbox", json!({}), "true"),
    ] {
        assert_eq!(one(kind, more, value), Ok(value.to_owned()), "{kind}");
    }
    assert_eq!(one("text", json!({}), "  Ada "), Ok("Ada".to_owned()), "space around does not count");
    for (kind, value) in [
        ("text", "two\nlines"),
        ("textarea", "a bell\u{7}"),
        ("email", "ada"),
        ("email", "ada@mail"),
        ("email", "ada@mail@example.org"),
        ("email", "ada <ada@mail.example>"),
        ("email", "ada@mail.example\r\nBcc: all@mail.example"),
        ("phone", "call me"),
        ("phone", "12"),
        ("phone", "+49 30 123456 extension"),
        ("select", "blue"),
        ("date", "2023-02-29"),
        ("date", "2023-2-9"),
        ("date", "tomorrow"),
        ("checkbox", "on"),
        ("checkbox", "false"),
    ] {
        let refused = one(kind, options.clone(), value).expect_err(value);
        assert!(refused.starts_with("/answers/0/value: "), "{kind} {value}: {refused}");
        assert!(!refused.contains(value) || kind == "checkbox", "what was answered is not repeated: {refused}");
    }
    let optional = form(&json!([field("it", "checkbox", false, json!({}))]));
    assert_eq!(check(&optional, &[said("it", "false")], NOW), Ok(vec![said("it", "false")]));
}

#[test]
fn bounds_are_characters_days_and_numbers() {
    let bounds =
        |min: i64, max: i64| json!({ "validation": { "min": min, "max": max }, "options": ["1", "5", "9", "many"] });
    for (kind, min, max, value, fits) in [
        ("text", 2, 3, "äöü", true),
        ("text", 2, 3, "a", false),
        ("text", 2, 3, "äöüß", false),
        ("textarea", 2, 3, "👩‍👩‍👧a", true),
        ("select", 2, 7, "5", true),
        ("select", 2, 7, "1", false),
        ("select", 2, 7, "9", false),
        ("select", 2, 7, "many", true),
        ("date", 0, 7, "2026-11-21", true),
        ("date", 0, 7, "2026-11-28", true),
        ("date", 0, 7, "2026-11-20", false),
        ("date", 0, 7, "2026-11-29", false),
        ("date", -7, -1, "2026-11-20", true),
    ] {
        assert_eq!(one(kind, bounds(min, max), value).is_ok(), fits, "{kind} {min} {max} {value}");
    }
    let long = "x".repeat(FORM_ANSWER_CHARS_MAX);
    assert!(one("textarea", json!({}), &long).is_ok());
    assert!(one("textarea", json!({}), &format!("{long}x")).is_err(), "no answer is longer than a record has room for");
}

#[test]
fn a_pattern_matches_the_whole_and_the_form_says_what_is_wrong() {
    let zip = json!({ "validation": { "pattern": "[0-9]{5}|none", "message": "Five digits, please" } });
    assert!(one("text", zip.clone(), "12345").is_ok() && one("text", zip.clone(), "none").is_ok());
    for wrong in ["1234", "123456", "x12345", "12345\n6", "nonesuch"] {
        assert_eq!(one("text", zip.clone(), wrong), Err("/answers/0/value: Five digits, please".to_owned()), "{wrong}");
    }
    // Digits are those that a page takes, and what is escaped otherwise stays.
    let with = |pattern: &str| json!({ "validation": { "pattern": pattern } });
    assert!(one("text", with(r"[\dx]\D\\d"), r"7-\d").is_ok() && one("text", with(r"\d"), "٣").is_err());
    // What backtracking would take years for.
    let slow = json!({ "validation": { "pattern": "(a*)*(a|aa)+$" } });
    assert!(one("text", slow, &format!("{}!", "a".repeat(4000))).is_err());
    let any = json!({ "validation": { "pattern": "(?s).*" } });
    assert!(one("text", any.clone(), &"a".repeat(4096)).is_ok());
    assert!(one("text", any, &"a".repeat(4097)).is_err(), "longer answers are held against no pattern");
    // One that cannot be read refuses nobody who answers; it is refused where the form is written.
    for unreadable in ["(", "a)|(b", r"(a)\1", "(?=a)", "((((a{100}){100}){100}){100})", &"(".repeat(250)] {
        let rule = json!({ "validation": { "pattern": unreadable } });
        let flawed = form(&json!([field("it", "text", true, rule.clone())]));
        assert_eq!(
            flaw(&flawed).map(|(path, _)| path),
            Some("/fields/0/validation/pattern".to_owned()),
            "{unreadable}"
        );
        if unreadable != "a)|(b" {
            assert!(one("text", rule, "whatever").is_ok(), "{unreadable}");
        }
    }
    for readable in
        [r"\w{3,50}", r"[\p{L} '-]+", r"[\w.-]{1,64}", r"[^\d\s]+", ".{2,200}", r"^\+?[0-9 ]+$", "(?i)yes|no"]
    {
        let rule = json!({ "validation": { "pattern": readable } });
        assert_eq!(flaw(&form(&json!([field("it", "text", true, rule)]))), None, "{readable}");
    }
}

#[test]
fn what_is_hidden_is_neither_asked_for_nor_kept() {
    let shown = |when: &str, means: &str| json!({ "conditionalLogic": { when: means } });
    let form = form(&json!([
        field("kind", "select", true, json!({ "options": ["private", "business"] })),
        field("company", "text", true, shown("showIf", "kind = business")),
        field("vat", "text", true, shown("showIf", "company != Acme and kind = business")),
        field("why", "text", false, shown("hideIf", "kind = business")),
        field("news", "checkbox", false, json!({})),
        field("how", "text", true, shown("showIf", "news = true")),
        field("unsubscribed", "text", false, shown("showIf", "news = false")),
    ]));
    let kept = |answers: &[Answer]| {
        let kept =
            check(&form, answers, NOW).map_err(|faults| faults.into_iter().map(|it| it.name).collect::<Vec<_>>());
        kept.map(|kept| kept.into_iter().map(|answer| answer.name).collect::<Vec<_>>())
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(kept(&[said("kind", "private")]), Ok(names(&["kind"])));
    assert_eq!(kept(&[said("kind", "business")]), Err(names(&["company", "vat"])));
    assert_eq!(kept(&[said("kind", "business"), said("company", "Acme")]), Ok(names(&["kind", "company"])));
    // Answers to what is hidden are not kept, however wrong they are, and nothing follows from them.
    let stale = [said("kind", "private"), said("company", "a\u{7}"), said("vat", "DE1"), said("why", "so")];
    assert_eq!(kept(&stale), Ok(names(&["kind", "why"])));
    assert_eq!(kept(&[said("kind", "private"), said("news", "true")]), Err(names(&["how"])));
    assert_eq!(kept(&[said("kind", "private"), said("unsubscribed", "yes")]), Ok(names(&["kind", "unsubscribed"])));
}

#[test]
fn circles_of_conditions_end_and_mean_one_thing() {
    let on = |means: &str| json!({ "conditionalLogic": { "showIf": means } });
    let form = form(&json!([
        field("a", "text", false, on("b = x")),
        field("b", "text", false, on("a = x")),
        field("c", "text", false, on("c != x")),
    ]));
    let kept = check(&form, &[said("a", "x"), said("b", "x"), said("c", "x")], NOW).expect("nothing is required");
    assert_eq!(kept, [said("c", "x")]);
    assert_eq!(check(&form, &kept, NOW), Ok(kept.clone()));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let form = form(&json!([
        field("name", "text", true, json!({})),
        field("picture", "file", false, json!({})),
        field("age", "text", false, json!({})),
    ]));
    let file =
        |name: &str| Answer { name: name.to_owned(), value: None, file: Some("at://did:web:a.example/x/y".to_owned()) };
    let faults = |answers: &[Answer]| {
        let faults = check(&form, answers, NOW).expect_err("wrong");
        faults.into_iter().map(|fault| (fault.path, fault.name)).collect::<Vec<_>>()
    };
    let at = |path: &str, name: &str| (path.to_owned(), name.to_owned());
    assert_eq!(faults(&[]), [at("/answers", "name")]);
    assert_eq!(faults(&[said("name", " \n ")]), [at("/answers", "name")], "space is no answer");
    assert_eq!(faults(&[said("name", "Ada"), said("admin", "yes")]), [at("/answers/1/name", "admin")]);
    assert_eq!(faults(&[said("name", "Ada"), said("name", "Bob")]), [at("/answers/1/name", "name")]);
    assert_eq!(
        faults(&[file("name"), said("picture", "x")]),
        [at("/answers/0/file", "name"), at("/answers/1/value", "picture")]
    );
    assert_eq!(check(&form, &[said("name", "Ada"), file("picture")], NOW).map(|kept| kept.len()), Ok(2));
}

#[test]
fn a_form_that_means_nothing_is_named_with_its_place() {
    let of = |fields: Json| flaw(&form(&fields)).map(|(path, _)| path);
    let plain = |name: &str| field(name, "text", false, json!({}));
    assert_eq!(of(json!([plain("a"), plain("b")])), None);
    assert_eq!(of(json!([plain("a"), plain("a")])), Some("/fields/1/id".to_owned()));
    let mut twice = plain("b");
    twice["name"] = json!("a");
    assert_eq!(of(json!([plain("a"), twice])), Some("/fields/1/name".to_owned()));
    assert_eq!(of(json!([plain(" ")])), Some("/fields/0/id".to_owned()));
    assert_eq!(of(json!([field("a", "select", true, json!({}))])), Some("/fields/0/options".to_owned()));
    let bounds = json!({ "validation": { "min": 2, "max": 1 } });
    assert_eq!(of(json!([field("a", "text", true, bounds)])), Some("/fields/0/validation/max".to_owned()));
    for when in ["showIf", "hideIf"] {
        for (means, fits) in [("a = x", true), ("a", false), ("nobody = x", false), ("a = x or", true)] {
            let form =
                of(json!([plain("a"), field("b", "text", false, json!({ "conditionalLogic": { when: means } }))]));
            assert_eq!(form, (!fits).then(|| format!("/fields/1/conditionalLogic/{when}")), "{means}");
        }
    }
    let many: Vec<_> = (0..=FORM_PATTERNS_MAX)
        .map(|n| field(&format!("f{n}"), "text", false, json!({ "validation": { "pattern": "a" } })))
        .collect();
    assert_eq!(of(json!(many[1..])), None);
    assert_eq!(of(json!(many)), Some(format!("/fields/{FORM_PATTERNS_MAX}/validation/pattern")));
}

#[test]
fn a_lead_learns_what_names_and_kinds_of_questions_tell() {
    let form = form(&json!([
        field("your_name", "text", true, json!({})),
        field("E-Mail", "email", true, json!({})),
        field("second", "email", false, json!({})),
        field("Phone", "phone", false, json!({})),
        field("Job title", "text", false, json!({})),
        field("company", "textarea", false, json!({})),
    ]));
    let told = |answers: &[Answer]| lead::of(&form, answers).map(|told| told.into_iter().collect::<Vec<_>>());
    assert_eq!(told(&[said("your_name", "Ada Lovelace")]), None, "leads are known by their address");
    let all = [
        said("your_name", "Ada King Lovelace"),
        said("E-Mail", "ada@mail.example"),
        said("second", "b@mail.example"),
        said("Phone", "030 1"),
        said("Job title", "Countess"),
        said("company", "none of the kind"),
    ];
    let expected = [
        ("email", "ada@mail.example"),
        ("firstName", "Ada King"),
        ("jobTitle", "Countess"),
        ("lastName", "Lovelace"),
        ("phone", "030 1"),
    ];
    assert_eq!(told(&all), Some(expected.map(|(field, value)| (field, value.to_owned())).to_vec()));
    assert!(lead::says("Ada King Lovelace", "lastName", "Lovelace") && lead::says("Lovelace", "lastName", ""));
    assert!(!lead::says("Ada King Lovelace", "phone", "Lovelace") && lead::says(" 030 1 ", "phone", "030 1"));
    assert_eq!(email(&form, &all), Some("ada@mail.example"));
}

/// Words that meet each other often.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]",
        Just("true".to_owned()),
        Just("2026-11-22".to_owned()),
        Just("x@y.example".to_owned()),
        ".{0,6}"
    ]
}

fn questions_of_all_kinds() -> impl Strategy<Value = Json> {
    let kind = prop_oneof![
        4 => Just("text"),
        1 => prop::sample::select(vec!["email", "phone", "select", "textarea", "file", "date", "checkbox"]),
    ];
    let condition = prop_oneof![
        3 => Just(None),
        4 => ("[a-e]", prop::bool::ANY, word()).prop_map(|(name, is, value)| Some(format!("{name} {} {value}", if is { "=" } else { "!=" }))),
        1 => ".{0,20}".prop_map(Some),
    ];
    let pattern = prop::option::weighted(0.1, prop_oneof![Just("[a-z]*".to_owned()), ".{0,8}"]);
    let question = (
        kind,
        prop::bool::weighted(0.1),
        condition.clone(),
        condition,
        pattern,
        prop::option::weighted(0.1, -1_i64..9),
    );
    prop::collection::vec(question, 0..6).prop_map(|questions| {
        let names = ["a", "b", "c", "d", "e", "a"];
        let fields = questions.into_iter().zip(names).map(|((kind, required, show, hide, pattern, min), name)| {
            let mut field = field(name, kind, required, json!({ "options": ["a", "b", "true"] }));
            for (when, means) in [("showIf", show), ("hideIf", hide)] {
                if let Some(means) = means {
                    field["conditionalLogic"][when] = means.into();
                }
            }
            if let Some(pattern) = pattern {
                field["validation"]["pattern"] = pattern.into();
            }
            if let Some(min) = min {
                field["validation"]["min"] = min.into();
            }
            field
        });
        json!(fields.collect::<Vec<_>>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_kept_is_of_questions_that_are_shown_and_passes_again(
        fields in questions_of_all_kinds(),
        answers in prop::collection::btree_map("[a-e]", word(), 0..6),
    ) {
        let form = form(&fields);
        let answers: Vec<_> = answers.iter().map(|(name, value)| said(name, value)).collect();
        let Ok(kept) = check(&form, &answers, NOW) else { return Ok(()) };
        prop_assert_eq!(check(&form, &kept, NOW), Ok(kept.clone()));
        let asked = questions(&form);
        for answer in &kept {
            let question = asked.iter().find(|question| question.name == answer.name);
            let question = question.expect("a question of the form");
            prop_assert!(answers.iter().any(|sent| sent.name == answer.name));
            // By what is kept, and by nothing else, it is shown.
            let says = |name: &str| {
                let ticks = asked.iter().any(|other| other.name == name && other.kind == Kind::Checkbox);
                let value = kept.iter().find(|kept| kept.name == name).and_then(|kept| kept.value.as_deref());
                value.unwrap_or(if ticks { "false" } else { "" })
            };
            let of_itself = |condition: &Condition<'_>| circles(&asked, condition, question.name);
            if let Some(condition) = question.show_if.as_ref().filter(|condition| !of_itself(condition)) {
                prop_assert!(condition.holds(says), "{} is shown", question.name);
            }
            if let Some(condition) = question.hide_if.as_ref().filter(|condition| !of_itself(condition)) {
                prop_assert!(!condition.holds(says), "{} is not hidden", question.name);
            }
        }
        for question in asked.iter().filter(|question| question.required && question.show_if.is_none() && question.hide_if.is_none()) {
            prop_assert!(kept.iter().any(|answer| answer.name == question.name), "{} is required", question.name);
        }
    }
}

/// Whether a condition leads back to a question, by whatever way: there it is not the answers alone that say what is shown.
fn circles(asked: &[Question<'_>], condition: &Condition<'_>, name: &str) -> bool {
    let mut reached: BTreeSet<&str> = condition.names().collect();
    loop {
        let ahead: BTreeSet<&str> = asked
            .iter()
            .filter(|question| reached.contains(question.name))
            .flat_map(|question| question.show_if.iter().chain(&question.hide_if).flat_map(Condition::names))
            .chain(reached.iter().copied())
            .collect();
        if ahead.len() == reached.len() {
            return reached.contains(name);
        }
        reached = ahead;
    }
}
