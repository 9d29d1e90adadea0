//! What a moderation decision is about: an account, a record or a blob.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, AtUri, Did, RepoPath};
use serde::{Deserialize, Serialize};

use crate::http::XrpcError;
use crate::takedowns::Subject as Part;

/// A subject as methods name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "$type")]
pub(crate) enum Subject {
    /// An account.
    #[serde(rename = "com.atproto.admin.defs#repoRef")]
    Account {
        /// Which.
        did: Did,
    },
    /// A record.
    #[serde(rename = "com.atproto.repo.strongRef")]
    Record {
        /// Where.
        uri: String,
        /// With which content.
        cid: String,
    },
    /// A blob.
    #[serde(rename = "com.atproto.admin.defs#repoBlobRef", rename_all = "camelCase")]
    Blob {
        /// Whose.
        did: Did,
        /// Which.
        cid: String,
        /// The record that names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record_uri: Option<String>,
    },
}

/// Whether something applies, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Attribute {
    pub(crate) applied: bool,
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
}

impl Subject {
    /// Whose it is, and which part of it, if not all.
    pub(crate) fn parts(&self) -> Result<(Did, Option<Part>), XrpcError> {
        match self {
            Self::Account { did } => Ok((did.clone(), None)),
            Self::Record { uri, .. } => record(uri).map(|(did, path)| (did, Some(Part::Record(path)))),
            Self::Blob { did, cid, .. } => Ok((did.clone(), Some(Part::Blob(blob(cid)?)))),
        }
    }
}

/// Account and path of the URI of a record, which has to name the account by its DID.
pub(crate) fn record(uri: &str) -> Result<(Did, RepoPath), XrpcError> {
    let unfit = || XrpcError::invalid_request("uri: not the at-uri of a record, with a DID");
    let uri: AtUri = uri.parse().map_err(|_| unfit())?;
    let AtIdentifier::Did(did) = uri.authority().clone() else { return Err(unfit()) };
    let path = uri.path().ok_or_else(unfit)?;
    Ok((did, path))
}

/// The CID of a blob.
pub(crate) fn blob(cid: &str) -> Result<Cid, XrpcError> {
    cid.parse().map_err(|error| XrpcError::invalid_request(format!("cid: {error}")))
}
