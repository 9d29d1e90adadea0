//! Every question that a daemon answers: each GET route of its routers, as their sources have them, with everything that is
//! known filled in. A method that is added later is asked as well, without anybody having to think of it.

use std::collections::BTreeSet;

/// The sources in which routes stand.
const ROUTERS: [&str; 7] = [
    include_str!("../../node/src/xrpc/router.rs"),
    include_str!("../../node/src/http/router.rs"),
    include_str!("../../node/src/http/plc.rs"),
    include_str!("../../node/src/http/replicas.rs"),
    include_str!("../../node/src/http/accounts.rs"),
    include_str!("../../node/src/http/backups.rs"),
    include_str!("../../node/src/http/validators.rs"),
];

/// Records that are asked for in each space.
const CLOSELY: usize = 5;

/// A record that is asked for: whose, where, and by which URI.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) did: String,
    pub(crate) collection: String,
    pub(crate) rkey: String,
    pub(crate) cid: String,
}

/// What is known, and asked with. None of it may hold what is looked for: answers repeat what they were asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// URIs of spaces, of either kind.
    pub(crate) spaces: Vec<String>,
    pub(crate) records: Vec<Record>,
    /// A word that is in what is looked for.
    pub(crate) word: String,
}

/// The GET routes, without those of streams that never end.
pub(crate) fn routes() -> BTreeSet<String> {
    let chunks = ROUTERS.iter().flat_map(|source| source.split(".route(").skip(1));
    let routes = chunks.filter(|chunk| chunk.contains("get(")).filter_map(|chunk| chunk.split('"').nth(1));
    let ends = |route: &&str| !route.contains("subscribe") && *route != "/api/spaces/events";
    routes.filter(|route| route.starts_with('/')).filter(ends).map(ToOwned::to_owned).collect()
}

/// The paths and queries of all questions.
pub(crate) fn questions(known: &Known) -> Vec<String> {
    let mut questions = BTreeSet::new();
    for route in routes() {
        if !route.starts_with("/xrpc/") {
            let dids = known.records.iter().map(|record| record.did.as_str());
            let names = known.records.iter().map(|record| record.collection.as_str());
            for (did, name) in dids.zip(names) {
                let filled = route.replace("{did}", did).replace("{nsid}", name);
                questions.insert(filled.replace("{height}", "1").replace("{first}", "1").replace("{id}", "1"));
            }
            continue;
        }
        for (n, record) in known.records.iter().enumerate() {
            // The first records are of the spaces; the others are of none, and one space is as good as another.
            for space in known.spaces.iter().take(if n < CLOSELY { usize::MAX } else { 1 }) {
                questions.insert(format!("{route}?{}", query(record, space, &known.word)));
            }
        }
    }
    questions.into_iter().collect()
}

/// All parameters that any method takes: each passes over those that it does not know.
fn query(record: &Record, space: &str, word: &str) -> String {
    let Record { did, collection, rkey, cid } = record;
    let uri = format!("at://{did}/{collection}/{rkey}");
    let mut url = reqwest::Url::parse("http://localhost/").expect("a URL");
    let mut query = url.query_pairs_mut();
    for name in ["did", "repo", "actor", "user", "tenant", "account", "identifier", "dids"] {
        query.append_pair(name, did);
    }
    for (name, value) in [
        ("collection", collection.as_str()),
        ("nsid", collection),
        ("rkey", rkey),
        ("cid", cid),
        ("uri", &uri),
        ("message", &uri),
        ("space", space),
        ("q", word),
        ("limit", "100"),
    ] {
        query.append_pair(name, value);
    }
    // What is known about a person lies under their DID.
    if rkey.starts_with("did:") {
        query.append_pair("person", rkey);
    }
    drop(query);
    url.query().unwrap_or_default().to_owned()
}
