//! What a document says in words, and its bounds in words.

use angel_protocol::lexicon::Format;
use angel_protocol::lexicon::ast::{Length, Schema, Type};

/// Longest line of code, as `rustfmt.toml` has it.
const WIDTH: usize = 120;

/// Sentences in a row, of those that there are. Each ends with a full stop.
pub(super) fn sentences(sentences: impl IntoIterator<Item = Option<String>>) -> String {
    let mut all = String::new();
    for sentence in sentences.into_iter().flatten() {
        let sentence = sentence.trim();
        if sentence.is_empty() {
            continue;
        }
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(sentence);
        if !sentence.ends_with(['.', '!', '?']) {
            all.push('.');
        }
    }
    all
}

/// A doc comment, in lines of at most [`WIDTH`] that begin with `mark`. Words stay whole.
pub(super) fn comment(text: &str, mark: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && mark.len() + line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&format!("{mark}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push_str(&format!("{mark}{line}\n"));
    }
    lines
}

/// What a document says, so that rustdoc takes it for words and for no mark.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if matches!(letter, '<' | '>' | '[' | ']' | '*' | '\\') {
            plain.push('\\');
        }
        plain.push(letter);
    }
    plain
}

/// The bounds of a value.
pub(super) fn bounds(schema: &Schema) -> String {
    match &schema.ty {
        Type::Boolean(boolean) => {
            sentences([boolean.constant.map(|only| format!("Always {only}")), when_absent(boolean.default)])
        }
        Type::Integer(integer) => {
            let range = match (integer.minimum, integer.maximum) {
                (Some(least), Some(most)) => Some(format!("From {least} to {most}")),
                // The type says so by itself.
                (Some(0), None) | (None, None) => None,
                (Some(least), None) => Some(format!("At least {least}")),
                (None, Some(most)) => Some(format!("At most {most}")),
            };
            let only = integer.constant.map(|only| format!("Always {only}"));
            sentences([range, one_of("One of", integer.allowed.as_deref()), only, when_absent(integer.default)])
        }
        Type::String(text) => sentences([
            text.format.filter(|format| *format == Format::AtUri).map(|_| "An AT URI".to_owned()),
            length(text.bytes, "byte"),
            length(text.graphemes, "grapheme"),
            one_of("One of", text.allowed.as_deref()),
            one_of("For example", Some(&text.known)),
            text.constant.as_ref().map(|only| format!("Always `{only}`")),
            when_absent(text.default.as_ref()),
        ]),
        Type::Bytes(bytes) => sentences([length(*bytes, "byte")]),
        Type::Array(array) => {
            let each = sentences([array.items.description.as_deref().map(plain), Some(bounds(&array.items))]);
            let each = Some(each).filter(|each| !each.is_empty()).map(|each| format!("Each: {each}"));
            sentences([length(array.length, "entry"), each])
        }
        Type::Blob(blob) => sentences([blob.size_max.map(|most| format!("At most {most} bytes"))]),
        Type::CidLink | Type::Object(_) | Type::Ref(_) | Type::Union(_) | Type::Unknown => String::new(),
    }
}

fn when_absent(default: Option<impl std::fmt::Display>) -> Option<String> {
    default.map(|default| format!("When absent, `{default}`"))
}

fn one_of(how: &str, words: Option<&[impl std::fmt::Display]>) -> Option<String> {
    let words: Vec<_> = words?.iter().map(|word| format!("`{word}`")).collect();
    (!words.is_empty()).then(|| format!("{how} {}", words.join(", ")))
}

fn length(length: Length, what: &str) -> Option<String> {
    let many = |count: usize| match (count, what) {
        (1, _) => format!("1 {what}"),
        (_, "entry") => format!("{count} entries"),
        (_, _) => format!("{count} {what}s"),
    };
    match (length.min, length.max) {
        (Some(least), Some(most)) if least == most => Some(format!("Exactly {}", many(least))),
        (Some(least), Some(most)) => Some(format!("From {least} to {}", many(most))),
        (Some(least), None) => Some(format!("At least {}", many(least))),
        (None, Some(most)) => Some(format!("At most {}", many(most))),
        (None, None) => None,
    }
}
