//! Where tests find the published AT Protocol vectors, when the checkout has them beside it.

use std::fs;
use std::path::PathBuf;
use std::sync::Once;

/// The folder of vectors: `ANGEL_INTEROP`, or `shared/interop` beside the workspace. `None`, and a line that says so,
/// when there is none; our own vectors still run.
fn folder() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/interop");
    let folder = std::env::var_os("ANGEL_INTEROP").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    static SAID: Once = Once::new();
    SAID.call_once(|| eprintln!("no interop vectors at {}: only our own ran", folder.display()));
    None
}

/// The text of one vector file, or `None` without the folder.
///
/// A folder without the file is a failure: a renamed vector must not turn into a test that checks nothing.
pub(crate) fn text(file: &str) -> Option<String> {
    let path = folder()?.join(file);
    Some(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The cases of a `.txt` file: every line that is neither empty nor a comment. Spaces at its ends count.
pub(crate) fn lines(file: &str) -> Vec<String> {
    let cases = text(file).unwrap_or_default();
    cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The cases of a `.json` file that holds a list.
pub(crate) fn json(file: &str) -> Vec<serde_json::Value> {
    text(file).map_or_else(Vec::new, |text| serde_json::from_str(&text).expect("a list in JSON"))
}

/// Asserts that `parse` takes every case of `valid` and none of `invalid`.
pub(crate) fn assert_syntax<T, E>(name: &str, parse: impl Fn(&str) -> Result<T, E>) {
    for case in lines(&format!("syntax/{name}_syntax_valid.txt")) {
        assert!(parse(&case).is_ok(), "{name}: refused {case:?}");
    }
    for case in lines(&format!("syntax/{name}_syntax_invalid.txt")) {
        assert!(parse(&case).is_err(), "{name}: accepted {case:?}");
    }
}
