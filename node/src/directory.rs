//! The did:plc directory that this node goes by: the network's own, which the ledger decides, or an outside one over
//! HTTP.
//!
//! Which operation may follow is decided by `angel_protocol::ledger`, here as on every other node of the network. The
//! interface is narrow on purpose: logs are read, operations are submitted, all of it is exported in order; where the
//! rows lie is nobody else's business.
//!
//! # Map
//!
//! | where | what |
//! |---|---|
//! | `decided` | the identities in the ledger, read from this node's copy |
//! | `earlier` | logs from before the ledger decided identities, carried over |
//! | `outside` | a directory of others |

mod decided;
mod earlier;
mod outside;

#[cfg(test)]
mod tests;

use std::time::Duration;

use angel_protocol::data::Cid;
use angel_protocol::did_document::DidDocument;
use angel_protocol::ids::Did;
use angel_protocol::ledger::directory::Exported;
use angel_protocol::ledger::{Outcome, ViewError};
use angel_protocol::plc::{Inadmissible, LogError, PlcLog, PlcOperation};
use angel_protocol::time::Timestamp;
use angel_storage::plc::LogReadError;
use angel_storage::reader::ReadError;
use angel_storage::{Batch, CommitError};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::decided::Decided;
use self::outside::Outside;
use crate::blocking;
use crate::fetch::{FetchError, Fetcher};
use crate::ledger::{Ledger, LedgerError};
use crate::mempool::SubmitError;
use crate::tasks::TaskResult;

/// Most operations on one page of the export, as in the public directory.
pub(crate) const EXPORT_MAX: usize = angel_protocol::limits::PLC_EXPORT_ENTRIES_MAX;

/// How long somebody waits for the network to decide an operation. Many times what deciding takes where two thirds of
/// the validators can be reached.
pub(crate) const DECISION_WAIT: Duration = Duration::from_secs(20);

/// The directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Decided(Decided),
    Outside(Outside),
}

/// Where a page of the export begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Behind the operation with this number, from 1; 0 is the beginning.
    Number(u64),
    /// Behind what was accepted at this time. A page ends with the last operation of a height.
    Time(Timestamp),
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
    /// The directory refuses the operation.
    #[error("the directory refuses the operation: {0}")]
    Refused(String),
    /// The ledger refuses the operation, and so does every node.
    #[error("{0}")]
    Outcome(Outcome),
    /// The operation does not get as far as the ledger.
    #[error(transparent)]
    Submit(SubmitError),
    /// The validators have not decided.
    #[error(
        "the network has not decided on the operation within {} s; it stays with this node and takes effect once the \
         validators decide",
        DECISION_WAIT.as_secs()
    )]
    Undecided,
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
    /// The ledger's rows.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ReadError> for DirectoryError {
    fn from(error: ReadError) -> Self {
        Self::Read(error.into())
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
                | Self::Outcome(_)
        )
    }
}

impl Directory {
    /// The network's own directory. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of_ledger(ledger: Ledger) -> Result<Self, ReadError> {
        Decided::open(ledger).map(|decided| Self(Kind::Decided(decided)))
    }

    /// The directory at `url`. It is the operator's choice, so it may be at any address.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub fn outside(url: Url) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(crate::network::Scope::Loopback)?;
        Ok(Self(Kind::Outside(Outside::new(url, fetcher))))
    }

    /// Whether the network decides its identities itself, so that they lie in this node's store.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        matches!(self.0, Kind::Decided(_))
    }

    /// The DID document of `did`.
    ///
    /// # Errors
    /// [`DirectoryError`]; `NotRegistered` and `Tombstoned` are the directory's own answers.
    pub async fn document(&self, did: &Did) -> Result<PlcDocument, DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => {
                let (decided, did) = (decided.clone(), did.clone());
                let document = blocking::run(move || decided.document(&did)).await?;
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
            Kind::Decided(decided) => {
                let (decided, did) = (decided.clone(), did.clone());
                blocking::run(move || decided.log(&did)).await
            }
            Kind::Outside(outside) => outside.log(did).await,
        }
    }

    /// The CID of the last operation of `did`, as this node's own store has it; `None` where an outside directory would have
    /// to be asked. Blocks.
    ///
    /// # Errors
    /// The rows cannot be read, or nobody registered it.
    pub(crate) fn known_head_blocking(&self, did: &Did) -> Result<Option<Cid>, DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => decided.head(did).map(Some),
            Kind::Outside(_) => Ok(None),
        }
    }

    /// Brings an operation of `did` before the directory; accepted and durable when this returns.
    ///
    /// # Errors
    /// [`DirectoryError`], by what is wrong with the operation or the way there.
    pub async fn submit(&self, did: &Did, operation: PlcOperation) -> Result<(), DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => decided.submit(did, &operation).await,
            Kind::Outside(outside) => outside.submit(did, &operation).await,
        }
    }

    /// Whether the network would take an operation as things stand now. An outside directory is not asked.
    ///
    /// # Errors
    /// [`DirectoryError`], as [`Self::submit`] would refuse it.
    pub async fn would_take(&self, did: &Did, operation: &PlcOperation) -> Result<(), DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => decided.would_take(did, operation).await,
            Kind::Outside(_) => Ok(()),
        }
    }

    /// Adds to `batch` that `operation` is to be decided: from then on it is not lost by a crash, and whatever is
    /// in the batch with it can be finished by [`Self::settle`]. Nothing is added for an outside directory.
    ///
    /// # Errors
    /// The batch is full.
    pub fn stage_pending(
        &self,
        batch: &mut Batch,
        did: &Did,
        operation: &PlcOperation,
    ) -> Result<(), angel_storage::batch::RowRefused> {
        match &self.0 {
            Kind::Decided(_) => angel_storage::plc::stage_pending(batch, did, operation),
            Kind::Outside(_) => Ok(()),
        }
    }

    /// Brings an operation that is kept by [`Self::stage_pending`] before the network, and returns when it is decided,
    /// however long that takes. One that was decided before is fine. Whoever calls has to write what follows, with
    /// `angel_storage::plc::stage_settled`; until then the operation is brought up again at every start.
    ///
    /// # Errors
    /// [`DirectoryError`]: a refusal is final, anything else is not.
    pub async fn settle(&self, did: &Did, operation: &PlcOperation) -> Result<(), DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => decided.settle(did, operation).await,
            Kind::Outside(_) => Err(DirectoryError::NotKept),
        }
    }

    /// The operations that are kept by [`Self::stage_pending`], behind those of `after`. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pending_blocking(&self, after: Option<&Did>) -> Result<Vec<(Did, PlcOperation)>, DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => Ok(decided.pending(after)?),
            Kind::Outside(_) => Ok(Vec::new()),
        }
    }

    /// Writes a batch that begins or ends what is pending. Blocks until it is durable.
    ///
    /// # Errors
    /// The store fails, or another operation of the identity is pending.
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => decided.commit(batch),
            Kind::Outside(_) => Err(DirectoryError::NotKept),
        }
    }

    /// Up to `count` operations behind `after`, at most `EXPORT_MAX`, in the order they were decided.
    ///
    /// # Errors
    /// [`DirectoryError::NotKept`] when the directory is an outside one.
    pub async fn export(&self, after: After, count: usize) -> Result<Vec<Exported>, DirectoryError> {
        match &self.0 {
            Kind::Decided(decided) => {
                let decided = decided.clone();
                blocking::run(move || decided.export(after, count.min(EXPORT_MAX))).await
            }
            Kind::Outside(_) => Err(DirectoryError::NotKept),
        }
    }

    /// Carries over what lies here from before the ledger decided identities, and waits to be stopped.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        if let Kind::Decided(decided) = &self.0 {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                carried = decided.carry_over() => carried?,
            }
        }
        stop.cancelled().await;
        Ok(())
    }
}
