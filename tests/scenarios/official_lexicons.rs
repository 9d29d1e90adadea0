//! The methods of AT Protocol itself are those that its own packages describe: served under their names, by their verbs,
//! and none invented. The documents are read from the packages that judge this node; they are not part of it (ADR 128).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use angel_protocol::lexicon::{Catalog, Definition, Document, check};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Where methods get their paths.
const ROUTER: &str = include_str!("../../node/src/xrpc/router.rs");

/// Groups of a draft, which the packages do not carry yet: their documents are our own, under `lexicons/`.
const DRAFTS: [&str; 2] = ["com.atproto.space.", "com.atproto.simplespace."];

/// What the packages describe and this node does not serve, and why not.
const NOT_SERVED: [(&str, &str); 12] = [
    ("com.atproto.admin.updateAccountSigningKey", "signing keys change by operations of the identity"),
    ("com.atproto.label.queryLabels", "for services that label"),
    ("com.atproto.label.subscribeLabels", "for services that label"),
    ("com.atproto.sync.getHostStatus", "for relays"),
    ("com.atproto.sync.listHosts", "for relays"),
    ("com.atproto.sync.notifyOfUpdate", "for relays"),
    ("com.atproto.sync.requestCrawl", "for relays"),
    ("com.atproto.temp.addReservedHandle", "temporary, for another operator"),
    ("com.atproto.temp.dereferenceScope", "temporary, for another operator"),
    ("com.atproto.temp.fetchLabels", "temporary, for services that label"),
    ("com.atproto.temp.requestPhoneVerification", "temporary, for another operator"),
    ("com.atproto.temp.revokeAccountCredentials", "temporary, for another operator"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
}

/// The protocol's own documents, as its packages carry them.
async fn official() -> Result<Catalog> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("lexicons.json");
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients"));
    let plan = json!({ "out": out }).to_string();
    let run = move || Command::new(script).args(["lexicons", &plan]).stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let documents: Vec<Value> = serde_json::from_slice(&std::fs::read(&out)?)?;
    let mut catalog = Catalog::default();
    for document in &documents {
        let id = &document["id"];
        let document = Document::from_json(document).with_context(|| format!("the document {id}"))?;
        catalog.insert(document)?;
    }
    Ok(catalog)
}

fn methods(catalog: &Catalog) -> BTreeMap<String, Verb> {
    let verb = |document: &Document| match document.main()? {
        Definition::Query(_) | Definition::Subscription(_) => Some(Verb::Get),
        Definition::Procedure(_) => Some(Verb::Post),
        _ => None,
    };
    catalog.iter().filter_map(|document| Some((document.id.to_string(), verb(document)?))).collect()
}

/// The methods of the protocol in the router's source, with how each is asked.
fn routed() -> Result<BTreeMap<String, Verb>> {
    let mut found = BTreeMap::new();
    for part in ROUTER.split("\"/xrpc/com.atproto.").skip(1) {
        let (name, rest) = part.split_once('"').context("a path ends")?;
        let rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        let verb = if rest.starts_with("get(") { Verb::Get } else { Verb::Post };
        ensure!(verb == Verb::Get || rest.starts_with("post("), "{name} is neither got nor posted");
        found.insert(format!("com.atproto.{name}"), verb);
    }
    Ok(found)
}

#[tokio::test]
async fn methods_of_the_protocol_are_those_that_its_packages_describe() -> Result<()> {
    let catalog = official().await?;
    for document in catalog.iter() {
        // What other groups describe is not looked for.
        let problems = check(document, &catalog);
        let problems: Vec<_> =
            problems.iter().map(ToString::to_string).filter(|it| it.contains("com.atproto.")).collect();
        ensure!(problems.is_empty(), "{}: {problems:?}", document.id);
    }
    let (official, routed, ours) = (methods(&catalog), routed()?, methods(Catalog::builtin()));
    ensure!(official.len() > 80 && routed.len() > 90, "{} described, {} served", official.len(), routed.len());

    let is_draft = |name: &str| DRAFTS.iter().any(|group| name.starts_with(group));
    for (name, verb) in &routed {
        let described = official.get(name).or_else(|| ours.get(name).filter(|_| is_draft(name)));
        ensure!(described == Some(verb), "{name} is served by {verb:?} and described as {described:?}");
    }
    let served: BTreeSet<&str> = routed.keys().map(String::as_str).collect();
    let left: BTreeSet<&str> = official.keys().map(String::as_str).filter(|name| !served.contains(name)).collect();
    let meant: BTreeSet<&str> = NOT_SERVED.iter().map(|(name, _)| *name).collect();
    ensure!(left == meant, "described and not served: {left:?}; meant: {meant:?}");
    // A draft that the packages carry by now is theirs to describe.
    let late: Vec<_> = official.keys().filter(|name| is_draft(name)).collect();
    ensure!(late.is_empty(), "no longer drafts: {late:?}");
    Ok(())
}
