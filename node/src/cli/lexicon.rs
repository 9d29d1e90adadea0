//! `angel lexicon`: documents and records, judged without a daemon; and publishing ours.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use angel_protocol::lexicon::{Catalog, check_document, validate_record};
use angel_protocol::limits::LEXICON_DOCUMENT_BYTES_MAX;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::{print, row};
use super::{Common, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum LexiconVerb {
    /// Judge a file: a lexicon document by the language, a record by the document of its collection.
    Check {
        /// A JSON file.
        file: PathBuf,
    },
    /// List the documents that this node ships.
    List,
    /// Print one of them.
    Show {
        /// Its name, such as co.kendev.spaces.message.
        nsid: String,
    },
    /// Publish this network's documents in the repository of the node's own account, which is made for it if there is
    /// none yet.
    Publish,
}

pub(super) fn lexicon(common: &Common, verb: LexiconVerb) -> Result<(), Failure> {
    match verb {
        LexiconVerb::Check { file } => check(common, &file),
        LexiconVerb::List => {
            let names: Vec<_> = Catalog::builtin().iter().map(|document| document.id.to_string()).collect();
            print(common, &json!({ "lexicons": names }), names)?;
            Ok(())
        }
        LexiconVerb::Show { nsid } => {
            let unknown = || Failure::new(Code::Usage, format!("this node ships no lexicon {nsid}"));
            let text = Catalog::builtin_text(&nsid).ok_or_else(unknown)?;
            let document: Value = serde_json::from_str(text).unwrap_or_default();
            print(common, &document, text.lines().map(str::to_owned))?;
            Ok(())
        }
        LexiconVerb::Publish => {
            let daemon = Daemon::find(common)?;
            let answer = block_on(daemon.post("/admin/lexicons/publish", &json!({})))??;
            let words = vec![
                row("account", answer["did"].as_str().unwrap_or_default()),
                row("documents", &answer["documents"]),
                row("changed", &answer["changed"]),
            ];
            print(common, &answer, words)?;
            Ok(())
        }
    }
}

fn check(common: &Common, file: &Path) -> Result<(), Failure> {
    let bytes = read(file)?;
    let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let (what, findings) = if json.get("lexicon").is_some() && json.get("$type").is_none() {
        let findings = match check_document(&bytes) {
            Ok(problems) => problems.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        ("document", findings)
    } else {
        ("record", validate_record(&bytes).err().map(|error| error.to_string()).into_iter().collect())
    };
    let answer = json!({ "file": file, "what": what, "valid": findings.is_empty(), "findings": findings });
    let words = if findings.is_empty() { vec![format!("a valid {what}")] } else { findings.clone() };
    print(common, &answer, words)?;
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::new(Code::Findings, format!("{}: {count} found in the {what}", file.display()))),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One more than may be, so that what is too large is refused by name.
    let limit = LEXICON_DOCUMENT_BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Failure::new(Code::Usage, format!("cannot read {}: {error}", file.display())))?;
    Ok(bytes)
}
