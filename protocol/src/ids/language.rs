//! Language tags in records (lexicon format `language`): BCP 47, RFC 5646 section 2.1.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::text::text_id;
use crate::limits::LANGUAGE_BYTES_MAX;

/// A well-formed language tag. Whether its subtags are registered is not checked; whether one repeats,
/// [`Language::is_valid`] says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(Arc<str>);

/// Why a string is no language tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLanguage {
    /// Longer than [`LANGUAGE_BYTES_MAX`].
    #[error("a language tag has at most {LANGUAGE_BYTES_MAX} bytes")]
    TooLong,
    /// Not of the grammar.
    #[error("a language tag reads as RFC 5646 says, for example en or pt-BR, the first part in lower case")]
    Form,
}

/// Tags registered before RFC 4646 that the grammar does not cover.
const IRREGULAR: [&str; 17] = [
    "en-GB-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-BE-FR",
    "sgn-BE-NL",
    "sgn-CH-DE",
];

impl Language {
    /// Whether no variant and no extension repeats (RFC 5646 section 2.2.9), letter case aside.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let mut variants = BTreeSet::new();
        let mut extensions = BTreeSet::new();
        let mut in_extension = false;
        for subtag in self.0.split('-').skip(1) {
            let subtag = subtag.to_ascii_lowercase();
            match subtag.len() {
                _ if IRREGULAR.contains(&self.as_str()) || subtag == "x" => return true,
                1 => {
                    in_extension = true;
                    if !extensions.insert(subtag) {
                        return false;
                    }
                }
                _ if !in_extension && is_variant(&subtag) && !variants.insert(subtag) => return false,
                _ => {}
            }
        }
        true
    }
}

fn is_variant(subtag: &str) -> bool {
    (5..=8).contains(&subtag.len()) || (subtag.len() == 4 && subtag.starts_with(|c: char| c.is_ascii_digit()))
}

/// Takes the next subtags as long as `fits`, at most `max` of them; answers how many.
fn take(subtags: &mut &[&str], max: usize, fits: impl Fn(&str) -> bool) -> usize {
    let count = subtags.iter().take(max).take_while(|subtag| fits(subtag)).count();
    *subtags = &subtags[count..];
    count
}

fn is_well_formed(text: &str) -> bool {
    let subtags: Vec<&str> = text.split('-').collect();
    if !subtags.iter().all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return false;
    }
    let letters = |s: &str| s.bytes().all(|b| b.is_ascii_alphabetic());
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let private_use = |rest: &[&str]| rest.len() > 1 && rest[0].eq_ignore_ascii_case("x");
    if private_use(&subtags) {
        return true;
    }
    let language = |s: &str| matches!(s.len(), 2 | 3) && s.bytes().all(|b| b.is_ascii_lowercase());
    let mut rest = &subtags[..];
    if take(&mut rest, 1, language) == 0 {
        return false;
    }
    take(&mut rest, 3, |s| s.len() == 3 && letters(s));
    take(&mut rest, 1, |s| s.len() == 4 && letters(s));
    take(&mut rest, 1, |s| (s.len() == 2 && letters(s)) || (s.len() == 3 && digits(s)));
    take(&mut rest, usize::MAX, is_variant);
    while take(&mut rest, 1, |s| s.len() == 1 && !s.eq_ignore_ascii_case("x")) == 1 {
        if take(&mut rest, usize::MAX, |s| s.len() > 1) == 0 {
            return false;
        }
    }
    rest.is_empty() || private_use(rest)
}

fn parse(text: &str) -> Result<Arc<str>, InvalidLanguage> {
    if text.len() > LANGUAGE_BYTES_MAX {
        return Err(InvalidLanguage::TooLong);
    }
    if IRREGULAR.contains(&text) || is_well_formed(text) { Ok(text.into()) } else { Err(InvalidLanguage::Form) }
}

text_id!(Language, InvalidLanguage, parse);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::{assert_syntax, lines};

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("language", str::parse::<Language>);
        for case in lines("syntax/language_syntax_valid.txt") {
            assert!(case.parse::<Language>().expect("well-formed").is_valid(), "{case}");
        }
        for case in lines("syntax/language_parse_invalid.txt") {
            assert!(!case.parse::<Language>().expect("well-formed").is_valid(), "{case}");
        }
    }

    #[test]
    fn follows_the_grammar() {
        for text in ["de", "zh-min-nan", "sr-Latn-RS", "de-CH-1901", "x-whatever", "en-a-bbb-x-a-ccc", "i-klingon"] {
            assert!(text.parse::<Language>().is_ok(), "{text}");
        }
        for text in ["", "d", "EN", "en-", "en-a", "en-x", "x", "en-ümlaut", "en-toolongsubtag", "en-US-DE"] {
            assert_eq!(text.parse::<Language>(), Err(InvalidLanguage::Form), "{text}");
        }
        assert_eq!("en-variant".repeat(20).parse::<Language>(), Err(InvalidLanguage::TooLong));
    }

    #[test]
    fn a_repeated_subtag_is_not_valid() {
        for text in ["de-1901-1901", "en-rozaj-ROZAJ", "en-a-foo-A-bar"] {
            assert!(!text.parse::<Language>().expect("well-formed").is_valid(), "{text}");
        }
        for text in ["en-a-longer-b-longer", "en-x-a-a", "de-1901-1996"] {
            assert!(text.parse::<Language>().expect("well-formed").is_valid(), "{text}");
        }
    }
}
