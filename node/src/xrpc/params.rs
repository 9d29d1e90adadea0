//! The parameters of a method, from the query of its URL (XRPC specification, "Lexicon HTTP Endpoints"). The method's
//! document says what they have to be, where there is one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::documents;
use crate::http::XrpcError;

/// Longest query that is read, in bytes: room for a page of CIDs.
const QUERY_BYTES_MAX: usize = 16 * 1024;

/// Parameters as `T` has them. A list is a repeated key; a number or a boolean that is none is refused, and so is a
/// single parameter given twice.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, XrpcError> {
        read(parts.uri.path(), parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn read<T: DeserializeOwned>(path: &str, query: &str) -> Result<T, XrpcError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(XrpcError::invalid_request(format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
    }
    let refused = |error: String| XrpcError::invalid_request(format!("parameters: {error}"));
    match documents::of(path) {
        Some(document) => {
            serde_json::from_value(document.parameters(query)?).map_err(|error| refused(error.to_string()))
        }
        None => serde_html_form::from_str(query).map_err(|error| refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use atrium_api::com::atproto::repo::list_records::ParametersData as ListRecords;
    use atrium_api::com::atproto::sync::get_blocks::ParametersData as GetBlocks;

    use super::*;

    /// As of a method without a document.
    fn read<T: DeserializeOwned>(query: &str) -> Result<T, XrpcError> {
        super::read("/xrpc/com.atproto.repo.listRecords", query)
    }

    #[test]
    fn numbers_lists_and_absent_values_are_read() {
        let list: ListRecords = read("repo=did:web:a.example&collection=a.b.c&limit=10&reverse=true").expect("fits");
        assert_eq!((list.limit.map(u8::from), list.reverse, list.cursor), (Some(10), Some(true), None));
        let cid = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
        let blocks: GetBlocks = read(&format!("did=did:web:a.example&cids={cid}&cids={cid}")).expect("fits");
        assert_eq!(blocks.cids.len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for query in [
            "",
            "repo=did:web:a.example",
            "repo=nobody&collection=a.b.c",
            "repo=did:web:a.example&collection=nothing",
            "repo=did:web:a.example&collection=a.b.c&limit=0",
            "repo=did:web:a.example&collection=a.b.c&limit=101",
            "repo=did:web:a.example&collection=a.b.c&limit=ten",
            "repo=did:web:a.example&collection=a.b.c&reverse=maybe",
            "repo=did:web:a.example&collection=a.b.c&collection=d.e.f",
        ] {
            assert!(read::<ListRecords>(query).is_err(), "{query}");
        }
        let long = format!("repo=did:web:a.example&collection=a.b.c&cursor={}", "x".repeat(QUERY_BYTES_MAX));
        assert!(read::<ListRecords>(&long).is_err());
    }

    #[test]
    fn the_document_gives_types_and_defaults_and_bounds() {
        #[derive(Debug, serde::Deserialize)]
        struct Page {
            limit: u16,
            cursor: Option<String>,
        }
        let read = |query: &str| super::read::<Page>("/xrpc/co.kendev.network.listNodes", query);
        let page = read("").expect("nothing is required");
        assert_eq!((page.limit, page.cursor), (100, None), "the default is the document's");
        assert_eq!(read("limit=7&unknown=1&unknown=2").expect("what is unknown is ignored").limit, 7);
        for query in
            ["limit=0", "limit=ten", "limit=1.5", "limit=%2B5", "limit=5&limit=6", "limit=99999999999999999999"]
        {
            let refused = format!("{:?}", read(query).expect_err(query));
            assert!(refused.contains("parameters: /limit: "), "{query}: {refused}");
        }
        let many = "a=1&".repeat(1_025);
        assert!(format!("{:?}", read(&many).expect_err("too many")).contains("too many parameters"));
    }

    /// A fuzz target: `scripts/soak fuzz` runs it for as long as one likes.
    #[test]
    fn fuzz_any_query_is_read_within_bounds_or_refused() {
        const NAMES: [&str; 6] = ["repo", "collection", "limit", "cursor", "reverse", "cids"];
        const VALUES: [&str; 8] = ["did:web:a.example", "a.b.c", "1", "101", "true", "%00", "%FF%zz", "-0"];
        // Pairs of what methods know and what they do not expect, and the input itself.
        bolero::check!().for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            let pair = |pair: &[u8]| {
                let [name, value] = pair else { return String::new() };
                let known = |texts: &[&str], byte: &u8| texts.get(usize::from(*byte)).map(ToString::to_string);
                let name = known(&NAMES, name).unwrap_or_else(|| text.chars().take(3).collect());
                format!("{name}={}", known(&VALUES, value).unwrap_or_else(|| text.chars().rev().collect()))
            };
            let pairs: Vec<String> = input.chunks(2).map(pair).collect();
            for query in [&*text, &pairs.join("&")] {
                if let Ok(list) = read::<ListRecords>(query) {
                    assert!(query.len() <= QUERY_BYTES_MAX && query.contains("repo=") && query.contains("collection="));
                    assert!(list.limit.is_none_or(|limit| (1..=100).contains(&u8::from(limit))), "{query}");
                }
                drop(read::<GetBlocks>(query));
            }
        });
    }
}
