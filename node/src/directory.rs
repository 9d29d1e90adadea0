//! The did:plc directory that this node goes by: its own in the store, or an outside one over HTTP.
//!
//! Which operation may follow is decided by `angel_protocol::plc`, here as there. The interface is narrow on purpose:
//! logs are read, operations are submitted, all of it is exported in order; where the rows live is nobody else's business.

mod embedded;
mod outside;

#[cfg(test)]
mod tests;

use angel_protocol::did_document::DidDocument;
use angel_protocol::ids::Did;
use angel_protocol::plc::{Inadmissible, LogError, PlcLog, PlcOperation};
use angel_protocol::time::Timestamp;
use angel_storage::plc::{Exported, LogReadError, Moment, StageError};
use angel_storage::{Batch, CommitError, Reader, Writer};
use url::Url;

use self::embedded::Embedded;
use self::outside::Outside;
use crate::blocking;
use crate::clock;
use crate::fetch::{FetchError, Fetcher};

/// Most operations on one page of the export, as in the public directory.
pub(crate) const EXPORT_MAX: usize = 1000;

/// The directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Embedded(Embedded),
    Outside(Outside),
}

/// What a directory tells of an identity.
#[derive(Clone, Debug, PartialEq)]
pub struct PlcDocument {
    /// The document, as far as it is used here.
    pub document: DidDocument,
    /// The whole of it.
    pub json: serde_json::Value,
}

/// Why a directory does not answer or does not take an operation.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody registered it.
    #[error("DID not registered: {0}")]
    NotRegistered(Did),
    /// It was given up.
    #[error("DID not available: {0}")]
    Tombstoned(Did),
    /// The operation may not follow.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operation is not one that a directory takes.
    #[error(transparent)]
    Inadmissible(#[from] Inadmissible),
    /// The operation makes another identity than the one named.
    #[error("the operation makes {0}, not the DID it was sent to")]
    OtherDid(Did),
    /// The outside directory refuses the operation.
    #[error("the directory refuses the operation: {0}")]
    Refused(String),
    /// The outside directory cannot be reached, or what it says makes no sense.
    #[error("the directory {url} does not answer as it should: {why}")]
    Outside {
        /// Which.
        url: Url,
        /// What happened.
        why: String,
    },
    /// Only the node's own directory can do this.
    #[error("this node keeps no directory of its own: identity.plc names another")]
    NotKept,
    /// Others keep changing the identity.
    #[error("the identity is being changed by others; try again")]
    Busy,
    /// The store.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// The store.
    #[error(transparent)]
    Stage(StageError),
    /// The store.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<StageError> for DirectoryError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Log(error) => Self::Log(error),
            StageError::Read(error) => Self::Read(error),
            refused @ StageError::Refused(_) => Self::Stage(refused),
        }
    }
}

impl DirectoryError {
    /// Whether the operation itself is at fault, or the identity it is about: asking again changes nothing.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotRegistered(_)
                | Self::Tombstoned(_)
                | Self::Log(_)
                | Self::Inadmissible(_)
                | Self::OtherDid(_)
                | Self::Refused(_)
        )
    }
}

impl Directory {
    /// The node's own directory. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn embedded(reader: Reader, writer: Writer) -> Result<Self, LogReadError> {
        Embedded::open(reader, writer).map(|embedded| Self(Kind::Embedded(embedded)))
    }

    /// The directory at `url`. It is the operator's choice, so it may be at any address.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub fn outside(url: Url) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(crate::network::Scope::Loopback)?;
        Ok(Self(Kind::Outside(Outside::new(url, fetcher))))
    }

    /// Whether the identities lie in this node's store.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        matches!(self.0, Kind::Embedded(_))
    }

    /// The DID document of `did`.
    ///
    /// # Errors
    /// [`DirectoryError`]; `NotRegistered` and `Tombstoned` are the directory's own answers.
    pub async fn document(&self, did: &Did) -> Result<PlcDocument, DirectoryError> {
        match &self.0 {
            Kind::Embedded(embedded) => {
                let (embedded, did) = (embedded.clone(), did.clone());
                let document = blocking::run(move || embedded.document(&did)).await?;
                Ok(PlcDocument { json: document.to_json(), document })
            }
            Kind::Outside(outside) => outside.document(did).await,
        }
    }

    /// The log of `did`, every operation checked.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn log(&self, did: &Did) -> Result<PlcLog, DirectoryError> {
        match &self.0 {
            Kind::Embedded(embedded) => {
                let (embedded, did) = (embedded.clone(), did.clone());
                blocking::run(move || embedded.log(&did)).await
            }
            Kind::Outside(outside) => outside.log(did).await,
        }
    }

    /// Brings an operation of `did` before the directory; durable when this returns.
    ///
    /// # Errors
    /// [`DirectoryError`], by what is wrong with the operation or the way there.
    pub async fn submit(&self, did: &Did, operation: PlcOperation) -> Result<(), DirectoryError> {
        match &self.0 {
            Kind::Embedded(embedded) => {
                let (embedded, did) = (embedded.clone(), did.clone());
                blocking::run(move || embedded.submit(&did, &operation, clock::now())).await
            }
            Kind::Outside(outside) => outside.submit(did, &operation).await,
        }
    }

    /// Adds the first operation of an identity to `batch`, so that account and identity are made as one. Hold what is
    /// answered until the batch is durable.
    ///
    /// An outside directory has no part in a batch: there nothing is added, and the operation has to be submitted
    /// before.
    ///
    /// # Errors
    /// [`DirectoryError`]. The batch may then hold a part of it: drop it.
    pub fn stage_genesis(&self, batch: &mut Batch, operation: &PlcOperation) -> Result<Option<Moment>, DirectoryError> {
        match &self.0 {
            Kind::Embedded(embedded) => embedded.stage_genesis(batch, operation, clock::now()).map(Some),
            Kind::Outside(_) => Ok(None),
        }
    }

    /// Up to `count` operations accepted after `after`, in the order they were accepted; at most `EXPORT_MAX`.
    ///
    /// # Errors
    /// [`DirectoryError::NotKept`] when the directory is an outside one.
    pub async fn export(&self, after: Timestamp, count: usize) -> Result<Vec<Exported>, DirectoryError> {
        match &self.0 {
            Kind::Embedded(embedded) => {
                let embedded = embedded.clone();
                blocking::run(move || embedded.export(after, count.min(EXPORT_MAX))).await
            }
            Kind::Outside(_) => Err(DirectoryError::NotKept),
        }
    }
}
