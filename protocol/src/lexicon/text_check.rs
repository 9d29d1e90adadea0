//! Forms of text that this network demands and the lexicon language has no `format` for.

use std::str::FromStr;

/// The form of a text, beyond its lexicon format and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextCheck {
    /// `^[a-z0-9](-?[a-z0-9])*$`.
    Slug,
    /// `#rrggbb`.
    Colour,
    /// `HH:MM`, 24 hours.
    TimeOfDay,
    /// The form of an IANA time zone name, for example `Europe/Berlin`. That the zone exists is not checked.
    TimeZone,
    /// ISO 4217: three upper-case letters.
    Currency,
    /// Exactly one `@` with something on either side.
    Email,
    /// JSON of any kind.
    Json,
    /// Decimal degrees from -90 to 90 with at most 7 decimals.
    Latitude,
    /// Decimal degrees from -180 to 180 with at most 7 decimals.
    Longitude,
    /// An `https` URI.
    Https,
    /// `YYYY-MM`.
    Month,
    /// A DNS name of at least two labels in lower case.
    Domain,
    /// Four decimal digits, the end of a card number.
    LastFour,
}

impl TextCheck {
    /// The form in words, for a sentence that begins with "must be".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Slug => "lower-case letters and digits with single hyphens between them",
            Self::Colour => "a colour as #rrggbb",
            Self::TimeOfDay => "a time of day as HH:MM",
            Self::TimeZone => "the name of an IANA time zone, for example Europe/Berlin",
            Self::Currency => "an ISO 4217 currency code in capital letters, for example EUR",
            Self::Email => "an e-mail address",
            Self::Json => "valid JSON",
            Self::Latitude => "a latitude in decimal degrees with at most 7 decimals",
            Self::Longitude => "a longitude in decimal degrees with at most 7 decimals",
            Self::Https => "an https URI",
            Self::Month => "a month as YYYY-MM",
            Self::Domain => "a domain name in lower case",
            Self::LastFour => "exactly four digits",
        }
    }

    /// Whether `text` has the form.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Slug => is_slug(text),
            Self::Colour => text.len() == 7 && text.starts_with('#') && all(&text[1..], |b| b.is_ascii_hexdigit()),
            Self::TimeOfDay => is_time_of_day(text),
            Self::TimeZone => is_time_zone(text),
            Self::Currency => text.len() == 3 && all(text, |b| b.is_ascii_uppercase()),
            Self::Email => is_email(text),
            // Read in full: a reader must be able to, and the parser bounds the nesting.
            Self::Json => serde_json::from_str::<serde_json::Value>(text).is_ok(),
            Self::Latitude => is_degrees(text, 90),
            Self::Longitude => is_degrees(text, 180),
            Self::Https => text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
            Self::Month => is_month(text),
            Self::Domain => is_domain(text),
            Self::LastFour => text.len() == 4 && all(text, |b| b.is_ascii_digit()),
        }
    }
}

fn all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(allowed)
}

fn is_slug(text: &str) -> bool {
    let hyphens_single = !text.starts_with('-') && !text.ends_with('-') && !text.contains("--");
    !text.is_empty() && hyphens_single && all(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A number of exactly `digits` decimal digits that is below `end`.
fn is_below<N: FromStr + PartialOrd>(text: &str, digits: usize, end: N) -> bool {
    text.len() == digits && all(text, |b| b.is_ascii_digit()) && text.parse().is_ok_and(|number: N| number < end)
}

fn is_time_of_day(text: &str) -> bool {
    text.split_once(':').is_some_and(|(hours, minutes)| is_below(hours, 2, 24u8) && is_below(minutes, 2, 60u8))
}

fn is_month(text: &str) -> bool {
    let Some((year, month)) = text.split_once('-') else { return false };
    is_below(year, 4, 10_000u16) && is_below(month, 2, 13u8) && month != "00"
}

fn is_time_zone(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && all(part, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
    };
    text.split('/').count() <= 3 && text.split('/').all(part)
}

fn is_email(text: &str) -> bool {
    let whole = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    whole && text.split_once('@').is_some_and(|(l, r)| !l.is_empty() && !r.is_empty() && !r.contains('@'))
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && all(label, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// Decimal degrees, compared as digits: coordinates are never floats here.
fn is_degrees(text: &str, max: u16) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && all(text, |b| b.is_ascii_digit());
    if !digits(whole, 3) || !digits(decimals, 7) || (whole.len() > 1 && whole.starts_with('0')) {
        return false;
    }
    let Ok(degrees) = whole.parse::<u16>() else { return false };
    degrees < max || (degrees == max && decimals.bytes().all(|b| b == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_form(check: TextCheck, accepted: &[&str], refused: &[&str]) {
        for text in accepted {
            assert!(check.accepts(text), "{check:?} must accept {text:?}");
        }
        for text in refused {
            assert!(!check.accepts(text), "{check:?} must refuse {text:?}");
        }
    }

    #[test]
    fn names_and_signs() {
        assert_form(TextCheck::Slug, &["a", "a-b", "0-9-z"], &["", "-a", "a-", "a--b", "A", "a_b", "ä"]);
        assert_form(TextCheck::Colour, &["#00ffAA"], &["", "#fff", "00ffaa0", "#00ffag", "#00ffaäx"]);
        assert_form(TextCheck::Currency, &["EUR"], &["eur", "EURO", "E1R", ""]);
        assert_form(TextCheck::LastFour, &["0042"], &["42", "12345", "12a4", "١٢٣٤"]);
        assert_form(
            TextCheck::Domain,
            &["a.example", "x-1.b.example"],
            &["example", "A.example", "a..b", "-a.b", "a.b "],
        );
        assert_form(TextCheck::Email, &["a@b", "a.b+c@d.example"], &["", "a", "@b", "a@", "a@b@c", "a b@c", "a\n@b"]);
        assert_form(
            TextCheck::Https,
            &["https://a.example/x"],
            &["http://a.example", "https://", "https:///x", "HTTPS"],
        );
    }

    #[test]
    fn times_and_places() {
        assert_form(TextCheck::TimeOfDay, &["00:00", "23:59"], &["24:00", "7:30", "07:60", "07:3", "0730", "+7:30"]);
        assert_form(TextCheck::Month, &["2026-01", "2026-12"], &["2026-00", "2026-13", "26-01", "2026-1", "2026"]);
        let zones = ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+1"];
        assert_form(TextCheck::TimeZone, &zones, &["", "Europe/", "+01:00", "a/b/c/d", "Europe Berlin"]);
        assert_form(
            TextCheck::Latitude,
            &["0", "-90", "90.0", "52.5200066"],
            &["90.1", "91", "52.52000661", "1e1", ".5"],
        );
        assert_form(TextCheck::Longitude, &["180", "-179.9999999"], &["180.0000001", "+1", "", "-", "007", "1."]);
    }

    #[test]
    fn json_of_any_kind() {
        assert_form(TextCheck::Json, &["{}", "[1.5, null]", "\"a\"", " 1 "], &["", "{", "{'a': 1}", "1 2"]);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(!TextCheck::Json.accepts(&deep), "nesting is bounded");
    }
}
