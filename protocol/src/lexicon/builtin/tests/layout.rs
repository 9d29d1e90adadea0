//! The one layout of our JSON files: two spaces, one entry a line, a line break at the end.

/// The text in that layout; its entries keep their order.
pub(super) fn canonical(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut characters = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                out.push('"');
                while let Some(inner) = characters.next() {
                    out.push(inner);
                    match inner {
                        '\\' => out.extend(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            blank if blank.is_whitespace() => {}
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}

/// How many entries the objects of a text in that layout have, each written one counted.
pub(super) fn entries_written(canonical: &str) -> usize {
    // A line break or a quotation mark within a text is escaped, so an entry is a line that begins with a whole text
    // and goes on with a colon.
    let entry = |line: &&str| {
        let mut parts = line.trim_start().split('"');
        parts.next() == Some("") && parts.nth(1).is_some_and(|rest| rest.starts_with(": "))
    };
    canonical.lines().filter(entry).count()
}

/// How many entries the objects of a value have: of two with the same key one is left.
pub(super) fn entries_read(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => items.iter().map(entries_read).sum(),
        serde_json::Value::Object(map) => map.len() + map.values().map(entries_read).sum::<usize>(),
        _ => 0,
    }
}

#[test]
fn counts_what_is_written_twice() {
    let text = canonical(r#"{"a": 1, "b": [{"a": "x: 1"}], "a": "b"}"#);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((entries_written(&text), entries_read(&value)), (4, 3));
}

#[test]
fn lays_out_what_it_is_given() {
    assert_eq!(
        canonical(r#"{"a":[1,{}, []],"b":"x: \"{, "}"#),
        "{\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"b\": \"x: \\\"{, \"\n}\n"
    );
}
