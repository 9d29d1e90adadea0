//! `com.atproto.sync.getBlob`: a blob that a record names, as it was uploaded, or a range of its bytes (RFC 9110
//! section 14); nothing for whoever has it already.

use std::ops::Range;
use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::available;
use crate::blobs::Blob;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    did: Did,
    cid: Cid,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    headers: HeaderMap,
    Params(Parameters { did, cid }): Params<Parameters>,
) -> Result<Response, XrpcError> {
    let account = available(&host, &did, &caller).await?;
    let blob = host.blobs.get(account.id(), cid).await?;
    let absent =
        || XrpcError::new(StatusCode::BAD_REQUEST, "BlobNotFound", format!("Blob not found: {did} has no {cid}"));
    Ok(answer(blob.ok_or_else(absent)?, cid, &headers))
}

/// A blob as an answer to a request with these headers.
pub(crate) fn answer(blob: Blob, cid: Cid, asked: &HeaderMap) -> Response {
    let (size, tag) = (blob.size, format!("\"{cid}\""));
    if is_known(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let wanted = match ByteRange::asked(asked, &tag) {
        None => None,
        Some(range) => match range.within(size) {
            Some(range) => Some(range),
            None => return unsatisfiable(size),
        },
    };
    let unknown = || HeaderValue::from_static("application/octet-stream");
    let disposition = format!("attachment; filename=\"{cid}\"");
    // Anybody may have uploaded it, and it comes from the origin where people log in: a browser must not run it.
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&blob.mime_type).unwrap_or_else(|_| unknown())),
        (header::CONTENT_LENGTH, HeaderValue::from(wanted.as_ref().map_or(size, |range| range.end - range.start))),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::ETAG, tag.parse().expect("a CID is text for a header")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (header::CONTENT_DISPOSITION, disposition.parse().expect("a CID is text for a header")),
    ];
    match wanted {
        None => (headers, blob.into_body()).into_response(),
        Some(range) => {
            let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let told = [(header::CONTENT_RANGE, told)];
            (StatusCode::PARTIAL_CONTENT, headers, told, blob.into_range(range)).into_response()
        }
    }
}

/// Whether whoever asks has this version already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let mut known = known.flat_map(|tags| tags.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn unsatisfiable(size: u64) -> Response {
    let text = format!("the blob has {size} bytes, and none of them is in that range");
    let error = XrpcError::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRequest", text);
    ([(header::CONTENT_RANGE, format!("bytes */{size}"))], error).into_response()
}

/// A range of bytes as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteRange {
    /// From here, up to and with there or to the end.
    From(u64, Option<u64>),
    /// So many from the end.
    Last(u64),
}

impl ByteRange {
    /// The one range that is asked for; `None` when the whole blob is to be sent: nothing is asked for, what is asked for
    /// is no single range of bytes, or it is of another version than this one.
    fn asked(headers: &HeaderMap, tag: &str) -> Option<Self> {
        if headers.get(header::IF_RANGE).is_some_and(|version| version.as_bytes() != tag.as_bytes()) {
            return None;
        }
        let (first, last) = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?;
        match (first.trim(), last.trim()) {
            ("", last) => number(last).map(Self::Last),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes of a blob of `size` bytes that are meant; `None` when it has none of them.
    fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => first..last.map_or(size, |last| size.min(last.saturating_add(1))),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, version: Option<&str>) -> Option<ByteRange> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().expect("a header"));
        if let Some(version) = version {
            headers.insert(header::IF_RANGE, version.parse().expect("a header"));
        }
        ByteRange::asked(&headers, "\"tag\"")
    }

    #[test]
    fn one_range_of_bytes_is_understood_and_anything_else_is_the_whole() {
        for (text, range) in [
            ("bytes=0-0", ByteRange::From(0, Some(0))),
            ("bytes=5-9", ByteRange::From(5, Some(9))),
            ("bytes=5-", ByteRange::From(5, None)),
            ("bytes=-3", ByteRange::Last(3)),
        ] {
            assert_eq!(asked(text, None), Some(range), "{text}");
            assert_eq!(asked(text, Some("\"tag\"")), Some(range), "{text}");
            assert_eq!(asked(text, Some("\"other\"")), None, "{text}");
        }
        let wrong = [
            "bytes=9-5",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "items=0-1",
            "bytes=0-1,3-4",
            "bytes=99999999999999999999-",
        ];
        for text in wrong {
            assert_eq!(asked(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_version_that_is_known_is_known_by_its_tag() {
        let known = |tags: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, tags.parse().expect("a header"));
            is_known(&headers, "\"tag\"")
        };
        assert!(known("\"tag\"") && known("*") && known("W/\"tag\"") && known("\"other\", \"tag\""));
        assert!(!known("\"other\"") && !known("tag") && !known("") && !is_known(&HeaderMap::new(), "\"tag\""));
    }

    #[test]
    fn ranges_end_with_the_blob() {
        assert_eq!(ByteRange::From(0, None).within(10), Some(0..10));
        assert_eq!(ByteRange::From(3, Some(4)).within(10), Some(3..5));
        assert_eq!(ByteRange::From(3, Some(u64::MAX)).within(10), Some(3..10));
        assert_eq!(ByteRange::From(10, None).within(10), None);
        assert_eq!(ByteRange::Last(3).within(10), Some(7..10));
        assert_eq!(ByteRange::Last(30).within(10), Some(0..10));
        assert_eq!(ByteRange::Last(0).within(10), None);
        assert_eq!(ByteRange::Last(1).within(0), None);
    }
}
