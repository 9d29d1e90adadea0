//! `co.kendev.spaces.importSpaces`: takes in what makes the caller's own spaces, as the host that they leave gave it out.

use std::sync::Arc;

use angel_protocol::limits::{SPACES_IMPORT_BYTES_MAX, SPACES_IMPORT_LINE_BYTES_MAX};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::XrpcError;
use crate::spaces::{SpaceLine, TakingError};
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;
use crate::xrpc::lines::LineReader;

/// A line of what is carried.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Carried {
    /// Last: how many lines came before.
    End { lines: u64 },
    /// Something of the spaces.
    #[serde(untagged)]
    Space(SpaceLine),
}

impl Carried {
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("rows have a JSON form");
        line.push(b'\n');
        line
    }
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    body: Body,
) -> Result<Json<Value>, XrpcError> {
    if !account.is_active() {
        let words = "the account is not in use here yet: activate it first";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "AccountNotActive", words));
    }
    let mut lines = LineReader::new(body, SPACES_IMPORT_BYTES_MAX, SPACES_IMPORT_LINE_BYTES_MAX);
    let mut taking = host.spaces.taking(&account);
    let mut count = 0;
    while let Some(line) = lines.next::<Carried>().await? {
        match line {
            Carried::Space(line) => taking.take(line).await?,
            Carried::End { lines } if lines == count => {
                let rooms = taking.finish().await?;
                return Ok(Json(json!({ "rooms": rooms })));
            }
            Carried::End { .. } => break,
        }
        count += 1;
    }
    let words = "the export is not whole; what came was taken in, and the whole may come again";
    Err(XrpcError::new(StatusCode::BAD_REQUEST, "InvalidExport", words))
}

impl From<TakingError> for XrpcError {
    fn from(error: TakingError) -> Self {
        match error {
            TakingError::Space(error) => error.into(),
            refused => Self::new(StatusCode::BAD_REQUEST, "InvalidExport", refused.to_string()),
        }
    }
}
