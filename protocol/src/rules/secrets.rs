//! Secrets that got into a record by mistake: the forms in which well-known services give out keys. A text that has one
//! of these forms is hardly anything else; secrets without a form are not found.

use crate::data::Value;
use crate::limits::DATA_DEPTH_MAX;

/// A form of a secret: how it begins, how many characters follow at least, and what it is.
const FORMS: &[(&str, usize, &str)] = &[
    ("-----BEGIN PRIVATE KEY-----", 16, "a private key"),
    ("-----BEGIN RSA PRIVATE KEY-----", 16, "a private key"),
    ("-----BEGIN EC PRIVATE KEY-----", 16, "a private key"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", 16, "a private key"),
    ("AGE-SECRET-KEY-1", 32, "a private key"),
    ("sk_live_", 16, "a payment provider's secret key"),
    ("sk_test_", 16, "a payment provider's secret key"),
    ("rk_live_", 16, "a payment provider's restricted key"),
    ("whsec_", 16, "a webhook's signing secret"),
    ("sk-ant-", 20, "a language model's API key"),
    ("sk-proj-", 20, "a language model's API key"),
    ("xoxb-", 20, "a chat service's token"),
    ("xoxp-", 20, "a chat service's token"),
    ("ghp_", 30, "a code host's token"),
    ("github_pat_", 30, "a code host's token"),
    ("AKIA", 16, "a cloud provider's access key"),
    ("AIza", 30, "a cloud provider's API key"),
];

/// The first text in a record that is, or holds, a secret of a known form: its path and its kind. Never the text.
#[must_use]
pub fn find(record: &Value) -> Option<(String, &'static str)> {
    look(record, String::new(), 0)
}

fn look(value: &Value, path: String, depth: usize) -> Option<(String, &'static str)> {
    if depth > DATA_DEPTH_MAX {
        return None;
    }
    match value {
        Value::String(text) => kind(text).map(|kind| (path, kind)),
        Value::List(list) => {
            let mut items = list.iter().enumerate();
            items.find_map(|(index, item)| look(item, format!("{path}/{index}"), depth + 1))
        }
        Value::Map(map) => map.iter().find_map(|(key, item)| look(item, format!("{path}/{key}"), depth + 1)),
        _ => None,
    }
}

fn kind(text: &str) -> Option<&'static str> {
    let of_secret = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    FORMS.iter().find_map(|(start, least, kind)| {
        let at = text.find(start)?;
        let stands_alone = !text[..at].chars().next_back().is_some_and(of_secret);
        let rest = &text[at + start.len()..];
        let is_block = start.starts_with('-');
        let length =
            rest.chars().take_while(|c| of_secret(*c) || (is_block && !c.is_control()) || (is_block && *c == '\n'));
        (stands_alone && length.count() >= *least).then_some(*kind)
    })
}

/// What a card number is called where it is refused.
pub(super) const CARD: &str = "the number of a payment card";

/// The texts in a record that hold the number of a payment card (`records.md` 7.2), by their paths.
#[must_use]
pub fn cards(record: &Value) -> Vec<(String, &str)> {
    fn look<'v>(value: &'v Value, path: String, depth: usize, found: &mut Vec<(String, &'v str)>) {
        if depth > DATA_DEPTH_MAX {
            return;
        }
        match value {
            Value::String(text) if has_card(text) => found.push((path, text)),
            Value::List(list) => {
                let items = list.iter().enumerate();
                items.for_each(|(index, item)| look(item, format!("{path}/{index}"), depth + 1, found));
            }
            Value::Map(map) => {
                map.iter().for_each(|(key, item)| look(item, format!("{path}/{key}"), depth + 1, found));
            }
            _ => {}
        }
    }
    let mut found = vec![];
    look(record, String::new(), 0, &mut found);
    found
}

/// The most digits of a card number that is looked for.
const CARD_DIGITS_MAX: usize = 16;

/// Whether digits that stand alone, in one piece or in groups with a space or hyphen between, are a card number: of one of
/// the large issuers, and with the right check digit. What begins with a plus is for calling, and what follows a slash or an underscore is part of a name.
fn has_card(text: &str) -> bool {
    let bytes = text.as_bytes();
    let joins = |byte: u8| byte == b' ' || byte == b'-';
    let mut at = 0;
    while at < bytes.len() {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let begins = bytes[at].is_ascii_digit()
            && !before.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+_/".contains(&byte) || byte >= 0x80);
        if !begins {
            at += 1;
            continue;
        }
        let mut digits = [0_u8; CARD_DIGITS_MAX];
        let (mut count, mut end) = (0, at);
        while let Some(byte) = bytes.get(end) {
            if byte.is_ascii_digit() && count < CARD_DIGITS_MAX {
                (digits[count], count) = (byte - b'0', count + 1);
            } else if !(joins(*byte) && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)) {
                break;
            }
            end += 1;
            let ends = !bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
            if ends && is_card(&digits[..count]) {
                return true;
            }
        }
        // On with the next group.
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    }
    false
}

fn is_card(digits: &[u8]) -> bool {
    let start = |length: usize| digits.iter().take(length).fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let issued = match digits.len() {
        15 => matches!(start(2), 34 | 37),
        16 => {
            start(1) == 4
                || matches!(start(2), 51..=55 | 62 | 65)
                || matches!(start(4), 2221..=2720 | 3528..=3589 | 6011)
        }
        _ => false,
    };
    let sum = digits.iter().rev().enumerate().map(|(place, digit)| match (place % 2, u32::from(*digit)) {
        (0, digit) => digit,
        (_, digit) => digit * 2 / 10 + digit * 2 % 10,
    });
    issued && sum.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::from_json;

    fn found(record: &serde_json::Value) -> Option<(String, &'static str)> {
        find(&from_json(record).expect("of the data model"))
    }

    #[test]
    fn keys_of_known_forms_are_found_where_they_are() {
        let stripe = format!("sk_live_{}", "4eC39HqLyjWDarjtT1zdp7dc");
        assert_eq!(
            found(&json!({ "a": [{ "b": stripe }] })),
            Some(("/a/0/b".to_owned(), "a payment provider's secret key"))
        );
        let within = format!("use AKIA{} please", "IOSFODNN7EXAMPLE");
        assert_eq!(found(&json!({ "text": within })).map(|(path, _)| path), Some("/text".to_owned()));
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n", "MIIEvQIBADANBgkqhkiG9w0");
        assert!(found(&json!({ "text": pem })).is_some());
    }

    #[test]
    fn words_are_no_secrets() {
        for text in ["sk_live_", "the AKIA prefix", "task-proj-abcdefghijklmnopqrstuvwxyz", "whsec_ means a secret"] {
            assert_eq!(found(&json!({ "text": text })), None, "{text}");
        }
    }

    #[test]
    fn card_numbers_are_found_where_they_stand_alone() {
        let visa = ["4111", "1111", "1111", "1111"];
        for text in [
            visa.concat(),
            visa.join(" "),
            visa.join("-"),
            format!("card {} 12/27", visa.join(" ")),
            format!("12 {}", visa.join(" ")),
            format!("({}).", visa.concat()),
            ["3782", "822463", "10005"].join(" "),
            ["5555", "5555", "5555", "4444"].concat(),
        ] {
            let record = from_json(&json!({ "a": ["x", { "b": text }] })).expect("of the data model");
            let found: Vec<_> = cards(&record).into_iter().map(|(path, _)| path).collect();
            assert_eq!(found, ["/a/1/b"], "{text}");
        }
    }

    #[test]
    fn other_numbers_are_no_cards() {
        let visa = ["4111", "1111", "1111", "1111"].concat();
        for text in [
            format!("{visa}1"),
            format!("pi_{visa}"),
            format!("x{visa}"),
            format!("{visa}x"),
            format!("+{visa}"),
            format!("https://shop.example/{visa}"),
            visa.replace("4111", "4112"),
            visa.replace("4111", "9111"),
            "4915112345678".to_owned(),
            "2026-11-24 09 00 00".to_owned(),
            "1 2 3 4 5 6 7 8 9 10".to_owned(),
            "\u{e9}".to_owned() + &visa,
        ] {
            let record = from_json(&json!({ "a": text })).expect("of the data model");
            assert_eq!(cards(&record), [], "{text}");
        }
    }
}
