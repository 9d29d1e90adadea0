//! Records of which an account has one for each subject: liking, reposting, following or blocking twice says nothing more.
//!
//! Clients of these collections do not look whether there is one before they make another, so hosts take the earlier away
//! when a record is created (as the reference host does).

use crate::data::Value;

/// The collections of such records.
pub const COLLECTIONS: [&str; 5] =
    ["app.bsky.feed.like", "app.bsky.feed.repost", "app.bsky.graph.block", "app.bsky.graph.follow", FOLLOW];

/// Following somebody on this network (FOL-01).
const FOLLOW: &str = "co.kendev.people.follow";

/// What a record of one of [`COLLECTIONS`] is about: the URI of a record, or the DID of an account. `None` of other
/// records, and of those that do not say.
#[must_use]
pub fn of<'a>(collection: &str, record: &'a Value) -> Option<&'a str> {
    if !COLLECTIONS.contains(&collection) {
        return None;
    }
    match record.as_map()?.get("subject")? {
        Value::String(did) if collection == FOLLOW || collection.starts_with("app.bsky.graph.") => Some(did),
        Value::Map(strong) if collection.starts_with("app.bsky.feed.") => strong.get("uri")?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::record_from_json;

    #[test]
    fn the_subject_is_where_the_collection_has_it() {
        let (uri, did) = ("at://did:plc:a/app.bsky.feed.post/b", "did:plc:a");
        let (strong, plain) = (json!({"subject": {"uri": uri, "cid": "c"}}), json!({ "subject": did }));
        for (collection, record, expected) in [
            ("app.bsky.feed.like", &strong, Some(uri)),
            ("app.bsky.feed.repost", &strong, Some(uri)),
            ("app.bsky.graph.block", &plain, Some(did)),
            ("app.bsky.graph.follow", &plain, Some(did)),
            ("app.bsky.feed.like", &plain, None),
            ("co.kendev.people.follow", &plain, Some(did)),
            ("co.kendev.people.follow", &strong, None),
            ("app.bsky.graph.follow", &strong, None),
            ("app.bsky.feed.post", &strong, None),
            ("app.bsky.graph.listitem", &plain, None),
            ("app.bsky.graph.follow", &json!({}), None),
        ] {
            let record = record_from_json(record).expect("of the data model");
            assert_eq!(of(collection, &record), expected, "{collection}");
        }
    }
}
