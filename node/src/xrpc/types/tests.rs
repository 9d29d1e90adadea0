//! The types are those of the documents, and there is no other way to an input.

use std::path::{Path, PathBuf};
use std::{env, fs};

use angel_protocol::lexicon::{Catalog, Definition};

use super::choices::OURS;
use super::generator;

/// Our methods, and the groups that they come in.
const NETWORK: &str = "co.kendev.";
const GROUPS: [&str; 6] = ["business", "content", "network", "people", "spaces", "tenants"];

/// Handlers that read by hand, each saying why.
const BY_HAND: [&str; 2] = ["spaces/import_spaces.rs", "spaces/send_message.rs"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/xrpc")
}

/// With `ANGEL_WRITE_TYPES` set, which `scripts/types` does, they are written first.
#[test]
fn the_types_are_those_of_the_documents() {
    for group in GROUPS {
        let generated = generator::types(Catalog::builtin(), &format!("{NETWORK}{group}"), OURS);
        let generated = generated.unwrap_or_else(|refused| panic!("{refused}"));
        let path = sources().join("types").join(group).with_extension("rs");
        if env::var_os("ANGEL_WRITE_TYPES").is_some() {
            fs::write(&path, &generated).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let there = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let differs = there.lines().zip(generated.lines()).position(|(there, anew)| there != anew);
        let line = differs.unwrap_or_else(|| there.lines().count().min(generated.lines().count())) + 1;
        assert!(
            there == generated,
            "{} is not what the documents give, from line {line} on: write the types anew with scripts/types",
            path.display()
        );
    }
}

#[test]
fn every_method_is_of_a_group() {
    let mut methods = 0;
    for document in Catalog::builtin().iter() {
        let Some(name) = document.id.strip_prefix(NETWORK) else { continue };
        if let Some(Definition::Query(_) | Definition::Procedure(_) | Definition::Subscription(_)) = document.main() {
            let group = name.split('.').next().unwrap_or_default();
            assert!(GROUPS.contains(&group), "{} is of a group that gets no types", document.id);
            methods += 1;
        }
    }
    assert!(methods > 90, "{methods} methods");
}

#[test]
fn handlers_have_no_types_of_their_own_for_what_is_sent() {
    let folder = sources().join("co/kendev");
    let mut by_hand = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap_or_else(|error| panic!("{}: {error}", at.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(&folder).expect("found below it").display().to_string();
            if text.contains("Deserialize") && !name.contains("tests") {
                by_hand.push(name);
            }
        }
    }
    by_hand.sort();
    assert_eq!(by_hand, BY_HAND, "what a method takes is told by its document, and its type by scripts/types");
}
