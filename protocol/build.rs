//! Lists the lexicon documents so that the crate can embed them.
//!
//! Writes nothing but `lexicons.rs` in Cargo's output folder: one `include_str!` for each file under `lexicons/`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../lexicons");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    collect(&folder, true, &mut files)?;
    files.sort();

    let mut code =
        String::from("/// Path below `lexicons/` and text of every document.\nconst DOCUMENTS: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&folder).map_err(io::Error::other)?;
        code.push_str(&format!("    ({:?}, include_str!({:?})),\n", name.display().to_string(), file.canonicalize()?));
    }
    let flags = folder.join("flags.json").canonicalize()?;
    code.push_str(&format!(
        "];\n\n/// The text of `lexicons/flags.json`.\nconst FLAGS_JSON: &str = include_str!({flags:?});\n"
    ));
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("lexicons.rs"), code)
}

/// Documents lie in folders that follow their NSID; what lies at the top is no document.
fn collect(folder: &Path, is_top: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, false, files)?;
        } else if !is_top && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}
