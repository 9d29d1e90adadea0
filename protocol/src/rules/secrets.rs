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
}
