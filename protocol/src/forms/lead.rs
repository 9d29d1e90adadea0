//! What a lead is told by the answers to a form (FRM-05, LEA-06).
//!
//! A form has no field that says what a question is about, so it is told from the kind of the question, and from its name:
//! `firstName`, `first_name` and `First name` are one. What no name tells stays in the submission.

use std::collections::BTreeMap;

use unicode_segmentation::UnicodeSegmentation;

use super::{Answer, Kind, questions};
use crate::data::Value;

/// Fields of a lead that answers fill, with the most characters that each has (`records.md` 7.10).
pub const FIELDS: [(&str, usize); 6] =
    [("firstName", 100), ("lastName", 100), ("email", 320), ("phone", 40), ("company", 200), ("jobTitle", 200)];

/// What the answers tell of a lead, by its fields; `None` without an e-mail address, by which leads are known.
#[must_use]
pub fn of(form: &Value, answers: &[Answer]) -> Option<BTreeMap<&'static str, String>> {
    let mut told: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut whole_name = None;
    for question in questions(form) {
        let answer =
            answers.iter().find(|answer| answer.name == question.name).and_then(|answer| answer.value.as_deref());
        let Some(value) = answer else { continue };
        let field = match (question.kind, plain(question.name).as_str()) {
            (Kind::Email, _) => "email",
            (Kind::Phone, _) => "phone",
            (Kind::Text, "firstname" | "givenname" | "forename") => "firstName",
            (Kind::Text, "lastname" | "familyname" | "surname") => "lastName",
            (Kind::Text, "name" | "fullname" | "yourname") => {
                whole_name.get_or_insert(value);
                continue;
            }
            (Kind::Text, "company" | "companyname" | "organisation" | "organization") => "company",
            (Kind::Text, "jobtitle" | "position") => "jobTitle",
            _ => continue,
        };
        told.entry(field).or_insert_with(|| within(field, value));
    }
    if let Some(name) = whole_name {
        let (first, last) = parts(name);
        told.entry("firstName").or_insert_with(|| within("firstName", first));
        told.entry("lastName").or_insert_with(|| within("lastName", last));
    }
    told.retain(|_, value| !value.is_empty());
    told.contains_key("email").then_some(told)
}

/// Whether an answer says what a field of a lead says: the same text, or the part of a name.
#[must_use]
pub fn says(answer: &str, field: &str, value: &str) -> bool {
    let (first, last) = parts(answer);
    let part = match field {
        "firstName" => first,
        "lastName" => last,
        _ => answer,
    };
    [answer, part].into_iter().any(|said| within(field, said) == value)
}

/// What a lead says in the place of an e-mail address that was forgotten: one that can never be anybody's (RFC 2606), and
/// differs from lead to lead, since an address is one lead's.
#[must_use]
pub fn forgotten_email(rkey: &str) -> String {
    format!("{rkey}@forgotten.invalid")
}

/// A name without what differs in how names are written.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A whole name as two: what comes last is the family's, which is wrong for some. Staff put it right.
fn parts(name: &str) -> (&str, &str) {
    let name = name.trim();
    name.rsplit_once(char::is_whitespace).map_or((name, ""), |(first, last)| (first.trim_end(), last))
}

fn within(field: &str, value: &str) -> String {
    let most = FIELDS.iter().find(|(name, _)| *name == field).map_or(0, |(_, most)| *most);
    value.trim().graphemes(true).take(most).collect()
}
