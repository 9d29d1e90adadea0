//! Forms: which questions a visitor sees, what their answers have to be, and what a lead learns of them (FRM-01, FRM-05).
//!
//! A form is a public record of a business, and who answers it may be anybody: so everything here takes what was sent as
//! it comes, and takes time that is bounded by its length. Nothing here knows where answers are kept.
//!
//! - [`check`] holds answers against the questions, and gives those that are to be kept: none of a question that was
//!   hidden, none that is empty.
//! - [`flaw`] finds what a form cannot mean, before it is written.
//! - [`condition`] reads when a question is shown.
//! - [`lead`] finds what a lead is told by the answers.

mod answer;
pub mod condition;
pub mod lead;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};
use unicode_segmentation::UnicodeSegmentation;

use self::condition::Condition;
use crate::data::Value;
use crate::limits::{
    FORM_PATTERN_BYTES_MAX, FORM_PATTERN_NESTING_MAX, FORM_PATTERN_PROGRAM_BYTES_MAX, FORM_PATTERNS_MAX,
};
use crate::time::Timestamp;

/// The collection of forms.
pub const FORM: &str = "co.kendev.content.form";

/// What kind of answer a question expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line of text.
    Text,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// One of several texts.
    Select,
    /// Text of several lines.
    Textarea,
    /// A file.
    File,
    /// A day, as `YYYY-MM-DD`.
    Date,
    /// A tick: `true` or `false`.
    Checkbox,
}

/// A question of a form.
#[derive(Clone, Debug)]
struct Question<'f> {
    name: &'f str,
    label: &'f str,
    kind: Kind,
    required: bool,
    options: Vec<&'f str>,
    pattern: Option<&'f str>,
    min: Option<i64>,
    max: Option<i64>,
    message: Option<&'f str>,
    /// Shown if it holds. What cannot be read hides nothing.
    show_if: Option<Condition<'f>>,
    /// Hidden if it holds. What cannot be read hides nothing.
    hide_if: Option<Condition<'f>>,
}

/// An answer, as it was sent and as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The name of the question.
    pub name: String,
    /// What was answered, in every kind of question but one for a file.
    pub value: Option<String>,
    /// The record of a file.
    pub file: Option<String>,
}

/// Why an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: a JSON pointer into what was sent; to all answers, for one that is missing.
    pub path: String,
    /// The name of the question. Of an answer to none, what it named.
    pub name: String,
    /// Why: in the words of the form, if it has some for this.
    pub why: String,
}

/// Holds answers against the questions of a form, on a certain day in UTC. Gives those to be kept, in the order of the
/// questions.
///
/// A form that was not held against [`flaw`] may say what nothing can mean: a condition or a pattern that cannot be read
/// refuses nothing here, nor do patterns beyond as many as a form may have. Of two questions of one name the first counts.
///
/// # Errors
/// Everything that is wrong with them, at least one thing.
pub fn check(form: &Value, answers: &[Answer], now: Timestamp) -> Result<Vec<Answer>, Vec<Fault>> {
    let questions = questions(form);
    let mut faults = vec![];
    let mut given: BTreeMap<&str, (usize, &Answer)> = BTreeMap::new();
    for (index, answer) in answers.iter().enumerate() {
        let fault = |why: &str| Fault {
            path: format!("/answers/{index}/name"),
            name: answer.name.clone(),
            why: why.to_owned(),
        };
        if !questions.iter().any(|question| question.name == answer.name) {
            faults.push(fault("the form has no such question"));
        } else if given.insert(&answer.name, (index, answer)).is_some() {
            faults.push(fault("this question is answered twice"));
        }
    }
    let mut kept = vec![];
    let shown = Shown::of(&questions, &given);
    for question in questions.iter().filter(|question| shown.has(question.name)) {
        let said = given.get(question.name).filter(|(_, answer)| !is_empty(answer));
        let Some((index, answer)) = said else {
            if question.required {
                let why = "this has to be answered".to_owned();
                faults.push(Fault { path: "/answers".to_owned(), name: question.name.to_owned(), why });
            }
            continue;
        };
        match answer::check(question, answer, now) {
            Ok(answer) => kept.push(answer),
            Err((field, why)) => {
                let path = format!("/answers/{index}/{field}");
                faults.push(Fault { path, name: question.name.to_owned(), why });
            }
        }
    }
    if faults.is_empty() { Ok(kept) } else { Err(faults) }
}

/// What a form says that it cannot mean: a JSON pointer into it, and why. Judges forms that fit their lexicon.
#[must_use]
pub fn flaw(form: &Value) -> Option<(String, &'static str)> {
    let Some(Value::List(fields)) = form.get("fields") else { return None };
    let text = |field: &Value, name: &str| field.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let names: BTreeSet<_> = fields.iter().map(|field| text(field, "name")).collect();
    let mut patterns = 0;
    for (index, field) in fields.iter().enumerate() {
        let at = |path: &str, why| Some((format!("/fields/{index}/{path}"), why));
        for unique in ["id", "name"] {
            let own = text(field, unique);
            if own.trim().is_empty() {
                return at(unique, "a question has one that is not empty");
            }
            if fields.iter().take(index).any(|before| text(before, unique) == own) {
                return at(unique, "another question has the same");
            }
        }
        let options = match field.get("options") {
            Some(Value::List(options)) => options.len(),
            _ => 0,
        };
        if text(field, "type") == "select" && options == 0 {
            return at("options", "a question to choose an answer to has answers to choose from");
        }
        let bound = |name: &str| field.get("validation").and_then(|rule| rule.get(name)).and_then(Value::as_integer);
        if let (Some(min), Some(max)) = (bound("min"), bound("max"))
            && min > max
        {
            return at("validation/max", "the most is less than the least");
        }
        let pattern = field.get("validation").and_then(|rule| rule.get("pattern")).and_then(Value::as_str);
        patterns += usize::from(pattern.is_some());
        if patterns > FORM_PATTERNS_MAX {
            return at("validation/pattern", "a form has patterns for 32 questions at most");
        }
        if pattern.is_some_and(|pattern| !is_pattern(pattern)) {
            return at(
                "validation/pattern",
                "this is no regular expression that is evaluated here, or it is too large",
            );
        }
        for when in ["showIf", "hideIf"] {
            let condition = field.get("conditionalLogic").and_then(|logic| logic.get(when)).and_then(Value::as_str);
            let Some(condition) = condition else { continue };
            match Condition::read(condition) {
                None => {
                    let why = "a condition is <name> = <value> or <name> != <value>, or several of them joined by and";
                    return at(&format!("conditionalLogic/{when}"), why);
                }
                Some(condition) if condition.names().any(|name| !names.contains(name)) => {
                    return at(&format!("conditionalLogic/{when}"), "the form has no question of such a name");
                }
                Some(_) => {}
            }
        }
    }
    None
}

/// The questions that a form has and that can be shown to people, by name: what is answered is told by these words.
#[must_use]
pub fn labels(form: &Value) -> BTreeMap<String, String> {
    questions(form).into_iter().map(|question| (question.name.to_owned(), question.label.to_owned())).collect()
}

/// The answer to the first question of a form that asks for an e-mail address, among answers that were kept.
#[must_use]
pub fn email<'a>(form: &Value, answers: &'a [Answer]) -> Option<&'a str> {
    let asks = questions(form).into_iter().find(|question| question.kind == Kind::Email)?.name.to_owned();
    answers.iter().find(|answer| answer.name == asks)?.value.as_deref()
}

/// What a task is called that a follow-up action becomes (FRM-05): as much of it as a title holds.
#[must_use]
pub fn task_title(action: &str) -> String {
    action.graphemes(true).take(TASK_TITLE_CHARS_MAX).collect()
}

/// The longest title of a task, in characters (`records.md` 7.8).
const TASK_TITLE_CHARS_MAX: usize = 200;

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "select" => Self::Select,
            "textarea" => Self::Textarea,
            "file" => Self::File,
            "date" => Self::Date,
            "checkbox" => Self::Checkbox,
            _ => return None,
        })
    }
}

/// The questions of a form. What is no question is left out.
fn questions(form: &Value) -> Vec<Question<'_>> {
    let Some(Value::List(fields)) = form.get("fields") else { return vec![] };
    let (mut names, mut patterns) = (BTreeSet::new(), 0);
    let questions = fields.iter().filter_map(|field| {
        let text = |name: &str| field.get(name).and_then(Value::as_str);
        let rule = |name: &str| field.get("validation").and_then(|rule| rule.get(name));
        let when = |name: &str| field.get("conditionalLogic")?.get(name)?.as_str().and_then(Condition::read);
        let name = text("name")?;
        if !names.insert(name) {
            return None;
        }
        let options = match field.get("options") {
            Some(Value::List(options)) => options.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        Some(Question {
            name,
            label: text("label").unwrap_or(name),
            kind: Kind::named(text("type")?)?,
            required: field.get("required") == Some(&Value::Bool(true)),
            options,
            pattern: rule("pattern").and_then(Value::as_str).filter(|_| {
                patterns += 1;
                patterns <= FORM_PATTERNS_MAX
            }),
            min: rule("min").and_then(Value::as_integer),
            max: rule("max").and_then(Value::as_integer),
            message: rule("message").and_then(Value::as_str),
            show_if: when("showIf"),
            hide_if: when("hideIf"),
        })
    });
    questions.collect()
}

/// A pattern, as it has to match the whole of an answer: what a page shows is held against the whole there, too (the
/// attribute `pattern` of HTML). It takes time in the length of the answer, whatever it is; one that would take much memory
/// is none.
fn read_pattern(pattern: &str) -> Option<Regex> {
    compiled(pattern, |pattern| format!(r"\A(?:{pattern})\z"))
}

/// Whether a pattern is one by itself, too: a bracket that closes nothing would close the one that is put around it.
fn is_pattern(pattern: &str) -> bool {
    read_pattern(pattern).is_some() && compiled(pattern, str::to_owned).is_some()
}

fn compiled(pattern: &str, around: impl FnOnce(&str) -> String) -> Option<Regex> {
    if pattern.len() > FORM_PATTERN_BYTES_MAX {
        return None;
    }
    let mut builder = RegexBuilder::new(&around(&of_pages(pattern)));
    builder.size_limit(FORM_PATTERN_PROGRAM_BYTES_MAX).dfa_size_limit(FORM_PATTERN_PROGRAM_BYTES_MAX);
    builder.nest_limit(FORM_PATTERN_NESTING_MAX).build().ok()
}

/// A pattern as pages understand it: digits and letters of words are those of ASCII there, of all scripts here. Each is a
/// class in brackets, which may stand within brackets.
fn of_pages(pattern: &str) -> String {
    let (mut written, mut chars) = (String::with_capacity(pattern.len()), pattern.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            written.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => written.push_str("[0-9]"),
            Some('D') => written.push_str("[^0-9]"),
            Some('w') => written.push_str("[0-9A-Za-z_]"),
            Some('W') => written.push_str("[^0-9A-Za-z_]"),
            escaped => written.extend(['\\'].into_iter().chain(escaped)),
        }
    }
    written
}

/// Nothing but space is no answer.
fn is_empty(answer: &Answer) -> bool {
    answer.value.as_deref().is_none_or(|value| value.trim().is_empty()) && answer.file.is_none()
}

/// Which questions are shown.
struct Shown<'f>(BTreeMap<&'f str, bool>);

impl<'f> Shown<'f> {
    fn of(questions: &[Question<'f>], given: &BTreeMap<&str, (usize, &Answer)>) -> Self {
        let mut known = BTreeMap::new();
        for question in questions {
            look(question, questions, given, &mut known);
        }
        Self(known.into_iter().map(|(name, shown)| (name, shown == Some(true))).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.get(name) == Some(&true)
    }
}

/// Whether a question is shown. A condition looks at what other questions were answered, and of one that is hidden
/// nothing was; while one is looked at, those that ask for it in turn see no answer of it (`None`), so that a circle of
/// conditions ends. Each question is looked at once: the depth is bounded by their number.
fn look<'f>(
    question: &Question<'f>,
    questions: &[Question<'f>],
    given: &BTreeMap<&str, (usize, &Answer)>,
    known: &mut BTreeMap<&'f str, Option<bool>>,
) -> bool {
    if let Some(shown) = known.get(question.name) {
        return *shown == Some(true);
    }
    known.insert(question.name, None);
    let mut says = |condition: &Condition<'f>| {
        condition.holds(|name| {
            let Some(other) = questions.iter().find(|other| other.name == name) else { return "" };
            let shown = look(other, questions, given, known);
            let answer = given.get(name).filter(|_| shown).and_then(|(_, answer)| answer.value.as_deref());
            match answer.map(str::trim) {
                // A box that is not ticked is sent by no page.
                None | Some("") if other.kind == Kind::Checkbox => "false",
                answer => answer.unwrap_or_default(),
            }
        })
    };
    let shown = question.show_if.as_ref().is_none_or(&mut says) && !question.hide_if.as_ref().is_some_and(&mut says);
    known.insert(question.name, Some(shown));
    shown
}
