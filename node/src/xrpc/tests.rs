//! Documents and routes agree: neither holds a method of this network that the other lacks, and no route lets anything
//! in that the document of its method forbids.

mod bad;
mod inputs;
pub(super) mod visited;

use std::collections::BTreeMap;

use angel_protocol::lexicon::{Catalog, Definition};

/// Where methods get their paths.
const ROUTERS: [&str; 2] = [include_str!("router.rs"), include_str!("../http/router.rs")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    /// The source names a variable.
    Unsaid,
}

/// The methods in the routers' source, with how each is asked.
fn routed() -> BTreeMap<String, Verb> {
    let mut found = BTreeMap::new();
    for source in ROUTERS {
        for part in source.split("\"/xrpc/").skip(1) {
            let Some((name, rest)) = part.split_once('"') else { continue };
            let rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            let verb = match rest {
                rest if rest.starts_with("get(") => Verb::Get,
                rest if rest.starts_with("post(") => Verb::Post,
                _ => Verb::Unsaid,
            };
            found.insert(name.to_owned(), verb);
        }
    }
    found
}

/// The methods that documents of ours describe, and of AT Protocol's those that we carry.
fn described() -> BTreeMap<String, Verb> {
    let methods = Catalog::builtin().iter().filter_map(|document| {
        let verb = match document.main()? {
            Definition::Query(_) | Definition::Subscription(_) => Verb::Get,
            Definition::Procedure(_) => Verb::Post,
            _ => return None,
        };
        let ours = ["co.kendev.", "com.atproto."].iter().any(|group| document.id.starts_with(group));
        ours.then(|| (document.id.to_string(), verb))
    });
    methods.collect()
}

#[test]
fn every_method_that_is_described_is_served() {
    let routed = routed();
    let missing: Vec<_> = described().into_keys().filter(|nsid| !routed.contains_key(nsid)).collect();
    assert!(missing.is_empty(), "described in lexicons/ and not served: {missing:?}");
}

#[test]
fn every_method_of_ours_that_is_served_is_described() {
    let described = described();
    let ours = routed().into_keys().filter(|nsid| nsid.starts_with("co.kendev."));
    let missing: Vec<_> = ours.filter(|nsid| !described.contains_key(nsid)).collect();
    assert!(missing.is_empty(), "served and not described in lexicons/: {missing:?}");
}

#[test]
fn queries_are_read_and_procedures_are_posted() {
    let routed = routed();
    assert!(routed.len() > 80, "the routers are read: {} methods", routed.len());
    for (nsid, verb) in described() {
        match routed.get(&nsid) {
            None | Some(Verb::Unsaid) => {}
            Some(routed) => assert_eq!(*routed, verb, "{nsid}"),
        }
    }
}
