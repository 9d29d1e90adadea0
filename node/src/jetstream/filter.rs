//! What a follower wants of the lines.

use std::collections::HashSet;

use angel_protocol::ids::{Did, Nsid};
use serde::Deserialize;

use super::Line;

/// Most collections that a follower names, as Jetstream servers have it.
const COLLECTIONS_MAX: usize = 100;

/// Most accounts that a follower names, as Jetstream servers have it.
const DIDS_MAX: usize = 10_000;

/// What a follower asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wanted {
    /// Collections, or beginnings of them with `.*` behind; none means all.
    pub(crate) wanted_collections: Vec<String>,
    /// Accounts; none means all.
    pub(crate) wanted_dids: Vec<String>,
    /// Longest line that is wanted, in bytes; zero means any.
    pub(crate) max_message_size_bytes: i64,
}

/// A message with which a follower changes its mind.
#[derive(Debug, Deserialize)]
pub(crate) struct OptionsUpdate {
    #[serde(rename = "type")]
    _kind: UpdateKind,
    pub(crate) payload: Wanted,
}

#[derive(Debug, Deserialize)]
enum UpdateKind {
    #[serde(rename = "options_update")]
    OptionsUpdate,
}

/// [`Wanted`], checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    collections: HashSet<String>,
    /// Each with a dot at its end.
    beginnings: Vec<String>,
    dids: HashSet<String>,
    bytes_max: Option<usize>,
}

/// Why nobody can want this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterRefused {
    /// Too many collections.
    #[error("wantedCollections has at most {COLLECTIONS_MAX} entries")]
    TooManyCollections,
    /// Too many accounts.
    #[error("wantedDids has at most {DIDS_MAX} entries")]
    TooManyDids,
    /// Neither a collection nor the beginning of one.
    #[error("wantedCollections: {0:?} is neither an NSID nor the beginning of one with .* behind")]
    Collection(String),
    /// No DID.
    #[error("wantedDids: {0:?} is no DID")]
    Did(String),
}

impl Filter {
    /// Checks what a follower asks for.
    pub(crate) fn new(wanted: Wanted) -> Result<Self, FilterRefused> {
        let Wanted { wanted_collections, wanted_dids, max_message_size_bytes } = wanted;
        if wanted_collections.len() > COLLECTIONS_MAX {
            return Err(FilterRefused::TooManyCollections);
        }
        if wanted_dids.len() > DIDS_MAX {
            return Err(FilterRefused::TooManyDids);
        }
        let bytes_max = usize::try_from(max_message_size_bytes).ok().filter(|max| *max > 0);
        let mut filter = Self { bytes_max, ..Self::default() };
        for collection in wanted_collections {
            match collection.strip_suffix(".*") {
                // With two more names, the beginning of an NSID is one.
                Some(beginning) if format!("{beginning}.x.y").parse::<Nsid>().is_ok() => {
                    filter.beginnings.push(format!("{beginning}."));
                }
                None if collection.parse::<Nsid>().is_ok() => drop(filter.collections.insert(collection)),
                _ => return Err(FilterRefused::Collection(collection)),
            }
        }
        for did in wanted_dids {
            if did.parse::<Did>().is_err() {
                return Err(FilterRefused::Did(did));
            }
            filter.dids.insert(did);
        }
        Ok(filter)
    }

    /// Whether the follower gets this line. What happens to an account itself is in no collection, and passes any.
    pub(super) fn passes(&self, line: &Line) -> bool {
        let all = self.collections.is_empty() && self.beginnings.is_empty();
        let collection = line.collection.as_deref().is_none_or(|collection| {
            all || self.collections.contains(collection)
                || self.beginnings.iter().any(|beginning| collection.starts_with(beginning))
        });
        let did = self.dids.is_empty() || self.dids.contains(line.did.as_str());
        collection && did && self.bytes_max.is_none_or(|max| line.text.payload().len() <= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firehose::Framed;

    fn filter(collections: &[&str], dids: &[&str], bytes_max: i64) -> Result<Filter, FilterRefused> {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        Filter::new(Wanted {
            wanted_collections: texts(collections),
            wanted_dids: texts(dids),
            max_message_size_bytes: bytes_max,
        })
    }

    fn line(collection: Option<&str>) -> Line {
        Line {
            did: "did:web:a.example".parse().expect("valid"),
            collection: collection.map(ToOwned::to_owned),
            text: Framed::text("0123456789"),
        }
    }

    #[test]
    fn collections_pass_whole_and_by_their_beginning() {
        let all = filter(&[], &[], 0).expect("valid");
        assert!(all.passes(&line(Some("a.b.c"))) && all.passes(&line(None)));
        let some = filter(&["a.b.c", "app.bsky.*"], &[], 0).expect("valid");
        for (collection, passes) in [
            ("a.b.c", true),
            ("a.b.cd", false),
            ("a.b.c.d", false),
            ("app.bsky.feed.post", true),
            ("app.bskyx.feed.post", false),
        ] {
            assert_eq!(some.passes(&line(Some(collection))), passes, "{collection}");
        }
        assert!(some.passes(&line(None)), "accounts are in no collection");
    }

    #[test]
    fn accounts_and_sizes_are_looked_at() {
        assert!(filter(&[], &["did:web:a.example"], 10).expect("valid").passes(&line(None)));
        assert!(!filter(&[], &["did:web:b.example"], 0).expect("valid").passes(&line(None)));
        assert!(!filter(&[], &[], 9).expect("valid").passes(&line(None)));
        assert!(filter(&[], &[], -1).expect("valid").passes(&line(None)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for collection in ["", "*", ".*", "app", "app.bsky.*.post", "app.bsky*", "no nsid.*"] {
            let refused = filter(&[collection], &[], 0).expect_err("no collection");
            assert_eq!(refused, FilterRefused::Collection(collection.to_owned()));
        }
        assert_eq!(filter(&[], &["nobody"], 0).expect_err("no DID"), FilterRefused::Did("nobody".to_owned()));
        let many = vec!["a.b.c"; COLLECTIONS_MAX + 1];
        assert_eq!(filter(&many, &[], 0).expect_err("too many"), FilterRefused::TooManyCollections);
        let many = vec!["did:web:a.example"; DIDS_MAX + 1];
        assert_eq!(filter(&[], &many, 0).expect_err("too many"), FilterRefused::TooManyDids);
    }
}
