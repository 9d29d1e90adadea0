//! The body of a procedure, as JSON. The method's document says what it has to be, where there is one.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::{self, Documented};
use crate::http::XrpcError;

/// How much is said of what is wrong with a body.
const TOLD_CHARS_MAX: usize = 512;

/// A JSON body as `T` has it. Its size is bounded by the route, its depth by the reader.
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(is_json) {
            let text = "this method takes a JSON body: send Content-Type: application/json";
            return Err(XrpcError::invalid_request(text).into_response());
        }
        let document = documents::of(request.uri().path());
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        read(document, &body).map(Self).map_err(IntoResponse::into_response)
    }
}

fn is_json(media_type: &str) -> bool {
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn read<T: DeserializeOwned>(document: Option<Documented>, body: &[u8]) -> Result<T, XrpcError> {
    let Some(document) = document else { return serde_json::from_slice(body).map_err(refused) };
    // Parsed once: what was checked is what the handler gets.
    let body: Value = serde_json::from_slice(body).map_err(refused)?;
    document.body(&body)?;
    serde_json::from_value(body).map_err(refused)
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn refused(error: serde_json::Error) -> XrpcError {
    // It may quote the body.
    let told: String = format!("the body: {error}").chars().take(TOLD_CHARS_MAX).collect();
    XrpcError::invalid_request(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As of a method without a document.
    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, XrpcError> {
        super::read(None, body)
    }

    #[test]
    fn media_types_of_json_are_known() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("application/jsonp") && !is_json("text/plain") && !is_json(""));
    }

    #[test]
    fn bodies_nested_too_deep_are_refused() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(read::<Value>(&nested(64)).is_ok());
        assert!(read::<Value>(&nested(10_000)).is_err());
        let long = serde_json::to_vec(&"x".repeat(100_000)).expect("JSON");
        let refused = read::<Vec<u8>>(&long).expect_err("no list");
        assert!(format!("{refused:?}").len() < 2 * TOLD_CHARS_MAX, "the body does not come back");
        assert!(read::<Value>(b"{\"a\": NaN}").is_err() && read::<Value>(b"{} {}").is_err());
    }
}
