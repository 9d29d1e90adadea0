//! What one answer has to be (FRM-01).

use chrono::{Datelike, NaiveDate};
use unicode_segmentation::UnicodeSegmentation;

use super::{Answer, Kind, Question, read_pattern};
use crate::limits::{FORM_ANSWER_CHARS_MAX, FORM_PATTERN_INPUT_BYTES_MAX};
use crate::time::Timestamp;

/// Fewest and most digits of a telephone number. The most are those of ITU-T E.164, and an extension.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 3..=20;

/// Longest telephone number, in bytes, as leads have them (`records.md` 7.10).
const PHONE_BYTES_MAX: usize = 40;

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3), and its longest part before the `@`.
const EMAIL_BYTES_MAX: usize = 254;
const EMAIL_LOCAL_BYTES_MAX: usize = 64;

/// Checks an answer that is not empty, and gives it as it is kept.
///
/// # Errors
/// Which of its fields is wrong, and why.
pub(super) fn check(
    question: &Question<'_>,
    answer: &Answer,
    now: Timestamp,
) -> Result<Answer, (&'static str, String)> {
    if question.kind == Kind::File {
        return match &answer.file {
            Some(_) if answer.value.is_some() => Err(("value", "this is answered by a file".to_owned())),
            Some(file) => Ok(Answer { name: answer.name.clone(), value: None, file: Some(file.clone()) }),
            None => Err(("value", "this is answered by a file".to_owned())),
        };
    }
    let value = match &answer.value {
        Some(value) if answer.file.is_none() => value.trim(),
        _ => return Err(("file", "this is not answered by a file".to_owned())),
    };
    let own = |why: String| ("value", question.message.map_or(why, str::to_owned));
    of_kind(question, value).map_err(|why| own(why.to_owned()))?;
    bounds(question, value, now).map_err(own)?;
    // One that cannot be read refuses nobody: staff see that it cannot (`flaw`).
    let pattern = question.pattern.and_then(read_pattern);
    if pattern.is_some_and(|pattern| value.len() > FORM_PATTERN_INPUT_BYTES_MAX || !pattern.is_match(value)) {
        return Err(own("this has not the form that is asked for".to_owned()));
    }
    Ok(Answer { name: answer.name.clone(), value: Some(value.to_owned()), file: None })
}

fn of_kind(question: &Question<'_>, value: &str) -> Result<(), &'static str> {
    let plain = |c: char| !c.is_control();
    let (holds, why) = match question.kind {
        Kind::Text => (value.chars().all(plain), "this is a line of text"),
        Kind::Textarea => (value.chars().all(|c| plain(c) || matches!(c, '\n' | '\r' | '\t')), "this is text"),
        Kind::Email => (is_email(value), "this is no e-mail address"),
        Kind::Phone => (is_phone(value), "this is no telephone number"),
        Kind::Select => (question.options.contains(&value), "this is none of the answers to choose from"),
        Kind::Date => (day(value).is_some(), "a day is written as YYYY-MM-DD"),
        Kind::Checkbox if question.required => (value == "true", "this has to be ticked"),
        Kind::Checkbox => (matches!(value, "true" | "false"), "this is true or false"),
        Kind::File => (false, "this is answered by a file"),
    };
    if holds { Ok(()) } else { Err(why) }
}

/// `min` and `max` are characters of a text, days from today of a date, and the number that was chosen of several.
fn bounds(question: &Question<'_>, value: &str, now: Timestamp) -> Result<(), String> {
    let length = || i64::try_from(value.graphemes(true).take(FORM_ANSWER_CHARS_MAX + 1).count()).unwrap_or(i64::MAX);
    let is_text = matches!(question.kind, Kind::Text | Kind::Textarea | Kind::Email | Kind::Phone);
    let most = i64::try_from(FORM_ANSWER_CHARS_MAX).unwrap_or(i64::MAX);
    let (measured, unit, most) = match question.kind {
        _ if is_text => (length(), "characters", Some(question.max.unwrap_or(most).min(most))),
        Kind::Date => {
            let ahead =
                day(value).unwrap_or_default() - i64::try_from(now.as_millis() / DAY_MILLIS).unwrap_or(i64::MAX);
            (ahead, "days from today", question.max)
        }
        Kind::Select => match value.parse() {
            Ok(number) => (number, "", question.max),
            Err(_) => return Ok(()),
        },
        _ => return Ok(()),
    };
    let told = |word: &str, bound: i64| format!("at {word} {bound} {unit}").trim_end().to_owned();
    match (question.min, most) {
        (Some(least), _) if measured < least => Err(told("least", least)),
        (_, Some(most)) if measured > most => Err(told("most", most)),
        _ => Ok(()),
    }
}

const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// The number of a day since 1970, of a text that is one.
fn day(text: &str) -> Option<i64> {
    let [y, m, d]: [&str; 3] = text.split('-').collect::<Vec<_>>().try_into().ok()?;
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(y, 4) || !digits(m, 2) || !digits(d, 2) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(y.parse().ok()?, m.parse().ok()?, d.parse().ok()?)?;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    Some(i64::from(date.num_days_from_ce()) - i64::from(epoch.num_days_from_ce()))
}

/// Whether mail could reach it: one `@`, a domain of two labels or more, and nothing that would end a line of a letter's
/// head. Whether anybody reads it, only a mail tells.
fn is_email(text: &str) -> bool {
    let sensible = |c: char| {
        !c.is_whitespace()
            && !c.is_control()
            && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '\\' | '@' | '[' | ']')
    };
    let Some((local, domain)) = text.split_once('@') else { return false };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    text.len() <= EMAIL_BYTES_MAX
        && (1..=EMAIL_LOCAL_BYTES_MAX).contains(&local.len())
        && local.chars().all(sensible)
        && domain.contains('.')
        && domain.split('.').all(label)
}

fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let may = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | '(' | ')' | '/' | '#' | ' ');
    text.len() <= PHONE_BYTES_MAX && PHONE_DIGITS.contains(&digits) && text.chars().all(may)
}
