//! Dates with times in records (lexicon format `datetime`).
//!
//! The text is what the record holds and is never rewritten; the moment is what it means.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use crate::limits::DATETIME_BYTES_MAX;
use crate::time::Timestamp;

/// A moment as AT Protocol writes it: the common ground of RFC 3339, ISO 8601 and WHATWG HTML, with a time zone.
///
/// Two texts of one moment are two values; compare [`Datetime::unix_micros`] where the moment counts.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Datetime {
    text: Arc<str>,
    unix_micros: i64,
}

/// Why a string is no datetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatetime {
    /// Longer than [`DATETIME_BYTES_MAX`].
    #[error("a datetime has at most {DATETIME_BYTES_MAX} bytes")]
    TooLong,
    /// Not of the form.
    #[error("a datetime reads like 1985-04-12T23:20:50.123Z, with Z or an offset such as +01:00")]
    Form,
    /// `-00:00`, which RFC 3339 gives a meaning that ISO 8601 does not know.
    #[error("a datetime in UTC ends in Z or +00:00, not -00:00")]
    NegativeZero,
    /// No such date or time, for example the 30th of February, or a leap second.
    #[error("there is no such date and time")]
    NoSuchMoment,
    /// Before year 0 or after year 9999 in UTC.
    #[error("a datetime lies in the years 0000 to 9999, in UTC")]
    Year,
}

impl Datetime {
    /// The text, as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Microseconds since 1970, negative before; finer digits are cut off.
    #[must_use]
    pub const fn unix_micros(&self) -> i64 {
        self.unix_micros
    }

    /// The moment, or `None` before 1970.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        u64::try_from(self.unix_micros).ok().map(|micros| Timestamp::from_millis(micros / 1000))
    }

    /// Reads what older software wrote: a space or lower-case `t` between date and time, lower-case `z`, an offset
    /// without colon, `-00:00`, and no zone at all, which is taken as UTC. The result is in today's form, so this is
    /// for ordering and display, never for a record's own bytes.
    ///
    /// # Errors
    /// [`InvalidDatetime`] when even that does not help.
    pub fn parse_lenient(text: &str) -> Result<Self, InvalidDatetime> {
        if text.len() > DATETIME_BYTES_MAX {
            return Err(InvalidDatetime::TooLong);
        }
        if !text.is_ascii() {
            return Err(InvalidDatetime::Form);
        }
        let mut tidy = text.trim().to_ascii_uppercase();
        if tidy.as_bytes().get(10).is_some_and(|b| matches!(b, b' ' | b'_')) {
            tidy.replace_range(10..11, "T");
        }
        let time = tidy.get(11..).unwrap_or_default();
        match time.find(['+', '-']).map(|at| at + 11) {
            Some(sign) if tidy.len() == sign + 5 => tidy.insert(sign + 3, ':'),
            None if !time.ends_with('Z') => tidy.push('Z'),
            _ => {}
        }
        if let Some(utc) = tidy.strip_suffix("-00:00") {
            tidy = format!("{utc}Z");
        }
        tidy.parse()
    }
}

/// Reads `count` digits at `*at` and moves past them.
fn digits(text: &[u8], at: &mut usize, count: usize) -> Option<u32> {
    let field = text.get(*at..*at + count)?;
    *at += count;
    field.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// Moves past one byte, which must be `byte`.
fn expect(text: &[u8], at: &mut usize, byte: u8) -> Option<()> {
    let found = *text.get(*at)?;
    *at += 1;
    (found == byte).then_some(())
}

/// The fields of the form, not yet checked against the calendar.
struct Fields {
    date: (u32, u32, u32),
    time: (u32, u32, u32),
    micros: u32,
    offset_minutes: i64,
}

fn fields(text: &[u8]) -> Option<Fields> {
    let at = &mut 0;
    let year = digits(text, at, 4)?;
    expect(text, at, b'-')?;
    let month = digits(text, at, 2)?;
    expect(text, at, b'-')?;
    let day = digits(text, at, 2)?;
    expect(text, at, b'T')?;
    let hour = digits(text, at, 2)?;
    expect(text, at, b':')?;
    let minute = digits(text, at, 2)?;
    expect(text, at, b':')?;
    let second = digits(text, at, 2)?;
    let micros = if text.get(*at) == Some(&b'.') { fraction(text, at)? } else { 0 };
    let offset_minutes = offset(&text[*at..])?;
    Some(Fields { date: (year, month, day), time: (hour, minute, second), micros, offset_minutes })
}

/// The fraction after a second, at least one digit, in microseconds.
fn fraction(text: &[u8], at: &mut usize) -> Option<u32> {
    let length = text[*at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let digits = &text[*at + 1..*at + 1 + length];
    *at += 1 + length;
    let micros = (0..6).fold(0, |value, i| value * 10 + digits.get(i).map_or(0, |b| u32::from(b - b'0')));
    (length > 0).then_some(micros)
}

/// The zone at the end, in minutes east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    if text == b"Z" {
        return Some(0);
    }
    let at = &mut 1;
    let hours = digits(text, at, 2)?;
    expect(text, at, b':')?;
    let minutes = digits(text, at, 2)?;
    if *at != text.len() || hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = i64::from(hours * 60 + minutes);
    match text[0] {
        b'+' => Some(minutes),
        b'-' => Some(-minutes),
        _ => None,
    }
}

impl FromStr for Datetime {
    type Err = InvalidDatetime;

    fn from_str(text: &str) -> Result<Self, InvalidDatetime> {
        if text.len() > DATETIME_BYTES_MAX {
            return Err(InvalidDatetime::TooLong);
        }
        let Fields { date: (year, month, day), time: (hour, minute, second), micros, offset_minutes } =
            fields(text.as_bytes()).ok_or(InvalidDatetime::Form)?;
        if text.ends_with("-00:00") {
            return Err(InvalidDatetime::NegativeZero);
        }
        let local = NaiveDate::from_ymd_opt(i32::try_from(year).unwrap_or_default(), month, day)
            .and_then(|date| date.and_hms_micro_opt(hour, minute, second, micros))
            .ok_or(InvalidDatetime::NoSuchMoment)?;
        let utc = local.checked_sub_signed(TimeDelta::minutes(offset_minutes)).ok_or(InvalidDatetime::Year)?.and_utc();
        if !(0..=9999).contains(&chrono::Datelike::year(&utc)) {
            return Err(InvalidDatetime::Year);
        }
        Ok(Self { text: text.into(), unix_micros: utc.timestamp_micros() })
    }
}

impl TryFrom<String> for Datetime {
    type Error = InvalidDatetime;

    fn try_from(text: String) -> Result<Self, InvalidDatetime> {
        text.parse()
    }
}

impl From<Datetime> for String {
    fn from(datetime: Datetime) -> Self {
        datetime.text.as_ref().to_owned()
    }
}

impl From<Timestamp> for Datetime {
    fn from(timestamp: Timestamp) -> Self {
        let timestamp = timestamp.min(Timestamp::MAX);
        let unix_micros = i64::try_from(timestamp.as_millis().saturating_mul(1000)).unwrap_or(i64::MAX);
        Self { text: timestamp.to_string().into(), unix_micros }
    }
}

impl fmt::Display for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::interop::{assert_syntax, lines};

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("datetime", str::parse::<Datetime>);
        for case in lines("syntax/datetime_parse_invalid.txt") {
            assert!(case.parse::<Datetime>().is_err(), "{case}");
        }
    }

    #[test]
    fn reads_the_moment() {
        let micros = |text: &str| text.parse::<Datetime>().expect("valid").unix_micros();
        assert_eq!(micros("1970-01-01T00:00:00Z"), 0);
        assert_eq!(micros("1970-01-01T01:30:00.5+01:30"), 500_000);
        assert_eq!(micros("1969-12-31T23:59:59.999999999Z"), -1);
        assert_eq!(micros("2023-11-14T22:13:20.123Z"), 1_700_000_000_123_000);
        let moment = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(Datetime::from(moment).timestamp(), Some(moment));
        assert_eq!(Datetime::from(moment).as_str().parse(), Ok(Datetime::from(moment)));
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<Datetime>().expect_err("invalid");
        assert_eq!(error("1985-04-12"), InvalidDatetime::Form);
        assert_eq!(error("1985-04-12T23:20:50.Z"), InvalidDatetime::Form);
        assert_eq!(error("1985-04-12T23:20:50.123-00:00"), InvalidDatetime::NegativeZero);
        assert_eq!(error("1985-02-30T23:20:50Z"), InvalidDatetime::NoSuchMoment);
        assert_eq!(error("1985-06-30T23:59:60Z"), InvalidDatetime::NoSuchMoment);
        assert_eq!(error("0000-01-01T00:00:00+01:00"), InvalidDatetime::Year);
        assert_eq!(error("9999-12-31T23:59:59-01:00"), InvalidDatetime::Year);
        assert_eq!(error(&format!("1985-04-12T23:20:50.{}Z", "1".repeat(60))), InvalidDatetime::TooLong);
    }

    #[test]
    fn older_forms_can_be_read_for_ordering() {
        let lenient = |text: &str| Datetime::parse_lenient(text).map(|datetime| datetime.to_string());
        for text in ["1985-04-12T23:20:50", "1985-04-12 23:20:50z", "1985-04-12t23:20:50-0000", "1985-04-12T23:20:50Z"]
        {
            assert_eq!(lenient(text).as_deref(), Ok("1985-04-12T23:20:50Z"), "{text}");
        }
        assert_eq!(lenient("1985-04-12T23:20:50.1+0730").as_deref(), Ok("1985-04-12T23:20:50.1+07:30"));
        assert_eq!(lenient("yesterday"), Err(InvalidDatetime::Form));
        assert_eq!(lenient("1985←04 12 A꠰+𖩀"), Err(InvalidDatetime::Form));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9TZtz:.+ -]{0,40}|\\PC{0,80}") {
            let _ = text.parse::<Datetime>();
            let _ = Datetime::parse_lenient(&text);
        }

        #[test]
        fn every_moment_survives(millis in 0..253_402_300_799_999_u64) {
            let moment = Timestamp::from_millis(millis);
            prop_assert_eq!(moment.to_string().parse::<Datetime>().ok().and_then(|d| d.timestamp()), Some(moment));
        }
    }
}
