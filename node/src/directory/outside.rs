//! A directory of others, over HTTP (did:plc method specification, "DID Resolution"; its HTTP interface).

use angel_protocol::did_document::DidDocument;
use angel_protocol::ids::Did;
use angel_protocol::plc::{AuditEntry, PlcLog, PlcOperation};
use serde_json::Value as Json;
use url::Url;

use super::{DirectoryError, PlcDocument};
use crate::fetch::{FetchError, Fetcher};

/// Largest DID document that is read, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Largest log that is read, in bytes: a hundred operations of full size would have a tenth of it.
const LOG_BYTES_MAX: usize = 4 << 20;

/// Largest answer to an operation.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Debug)]
pub(super) struct Outside {
    url: Url,
    fetcher: Fetcher,
}

impl Outside {
    pub(super) fn new(url: Url, fetcher: Fetcher) -> Self {
        Self { url, fetcher }
    }

    /// The address of `did`, and of what is told about it under `rest`.
    fn address(&self, did: &Did, rest: &str) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{did}{rest}"));
        url
    }

    fn fails(&self, why: impl ToString) -> DirectoryError {
        DirectoryError::Outside { url: self.url.clone(), why: why.to_string() }
    }

    async fn get(&self, did: &Did, rest: &str, bytes_max: usize) -> Result<Json, DirectoryError> {
        let url = self.address(did, rest);
        let accept = "application/did+ld+json, application/json";
        let body = self.fetcher.get_as(&url, accept, bytes_max).await.map_err(|error| match error {
            FetchError::Status(404) => DirectoryError::NotRegistered(did.clone()),
            FetchError::Status(410) => DirectoryError::Tombstoned(did.clone()),
            other => self.fails(other),
        })?;
        serde_json::from_slice(&body).map_err(|error| self.fails(error))
    }

    /// The document is believed as the directory tells it: the operator chose whom to ask.
    pub(super) async fn document(&self, did: &Did) -> Result<PlcDocument, DirectoryError> {
        let json = self.get(did, "", DOCUMENT_BYTES_MAX).await?;
        let document = DidDocument::from_json(&json).map_err(|error| self.fails(error))?;
        if document.id != *did {
            return Err(self.fails(format!("asked for {did}, it tells of {}", document.id)));
        }
        Ok(PlcDocument { document, json })
    }

    /// The log is checked from the first operation on: what is signed on top of it has to stand.
    pub(super) async fn log(&self, did: &Did) -> Result<PlcLog, DirectoryError> {
        let json = self.get(did, "/log/audit", LOG_BYTES_MAX).await?;
        let entries = json.as_array().ok_or_else(|| self.fails("the log is no list"))?;
        let entries: Result<Vec<_>, _> = entries.iter().map(AuditEntry::from_json).collect();
        let log = entries.and_then(|entries| PlcLog::from_audit(did, entries));
        log.map_err(|error| self.fails(error))
    }

    pub(super) async fn submit(&self, did: &Did, operation: &PlcOperation) -> Result<(), DirectoryError> {
        let url = self.address(did, "");
        let (status, body) = self
            .fetcher
            .post_for_answer(&url, &operation.to_json(), ANSWER_BYTES_MAX)
            .await
            .map_err(|error| self.fails(error))?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        let told = serde_json::from_slice::<Json>(&body).ok();
        let told = told.and_then(|json| json["message"].as_str().map(ToOwned::to_owned));
        let told = told.unwrap_or_else(|| format!("it answered {status}"));
        // Its words go on to whoever asked: one line of bounded length.
        let told: String = told.chars().filter(|c| !c.is_control()).take(300).collect();
        if (400..500).contains(&status) { Err(DirectoryError::Refused(told)) } else { Err(self.fails(told)) }
    }
}
