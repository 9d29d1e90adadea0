//! Names of Rust for names of lexicons.

use angel_protocol::lexicon::ast::{DefinitionId, MAIN};

/// Words that are a name with `r#` in front alone.
const RAW: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// Words that are no name in any way.
const NEVER: [&str; 3] = ["crate", "self", "super"];

/// A type's name: every part begins with a capital.
pub(super) fn camel(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    let part = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    parts.map(part).collect()
}

/// A field's name: small letters, with an underscore before what was a capital.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for letter in name.chars() {
        let begins = letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if begins {
            snake.push('_');
        }
        snake.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' });
        before = letter;
    }
    if NEVER.contains(&&*snake) {
        snake.push('_');
    }
    if snake.starts_with(|first: char| first.is_ascii_digit()) { format!("_{snake}") } else { snake }
}

/// A field's name as it is written in Rust.
pub(super) fn field(snake: &str) -> String {
    if RAW.contains(&snake) { format!("r#{snake}") } else { snake.to_owned() }
}

/// What `rename_all = "camelCase"` of serde makes of a field's name.
pub(super) fn serde_camel(snake: &str) -> String {
    let pascal = camel(snake);
    let mut letters = pascal.chars();
    letters.next().map(|first| first.to_ascii_lowercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// The name of the type of a definition: that of its document and its own, but for documents of definitions alone.
pub(super) fn definition(id: &DefinitionId) -> String {
    let document = id.document.rsplit('.').next().unwrap_or_default();
    match (document, &*id.name) {
        ("defs", name) => camel(name),
        (document, MAIN) => camel(document),
        (document, name) => camel(document) + &camel(name),
    }
}
