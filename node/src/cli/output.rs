//! What a verb found, on standard output: JSON for programs, aligned lines for people.

use std::io::{self, Write};

use serde_json::Value;

use super::Common;
use super::exit::Failure;

/// Writes JSON when it was asked for, else the lines.
///
/// # Errors
/// It did not get there, on a full disk say: what is told once is lost then.
pub(super) fn print(common: &Common, json: &Value, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = if common.json {
        writeln!(out, "{json}")
    } else {
        lines.into_iter().try_for_each(|line| writeln!(out, "{line}"))
    };
    judged(written.and_then(|()| out.flush()))
}

/// A reader that went away, as `head` does, is no error.
fn judged(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let words = format!("it is done, but what it says cannot be written to standard output: {error}");
            Err(Failure::unexpected(words))
        }
        _ => Ok(()),
    }
}

/// A label and a value, in two columns.
pub(super) fn row(label: &str, value: impl std::fmt::Display) -> String {
    format!("{label:<13} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
        assert!(judged(Ok(())).is_ok());
        assert!(judged(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        let failed = judged(Err(io::ErrorKind::StorageFull.into())).expect_err("nobody has read it");
        assert!(failed.words().contains("standard output"), "{}", failed.words());
    }
}
