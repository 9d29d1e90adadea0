//! The did:plc directory over HTTP, as the public one answers: under `/plc`, and at the root for paths that begin with a
//! did:plc, because clients drop the path of a directory's URL.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use angel_protocol::ids::{Datetime, Did};
use angel_protocol::ledger::Outcome;
use angel_protocol::plc::PlcOperation;
use angel_storage::CommitError;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::directory::{After, Directory, DirectoryError, EXPORT_MAX};

/// Largest operation as JSON, in bytes; as CBOR at most 4000 are taken.
const OPERATION_BYTES_MAX: usize = 16 << 10;

/// Operations on a page of the export when the caller does not say.
const EXPORT_DEFAULT: usize = 10;

/// New identities of strangers in a second, and at once: each stays for ever, so a flood has to stay slow. Accounts of
/// this host do not come this way.
const GENESES_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).expect("not zero");
const GENESES_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).expect("not zero");

/// The spellings of the beginning of a did:plc in a path, which is matched as it was sent.
const ROOTS: [&str; 3] = ["/did:plc:", "/did%3Aplc%3A", "/did%3aplc%3a"];

#[derive(Clone)]
struct Plc {
    directory: Directory,
    geneses: Arc<DefaultDirectRateLimiter>,
}

/// The routes.
pub(crate) fn routes(directory: Directory) -> Router {
    let geneses = Quota::per_second(GENESES_PER_SECOND).allow_burst(GENESES_AT_ONCE);
    let state = Plc { directory, geneses: Arc::new(RateLimiter::direct(geneses)) };
    let identity = || get(document).post(submit).layer(DefaultBodyLimit::max(OPERATION_BYTES_MAX));
    let mut routes = Router::new().route("/plc/export", get(export)).route("/export", get(export));
    for root in ROOTS.into_iter().chain(["/plc/"]) {
        routes = routes
            .route(&format!("{root}{{did}}"), identity())
            .route(&format!("{root}{{did}}/data"), get(data))
            .route(&format!("{root}{{did}}/log"), get(log))
            .route(&format!("{root}{{did}}/log/audit"), get(audit))
            .route(&format!("{root}{{did}}/log/last"), get(last));
    }
    routes.with_state(state)
}

/// The DID of the path, which at the root is there without its beginning.
struct Subject(Did);

impl Subject {
    fn read(text: &str) -> Result<Self, XrpcError> {
        let whole = if text.starts_with("did:") { text.to_owned() } else { format!("did:plc:{text}") };
        let did = Did::from_str(&whole).ok().filter(|did| did.method() == "plc");
        did.map(Self).ok_or_else(|| XrpcError::not_found(format!("DID not registered: {whole}")))
    }
}

async fn document(State(plc): State<Plc>, Path(did): Path<String>) -> Result<Response, XrpcError> {
    let Subject(did) = Subject::read(&did)?;
    let document = kept(&plc)?.document(&did).await?;
    Ok(([(header::CONTENT_TYPE, "application/did+ld+json")], document.json.to_string()).into_response())
}

async fn data(State(plc): State<Plc>, Path(did): Path<String>) -> Result<Json<Value>, XrpcError> {
    let Subject(did) = Subject::read(&did)?;
    let data = kept(&plc)?.log(&did).await?.data().ok_or_else(|| DirectoryError::Tombstoned(did.clone()))?;
    Ok(Json(data.to_json(&did)))
}

async fn log(State(plc): State<Plc>, Path(did): Path<String>) -> Result<Json<Value>, XrpcError> {
    let Subject(did) = Subject::read(&did)?;
    let log = kept(&plc)?.log(&did).await?;
    Ok(Json(log.canonical().map(|entry| entry.operation.to_json()).collect()))
}

async fn audit(State(plc): State<Plc>, Path(did): Path<String>) -> Result<Json<Value>, XrpcError> {
    let Subject(did) = Subject::read(&did)?;
    Ok(Json(kept(&plc)?.log(&did).await?.to_audit_json()))
}

async fn last(State(plc): State<Plc>, Path(did): Path<String>) -> Result<Json<Value>, XrpcError> {
    let Subject(did) = Subject::read(&did)?;
    Ok(Json(kept(&plc)?.log(&did).await?.head().operation.to_json()))
}

/// Takes an operation. Its signature says who may do this: no other authentication adds to that.
async fn submit(State(plc): State<Plc>, Path(did): Path<String>, body: Bytes) -> Result<Json<Value>, XrpcError> {
    let Subject(did) = Subject::read(&did)?;
    let directory = kept(&plc)?;
    let json: Value = serde_json::from_slice(&body)
        .map_err(|error| XrpcError::invalid_request(format!("Not a valid operation: {error}")))?;
    let operation = PlcOperation::from_json(&json).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    if operation.creates().is_some() && plc.geneses.check().is_err() {
        let text = "too many new identities at once; try again in a minute";
        return Err(XrpcError::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", text));
    }
    directory.submit(&did, operation).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Page {
    count: Option<usize>,
    after: Option<String>,
}

/// All operations in the order they were decided, one JSON object a line. `after` is the number or the time of the last
/// one seen; told by number, the lines have their numbers. Operations of one height share their time, so a page by time
/// may be longer than asked: it ends with a height.
async fn export(State(plc): State<Plc>, Query(page): Query<Page>) -> Result<Response, XrpcError> {
    let count = page.count.unwrap_or(EXPORT_DEFAULT);
    if !(1..=EXPORT_MAX).contains(&count) {
        return Err(XrpcError::invalid_request(format!("count is 1 to {EXPORT_MAX}")));
    }
    let (after, by_number) = match page.after.as_deref() {
        None => (After::Number(0), false),
        Some(text) => after(text).ok_or_else(|| XrpcError::invalid_request("after is a datetime or a number"))?,
    };
    let mut lines = String::new();
    for exported in kept(&plc)?.export(after, count).await? {
        let mut line = exported.entry.to_json(&exported.did);
        if by_number {
            line["type"] = "sequenced_op".into();
            line["seq"] = (exported.number + 1).into();
        }
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/jsonlines")], lines).into_response())
}

/// The place meant, and whether it was given as a number.
fn after(text: &str) -> Option<(After, bool)> {
    if let Ok(number) = text.parse::<u64>() {
        return Some((After::Number(number), true));
    }
    Some((After::Time(text.parse::<Datetime>().ok()?.timestamp()?), false))
}

/// The directory, when it is this node's own.
fn kept(plc: &Plc) -> Result<&Directory, DirectoryError> {
    if plc.directory.is_own() { Ok(&plc.directory) } else { Err(DirectoryError::NotKept) }
}

impl From<DirectoryError> for XrpcError {
    fn from(error: DirectoryError) -> Self {
        match &error {
            DirectoryError::NotRegistered(_) | DirectoryError::NotKept => Self::not_found(error.to_string()),
            DirectoryError::Tombstoned(_) => Self::new(StatusCode::GONE, "NotFound", error.to_string()),
            DirectoryError::Inadmissible(angel_protocol::plc::Inadmissible::TooOften { .. }) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", error.to_string())
            }
            DirectoryError::Outcome(Outcome::IdentityTooOften | Outcome::IdentitiesSpent) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", error.to_string())
            }
            DirectoryError::Submit(error) => error.into(),
            DirectoryError::Undecided => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Undecided", error.to_string()),
            DirectoryError::Log(_)
            | DirectoryError::Outcome(_)
            | DirectoryError::Inadmissible(_)
            | DirectoryError::OtherDid(_)
            | DirectoryError::Refused(_) => Self::invalid_request(error.to_string()),
            DirectoryError::Outside { .. } => Self::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", error.to_string()),
            DirectoryError::Busy | DirectoryError::Commit(CommitError::Busy) => Self::unavailable(error.to_string()),
            DirectoryError::Read(_)
            | DirectoryError::View(_)
            | DirectoryError::Ledger(_)
            | DirectoryError::Commit(_) => Self::unexpected(&error),
        }
    }
}
