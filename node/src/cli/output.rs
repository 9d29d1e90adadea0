//! What a verb found, on standard output: JSON for programs, aligned lines for people.

use std::io::{self, Write};

use serde_json::Value;

use super::Common;

/// Writes JSON when it was asked for, else the lines. A reader that went away, as `head` does, is no error.
pub(super) fn print(common: &Common, json: &Value, lines: impl IntoIterator<Item = String>) {
    let mut out = io::stdout().lock();
    let written = if common.json {
        writeln!(out, "{json}")
    } else {
        lines.into_iter().try_for_each(|line| writeln!(out, "{line}"))
    };
    drop(written.and_then(|()| out.flush()));
}

/// A label and a value, in two columns.
pub(super) fn row(label: &str, value: impl std::fmt::Display) -> String {
    format!("{label:<13} {value}")
}
