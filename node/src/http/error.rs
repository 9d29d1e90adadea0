//! Errors on the wire: `{"error", "message"}` as the XRPC specification has them, plus the id under which the log knows
//! the request. What a client did wrong is named; what went wrong here is logged whole and answered with nothing.

use angel_protocol::ids::Nsid;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::observe;

/// Longest text of a library's own error answer that is taken over, in bytes.
const FOREIGN_TEXT_BYTES_MAX: usize = 1024;

/// The error of a request without the admin password; its answer says how to send one.
pub(super) const WRONG_PASSWORD: &str = "AdminPasswordRequired";

/// The error of a body that is longer than a method's input may be. The name is not that of [`XrpcError::payload_too_large`]:
/// the reference implementation has this one from its parser, and clients compare the answer as a whole.
const INPUT_TOO_LARGE: &str = "PayloadTooLargeError";

/// A request that is answered with an error.
#[derive(Debug, PartialEq, Eq)]
pub struct XrpcError {
    status: StatusCode,
    name: &'static str,
    message: String,
    details: Option<serde_json::Map<String, serde_json::Value>>,
}

impl XrpcError {
    /// An error with a name that clients can act on.
    #[must_use]
    pub fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into(), details: None }
    }

    /// The same with fields that a program can act on, beside name and text.
    #[must_use]
    pub fn with_details(self, details: serde_json::Map<String, serde_json::Value>) -> Self {
        Self { details: Some(details), ..self }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    /// 401: who are you?
    #[must_use]
    pub fn authentication_required(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationRequired", message)
    }

    /// 404: there is nothing here.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 408: the request took too long.
    #[must_use]
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "the request took too long; try again")
    }

    /// 413: more bytes were sent than are taken, where bytes are what the method takes: a file, a repository.
    #[must_use]
    pub fn payload_too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
    }

    /// 503: the node cannot do this now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 500: something went wrong here. The error is logged with all its causes; the client learns the request's id.
    #[must_use]
    pub fn unexpected(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::broken(&crate::tasks::chain(error))
    }

    /// 500, told in words.
    pub(super) fn broken(what: &str) -> Self {
        tracing::error!("a request failed: {what}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "something went wrong here; the operator finds it in the log under the request id",
        )
    }
}

impl IntoResponse for XrpcError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.name, "message": self.message });
        // Clients know this one answer by all of it; the id is in the header as well.
        if self.name != INPUT_TOO_LARGE
            && let Some(id) = observe::request_id()
        {
            body["requestId"] = json!(id);
        }
        for (name, value) in self.details.into_iter().flatten() {
            body[name] = value;
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED && self.name == WRONG_PASSWORD {
            let challenge = HeaderValue::from_static("Basic realm=\"angel admin\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The answer where no route fits.
pub(crate) async fn nowhere(uri: Uri) -> XrpcError {
    let path = uri.path();
    match path.strip_prefix("/xrpc/") {
        Some(name) if name.parse::<Nsid>().is_ok() => XrpcError::new(
            StatusCode::NOT_IMPLEMENTED,
            "MethodNotImplemented",
            format!("this node does not serve the method {name}"),
        ),
        Some(_) => XrpcError::invalid_request("a method is named by an NSID, such as com.atproto.repo.getRecord"),
        None => XrpcError::not_found(format!("nothing is served at {path}")),
    }
}

/// Gives the errors of libraries (extractors, routing) the form of ours.
pub(super) async fn shape(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let is_method = request.uri().path().starts_with("/xrpc/");
    let response = next.run(request).await;
    let status = response.status();
    let is_ours = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
    let shaped = response.headers().get(header::CONTENT_TYPE).is_some_and(is_ours);
    if method == Method::HEAD || shaped || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = foreign_text(response.into_body()).await;
    let error = match status {
        // XRPC knows only 400 for this as well.
        StatusCode::METHOD_NOT_ALLOWED if is_method => {
            let served = if method == Method::GET { Method::POST } else { Method::GET };
            XrpcError::invalid_request(format!("Incorrect HTTP method ({method}) expected {served}"))
        }
        // Routing adds the `Allow` header further out.
        StatusCode::METHOD_NOT_ALLOWED => {
            XrpcError::new(status, "MethodNotAllowed", format!("{method} is not served here"))
        }
        StatusCode::PAYLOAD_TOO_LARGE => XrpcError::new(status, INPUT_TOO_LARGE, "request entity too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => XrpcError::new(status, "InvalidRequest", text),
        // XRPC knows only 400 for a body that does not fit its schema.
        StatusCode::UNPROCESSABLE_ENTITY => XrpcError::invalid_request(text),
        StatusCode::UNAUTHORIZED => XrpcError::authentication_required(text),
        status if status.is_server_error() => XrpcError::broken(&text),
        status => XrpcError::new(status, "InvalidRequest", text),
    };
    error.into_response()
}

async fn foreign_text(body: Body) -> String {
    let bytes = to_bytes(body, FOREIGN_TEXT_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    if text.is_empty() { "the request does not fit this method".to_owned() } else { text.into_owned() }
}
